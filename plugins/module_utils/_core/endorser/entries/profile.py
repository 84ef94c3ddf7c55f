# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fields that some readers demand beyond the plain format: profile ``appdb``, for cloudkeeper and atrope.

Both take every key for granted that the EGI AppDB wrote. What can be told from the rest of the list is filled in where
the endorser says nothing; what only the endorser knows is asked for.
"""

from __future__ import annotations

import typing as t
import uuid

from ...imagelist.model import ENDORSER, IMAGE, IMAGES, X509
from ..declared.images import EXPIRES, FORMAT
from ..declared.options import invalid

VO: t.Final = "ad:vo"

_Raw = t.Mapping[str, t.Any]

#: What only people know, and the option that says it; an image of somebody else's list may have no version.
_ASKED: t.Final = (
    (EXPIRES, "expires"),
    (FORMAT, "format"),
    ("sl:osversion", "osversion"),
    ("hv:version", "version"),
)


def apply(profile: t.Optional[str], raw: _Raw) -> dict[str, t.Any]:
    """The list object with the profile's fields. Raises PublishError ``publish_invalid`` for what only people know."""
    if profile is None:
        return dict(raw)
    if not raw.get(VO):
        raise invalid(f"metadata.{VO}", "the profile appdb needs the name of the virtual organisation")
    images = [{IMAGE: _image(item[IMAGE], raw)} for item in raw.get(IMAGES, ())]
    return {**raw, IMAGES: images}


def _image(image: _Raw, of: _Raw) -> dict[str, t.Any]:
    name = image["dc:identifier"]
    for key, option in _ASKED:
        if not image.get(key):
            raise invalid(f"images.{option}", f"the profile appdb needs it for the image {name}")
    signer = of[ENDORSER][X509]
    base = f"{of['hv:uri'].rpartition('/')[0]}/image/{name}/"
    told = {
        "ad:mpuri": f"{base[:-1]}:{image['hv:version']}/",
        "ad:base_mpuri": base,
        "ad:group": "General group",
        "ad:user:fullname": signer.get("dc:creator") or signer["hv:dn"],
        "ad:user:guid": str(uuid.uuid5(uuid.NAMESPACE_X500, signer["hv:dn"])),
        "ad:user:uri": f"mailto:{signer['hv:email']}" if signer.get("hv:email") else of["hv:uri"],
        "ad:appid": "0",
        "sl:osname": image.get("sl:os", ""),
        "hv:ram_minimum": "0",
        "hv:core_minimum": "1",
    }
    # The address of this version is ours to raise, unless the endorser has one of his own.
    ours = image.get("ad:base_mpuri") == base
    return {**told, **{key: value for key, value in image.items() if not (ours and key == "ad:mpuri")}}
