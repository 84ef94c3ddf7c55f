# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the administrator sets for a whole site beside its subscriptions: ``<state>/settings.json``, optional."""

from __future__ import annotations

import json
import os
import re
import stat
import typing as t
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from .. import files
from ..durations import parse_duration
from ..errors import SiteError
from .events.mail.address import is_address
from .upkeep import DURATIONS, NO_LIMITS, SIZES, Upkeep

NAME: t.Final = "settings.json"
_MAX_OCTETS: t.Final = 64 * 1024
_SERVER: t.Final = re.compile(
    r"(?:(?P<bare>[A-Za-z0-9._-]+)|\[(?P<bracketed>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII
)


@dataclass(frozen=True)
class EventSettings:
    """Where the handlers lie, how many seconds one may take, and how often an event is tried with it."""

    directory: Path
    timeout: int = 60
    attempts: int = 5


@dataclass(frozen=True)
class MailSettings:
    """Who sends, and by what: `smtp` is (host, port), `sendmail` a program; exactly one of them is set.

    `copy_to` are further recipients of what goes to an endorser, such as the VO's contact.
    """

    sender: str
    smtp: tuple[str, int] | None = None
    sendmail: Path | None = None
    copy_to: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportSettings:
    """Where the status page and the Prometheus text file are written; None for neither."""

    html: Path | None = None
    prometheus: Path | None = None


@dataclass(frozen=True)
class Settings:
    """The settings of one site; without a settings file these defaults.

    `log` is a file as `logging.config.fileConfig` reads it.
    """

    site: str = ""
    events: EventSettings | None = None
    mail: MailSettings | None = None
    max_unrefreshed: timedelta | None = None
    reports: ReportSettings = field(default_factory=ReportSettings)
    cache: Upkeep = NO_LIMITS
    log: Path | None = None


def load(state_dir: str | os.PathLike[str]) -> Settings:
    """The settings of the site whose state lies at `state_dir`.

    Raises SiteError ``settings_invalid`` for what is no settings file, with the key that is wrong,
    ``settings_unsafe`` when others may write it, ``not_readable``.
    """
    path = Path(state_dir) / NAME
    try:
        found, octets = files.read(path, _MAX_OCTETS)
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise SiteError("not_readable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    except files.UnusableFileError as error:
        raise SiteError("settings_invalid", f"{path} cannot be used: {error}.", path=str(path)) from error
    _require_safe(path, found, Path(state_dir))
    try:
        document = json.loads(octets.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise SiteError("settings_invalid", f"{path} is not JSON: {error}.", path=str(path)) from error
    try:
        return parse(document)
    except SiteError as error:
        raise SiteError(error.code, f"{path}: {error.detail}", **error.context) from None


def upkeep(state_dir: str | os.PathLike[str], options: t.Mapping[str, t.Any], warn: t.Callable[[str], None]) -> Upkeep:
    """What the settings say of the cache, and the options of a module or a command over it.

    Settings that cannot be used do not keep a site from its work: they are told to `warn`. Raises ``option_invalid``.
    """
    try:
        stated = load(state_dir).cache
    except SiteError as error:
        warn(f"The cache is kept without the limits of {NAME}: {error}")
        stated = NO_LIMITS
    return stated.with_options(options)


def parse(document: t.Any) -> Settings:
    """The settings that a parsed JSON document states; ``settings_invalid`` names the key that is wrong."""
    top = _Section("", document)
    events, mail, reports = top.section("events"), top.section("mail"), top.section("reports")
    cache = top.section("cache")
    settings = Settings(
        site=top.line("site") or "",
        events=_events(events) if events else None,
        mail=_mail(mail) if mail else None,
        max_unrefreshed=top.duration("max_unrefreshed"),
        reports=_reports(reports) if reports else ReportSettings(),
        cache=_cache(cache) if cache else NO_LIMITS,
        log=top.path("log"),
    )
    top.end()
    return settings


def _events(section: _Section) -> EventSettings:
    directory = section.path("directory")
    if directory is None:
        raise section.invalid("directory", "it is needed: where the handlers lie")
    settings = EventSettings(
        directory=directory,
        timeout=section.number("timeout", EventSettings.timeout, 1, 3600),
        attempts=section.number("attempts", EventSettings.attempts, 1, 100),
    )
    section.end()
    return settings


def _mail(section: _Section) -> MailSettings:
    sender = section.take("from")
    if not is_address(sender):
        raise section.invalid("from", f"{sender!r} is not a mail address")
    copies = section.take("copy_to")
    copies = [copies] if isinstance(copies, str) else copies or []
    if not isinstance(copies, list) or not all(is_address(copy) for copy in copies):
        raise section.invalid("copy_to", "it is not a list of mail addresses")
    smtp, sendmail = section.line("smtp"), section.path("sendmail")
    if (smtp is None) == (sendmail is None):
        raise section.invalid("smtp", "either smtp or sendmail is needed, and not both")
    server = None if smtp is None else _server(section, smtp)
    section.end()
    return MailSettings(sender=sender, smtp=server, sendmail=sendmail, copy_to=tuple(copies))


def _server(section: _Section, text: str) -> tuple[str, int]:
    """Reads ``host``, ``host:port`` and ``[IPv6 address]:port``."""
    match = _SERVER.fullmatch(text)
    if match is None or not 0 < int(match["port"] or "25") < 65536:
        raise section.invalid("smtp", f"{text!r} is not a host and a port, such as localhost:25")
    return match["bare"] or match["bracketed"], int(match["port"] or "25")


def _reports(section: _Section) -> ReportSettings:
    settings = ReportSettings(html=section.path("html"), prometheus=section.path("prometheus"))
    section.end()
    return settings


def _cache(section: _Section) -> Upkeep:
    given = {name: section.take(name) for name in (*SIZES, *DURATIONS)}
    try:
        upkeep = NO_LIMITS.with_options(given)
    except SiteError as error:
        option = f"cache.{error.context['option']}"
        raise SiteError("settings_invalid", f"cache.{error.detail}", option=option) from None
    section.end()
    return upkeep


class _Section:
    """One JSON object of the settings: its keys are taken one by one, and none may be left at the end."""

    def __init__(self, name: str, value: t.Any) -> None:
        if not isinstance(value, dict):
            raise SiteError("settings_invalid", f"{name or 'The document'} is not a JSON object.", option=name)
        self._name = name
        self._rest = dict(value)

    def invalid(self, key: str, text: str) -> SiteError:
        option = f"{self._name}.{key}" if self._name else key
        return SiteError("settings_invalid", f"{option}: {text}.", option=option)

    def take(self, key: str) -> t.Any:
        return self._rest.pop(key, None)

    def section(self, key: str) -> _Section | None:
        value = self.take(key)
        return None if value is None else _Section(key, value)

    def line(self, key: str) -> str | None:
        value = self.take(key)
        if value is not None and not (isinstance(value, str) and value and value.isprintable()):
            raise self.invalid(key, f"{value!r} is not one line of text")
        return value

    def path(self, key: str) -> Path | None:
        text = self.line(key)
        if text is not None and not text.startswith("/"):
            raise self.invalid(key, f"{text!r} is not an absolute path")
        return None if text is None else Path(text)

    def number(self, key: str, default: int, least: int, most: int) -> int:
        value = self.take(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.invalid(key, f"{value!r} is not a whole number from {least} to {most}")
        return value

    def duration(self, key: str) -> timedelta | None:
        text = self.line(key)
        if text is None:
            return None
        try:
            return parse_duration(text)
        except ValueError as error:
            raise self.invalid(key, str(error)) from error

    def end(self) -> None:
        if self._rest:
            raise self.invalid(min(self._rest), "no such setting is known")


def _require_safe(path: Path, found: os.stat_result, state_dir: Path) -> None:
    """The file names programs that are started: whoever may write it acts as the service's user."""
    owners = {0, os.geteuid(), state_dir.stat().st_uid}
    if found.st_uid not in owners or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise SiteError("settings_unsafe", f"{path} can be changed by others.", path=str(path))


def _unique(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return result
