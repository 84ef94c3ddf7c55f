# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trust anchors: an IGTF directory or a PEM bundle, with its CRLs and name policies.

Loading reads certificates only; CRLs and policies are looked at when a path asks for them. One broken file never takes
the directory down: it is a `Problem`, and whoever needs just that file is refused.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import stat
import typing as t

from .. import files
from ..errors import TrustError
from . import certificates, library
from .anchor_files import Path, names_in, relevant, unreadable
from .naming import names, namespaces, policies
from .path import crl

if t.TYPE_CHECKING:
    from cryptography import x509

MAX_CERTIFICATE: t.Final = 256 * 1024
MAX_BUNDLE: t.Final = 64 * 1024 * 1024
MAX_BLOCKS: t.Final = 10_000
MAX_STEPS: t.Final = 1000

_PEM = re.compile(rb"-----BEGIN ((?:TRUSTED |X509 )?CERTIFICATE|X509 CRL)-----[^-]*-----END \1-----")


@dataclasses.dataclass(frozen=True)
class Problem:
    """A file that was passed over, and why."""

    path: str
    detail: str


@dataclasses.dataclass(frozen=True)
class Anchors:
    """What a site trusts: self-issued `roots`, other CAs as untrusted `intermediates`, and where rules are found."""

    path: str
    roots: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...]
    crls: crl.CrlStore
    policies: namespaces.PolicyStore
    problems: tuple[Problem, ...]


class _Collector:
    """Certificates as they are read: each once, and the file-name hashes under which its subject stands."""

    def __init__(self) -> None:
        self.found: dict[bytes, x509.Certificate] = {}
        self.stems: dict[bytes, set[str]] = {}
        self.problems: list[Problem] = []

    def add(self, octets: bytes, source: str, stem: str | None) -> None:
        from cryptography import x509

        try:
            load = x509.load_der_x509_certificate if octets[:1] == b"\x30" else x509.load_pem_x509_certificate
            with library.quiet():
                certificate = load(octets)
            der = certificates.der_of(certificate)
            subject = certificates.fields(der).subject
            names.read_name(subject)
        except (ValueError, TypeError, x509.InvalidVersion) as error:
            self.problems.append(Problem(source, f"it holds no certificate that can be read: {error}"))
            return
        self.found.setdefault(der, certificate)
        if stem is not None:
            self.stems.setdefault(subject, set()).add(stem)

    def anchors(self, path: Path, crls: t.Sequence[crl.Source], rules: t.Sequence[namespaces.Source]) -> Anchors:
        stems = {subject: frozenset(found) for subject, found in self.stems.items()}
        roots = [one for der, one in self.found.items() if certificates.fields(der).self_issued]
        intermediates = [one for der, one in self.found.items() if not certificates.fields(der).self_issued]
        return Anchors(
            path=os.fspath(path),
            roots=tuple(roots),
            intermediates=tuple(intermediates),
            crls=crl.CrlStore(crls, stems),
            policies=namespaces.PolicyStore(rules, stems),
            problems=tuple(self.problems),
        )


def load(path: Path, *, trusted_owners: t.Collection[int] = ()) -> Anchors:
    """Load a directory or a bundle, whichever `path` is; raises as those."""
    if pathlib.Path(path).is_dir():
        return load_directory(path, trusted_owners=trusted_owners)
    return load_bundle(path, trusted_owners=trusted_owners)


def load_directory(path: Path, *, trusted_owners: t.Collection[int] = ()) -> Anchors:
    """Load a directory in the IGTF layout.

    It and its files must belong to root, to the running user or to one of `trusted_owners` (user numbers), and nobody
    else may write to them. Raises `TrustError`: anchors_unreadable anchors_unsafe library_missing.
    """
    library.require()
    base = pathlib.Path(path)
    try:
        found = base.stat()
        listing = names_in(base)
    except OSError as error:
        raise unreadable(path, error) from error
    if not stat.S_ISDIR(found.st_mode):
        raise TrustError("anchors_unreadable", f"{path} is not a directory", path=str(path))
    ways = _Ways(trusted_owners)
    _check_safe(found, base, trusted_owners)
    try:
        ways.check(str(base))
    except OSError as error:
        raise unreadable(path, error) from error
    collector = _Collector()
    crls: list[crl.Source] = []
    rules: list[namespaces.Source] = []
    seen: dict[tuple[int, int], bytes] = {}
    for name, stem, kind in relevant(listing):
        file = base / name
        try:
            status = file.stat()
            _check_safe(status, file, trusted_owners)
            if file.is_symlink():
                ways.check_target(str(file))
        except OSError as error:
            collector.problems.append(Problem(str(file), files.reason(error)))
            status = None
        if kind == "crl":
            crls.append(crl.Source(str(file), stem))
        elif kind in policies.KINDS:
            rules.append(namespaces.Source(str(file), stem, kind))
        elif status is not None:
            identity = (status.st_dev, status.st_ino)
            try:
                octets = seen[identity] if identity in seen else files.read(file, MAX_CERTIFICATE)[1]
            except (OSError, files.UnusableFileError) as error:
                collector.problems.append(Problem(str(file), files.reason(error)))
                continue
            seen[identity] = octets
            collector.add(octets, str(file), stem)
    return collector.anchors(path, crls, rules)


def load_bundle(path: Path, *, trusted_owners: t.Collection[int] = ()) -> Anchors:
    """Load a PEM bundle: certificates, and CRLs where it has some. It has no name policies.

    Raises `TrustError`: anchors_unreadable anchors_unsafe library_missing.
    """
    library.require()
    try:
        status, octets = files.read(path, MAX_BUNDLE)
    except (OSError, files.UnusableFileError) as error:
        raise unreadable(path, error) from error
    _check_safe(status, pathlib.Path(path), trusted_owners)
    try:
        _Ways(trusted_owners).check(os.fspath(path))
    except OSError as error:
        raise unreadable(path, error) from error
    collector = _Collector()
    crls: list[crl.Source] = []
    for number, match in enumerate(_PEM.finditer(octets)):
        if number >= MAX_BLOCKS:
            raise TrustError(
                "anchors_unreadable", f"The bundle {path} has more than {MAX_BLOCKS} blocks", path=str(path)
            )
        if match[1] == b"X509 CRL":
            crls.append(crl.Source(f"{os.fspath(path)}[{len(crls)}]", None, match[0]))
        elif match[1] == b"CERTIFICATE":
            collector.add(match[0], os.fspath(path), None)
    if not collector.found:
        raise TrustError("anchors_unreadable", f"The bundle {path} holds no certificate", path=str(path))
    return collector.anchors(path, crls, ())


def _check_safe(status: os.stat_result, path: pathlib.Path, trusted_owners: t.Collection[int]) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o022:
        raise TrustError("anchors_unsafe", f"{path} has mode {mode:04o}: others may write to it", path=str(path))
    if status.st_uid not in (0, os.geteuid(), *trusted_owners):
        raise TrustError("anchors_unsafe", f"{path} belongs to the user number {status.st_uid}", path=str(path))


def _above(path: str) -> str:
    """The directory of an absolute path; a `pathlib.Path` for each of a thousand steps would take too long."""
    return path.rpartition("/")[0] or "/"


class _Ways:
    """Judges the ways that lead to files; what has been judged is not looked at again."""

    def __init__(self, trusted_owners: t.Collection[int]) -> None:
        self._trusted_owners = trusted_owners
        self._passed: set[str] = set()
        self._modes: dict[str, int] = {}
        self._holders: set[str] = set()

    def check_target(self, link: str) -> None:
        """Where a link of the directory leads to must be as safe as the directory itself, and so must be the way."""
        holder = _above(self.check(link))
        if holder not in self._holders:
            found = pathlib.Path(holder)
            _check_safe(found.stat(), found, self._trusted_owners)
            self._holders.add(holder)

    def check(self, path: str) -> str:
        """Nobody else may exchange what `path` names: no directory on the way may be open to all.

        One with the sticky bit may, if what is taken from it belongs to a trusted owner. Links are followed as the
        kernel does it. Returns the path without any link.
        """
        here = "/"
        waiting = [*reversed(str(pathlib.Path.cwd() / path).split("/"))]
        steps = 0
        while waiting:
            steps += 1
            if steps > MAX_STEPS:
                raise TrustError("anchors_unreadable", f"The way to {path} is too long", path=path)
            part = waiting.pop()
            if part in ("", "."):
                continue
            if part == "..":
                here = _above(here)
                continue
            entry = f"{here.rstrip('/')}/{part}"
            target = None if entry in self._passed else self._look(here, entry, path)
            if target is None:
                self._passed.add(entry)
                here = entry
                continue
            if target.startswith("/"):
                here = "/"
            waiting.extend(reversed(target.split("/")))
        return here

    def _look(self, here: str, entry: str, path: str) -> str | None:
        """Judge taking `entry` from the directory `here`; where a link leads to, None for anything else."""
        if here not in self._modes:
            self._modes[here] = pathlib.Path(here).stat().st_mode
        mode = self._modes[here]
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise TrustError("anchors_unsafe", f"{here} is on the way, and everybody may write to it", path=path)
        found = os.lstat(entry)
        if mode & stat.S_IWOTH and found.st_uid not in (0, os.geteuid(), *self._trusted_owners):
            detail = f"{entry} is on the way, and belongs to the user number {found.st_uid}"
            raise TrustError("anchors_unsafe", detail, path=path)
        return str(pathlib.Path(entry).readlink()) if stat.S_ISLNK(found.st_mode) else None
