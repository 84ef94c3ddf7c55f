# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Context disks present or absent: planned, compared with what is there, written whole, told without secrets."""

from __future__ import annotations

import grp
import hashlib
import pwd
import typing as t
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import ContextError, TransferError
from ...outcome import Outcome
from .iso.image import read_image, write_image
from .lint import RESTRICTIONS, Finding, Lint
from .payload.compose import compose
from .payload.content import Fetch, Sources
from .payload.targets import check_mode
from .placing import Found, Placement, look, place, remove
from .readers import found_as, judge
from .reading import marked, read_disk
from .spec import SHELL_FLAVOURS, ContextSpec
from .tree import Disk, Entry

DEFAULT_MODE: t.Final = 0o600

#: So many octets of images are kept between plan and writing; beyond them the images are composed again.
HELD: t.Final = 128 * 1024 * 1024
#: What only readers of the shell flavours take. A second disk for others goes without, and without their secrets.
_SHELL_OPTIONS: t.Final = ("variables", "secret_variables", "scripts", "files", "packages")
_SHOWN_TEXT: t.Final = 16 * 1024


@dataclass(frozen=True)
class Wanted:
    """A disk that is wanted, or wanted gone, at `dest`. Owner and group are numbers; None leaves them as they are."""

    dest: Path
    present: bool
    spec: t.Optional[ContextSpec] = None
    mode: int = DEFAULT_MODE
    owner: t.Optional[int] = None
    group: t.Optional[int] = None
    restrict: str = "enforce"
    safe_sources: tuple[str, ...] = ()


def wanted_disks(options: t.Mapping[str, t.Any]) -> list[Wanted]:
    """The disks that the options of one item ask for: its own, and those under ``also`` with the same contents.

    Raises `ContextError`: the codes of `ContextSpec.from_options`, and ``option_invalid``.
    """
    if not options.get("dest"):
        raise ContextError("option_invalid", "dest: it is needed for every disk")
    disks = [_wanted(options)]
    for one in options.get("also") or ():
        own = {key: value for key, value in one.items() if value is not None}
        others = {"label"} if SHELL_FLAVOURS & set(own["flavours"]) else {"label", *_SHELL_OPTIONS}
        disks.append(_wanted({**options, **dict.fromkeys(others), **own}))
    return disks


def _wanted(options: t.Mapping[str, t.Any]) -> Wanted:
    present = options.get("state") != "absent"
    return Wanted(
        dest=Path(options["dest"]),
        present=present,
        spec=ContextSpec.from_options(options) if present else None,
        mode=_mode(options.get("mode")),
        owner=_number(options.get("owner"), "owner"),
        group=_number(options.get("group"), "group"),
        restrict=options.get("restrict") or RESTRICTIONS[0],
        safe_sources=tuple(options.get("safe_sources") or ()),
    )


def _mode(mode: t.Optional[str]) -> int:
    return DEFAULT_MODE if mode is None else int(check_mode(mode, "mode"), 8)


def _number(name: t.Optional[str], option: str) -> t.Optional[int]:
    """The number of a user or group that this host knows. Raises `ContextError` ``option_invalid``."""
    if name is None or name.isdecimal():
        return None if name is None else int(name)
    try:
        return pwd.getpwnam(name).pw_uid if option == "owner" else grp.getgrnam(name).gr_gid
    except KeyError:
        raise ContextError("option_invalid", f"{option}: this host knows no {name[:40]!r}") from None


def make_disks(wanted: t.Sequence[Wanted], *, check: bool, fetch: Fetch) -> Outcome:
    """Make, or in check mode plan, every disk: first all are composed, so that a refusal leaves everything as it is.

    Raises `ContextError` and `TransferError`, whose detail begins with the disk's path where there are several.
    """
    _check_paths(wanted)
    several = len(wanted) > 1
    plans = []
    held = 0
    for one in wanted:
        plan = _named(one, several, fetch)
        held += 0 if plan.octets is None else len(plan.octets)
        plans.append(plan if held <= HELD else replace(plan, octets=None))
    changes = [plan for plan in plans if plan.changed]
    if not check:
        remove([plan.wanted.dest for plan in changes if not plan.wanted.present])
        place([plan.placement(fetch) for plan in changes if plan.wanted.present])
    warnings = dict.fromkeys(sentence for plan in plans for sentence in plan.warnings(several))
    return Outcome(
        changed=bool(changes),
        before={str(plan.wanted.dest): plan.before for plan in changes},
        after={str(plan.wanted.dest): plan.after for plan in changes},
        actions=tuple({"action": plan.action, "dest": str(plan.wanted.dest)} for plan in changes),
        warnings=tuple(warnings),
        data={"isos": [plan.report for plan in plans]},
    )


def _check_paths(wanted: t.Sequence[Wanted]) -> None:
    seen = set()
    for one in wanted:
        if not one.dest.is_absolute() or one.dest.name in ("", ".."):
            raise ContextError("option_invalid", f"dest: {one.dest} is not the absolute path of a file")
        if one.dest in seen:
            raise ContextError("option_invalid", f"dest: {one.dest} is asked for twice")
        seen.add(one.dest)


def _named(wanted: Wanted, several: bool, fetch: Fetch) -> _Plan:
    try:
        return _plan(wanted, fetch)
    except (ContextError, TransferError) as error:
        if not several:
            raise
        raise type(error)(error.code, f"{wanted.dest}: {error.detail}", **error.context) from error


@dataclass(frozen=True)
class _Plan:
    """What becomes of one disk. `octets` are those of the image, None when there are none or too many to be kept."""

    wanted: Wanted
    action: t.Optional[str]
    report: t.Mapping[str, t.Any]
    before: t.Mapping[str, t.Any]
    after: t.Mapping[str, t.Any]
    findings: tuple[Finding, ...] = ()
    octets: t.Optional[bytes] = None

    @property
    def changed(self) -> bool:
        return self.action is not None

    def warnings(self, several: bool) -> list[str]:
        """The sentences of the lint."""
        where = f"{self.wanted.dest}: " if several else ""
        return [f"{where}{finding.sentence}" for finding in self.findings]

    def placement(self, fetch: Fetch) -> Placement:
        """How the file gets into its place."""
        wanted = self.wanted

        def octets() -> bytes:
            if self.octets is not None:
                return self.octets
            again = _plan(wanted, fetch)
            if again.octets is None or again.report["sha512"] != self.report["sha512"]:
                raise ContextError("option_invalid", f"{wanted.dest}: a source changed while the disks were made")
            return again.octets

        kept = self.action == "permit"
        return Placement(wanted.dest, None if kept else octets, wanted.mode, wanted.owner, wanted.group)


def _plan(wanted: Wanted, fetch: Fetch) -> _Plan:
    found = look(wanted.dest)
    dest = str(wanted.dest)
    if wanted.spec is None or not wanted.present:
        report = {"dest": dest, "state": "absent", "changed": found.there}
        gone = _shown_found(found, dest, None) if found.there else {}
        return _Plan(wanted, "remove" if found.there else None, report, gone, {})
    lint = Lint(wanted.restrict)
    sources = Sources(lint=lint, fetch=fetch, safe=wanted.safe_sources, known=_Known(found.octets))
    disk = compose(wanted.spec, sources)
    lint.settle()
    octets = write_image(disk, wanted.spec.source_date)
    action = _action(wanted, found, octets)
    report = {
        **{"dest": dest, "state": "present", "changed": action is not None},
        **{"sha512": hashlib.sha512(octets).hexdigest(), "size": len(octets)},
        **describe(disk),
        "lint": [finding.as_dict() for finding in lint.findings],
    }
    before: dict[str, t.Any] = {}
    after: dict[str, t.Any] = {}
    if action is not None:
        before = _shown_found(found, dest, disk) if found.there else {}
        after = {**_shown(disk, wanted.mode), "source_date": wanted.spec.source_date}
    return _Plan(wanted, action, report, before, after, tuple(lint.findings), octets)


def _action(wanted: Wanted, found: Found, octets: bytes) -> t.Optional[str]:
    if found.octets != octets:
        return "replace" if found.there else "create"
    owned = wanted.owner in (None, found.owner) and wanted.group in (None, found.group)
    return None if owned and found.mode == wanted.mode else "permit"


def _shown_found(found: Found, dest: str, other: t.Optional[Disk]) -> dict[str, t.Any]:
    if found.octets is None:
        return {"content": "no context disk"}
    try:
        disk = read_image(found.octets, dest)
    except ContextError:
        return {"content": "no ISO 9660 image", "size": len(found.octets)}
    return _shown(known_secrets(disk, other), found.mode)


def _shown(disk: Disk, mode: int) -> dict[str, t.Any]:
    entries = {path: _text(disk.entries[path]) for path in sorted(disk.entries) if path != "context.sh"}
    variables = {name: _masked(value) for name, value in sorted(disk.variables.items())}
    return {"label": disk.label, "mode": f"{mode:04o}", "files": entries, "variables": variables}


def describe(disk: Disk) -> dict[str, t.Any]:
    """What is on a disk, for results: label, files, variables (null for a secret), and its readers."""
    readings = {name: reading.as_dict() for name, reading in judge(disk).items()}
    return {
        "label": disk.label,
        "files": disk.files(),
        "variables": dict(sorted(disk.variables.items())),
        "readers": readings,
        "found_as": found_as(),
    }


def look_at(path: str) -> dict[str, t.Any]:
    """What is in the image at `path`, for results. Raises `ContextError` and `TransferError`."""
    disk, octets = read_disk(path)
    image = {"path": path, "sha512": hashlib.sha512(octets).hexdigest(), "size": len(octets)}
    return {**image, "names": disk.names, "joliet": disk.joliet, **describe(disk)}


def known_secrets(disk: Disk, *others: t.Optional[Disk]) -> Disk:
    """A disk that was read, with what it, or another disk, marks as secret marked."""
    names = {name for other in others if other for name, value in other.variables.items() if value is None}
    files = {path for other in others if other for path, entry in other.entries.items() if entry.secret}
    return marked(disk, files=files, variables=names)


class _Known:
    """The files of the disk that is there, by checksum: what is there need not be fetched again."""

    def __init__(self, octets: t.Optional[bytes]) -> None:
        self._octets = octets
        self._files: t.Optional[list[bytes]] = None

    def __call__(self, name: str, digest: str) -> t.Optional[bytes]:
        if self._files is None:
            self._files = []
            if self._octets is not None:
                try:
                    self._files = [entry.octets for entry in read_image(self._octets, "").entries.values()]
                except ContextError:
                    return None
        return next((octets for octets in self._files if hashlib.new(name, octets).hexdigest() == digest), None)


def _masked(value: t.Optional[str]) -> str:
    return "(secret)" if value is None else value


def _text(entry: Entry) -> str:
    """What a difference shows of a file: its text if it is short and no secret, else its digest."""
    mode = f"{entry.mode:04o}"
    if entry.secret:
        return f"{mode} (secret, {len(entry.octets)} octets)"
    if len(entry.octets) <= _SHOWN_TEXT:
        try:
            text = entry.octets.decode("utf-8")
        except UnicodeDecodeError:
            text = ""
        if text and all(character.isprintable() or character in "\n\t" for character in text):
            return f"{mode}\n{text}"
    return f"{mode} {len(entry.octets)} octets, sha256 {entry.sha256}"
