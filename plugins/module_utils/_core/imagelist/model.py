# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A list as read: typed fields for what we act on, and beside them the mapping exactly as it was written."""

from __future__ import annotations

import datetime
import typing as t
from dataclasses import dataclass, field

WRAPPER: t.Final = "hv:imagelist"
IMAGES: t.Final = "hv:images"
IMAGE: t.Final = "hv:image"
ENDORSER: t.Final = "hv:endorser"
X509: t.Final = "hv:x509"
CHECKSUM: t.Final = "sl:checksum:"


@dataclass(frozen=True)
class Endorser:
    """Who a list says has endorsed it; `dn` and `ca` are slash-form names, `name` is ``dc:creator``.

    `raw` is the content of ``hv:x509`` as read. Optional text that is absent is empty here.
    """

    dn: str
    ca: str
    email: str
    name: str
    raw: t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Image:
    """One image of a list: `size` in octets and `sha512` (lower case) are those of the transferred file.

    `raw` is the content of ``hv:image`` as read. Optional text that is absent is empty here, `version` included;
    `format` and `expires` are None when not stated. `checksums` maps the other stated checksums' names
    (``sha256`` of ``sl:checksum:sha256``) to lower-case digests.
    """

    identifier: str
    version: str
    uri: str
    size: int
    sha512: str
    title: str
    description: str
    arch: str
    os: str
    osversion: str
    comments: str
    hypervisor: str
    format: t.Optional[str]
    expires: t.Optional[datetime.datetime]
    raw: t.Mapping[str, t.Any]
    checksums: t.Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SignedList:
    """What image lists and endorser lists have in common. `raw` is the list object as read, everything included:
    unknown keys survive in it.

    `created` and `expires` are aware UTC times. `beside` holds the keys that stood next to the wrapper (none in any
    known list; kept all the same).
    """

    identifier: str
    version: str
    created: datetime.datetime
    expires: datetime.datetime
    title: str
    description: str
    source: str
    uri: str
    endorsers: tuple[Endorser, ...]
    raw: t.Mapping[str, t.Any]
    beside: t.Mapping[str, t.Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageList(SignedList):
    """A whole image list."""

    images: tuple[Image, ...] = ()
