# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Known flaws of packages, from a file that the endorser has: OSV's entries, or fixed versions by package.

OSV (https://ossf.github.io/osv-schema/): one entry, a list of them, one a line, or the archive of an ecosystem. The
plain form is one object: ``{"openssl": "3.0.11-1~deb12u2"}``, which says that whatever is older has a flaw.
"""

from __future__ import annotations

import hashlib
import json
import re
import typing as t
import zipfile
from dataclasses import dataclass

from ....errors import GuestError
from ...root.names import shown
from ..model import Package
from .versions import compare, older

_LARGEST: t.Final = 512 * 1024 * 1024
_ENTRIES: t.Final = 500_000
_SOURCE: t.Final = re.compile(r"(\S+)(?: \(([^)]+)\))?\Z")
#: What OSV calls the systems whose os-release has this ID.
_ECOSYSTEMS: t.Final = {
    "debian": "Debian",
    "ubuntu": "Ubuntu",
    "almalinux": "AlmaLinux",
    "rocky": "Rocky Linux",
    "rhel": "Red Hat",
    "opensuse-leap": "openSUSE",
    "sles": "SUSE",
    "mageia": "Mageia",
    "openeuler": "openEuler",
}


@dataclass(frozen=True)
class Flaw:
    """One flaw of one package of one ecosystem (None: of any). `ranges`: from a version, to the one that is fixed.

    Both ends may be open (None); `last` ends a range with the last version that has the flaw.
    """

    identifier: str
    ecosystem: str | None
    package: str
    ranges: tuple[tuple[str | None, str | None, str | None], ...] = ()
    versions: frozenset[str] = frozenset()

    def affects(self, kind: str, version: str) -> tuple[bool, str | None]:
        """Whether that version has it, and which one has it no more."""
        for begin, fixed, last in self.ranges:
            begun = begin is None or begin == "0" or not older(kind, version, begin)
            over = fixed is not None and not older(kind, version, fixed)
            past = last is not None and compare(kind, version, last) > 0
            if begun and not over and not past:
                return True, fixed
        return version in self.versions, None


@dataclass(frozen=True)
class Flaws:
    """All that a file says: by the package's name; and the SHA-256 of the file."""

    path: str
    sha256: str
    plain: bool
    flaws: t.Mapping[str, tuple[Flaw, ...]]

    def covers(self, system: str | None, version: str | None) -> bool:
        """Whether it speaks of that system at all: what says nothing about a system says nothing good of it."""
        if self.plain:
            return bool(self.flaws)
        return any(_is_of(flaw, system, version) for found in self.flaws.values() for flaw in found)

    def of(self, package: Package, system: str | None, version: str | None) -> list[tuple[Flaw, str | None]]:
        """The flaws that this package has, each with the version that has it no more."""
        source, source_version = _source(package)
        found = {}
        for name, own in ((package.name, package.full_version), (source, source_version)):
            for flaw in self.flaws.get(name, ()):
                if self.plain and name != package.name:
                    continue
                has, fixed = flaw.affects(package.kind, own) if _is_of(flaw, system, version) else (False, None)
                if has:
                    found[flaw.identifier] = (flaw, fixed)
        return [found[name] for name in sorted(found)]


def read_flaws(path: str) -> Flaws:
    """The flaws in the file. Raises `GuestError` (audit_input_invalid)."""
    texts, digest = _texts(path)
    by_name: dict[str, list[Flaw]] = {}
    plain = False
    count = 0
    for text in texts:
        for entry in _entries(path, text):
            if isinstance(entry, tuple):
                plain = True
                found: t.Iterable[Flaw] = [Flaw("", None, entry[0], ((None, entry[1], None),))]
            else:
                found = _of_osv(path, entry)
            for flaw in found:
                by_name.setdefault(flaw.package, []).append(flaw)
                count += 1
                if count > _ENTRIES * 4:
                    raise invalid(path, "it has too many entries")
    if not by_name:
        raise invalid(path, "it names no package")
    return Flaws(path, digest, plain, {name: tuple(flaws) for name, flaws in by_name.items()})


def invalid(path: str, why: str) -> GuestError:
    """The refusal of a file that the audit was given."""
    return GuestError("audit_input_invalid", f"{path} cannot be used: {why}", path=path)


def _texts(path: str) -> tuple[list[bytes], str]:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - the path is the user's own
            octets = file.read(_LARGEST + 1)
            digest = hashlib.sha256(octets).hexdigest()
            if len(octets) > _LARGEST:
                raise invalid(path, f"it has more than {_LARGEST} octets")
            if not octets.startswith(b"PK\x03\x04"):
                return [octets], digest
            with zipfile.ZipFile(file) as archive:
                members = [item for item in archive.infolist() if item.filename.endswith(".json")]
                if len(members) > _ENTRIES or sum(item.file_size for item in members) > 4 * _LARGEST:
                    raise invalid(path, "its content is too large")
                return [archive.read(item) for item in members], digest
    except OSError as error:
        raise invalid(path, (error.strerror or "it cannot be read").lower()) from error
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise invalid(path, "it is a damaged archive") from error


def _entries(path: str, text: bytes) -> t.Iterator[t.Mapping[str, t.Any] | tuple[str, str]]:
    try:
        read = json.loads(text)
    except ValueError:
        read = _lines(path, text)
    if isinstance(read, dict) and isinstance(read.get("vulns"), list):
        read = read["vulns"]
    if isinstance(read, dict) and "affected" not in read and "id" not in read:
        if not all(isinstance(value, str) and value for value in read.values()):
            raise invalid(path, "it is neither of OSV nor a fixed version for each package")
        yield from read.items()
        return
    for entry in read if isinstance(read, list) else [read]:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            raise invalid(path, "an entry of it has no id")
        if not entry.get("withdrawn"):
            yield entry


def _lines(path: str, text: bytes) -> list[t.Any]:
    try:
        return [json.loads(row) for row in text.splitlines() if row.strip()]
    except ValueError as error:
        raise invalid(path, "it is no JSON") from error


def _of_osv(path: str, entry: t.Mapping[str, t.Any]) -> t.Iterator[Flaw]:
    name = _name_of(entry)
    try:
        for affected in entry.get("affected") or ():
            package = affected.get("package") or {}
            if not isinstance(package.get("name"), str):
                continue
            ranges = [
                found for one in affected.get("ranges") or () if one.get("type") == "ECOSYSTEM" for found in _range(one)
            ]
            versions = frozenset(item for item in affected.get("versions") or () if isinstance(item, str))
            yield Flaw(name, str(package.get("ecosystem") or ""), package["name"], tuple(ranges), versions)
    except (AttributeError, TypeError) as error:
        raise invalid(path, f"{name} is not as OSV has it") from error


def _name_of(entry: t.Mapping[str, t.Any]) -> str:
    """A CVE is what people know it by."""
    names = [entry["id"], *(entry.get("aliases") or ()), *(entry.get("upstream") or ())]
    found = next((str(name) for name in names if str(name).startswith("CVE-")), entry["id"])
    return shown(found)[:40]


def _range(given: t.Mapping[str, t.Any]) -> t.Iterator[tuple[str | None, str | None, str | None]]:
    begin: str | None = None
    open_ended = False
    for event in given.get("events") or ():
        if "introduced" in event:
            begin, open_ended = str(event["introduced"]), True
        elif "fixed" in event and open_ended:
            yield begin, str(event["fixed"]), None
            open_ended = False
        elif "last_affected" in event and open_ended:
            yield begin, None, str(event["last_affected"])
            open_ended = False
    if open_ended:
        yield begin, None, None


def _is_of(flaw: Flaw, system: str | None, version: str | None) -> bool:
    """``Debian:12``, ``Ubuntu:22.04:LTS``, ``AlmaLinux:9``, ``Red Hat:enterprise_linux:9::baseos``."""
    if flaw.ecosystem is None:
        return True
    name, *rest = flaw.ecosystem.split(":")
    if name != _ECOSYSTEMS.get(system or ""):
        return False
    major = (version or "").split(".")[0]
    return not rest or any(part in (version, major) for part in rest)


def _source(package: Package) -> tuple[str, str]:
    """The source package, by whose name most distributions report flaws, and its version."""
    if package.kind == "rpm":
        name = re.match(r"(.+)-[^-]+-[^-]+\.(?:no)?src\.rpm\Z", package.source or "")
        return (name[1] if name is not None else package.name), package.full_version
    match = _SOURCE.match(package.source or package.name)
    if match is None:
        return package.name, package.full_version
    return match[1], match[2] or package.full_version
