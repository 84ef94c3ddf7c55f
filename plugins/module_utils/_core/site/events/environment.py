# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a handler is given: vmcatcher's names in its environment, and the whole event as JSON on standard input."""

from __future__ import annotations

import json
import os
import sqlite3
import typing as t
from pathlib import Path

from ...endorserlist.kinds import IMAGE_LIST, KINDS
from ...errors import VmimagesError
from ...trust.message.smime import read_message
from . import elections
from .happenings import Happening

if t.TYPE_CHECKING:
    from ...imagelist.model import SignedList
    from ..store.catalogue import Catalogue

FORMAT: t.Final = 1
PATH: t.Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: What frames the events of one run.
FRAME: t.Final = ("ProcessPrefix", "ProcessPostfix")

#: The events that tell of a happening, in their order.
EVENTS: t.Final[t.Mapping[str, tuple[str, ...]]] = {
    "new": ("SubscriptionImageNew",),
    "available": ("AvailablePrefix", "AvailablePostfix"),
    "expire": ("ExpirePrefix", "ExpirePostfix"),
    "endorser_new": ("EndorserNew",),
    "endorser_gone": ("EndorserGone",),
    "endorser_changed": ("EndorserChanged",),
}

#: The variables that say what the list says of the image, and its keys; all start with ``VMCATCHER_EVENT_``.
_KEYS: t.Final[t.Mapping[str, str]] = {
    "DC_TITLE": "dc:title",
    "DC_DESCRIPTION": "dc:description",
    "HV_HYPERVISOR": "hv:hypervisor",
    "HV_URI": "hv:uri",
    "HV_VERSION": "hv:version",
    "HV_FORMAT": "hv:format",
    "SL_ARCH": "sl:arch",
    "SL_COMMENTS": "sl:comments",
    "SL_OS": "sl:os",
    "SL_OSVERSION": "sl:osversion",
    "AD_MPURI": "ad:mpuri",
    "VO": "ad:vo",
}
_FIXED: t.Final = ("DC_IDENTIFIER", "HV_SIZE", "SL_CHECKSUM_SHA512", "FILENAME", "IL_DC_IDENTIFIER", "UUID_SESSION")

#: A longer string in the environment would keep the program from being started.
_MAX_VALUE: t.Final = 32 * 1024


class Teller:
    """Knows what to tell of a happening: looks up image and list once per run."""

    def __init__(self, catalogue: Catalogue, *, session: str, site: str) -> None:
        self._catalogue = catalogue
        self._session = session
        self._site = site
        self._lists: dict[str, SignedList | None] = {}

    def accepted(self, list_id: str) -> SignedList | None:
        """The list as it was accepted last; None without any, or when the archive cannot give it."""
        if list_id not in self._lists:
            self._lists[list_id] = _accepted(self._catalogue, list_id)
        return self._lists[list_id]

    def image(self, happening: Happening) -> sqlite3.Row | None:
        """The image version that the happening is about, as its list described it last."""
        return self._catalogue.row(
            "SELECT * FROM images WHERE list_id = ? AND image_id = ? AND version = ? AND sha512 = ? ORDER BY row DESC",
            happening.list,
            happening.image,
            happening.version,
            happening.sha512,
        )

    def environment(self, event: str, happening: Happening | None) -> dict[str, str]:
        """Every variable of vmcatcher's, empty where nothing is known, and a PATH."""
        values = dict.fromkeys((*_KEYS, *_FIXED), "")
        if happening is not None:
            values.update(self._image_values(happening))
        values["UUID_SESSION"] = self._session
        values["TYPE"] = event
        state = self._catalogue.state
        return {
            "PATH": PATH,
            **{f"VMCATCHER_EVENT_{name}": _short(value) for name, value in values.items()},
            "VMCATCHER_CACHE_DIR_CACHE": str(state.current),
            "VMCATCHER_CACHE_DIR_DOWNLOAD": str(state.downloading),
            "VMCATCHER_CACHE_DIR_EXPIRE": str(state.expired),
        }

    def document(self, event: str, happening: Happening | None, **more: t.Any) -> bytes:
        """The whole event as one JSON document in one line."""
        state = self._catalogue.state
        told: dict[str, t.Any] = {
            "format": FORMAT,
            "event": event,
            "session": self._session,
            "site": self._site,
            "cache": {
                "current": str(state.current),
                "downloading": str(state.downloading),
                "expired": str(state.expired),
            },
            "sequence": None,
            "at": None,
            "code": None,
            "list": None,
            "image": None,
            "endorser": None,
            "file": None,
            **more,
        }
        if happening is not None:
            told.update(
                sequence=happening.sequence,
                at=happening.at,
                code=happening.code or None,
                list=self._list_document(happening.list),
                image=self._image_document(happening) if happening.image else None,
                endorser=self._endorser_document(happening),
                file=self._file(happening) or None,
            )
        return json.dumps(told, sort_keys=True).encode() + b"\n"

    def _image_values(self, happening: Happening) -> dict[str, str]:
        row = self.image(happening)
        metadata = _metadata(row)
        listed = self.accepted(happening.list)
        values = {name: metadata.get(key) for name, key in _KEYS.items()}
        values["VO"] = values["VO"] or (listed.raw.get("ad:vo") if listed else None)
        values["HV_VERSION"] = happening.version
        return {
            **{name: "" if value is None else _text(value) for name, value in values.items()},
            "DC_IDENTIFIER": happening.image,
            "HV_SIZE": str(row["size"]) if row else "",
            "SL_CHECKSUM_SHA512": happening.sha512,
            "FILENAME": self._file(happening),
            "IL_DC_IDENTIFIER": happening.list,
        }

    def _file(self, happening: Happening) -> str:
        """Where the file lies now, or where it would if it had not gone since."""
        if not happening.name:
            return ""
        state = self._catalogue.state
        usual = (state.current if happening.kind == "available" else state.expired) / happening.name
        damaged = state.expired / f"{happening.name}.damaged"
        places: tuple[Path, ...] = (usual, state.current / happening.name, state.expired / happening.name, damaged)
        return str(next((path for path in places if os.path.lexists(path)), usual))

    def _list_document(self, list_id: str) -> dict[str, t.Any]:
        listed = self.accepted(list_id)
        return {
            "identifier": list_id,
            "version": listed.version if listed else None,
            "title": listed.title if listed else None,
            "uri": listed.uri if listed else None,
        }

    def _endorser_document(self, happening: Happening) -> dict[str, t.Any] | None:
        if happening.kind not in elections.KINDS:
            return None
        return elections.document(self._catalogue, happening.list, happening.sequence, happening.target)

    def _image_document(self, happening: Happening) -> dict[str, t.Any]:
        row = self.image(happening)
        return {
            "identifier": happening.image,
            "version": happening.version,
            "sha512": happening.sha512,
            "size": row["size"] if row else None,
            "tag": row["tag"] if row else None,
            "metadata": _metadata(row),
        }


def _accepted(catalogue: Catalogue, list_id: str) -> SignedList | None:
    row = catalogue.standing_version(list_id)
    if row is None:
        return None
    try:
        listed = catalogue.row("SELECT kind FROM lists WHERE list_id = ?", list_id)
        kind = KINDS[listed["kind"] if listed else IMAGE_LIST]
        return kind.read(read_message(catalogue.load(row["message"], row["message_sha256"])).content)
    except VmimagesError:
        return None


def _metadata(row: sqlite3.Row | None) -> dict[str, t.Any]:
    return json.loads(row["metadata"]) if row else {}


def _text(value: t.Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _short(text: str) -> str:
    return text.replace("\0", "").encode("utf-8", "replace")[:_MAX_VALUE].decode("utf-8", "ignore")
