# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the address under which the world will fetch a file to the place where the endorser puts it."""

from __future__ import annotations

import re
import typing as t
import urllib.parse
from dataclasses import dataclass, field

from ...errors import TransferError
from ..policy import host_of, shown
from .appdb import AppdbUploader
from .base import Settings, Uploader
from .local import LocalUploader
from .s3 import S3Uploader
from .sftp import SftpUploader
from .webdav import WebdavUploader

_PASSWORD: t.Final = re.compile(r"[^/@]*//[^/@]*:[^/@]*@")
#: The back-ends by name. ``scp`` is vmcaster's name for what OpenSSH itself does by sftp since its version 9.
METHODS: t.Final = ("local", "sftp", "scp", "webdav", "s3", "egiappdb")


@dataclass(frozen=True)
class UploadRule:
    """Files whose address begins with what `uri_match` (a regular expression) matches go by `method`.

    The target is `uri_replace` (which may hold group references such as ``\\1``) followed by the rest of the
    address. With `server`, the rule speaks only for addresses of that host. Raises `ValueError`, with a sentence, if a
    field is wrong; a target is shown in results, so it must hold no password.
    """

    uri_match: str
    uri_replace: str
    method: str = "local"
    settings: Settings = field(default_factory=Settings)
    server: t.Optional[str] = None
    pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if any(_PASSWORD.match(text) for text in (self.uri_replace, self.settings.endpoint or "")):
            raise ValueError("uri_replace or endpoint holds a password, which belongs into a file (credentials_file)")
        try:
            pattern = re.compile(self.uri_match)
            re.compile(f"{self.uri_match}|").sub(self.uri_replace, "")
        except (re.error, IndexError) as error:
            raise ValueError(f"uri_match and uri_replace are no valid pair of expressions: {error}") from None
        if self.method not in METHODS:
            raise ValueError(f"{self.method!r} is no upload method: use {', '.join(METHODS)}")
        object.__setattr__(self, "pattern", pattern)


def target_for(uri: str, rules: t.Sequence[UploadRule]) -> tuple[UploadRule, str]:
    """Return (rule, target) for `uri` by the first of `rules` that matches its beginning.

    The rest of the address is percent-decoded, as a web server does, unless the target is an address itself. Raises
    `TransferError` ``no_upload_rule``, or ``upload_failed`` for an address whose target would leave its directory or
    could not be fetched from there.
    """
    for rule in rules:
        match = rule.pattern.match(uri) if rule.server in (None, host_of(uri)) else None
        if match is not None:
            return rule, _target(uri, match.expand(rule.uri_replace), uri[match.end() :], rule.method)
    raise TransferError("no_upload_rule", f"No upload rule matches the address {shown(uri)}", uri=shown(uri))


def _target(uri: str, base: str, rest: str, method: str) -> str:
    decoded = [urllib.parse.unquote(step) for step in rest.split("/")]
    if any(character in rest for character in "?#") or any("/" in step or "\0" in step for step in decoded):
        raise TransferError("upload_failed", f"The address {shown(uri)} does not name a file", uri=shown(uri))
    target = base + (rest if method == "webdav" else "/".join(decoded))
    if any(urllib.parse.unquote(step) in (".", "..") for step in target.split("/")):
        raise TransferError("upload_failed", f"The address {shown(uri)} leads out of its directory", uri=shown(uri))
    return target


def uploader_for(rule: UploadRule) -> Uploader:
    """Return the back-end of a rule."""
    if rule.method in ("sftp", "scp"):
        return SftpUploader(rule.settings)
    if rule.method == "webdav":
        return WebdavUploader(rule.settings)
    if rule.method == "s3":
        return S3Uploader(rule.settings)
    if rule.method == "egiappdb":
        return AppdbUploader(rule.settings)
    return LocalUploader(create_directories=True)
