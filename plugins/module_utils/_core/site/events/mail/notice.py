# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The message to an endorser: what the site has blacklisted or refused, why, and what can be done about it."""

from __future__ import annotations

import email.policy
import hashlib
import json
import os
import re
import typing as t
from email.message import EmailMessage
from email.utils import format_datetime

from ....errors import REMEDIES
from ....times import from_text
from .. import blacklists
from ..environment import Teller
from ..happenings import Happening
from .address import is_address

if t.TYPE_CHECKING:
    from ....imagelist.model import SignedList
    from ...settings import Settings
    from ...store.catalogue import Catalogue

#: Headers are not folded below the limit of RFC 5322 (section 2.1.1): some readers keep the space that begins a fold.
_MAX_LINE: t.Final = 998
_POLICY: t.Final = email.policy.SMTP.clone(max_line_length=_MAX_LINE)
_MAX_IMAGES: t.Final = 50
#: A list may name a thousand endorsers: the site is nobody's way to send as many letters.
_MAX_RECIPIENTS: t.Final = 10
_MAX_TEXT: t.Final = 2000
_MAX_TITLE: t.Final = 120
_PATH: t.Final = re.compile(r"(?<![^\s'\"(\[,;:=])(?:file:/*)?/(?!/)[^\s'\"),;:\]]+")


def compose(catalogue: Catalogue, teller: Teller, settings: Settings, happening: Happening) -> EmailMessage:
    """The whole message: to the addresses that the accepted list names for its endorsers, as far as they are addresses.

    The same happening always gives the same Message-ID, so that a message that was sent twice is known to be one.
    """
    listed = teller.accepted(happening.list)
    sender = settings.mail.sender if settings.mail else _local_sender()
    copies = settings.mail.copy_to if settings.mail else ()
    site = settings.site or sender.rpartition("@")[2]
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    named = [item.email for item in listed.endorsers if is_address(item.email)] if listed else []
    if named:
        message["To"] = ", ".join([*dict.fromkeys(named)][:_MAX_RECIPIENTS])
    if copies:
        message["Cc"] = ", ".join(copies)
    message["Subject"] = _subject(happening, listed, site)
    message["Date"] = format_datetime(from_text(happening.at))
    message["Message-ID"] = _message_id(happening, sender)
    message["Auto-Submitted"] = "auto-generated"
    text = _blacklisted if happening.kind == "blacklisted" else _refused
    lines = list(text(catalogue, happening, listed, site))
    plain = all(line.isascii() and len(line) < _MAX_LINE for line in lines)
    message.set_content("\n".join(lines) + "\n", charset="utf-8", cte="7bit" if plain else "quoted-printable")
    return message


def recipients(message: EmailMessage) -> list[str]:
    """The addresses that a composed message goes to."""
    found = [text.strip() for name in ("To", "Cc") for text in str(message[name] or "").split(",")]
    return list(dict.fromkeys(text for text in found if is_address(text)))


def without_paths(text: str) -> str:
    """`text` without the names of files of this host; names of people and CAs in slash form stay."""
    return _PATH.sub(lambda match: match[0] if "=" in match[0] else "(a file of the site)", text)


def _subject(happening: Happening, listed: SignedList | None, site: str) -> str:
    title = _line(listed.title, _MAX_TITLE) if listed and listed.title else happening.list
    if happening.kind == "refused":
        what = f'The signed message of your list "{title}" was refused'
    else:
        what = _FORBIDDEN[happening.target.partition(":")[0]].subject.format(title=title)
    return f"{what} at {_line(site, _MAX_TITLE)}"


class _Forbidden(t.NamedTuple):
    """The subject of a message about a blacklist, and what it begins with after the site's name."""

    subject: str
    first: str


_IMAGE: t.Final = _Forbidden(
    'An image of your list "{title}" was blacklisted',
    "has blacklisted images that you endorse. It does not start them any more.",
)
_FORBIDDEN: t.Final[t.Mapping[str, _Forbidden]] = {
    "image": _IMAGE,
    "tag": _IMAGE,
    "rule": _Forbidden(
        'Images of your list "{title}" are blacklisted by a rule',
        "has a rule that forbids images that you endorse, and more of this kind. It does not start them.",
    ),
    "list": _Forbidden(
        'Your list "{title}" was blacklisted',
        "has blacklisted your whole list. It starts no image of it, and none that you will add.",
    ),
    "endorser": _Forbidden(
        'An endorser of your list "{title}" was blacklisted',
        "has blacklisted the endorser who signs your list. It starts no image that this person endorses.",
    ),
}


def _blacklisted(catalogue: Catalogue, happening: Happening, listed: SignedList | None, site: str) -> t.Iterator[str]:
    kind, _colon, target = happening.target.partition(":")
    images = _images(catalogue, happening)
    yield f"The site {_line(site)} {_FORBIDDEN[kind].first}"
    yield ""
    yield from _list_lines(happening, listed)
    yield ""
    for identifier, title, version in images[:_MAX_IMAGES]:
        yield f"Image:    {identifier}"
        yield f"Title:    {_line(title or '-')}"
        yield f"Version:  {_line(version)}"
        yield ""
    if len(images) > _MAX_IMAGES:
        yield f"... and {len(images) - _MAX_IMAGES} further images."
        yield ""
    if kind in ("endorser", "rule"):
        yield f"{kind.capitalize() + ':':<9} {_line(target)}"
    yield f"Reason:   {_line(without_paths(happening.detail)) or '(the site gave none)'}"
    yield f"Code:     {happening.code}"
    yield f"Decided:  {happening.at}"
    yield ""
    if kind in ("list", "endorser"):
        yield "What you can do: ask the site, by answering this message, what would mend the matter."
        return
    yield "What you can do: if the reason holds, remove the image from your list, which revokes it everywhere, or"
    yield "publish a corrected version of it. If it does not, or if it is unclear, please answer this message."


def _refused(catalogue: Catalogue, happening: Happening, listed: SignedList | None, site: str) -> t.Iterator[str]:
    yield f"The site {_line(site)} has refused the message that it found at the address of your image list."
    yield "What it accepted before stays in force, until it expires."
    yield ""
    yield from _list_lines(happening, listed)
    yield ""
    yield f"Reason:   {_line(without_paths(happening.detail))}"
    yield f"Code:     {happening.code}"
    yield f"Found:    {happening.at}"
    yield ""
    yield "What can be done about it, in the words that the site is given:"
    yield REMEDIES.get(happening.code, "Publish the list again.")
    yield "If this message was not published by you, please tell the site, and do not wait."


def _list_lines(happening: Happening, listed: SignedList | None) -> t.Iterator[str]:
    yield f"List:     {happening.list}"
    if listed is None:
        yield "Title:    (no version of it was accepted so far)"
        return
    yield f"Title:    {_line(listed.title or '-')}"
    yield f"Version:  {_line(listed.version)} (the accepted one)"
    if listed.uri.startswith(("https:", "http:")):
        yield f"Address:  {_line(listed.uri)}"


def _images(catalogue: Catalogue, happening: Happening) -> list[tuple[str, str, str]]:
    """(identifier, title, version) of the images of this list that were meant when the line was written."""
    rows = blacklists.images(catalogue, happening.list, happening.target, happening.sequence, from_text(happening.at))
    return [(row["image_id"], str(json.loads(row["metadata"]).get("dc:title", "")), row["version"]) for row in rows]


def _line(text: str, limit: int = _MAX_TEXT) -> str:
    """One line of printable text: what others wrote begins no line of its own, in no header and in no body."""
    shown = "".join(character if character.isprintable() else " " for character in str(text))
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else f"{shown[:limit]}..."


def _message_id(happening: Happening, sender: str) -> str:
    told = f"{happening.list} {happening.sequence} {happening.at} {happening.name}"
    digest = hashlib.sha256(told.encode()).hexdigest()[:24]
    return f"<vmimages.{happening.name}.{digest}@{sender.rpartition('@')[2]}>"


def _local_sender() -> str:
    address = f"vmimages@{os.uname().nodename}"
    return address if is_address(address) else "vmimages@localhost"
