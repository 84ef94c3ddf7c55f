# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A list as the options that declare it: where an endorser begins who takes over a list, or copies one."""

from __future__ import annotations

import typing as t
import uuid

from ...endorserlist.kinds import IMAGE_LIST
from ...errors import SiteError
from ...imagelist.fields import read_uuid
from ...imagelist.model import CHECKSUM, ENDORSER, IMAGES, X509
from .images import EXPIRES, FORMAT, IMAGE_TEXTS
from .spec import ENDORSER_KEYS, LIST_TEXTS

_Raw = t.Mapping[str, t.Any]

_SHA512: t.Final = f"{CHECKSUM}sha512"
_PER_LIST: t.Final = frozenset({"dc:identifier", "dc:date:created", EXPIRES, "hv:version", "hv:uri", ENDORSER, IMAGES})
_PER_IMAGE: t.Final = frozenset({"dc:identifier", EXPIRES, FORMAT, "hv:version", "hv:uri", "hv:size", _SHA512})


def describe(of: _Raw, images: t.Sequence[_Raw], *, identifier: str | None = None) -> dict[str, t.Any]:
    """The options of ``imagelist_publish`` that give this list again, but for who signs it, and where and when.

    `of` is the list object and `images` those of its images, which need not be complete. With `identifier` the list
    gets this UUID, and each image one that follows from it and from its own: two lists must not share theirs. Raises
    SiteError ``option_invalid``.
    """
    new = read_uuid(identifier) if identifier is not None else None
    if identifier is not None and new is None:
        raise SiteError(
            "option_invalid", f"new_identifier: {identifier[:60]!a} is not a UUID.", option="new_identifier"
        )
    texts = LIST_TEXTS[IMAGE_LIST]
    return {
        "identifier": new or of["dc:identifier"].lower(),
        **{option: of.get(key, "") for option, key in texts.items()},
        "uri": of.get("hv:uri", ""),
        "endorser": _endorser(of),
        "metadata": {key: value for key, value in of.items() if key not in {*_PER_LIST, *texts.values()}},
        "images": [_image(image, new) for image in images],
    }


def _endorser(of: _Raw) -> dict[str, t.Any]:
    endorser = of.get(ENDORSER)
    # Of several, one signs from now on: the first, unless the description is changed.
    first = endorser[0] if isinstance(endorser, list) else endorser or {}
    person = first.get(X509, {})
    return {
        "name": person.get("dc:creator", ""),
        "email": person.get("hv:email", ""),
        "metadata": {key: value for key, value in person.items() if key not in ENDORSER_KEYS},
    }


def _image(image: _Raw, new: str | None) -> dict[str, t.Any]:
    own = image["dc:identifier"].lower()
    told = {
        "identifier": own if new is None else str(uuid.uuid5(uuid.UUID(new), own)),
        "uri": image.get("hv:uri") or None,
        "version": image.get("hv:version") or None,
        "size": _size(image.get("hv:size")),
        "sha512": str(image.get(_SHA512, "")).lower() or None,
        **{option: image.get(key) for option, key in IMAGE_TEXTS.items()},
        "format": image.get(FORMAT),
        "expires": image.get(EXPIRES),
        "metadata": {key: value for key, value in image.items() if key not in {*_PER_IMAGE, *IMAGE_TEXTS.values()}},
    }
    return {key: value for key, value in told.items() if value is not None}


def _size(value: t.Any) -> int | None:
    """Octets; they are a text in lists of vmcaster."""
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
