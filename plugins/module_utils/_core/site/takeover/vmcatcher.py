# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""vmcatcher's database: what a site subscribed to by it, as the options that declare the same here.

It is an SQLite file. A subscription has endorsers, each of them with one or more pairs of a certificate's name and its
issuer's. An image that was chosen for the cache has a bit set in its definition, and the images of each accepted
version of a list are rows of their own. Nothing is written to it, and no password leaves it.
"""

from __future__ import annotations

import sqlite3
import typing as t
import urllib.parse
from pathlib import Path

from ...errors import SiteError, TransferError
from ...foreign import reading
from ...transfer.policy import check_uri
from ..subscription import UUID

#: Set in ``ImageDefinition.cache`` where the image is wanted in the cache.
_WANTED: t.Final = 1
_REASON: t.Final = "Subscribed in vmcatcher"
#: What ``subscription.userName`` has where nobody was named.
_NOBODY: t.Final = frozenset({"", "0"})

_SUBSCRIPTIONS: t.Final = "SELECT * FROM subscription ORDER BY identifier"
_ENDORSERS: t.Final = (
    "SELECT DISTINCT endorser.identifier AS name, hv_dn AS dn, hv_ca AS ca FROM subscriptionAuth "
    "JOIN endorser ON endorser.id = subscriptionAuth.endorser "
    "JOIN endorserPrincible ON endorserPrincible.endorser = endorser.id "
    "WHERE subscriptionAuth.subscription = ? AND subscriptionAuth.authorised ORDER BY hv_dn, hv_ca"
)
_VERSION: t.Final = "SELECT version FROM imageListInstance WHERE id = ?"
_IMAGES: t.Final = (
    "SELECT ImageDefinition.identifier, cache, title, version, size, sha512, uri FROM ImageDefinition "
    "LEFT JOIN ImageInstance ON ImageInstance.fkIdentifier = ImageDefinition.id "
    "AND ImageInstance.fkimagelistinstance = ? WHERE subscription = ? ORDER BY ImageDefinition.identifier"
)


def read_database(path: Path) -> list[dict[str, t.Any]]:
    """Every list: ``identifier``, ``description``, ``version`` (the last that was accepted), ``subscription`` and
    ``decisions`` (options of imagelist_subscribe and image_decision), ``endorsers``, ``images`` and ``lacks``.

    Raises TransferError (``not_found``, ``not_readable``), SiteError ``option_invalid`` for another file.
    """
    with reading(path, "vmcatcher", _refused) as connection:
        return [_list(connection, row) for row in connection.execute(_SUBSCRIPTIONS).fetchall()]


def _refused(detail: str) -> SiteError:
    return SiteError("option_invalid", detail, option="database")


def _list(connection: sqlite3.Connection, row: sqlite3.Row) -> dict[str, t.Any]:
    identifier = str(row["identifier"]).lower()
    uri, with_user = _without_user(str(row["uri"]))
    endorsers = [dict(found) for found in connection.execute(_ENDORSERS, (row["id"],)).fetchall()]
    latest = row["imagelist_latest"]
    images = [_image(found) for found in connection.execute(_IMAGES, (latest, row["id"])).fetchall()]
    wanted = [image["identifier"] for image in images if image["wanted"]]
    version = connection.execute(_VERSION, (latest,)).fetchone()
    return {
        "identifier": identifier,
        "description": row["description"] or "",
        "version": "" if version is None else str(version["version"]),
        "subscription": {
            "uri": uri,
            "identifier": identifier,
            "endorsers": [{"dn": found["dn"], "ca": found["ca"]} for found in endorsers],
            "select": wanted,
        },
        "decisions": _decisions(identifier, images),
        "endorsers": endorsers,
        "images": images,
        "lacks": [
            *(["identifier (it is no UUID)"] if not UUID.match(identifier) else []),
            *_address(uri),
            *(["endorsers"] if not endorsers else []),
            *(["your trust (it was not authorised)"] if not row["authorised"] else []),
            *(["credentials"] if with_user or _has_user(row) else []),
            *(f"the image {name} (it is no UUID)" for name in wanted if not UUID.match(name)),
        ],
    }


def _image(row: sqlite3.Row) -> dict[str, t.Any]:
    return {
        "identifier": str(row["identifier"]).lower(),
        "wanted": bool(row["cache"] & _WANTED),
        "listed": row["sha512"] is not None,
        "title": row["title"] or "",
        "version": str(row["version"] or ""),
        "size": row["size"] or 0,
        "sha512": str(row["sha512"] or "").lower(),
        "uri": _without_user(str(row["uri"] or ""))[0],
    }


def _decisions(identifier: str, images: t.Sequence[t.Mapping[str, t.Any]]) -> list[dict[str, t.Any]]:
    """The approval of the images that are wanted and that the list still held: the others are unknown to it."""
    approved = [image["identifier"] for image in images if image["wanted"] and image["listed"]]
    if not approved:
        return []
    return [{"decision": "approve", "images": approved, "list": identifier, "reason": _REASON}]


def _address(uri: str) -> list[str]:
    try:
        check_uri(uri, allow_file=True)
    except TransferError as error:
        return [f"uri ({error.detail})"]
    return []


def _without_user(uri: str) -> tuple[str, bool]:
    """The address without a user name and password in it, and whether there were any: they are secrets."""
    try:
        parts = urllib.parse.urlsplit(uri)
    except ValueError:
        return "", False
    user, mark, host = parts.netloc.rpartition("@")
    return urllib.parse.urlunsplit(parts._replace(netloc=host)) if mark else uri, bool(user)


def _has_user(row: sqlite3.Row) -> bool:
    """The first databases of vmcatcher know of no users."""
    return "userName" in row.keys() and str(row["userName"] or "") not in _NOBODY  # noqa: SIM118 - a Row's are not in it
