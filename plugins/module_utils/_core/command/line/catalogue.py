# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue that the options name, for those who can open it."""

from __future__ import annotations

import contextlib
import typing as t

from ...errors import VmimagesError
from ...site.store import preload
from ...site.store.catalogue import Catalogue
from ...site.store.state import StateDirectory
from .output import emit_warnings

if t.TYPE_CHECKING:
    import argparse

Answer = t.TypeVar("Answer")

#: Refusals of a catalogue that leave the snapshot to be asked.
_UNUSABLE: t.Final = frozenset({"state_owner", "state_busy", "disk_full", "not_writable", "index_damaged"})


def state_of(options: argparse.Namespace) -> StateDirectory:
    """The state directory that the options name."""
    return StateDirectory.at(options.state_dir, index=options.index)


def open_catalogue(
    options: argparse.Namespace,
    *,
    accept_journal: bool = False,
    create: bool = False,
    dry: bool = False,
    load: t.Callable[[], None] = preload.everything,
) -> contextlib.AbstractContextManager[Catalogue]:
    """The catalogue that the options name; its warnings go to standard error. Raises as `Catalogue.open`."""
    return Catalogue.open(
        options.state_dir,
        index_path=options.index,
        create=create,
        dry=dry,
        warn=lambda text: emit_warnings([text]),
        load=load,
        accept_journal=accept_journal,
    )


def ask(options: argparse.Namespace, question: t.Callable[[Catalogue], Answer]) -> Answer | None:
    """What the catalogue answers now to its owner and root; None where it cannot be opened.

    A full or read-only file system, or a long writer, leaves the snapshot, which says itself whether it is too old.
    """
    try:
        with open_catalogue(options, load=preload.judging) as catalogue:
            return question(catalogue)
    except VmimagesError as error:
        if error.code not in _UNUSABLE:
            raise
    return None
