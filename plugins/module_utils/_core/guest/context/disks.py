# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Context disks present or absent: planned, compared with what is there, written whole, told without secrets."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import stat
import typing as t
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import ContextError, TransferError
from ...outcome import Outcome
from ...transfer.atomic import fsync_directory, storage_errors, write_atomic
from .compose import compose
from .content import LARGEST, Fetch, Sources
from .iso.image import read_image, write_image
from .lint import RESTRICTIONS, Lint
from .readers import found_as, judge
from .reading import marked, read_disk
from .spec import SHELL_FLAVOURS, ContextSpec
from .targets import check_mode
from .tree import Disk, Entry

#: An image has more octets than its files: this is the most that is read back.
LARGEST_IMAGE: t.Final = LARGEST * 2
DEFAULT_MODE: t.Final = 0o600
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


@dataclass(frozen=True)
class _Found:
    """What is at a path: `octets` is None where nothing is, or nothing that could be a disk."""

    octets: t.Optional[bytes]
    mode: int = 0
    owner: int = -1
    group: int = -1
    there: bool = False


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
    plans = [_named(one, several, fetch) for one in wanted]
    before = {str(plan.wanted.dest): plan.shown_before for plan in plans if plan.changed}
    after = {str(plan.wanted.dest): plan.shown_after for plan in plans if plan.changed}
    if not check:
        for plan in plans:
            if plan.changed:
                plan.apply()
    warnings = dict.fromkeys(sentence for plan in plans for sentence in plan.warnings(several))
    return Outcome(
        changed=any(plan.changed for plan in plans),
        before=before,
        after=after,
        actions=tuple(plan.action for plan in plans if plan.changed),
        warnings=tuple(warnings),
        data={"isos": [plan.report() for plan in plans]},
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


def _plan(wanted: Wanted, fetch: Fetch) -> _Plan:
    found = _look(wanted.dest)
    if wanted.spec is None or not wanted.present:
        return _Plan(wanted=wanted, found=found, lint=Lint("off"))
    lint = Lint(wanted.restrict)
    sources = Sources(lint=lint, fetch=fetch, safe=wanted.safe_sources, known=_Known(found.octets))
    disk = compose(wanted.spec, sources)
    lint.settle()
    return _Plan(wanted=wanted, found=found, lint=lint, disk=disk, octets=write_image(disk, wanted.spec.source_date))


@dataclass(frozen=True)
class _Plan:
    wanted: Wanted
    found: _Found
    lint: Lint
    disk: t.Optional[Disk] = None
    octets: bytes = b""

    @property
    def changed(self) -> bool:
        found, wanted = self.found, self.wanted
        if self.disk is None:
            return found.there
        kept = wanted.owner in (None, found.owner) and wanted.group in (None, found.group)
        return found.octets != self.octets or found.mode != wanted.mode or not kept

    @property
    def action(self) -> dict[str, t.Any]:
        if self.disk is None:
            return {"action": "remove", "dest": str(self.wanted.dest)}
        if self.found.octets == self.octets:
            return {"action": "permit", "dest": str(self.wanted.dest)}
        return {"action": "replace" if self.found.there else "create", "dest": str(self.wanted.dest)}

    def apply(self) -> None:
        """Write or remove the file; what was there is replaced in one step."""
        dest = self.wanted.dest
        if self.disk is None:
            with storage_errors(dest):
                dest.unlink(missing_ok=True)
            fsync_directory(dest.parent)
            return
        if self.found.octets != self.octets:
            write_atomic(dest, self.octets, self.wanted.mode)
        with storage_errors(dest):
            if self.wanted.owner is not None or self.wanted.group is not None:
                owner, group = (-1 if one is None else one for one in (self.wanted.owner, self.wanted.group))
                os.chown(dest, owner, group, follow_symlinks=False)
            dest.chmod(self.wanted.mode)

    def warnings(self, several: bool) -> list[str]:
        """The sentences of the lint."""
        where = f"{self.wanted.dest}: " if several else ""
        return [f"{where}{finding.sentence}" for finding in self.lint.findings]

    def report(self) -> dict[str, t.Any]:
        """The disk for results."""
        dest = str(self.wanted.dest)
        if self.disk is None:
            return {"dest": dest, "state": "absent", "changed": self.changed}
        return {
            "dest": dest,
            "state": "present",
            "changed": self.changed,
            "sha512": hashlib.sha512(self.octets).hexdigest(),
            "size": len(self.octets),
            **describe(self.disk),
            "lint": [finding.as_dict() for finding in self.lint.findings],
        }

    @property
    def shown_before(self) -> dict[str, t.Any]:
        if not self.found.there:
            return {}
        if self.found.octets is None:
            return {"content": "no context disk"}
        try:
            disk = read_image(self.found.octets, str(self.wanted.dest))
        except ContextError:
            return {"content": "no ISO 9660 image", "size": len(self.found.octets)}
        return self._shown(known_secrets(disk, self.disk), self.found.mode)

    @property
    def shown_after(self) -> dict[str, t.Any]:
        return {} if self.disk is None else self._shown(self.disk, self.wanted.mode)

    def _shown(self, disk: Disk, mode: int) -> dict[str, t.Any]:
        date = {} if self.wanted.spec is None else {"source_date": self.wanted.spec.source_date}
        entries = {path: _text(disk.entries[path]) for path in sorted(disk.entries) if path != "context.sh"}
        variables = {name: _masked(value) for name, value in sorted(disk.variables.items())}
        shown = {"label": disk.label, "mode": f"{mode:04o}", "files": entries, "variables": variables}
        return {**shown, **date} if disk is self.disk else shown


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


def _look(dest: Path) -> _Found:
    with storage_errors(dest, reading=True):
        try:
            fd = os.open(dest, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return _Found(octets=None)
        except OSError:
            if dest.is_symlink():
                return _Found(octets=None, there=True)
            raise
        try:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):
                raise ContextError("option_invalid", f"dest: {dest} is a directory")
            if not stat.S_ISREG(status.st_mode):
                raise ContextError("option_invalid", f"dest: {dest} is a device, or no file of another kind")
            found = _Found(None, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, there=True)
            if status.st_size > LARGEST_IMAGE:
                return found
            with os.fdopen(os.dup(fd), "rb") as file:
                return replace(found, octets=file.read(LARGEST_IMAGE + 1))
        finally:
            os.close(fd)


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
