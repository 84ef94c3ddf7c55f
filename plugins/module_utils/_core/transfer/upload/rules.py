# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the address under which the world will fetch a file to the place where the endorser puts it."""

from __future__ import annotations

import re
import typing as t
import urllib.parse
from dataclasses import dataclass, field

from ...errors import TransferError
from ..policy import shown
from .base import Uploader
from .local import LocalUploader

#: The back-ends by name.
METHODS: t.Final = ("local",)


@dataclass(frozen=True)
class UploadRule:
    """Files whose address begins with what `uri_match` (a regular expression) matches go by `method`.

    The target is `uri_replace` (which may hold group references such as ``\\1``) followed by the rest of the
    address. Raises `ValueError`, with a sentence, if a field is wrong.
    """

    uri_match: str
    uri_replace: str
    method: str = "local"
    pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            pattern = re.compile(self.uri_match)
            re.compile(f"{self.uri_match}|").sub(self.uri_replace, "")
        except (re.error, IndexError) as error:
            raise ValueError(f"uri_match and uri_replace are no valid pair of expressions: {error}") from None
        if self.method not in METHODS:
            raise ValueError(f"{self.method!r} is no upload method: use {' or '.join(METHODS)}")
        object.__setattr__(self, "pattern", pattern)


def target_for(uri: str, rules: t.Sequence[UploadRule]) -> tuple[str, str]:
    """Return (method, target) for `uri` by the first of `rules` that matches its beginning.

    The rest of the address is percent-decoded, as a web server does. Raises `TransferError` ``no_upload_rule``, or
    ``upload_failed`` for an address whose target would leave its directory or could not be fetched from there.
    """
    for rule in rules:
        match = rule.pattern.match(uri)
        if match is not None:
            return rule.method, _target(uri, match.expand(rule.uri_replace), uri[match.end() :])
    raise TransferError("no_upload_rule", f"No upload rule matches the address {shown(uri)}", uri=shown(uri))


def _target(uri: str, base: str, rest: str) -> str:
    decoded = [urllib.parse.unquote(step) for step in rest.split("/")]
    if any(character in rest for character in "?#") or any("/" in step or "\0" in step for step in decoded):
        raise TransferError("upload_failed", f"The address {shown(uri)} does not name a file", uri=shown(uri))
    target = base + "/".join(decoded)
    if any(urllib.parse.unquote(step) in (".", "..") for step in target.split("/")):
        raise TransferError("upload_failed", f"The address {shown(uri)} leads out of its directory", uri=shown(uri))
    return target


def uploader_for(method: str, *, create_directories: bool = False) -> Uploader:
    """Return the back-end named `method`. Raises `ValueError` for an unknown one."""
    if method == "local":
        return LocalUploader(create_directories=create_directories)
    raise ValueError(f"{method!r} is no upload method: use {' or '.join(METHODS)}")
