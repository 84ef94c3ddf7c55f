# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""vmcaster's database: the lists that it kept, as the options that declare them here.

It is an SQLite file in which lists, images and endorsers are rows with an identifier, and everything that is said about
them is key and value. Nothing is written to it.
"""

from __future__ import annotations

import sqlite3
import typing as t
from pathlib import Path

from ...errors import PublishError
from ...foreign import reading
from ...imagelist.model import ENDORSER, X509
from .description import describe

#: What a list or an image needs before it can be published.
_LIST_NEEDS: t.Final = ("hv:uri",)
_IMAGE_NEEDS: t.Final = ("hv:uri", "hv:size", "sl:checksum:sha512")

_LISTS: t.Final = "SELECT id, identifier FROM imagelist ORDER BY identifier"
_ABOUT_LIST: t.Final = "SELECT key, value FROM ImagelistMetadata WHERE fkImageList = ?"
_IMAGES: t.Final = (
    "SELECT DISTINCT Image.id, Image.identifier FROM Image JOIN ImageListImage ON Image.id = ImageListImage.fkImage "
    "WHERE ImageListImage.fkImageList = ? ORDER BY Image.id"
)
_ABOUT_IMAGE: t.Final = "SELECT key, value FROM ImageMetadata WHERE fkImage = ?"
_ENDORSERS: t.Final = (
    "SELECT DISTINCT endorser.id, endorser.subject FROM endorser "
    "JOIN Endorsement ON endorser.id = Endorsement.fkEndorser WHERE Endorsement.fkImageList = ? ORDER BY endorser.id"
)
_ABOUT_ENDORSER: t.Final = "SELECT key, value FROM endorserMetadata WHERE fkEndorser = ?"


def read_database(path: Path) -> list[dict[str, t.Any]]:
    """Every list: ``identifier``, ``version`` (the last that vmcaster knew), ``publication`` (the options),
    ``endorsers`` (subject, and what is said of it) and ``lacks`` (what must be said before it can be published).

    Raises TransferError (``not_found``, ``not_readable``), PublishError ``publish_invalid`` for another file.
    """
    with reading(path, "vmcaster", _refused) as connection:
        return [_list(connection, *row) for row in connection.execute(_LISTS).fetchall()]


def _refused(detail: str) -> PublishError:
    return PublishError("publish_invalid", detail, option="database")


def _list(connection: sqlite3.Connection, number: int, identifier: str) -> dict[str, t.Any]:
    said = _said(connection, _ABOUT_LIST, number)
    endorsers = [
        {"subject": subject, "metadata": _said(connection, _ABOUT_ENDORSER, key)}
        for key, subject in connection.execute(_ENDORSERS, (number,)).fetchall()
    ]
    images = [
        {**_said(connection, _ABOUT_IMAGE, key), "dc:identifier": name}
        for key, name in connection.execute(_IMAGES, (number,)).fetchall()
    ]
    first = endorsers[0]["metadata"] if endorsers else {}
    raw = {**said, "dc:identifier": identifier, ENDORSER: {X509: first}}
    return {
        "identifier": identifier.lower(),
        "version": said.get("hv:version", ""),
        "publication": describe(raw, images),
        "endorsers": endorsers,
        "lacks": [
            *(key for key in _LIST_NEEDS if not said.get(key)),
            *(
                f"{key} of the image {image['dc:identifier']}"
                for image in images
                for key in _IMAGE_NEEDS
                if not image.get(key)
            ),
        ],
    }


def _said(connection: sqlite3.Connection, statement: str, number: int) -> dict[str, str]:
    return {str(key): str(value) for key, value in connection.execute(statement, (number,)).fetchall()}
