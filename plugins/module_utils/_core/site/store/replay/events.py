# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the journal to the index: what each event means for the tables. The same line always gives the same rows."""

from __future__ import annotations

import json
import sqlite3
import typing as t

from ....endorserlist.kinds import IMAGE_LIST, KINDS
from ....endorserlist.model import EndorserList
from ....imagelist.model import Image, ImageList
from ....times import to_text
from ....trust.certificates import fields
from ....trust.message.smime import read_message
from ....trust.naming.names import forms
from ..journal import Entry
from . import endorsers, files, touched

#: Reads an archived message: (name below messages/, SHA-256) -> octets.
Loader = t.Callable[[str, str], bytes]


def apply(connection: sqlite3.Connection, entry: Entry, load: Loader) -> None:
    """Take one journal entry into the index; events of newer versions that this one does not know are left alone."""
    handler = _HANDLERS.get(entry.event)
    if handler is not None:
        touched.before(connection, entry)
        handler(connection, entry, load)
        touched.after(connection, entry)


def _subscribed(connection: sqlite3.Connection, entry: Entry, load: Loader) -> None:
    data = entry.data
    list_id, kind = data["identifier"], data.get("kind", IMAGE_LIST)
    known = connection.execute("SELECT kind FROM lists WHERE list_id = ?", (list_id,)).fetchone()
    if known is not None and known["kind"] != kind:
        # Nobody may say so. A line that cannot be taken in would keep every later one from being read.
        return
    connection.execute(
        "INSERT INTO lists VALUES (?, ?, ?, ?, 1, ?, '') ON CONFLICT (list_id) DO UPDATE SET uri = excluded.uri, "
        "definition = excluded.definition, active = 1, kind = excluded.kind, ended = ''",
        (list_id, data["uri"], json.dumps(data, sort_keys=True), entry.at, kind),
    )
    rows = connection.execute("SELECT row, image_id, metadata FROM images WHERE list_id = ?", (list_id,)).fetchall()
    for row in rows:
        tag = tag_of(json.loads(row["metadata"]), data["tag_key"])
        connection.execute("UPDATE images SET tag = ? WHERE row = ?", (tag, row["row"]))
    for row in rows:
        own(connection, entry, row["image_id"], list_id)


def _unsubscribed(connection: sqlite3.Connection, entry: Entry, load: Loader) -> None:
    list_id = entry.data["identifier"]
    ended = entry.data.get("reason", "")
    connection.execute("UPDATE lists SET active = 0, ended = ? WHERE list_id = ?", (ended, list_id))
    connection.execute("DELETE FROM owners WHERE list_id = ?", (list_id,))
    _end_rebaselines(connection, list_id)
    others = connection.execute(
        "SELECT image_id, images.list_id FROM images JOIN lists USING (list_id) WHERE until IS NULL AND active = 1 "
        "AND image_id NOT IN (SELECT image_id FROM owners) ORDER BY row"
    ).fetchall()
    for row in others:
        own(connection, entry, row["image_id"], row["list_id"])


def own(connection: sqlite3.Connection, entry: Entry, image_id: str, list_id: str) -> None:
    """Let the list own the image's UUID, unless another one does."""
    if connection.execute("INSERT OR IGNORE INTO owners VALUES (?, ?)", (image_id, list_id)).rowcount:
        touched.owned(connection, entry, image_id)


def _accepted(connection: sqlite3.Connection, entry: Entry, load: Loader) -> None:
    data = entry.data
    list_id = data["identifier"]
    message = read_message(load(data["message"], data["message_sha256"]))
    listed = connection.execute("SELECT definition, kind FROM lists WHERE list_id = ?", (list_id,)).fetchone()
    content = KINDS[listed["kind"]].read(message.content)
    settle_rebaselines(connection, list_id, data["content_sha512"])
    connection.execute(
        "INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            entry.sequence,
            list_id,
            content.version,
            to_text(content.created),
            to_text(content.expires),
            content.title,
            data["message"],
            data["message_sha256"],
            data["content_sha512"],
            json.dumps(data["signer"], sort_keys=True),
            entry.at,
        ),
    )
    connection.execute(
        "INSERT INTO origins VALUES (?, ?, ?)",
        (entry.sequence, _spellings(message.signed_data.certificate), str(content.raw.get("ad:vo", ""))),
    )
    connection.execute("DELETE FROM refusals WHERE list_id = ?", (list_id,))
    if isinstance(content, EndorserList):
        endorsers.named(connection, entry, content)
    elif isinstance(content, ImageList):
        _endorsed(connection, entry, content, json.loads(listed["definition"])["tag_key"])


def _endorsed(connection: sqlite3.Connection, entry: Entry, content: ImageList, tag_key: str) -> None:
    list_id = entry.data["identifier"]
    before = {
        row["image_id"]: row
        for row in connection.execute("SELECT * FROM images WHERE list_id = ? AND until IS NULL", (list_id,))
    }
    for image in content.images:
        metadata = json.dumps(image.raw, sort_keys=True)
        standing = before.pop(image.identifier, None)
        if standing is not None:
            if standing["metadata"] == metadata:
                continue
            _end(connection, standing["row"], entry.sequence)
        _add(connection, entry, list_id, image, metadata, tag_key, to_text(content.created))
    for gone in before.values():
        _end(connection, gone["row"], entry.sequence)


def _spellings(certificate: bytes) -> str:
    """Every spelling of the signer's name, and of its CA's, by which people may mean them."""
    found = fields(certificate)
    return json.dumps({"dn": sorted(forms(found.subject)), "ca": sorted(forms(found.issuer))})


def _end(connection: sqlite3.Connection, row: int, sequence: int) -> None:
    connection.execute("UPDATE images SET until = ? WHERE row = ?", (sequence, row))


def _add(
    connection: sqlite3.Connection,
    entry: Entry,
    list_id: str,
    image: Image,
    metadata: str,
    tag_key: str,
    created: str,
) -> None:
    known = connection.execute(
        "SELECT min(dated) FROM images WHERE image_id = ? AND list_id = ? AND version = ? AND sha512 = ?",
        (image.identifier, list_id, image.version, image.sha512),
    ).fetchone()[0]
    connection.execute(
        "INSERT INTO images (list_id, image_id, version, sha512, size, uri, tag, expires, metadata, dated, since) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            list_id,
            image.identifier,
            image.version,
            image.sha512,
            image.size,
            image.uri,
            tag_of(image.raw, tag_key),
            to_text(image.expires) if image.expires else None,
            metadata,
            known or created,
            entry.sequence,
        ),
    )
    own(connection, entry, image.identifier, list_id)


def _rebaselined(connection: sqlite3.Connection, entry: Entry, load: Loader) -> None:
    """One act at a time: a new one takes the place of a pending one."""
    data = entry.data
    _end_rebaselines(connection, data["identifier"])
    connection.execute(
        "INSERT INTO rebaselines VALUES (?, ?, ?, ?, ?, ?, 'pending')",
        (entry.sequence, data["identifier"], data["content_sha512"], data["reason"], data["author"], entry.at),
    )


def settle_rebaselines(connection: sqlite3.Connection, list_id: str, content_sha512: str) -> None:
    """An acceptance ends a pending act, whatever it accepts, unless it is the standing content signed anew."""
    standing = connection.execute(
        "SELECT content_sha512 FROM versions WHERE list_id = ? ORDER BY sequence DESC", (list_id,)
    ).fetchone()
    connection.execute(
        "UPDATE rebaselines SET state = 'done' WHERE list_id = ? AND state = 'pending' AND content_sha512 = ?",
        (list_id, content_sha512),
    )
    if standing is None or standing["content_sha512"] != content_sha512:
        _end_rebaselines(connection, list_id)


def _end_rebaselines(connection: sqlite3.Connection, list_id: str) -> None:
    connection.execute("UPDATE rebaselines SET state = 'ended' WHERE list_id = ? AND state = 'pending'", (list_id,))


def _refused(connection: sqlite3.Connection, entry: Entry, load: Loader) -> None:
    data = entry.data
    connection.execute(
        "INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?, ?)",
        (data["identifier"], data["code"], data["detail"], data["message_sha256"], entry.at),
    )


def _decided(connection: sqlite3.Connection, entry: Entry, load: Loader) -> None:
    data = entry.data
    key, list_id = (data["target_type"], data["target"]), data.get("list", "")
    # A decision for all lists takes the place of every other one, one for a list that of its own and of those for all.
    connection.execute(
        "DELETE FROM decisions WHERE target_type = ? AND target = ? AND (? = '' OR list_id IN ('', ?))",
        (*key, list_id, list_id),
    )
    if data["decision"] == "clear":
        return
    connection.execute(
        "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*key, list_id, data["decision"], data["reason"], data["author"], data["until"], entry.at, entry.sequence),
    )


def _rules(connection: sqlite3.Connection, entry: Entry, load: Loader) -> None:
    """The whole set anew; the sets before it tell what was in force when something happened."""
    rules = json.dumps(entry.data["rules"], sort_keys=True)
    connection.execute("INSERT INTO rulesets VALUES (?, ?, ?)", (entry.sequence, rules, entry.at))


def tag_of(metadata: t.Mapping[str, t.Any], tag_key: str) -> str:
    """The image's tag: the text under the subscription's tag key, or nothing where it has none."""
    value = metadata.get(tag_key, "")
    return value if isinstance(value, str) else str(value)


_HANDLERS: t.Final[t.Mapping[str, t.Callable[[sqlite3.Connection, Entry, Loader], None]]] = {
    "subscribed": _subscribed,
    "unsubscribed": _unsubscribed,
    "accepted": _accepted,
    "rebaselined": _rebaselined,
    "refused": _refused,
    "decided": _decided,
    "endorser": endorsers.declared,
    "endorser_removed": endorsers.removed,
    "rules": _rules,
    "cached": files.placed("current"),
    "expired": files.placed("expired"),
    "damaged": files.placed("damaged"),
    "purged": files.dropped,
    "lost": files.dropped,
    "scrubbed": files.scrubbed,
    "derived": files.derived,
    "underived": files.underived,
    "installed": files.installed,
    "uninstalled": files.uninstalled,
}
