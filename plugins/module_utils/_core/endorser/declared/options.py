# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a publication, one by one: a wrong one is refused as ``publish_invalid`` with its path, as in
``images[3].uri``."""

from __future__ import annotations

import re
import typing as t
from datetime import timedelta
from pathlib import Path

from ...durations import parse_duration
from ...errors import PublishError
from ...imagelist.fields import read_uuid
from ...imagelist.versions import is_version

Options = t.Mapping[str, t.Any]

_URI: t.Final = re.compile(r"""[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20"<>\\^`{|}\x7f-\U0010ffff]+""")
_PASSWORD: t.Final = re.compile(r"[^/]+://[^/?#@]*:[^/?#]*@")


def invalid(option: str, what: str) -> PublishError:
    """The refusal of an option."""
    return PublishError("publish_invalid", f"{option}: {what}.", option=option)


def uuid_in(options: Options, option: str) -> str:
    text = required(options, "identifier", option)
    uuid = read_uuid(text)
    if uuid is None:
        raise invalid(join(option, "identifier"), f"{text[:60]!a} is not a UUID")
    return uuid


def version_in(options: Options, option: str) -> t.Optional[str]:
    text = text_in(options, "version", option)
    if text is not None and not is_version(text):
        what = "is not a version: letters and digits, with single dots or hyphens between them"
        raise invalid(join(option, "version"), f"{text[:60]!a} {what}")
    return text


def check_uri(uri: str, option: str) -> str:
    """The address, when a published list may hold it. Raises PublishError ``publish_invalid``."""
    if not _URI.fullmatch(uri):
        raise invalid(
            option, f"{uri[:80]!a} is not an address of printable ASCII characters, such as https://host/name"
        )
    if _PASSWORD.match(uri):
        raise invalid(option, "the address holds a password, and a published list is read by everybody")
    return uri


def duration_in(options: Options, name: str, default: str) -> timedelta:
    try:
        duration = parse_duration(text_in(options, name) or default)
    except ValueError as exc:
        raise invalid(name, str(exc).rstrip(".")) from None
    if name == "lifetime" and not duration:
        raise invalid(name, "a list of no lifetime is expired when it is signed")
    return duration


def path_in(options: Options, name: str) -> Path:
    return Path(required(options, name, ""))


def optional_path(options: Options, name: str) -> t.Optional[Path]:
    return Path(options[name]) if options.get(name) else None


def required(options: Options, name: str, option: str) -> str:
    text = text_in(options, name, option)
    if not text:
        raise invalid(join(option, name), "this is missing")
    return text


def text_in(options: Options, name: str, option: str = "") -> t.Optional[str]:
    value = options.get(name)
    if value is None:
        return None
    if not isinstance(value, (str, Path)):
        raise invalid(join(option, name), "this is not a text")
    text = str(value)
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise invalid(join(option, name), "this holds a character that a list cannot hold")
    return text


def texts_in(options: Options, table: t.Mapping[str, str], option: str) -> dict[str, str]:
    found = {key: text_in(options, name, option) for name, key in table.items()}
    return {key: text for key, text in found.items() if text is not None}


def join(option: str, name: str) -> str:
    return f"{option}.{name}" if option else name
