# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""vmcaster's configuration file, read as it is (chapter 5 of its manual): sections of an INI file, values in JSON.

A section speaks for the addresses of its ``server``, and the last section of a server counts. ``uriMatch`` and
``uriReplace`` are those of an upload rule.
"""

from __future__ import annotations

import configparser
import dataclasses
import json
import typing as t
from pathlib import Path

from ...errors import PublishError, TransferError
from ...transfer.atomic import storage_errors
from ...transfer.upload.base import Settings
from ...transfer.upload.rules import UploadRule

_LARGEST: t.Final = 1024 * 1024
_KEYS: t.Final = ("server", "protocol", "uriMatch", "uriReplace")
#: Storage protocols that vmcaster knew and that no longer exist, with what replaced them.
_GONE: t.Final = {
    "gsidcap": "no server offers gsidcap any more; dCache is reached by its WebDAV door: protocol webdav with an "
    "https address as uriReplace",
}


def read_configuration(path: Path, settings: Settings) -> tuple[UploadRule, ...]:
    """The upload rules of a ``vmcaster.cfg``; `settings` say how its far ends are reached, which the file does not.

    Raises TransferError (``not_found``, ``not_readable``, ``upload_method_gone``), PublishError ``publish_invalid``.
    """
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    with storage_errors(path, reading=True), path.open("rb") as stream:
        octets = stream.read(_LARGEST)
    try:
        parser.read_string(octets.decode())
    except (configparser.Error, UnicodeDecodeError) as error:
        raise _invalid(f"{path} is not an INI file: {str(error).splitlines()[0]}") from None
    rules = [_rule(path, name, parser[name], settings) for name in parser.sections()]
    return tuple({rule.server: rule for rule in rules}.values())


def _rule(path: Path, name: str, section: t.Mapping[str, str], settings: Settings) -> UploadRule:
    where = f"section [{name}] of {path}"
    values = {key: _value(where, key, section) for key in _KEYS}
    protocol = values["protocol"]
    if protocol in _GONE:
        raise TransferError("upload_method_gone", f"In {where}: {_GONE[protocol]}", path=str(path), section=name)
    try:
        rule = UploadRule(values["uriMatch"], values["uriReplace"], protocol, settings)
        return dataclasses.replace(rule, server=values["server"].lower())
    except ValueError as error:
        raise _invalid(f"{where}: {str(error).rstrip('.')}") from None


def _value(where: str, key: str, section: t.Mapping[str, str]) -> str:
    text = section.get(key)
    if text is None:
        raise _invalid(f"{where} has no {key}")
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, str):
        raise _invalid(f"{where}: {key} is not a text in double quotes")
    return value


def _invalid(what: str) -> PublishError:
    return PublishError("publish_invalid", f"vmcaster_config: {what}.", option="vmcaster_config")
