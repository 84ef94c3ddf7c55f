# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of signed lists, for those who treat all of them alike."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..imagelist import check as images_check
from ..imagelist import reader as images_reader
from ..imagelist import writer as images_writer
from ..imagelist.model import SignedList
from . import check, reader, writer

IMAGE_LIST: t.Final = "imagelist"
ENDORSER_LIST: t.Final = "endorserlist"


@dataclass(frozen=True)
class Kind:
    """How a list of one kind is read, written, and checked when its message is verified (see `check_list`)."""

    name: str
    read: t.Callable[[bytes], SignedList]
    write: t.Callable[[t.Mapping[str, t.Any]], bytes]
    check: t.Callable[..., SignedList]


KINDS: t.Final[t.Mapping[str, Kind]] = {
    IMAGE_LIST: Kind(IMAGE_LIST, images_reader.read_list, images_writer.write_list, images_check.check_list),
    ENDORSER_LIST: Kind(ENDORSER_LIST, reader.read_list, writer.write_list, check.check_list),
}
