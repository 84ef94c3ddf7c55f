# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clauses 1, 2.a, 2.b, 5 and 7: the packages, whether they are patched, signed and as they were brought."""

from __future__ import annotations

import fnmatch
import re
import stat
import typing as t
from collections import defaultdict

from ....errors import GuestError
from ...boot.system import read_system
from ...packages.model import OwnedFile, Package
from ...root.tree import Root
from ...root.walking import Allowance, digest_of
from ..model import ERROR, NOTE, WARNING, Finding, Subject
from ..places import files, rows

#: What a site must never replace (001): told apart, and always an error.
_PROTECTED: t.Final = (
    ("The compiler", ("gcc*", "g++*", "cpp*", "binutils*", "libgcc*", "clang*", "llvm*")),
    ("perl", ("perl*", "libperl*")),
    ("python", ("python*", "libpython*")),
    ("The kernel", ("linux-image*", "linux-modules*", "kernel*")),
    ("The C library", ("libc6*", "libc-bin", "glibc*", "musl*")),
)
_PROGRAMS: t.Final = (
    *("/bin/", "/sbin/", "/lib/", "/lib64/", "/boot/"),
    *("/usr/bin/", "/usr/sbin/", "/usr/lib/", "/usr/lib64/", "/usr/libexec/"),
)
_PRELINKED: t.Final = b".gnu.prelink_undo"
_SMALL: t.Final = 64 * 1024 * 1024


def package_database(subject: Subject) -> list[Finding]:
    """Whether the packages can be listed."""
    try:
        len(subject.packages)
    except GuestError as error:
        if error.code not in ("packages_missing", "packages_malformed"):
            raise
        path = str(error.context.get("path", "/")) if error.code == "packages_malformed" else "/"
        return [Finding(path, error.detail)]
    return []


def manifest(subject: Subject) -> list[Finding] | None:
    """Whether the manifest that goes with the image lists just what is in it."""
    listed = subject.asked.listed
    if listed is None:
        return None
    there = {(package.name, package.full_version): database.path for database, package in subject.packages}
    lacking = [
        Finding(there[item], f"The manifest does not list {item[0]} {item[1]}.") for item in sorted(set(there) - listed)
    ]
    absent = [
        Finding("/", f"The manifest lists {name} {version}, which is not installed.")
        for name, version in sorted(listed - set(there))
    ]
    return [*lacking, *absent]


def patched(subject: Subject) -> list[Finding]:
    """Known flaws of the packages, one line for each package; without data it is not known, and never good."""
    flaws = subject.asked.flaws
    if flaws is None:
        raise GuestError("flaws_unknown", "No data of known flaws was given (vulnerabilities)")
    system = read_system(subject.root)
    if not flaws.covers(system.identifier, system.version):
        raise GuestError("flaws_unknown", f"{flaws.path} says nothing of {system.name or 'this system'}")
    found = []
    for database, package in subject.packages:
        has = flaws.of(package, system.identifier, system.version)
        for severity, these in ((ERROR, [one for one in has if one[1]]), (NOTE, [one for one in has if not one[1]])):
            if these:
                fixed = ", ".join(sorted({version for _flaw, version in these if version}))
                names = [flaw.identifier for flaw, _version in these if flaw.identifier]
                told = f" ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})" if names else ""
                end = f"fixed in {fixed[:200]}" if fixed else "not fixed yet"
                what = f"{package.name} {package.full_version} has known flaws{told}, {end}."
                found.append(Finding(database.path, what, None, severity))
    return found


def newest_kernel(subject: Subject) -> list[Finding] | None:
    """Whether the kernel that starts is the newest: an update that nothing starts mends nothing."""
    loader = subject.survey.loader
    if loader.default is None or loader.entries[loader.default].kernel is None:
        return None
    kernel = loader.entries[loader.default].kernel or ""
    own = subject.survey.kernel_of(kernel)
    same = [
        item for item in subject.survey.kernels if item.image and (own is None or item.is_xen_only == own.is_xen_only)
    ]
    if not same or (own is not None and own.version == same[0].version):
        return []
    what = f"The default entry starts {kernel}, and not the newest kernel, {same[0].version}."
    return [Finding(loader.path or "/boot", what)]


def signatures(subject: Subject) -> list[Finding]:
    """Packages of rpm that nobody, or nobody who is known, has signed; and repositories that need no signature."""
    keys = subject.asked.package_keys
    unsigned = []
    for database, package in subject.packages:
        if package.kind == "rpm" and package.key is None:
            unsigned.append(Finding(database.path, f"{package.name} {package.full_version} is not signed."))
        elif package.kind == "rpm" and keys and not any((package.key or "").endswith(key) for key in keys):
            what = f"{package.name} {package.full_version} is signed by {package.key}, which is not known."
            unsigned.append(Finding(database.path, what))
    return [*unsigned, *_yum(subject.root), *_apt(subject.root)]


def _yum(root: Root) -> t.Iterator[Finding]:
    for path in files(root, "/etc/yum.conf", "/etc/dnf/dnf.conf", "/etc/yum.repos.d/*.repo"):
        section, settings = "", dict[str, dict[str, tuple[str, int]]]()
        for number, row in rows(root, path):
            name, equals, value = row.partition("=")
            if row.startswith("["):
                section = row.strip("[] ")
            elif equals:
                settings.setdefault(section, {})[name.strip().lower()] = (value.strip().lower(), number)
        for section, given in settings.items():
            on = given.get("enabled", ("1", 0))[0] in ("1", "true", "yes", "on")
            check, number = given.get("gpgcheck", ("", 0))
            if on and check in ("0", "false", "no", "off"):
                yield Finding(path, f"Packages of {section[:80]} need no signature (gpgcheck).", number)
            elif section == "main" and not check:
                yield Finding(path, "Packages need no signature: gpgcheck is not set.", None)


def _apt(root: Root) -> t.Iterator[Finding]:
    trusted = re.compile(
        r"(?:deb\S*\s+\[[^\]]*\b(?:trusted|allow-insecure)=yes|(?:trusted|allow-insecure):\s*yes)", re.I
    )
    for path in files(root, "/etc/apt/sources.list", "/etc/apt/sources.list.d/*"):
        for number, row in rows(root, path):
            if trusted.match(row):
                yield Finding(path, "A repository is trusted without a signature.", number)
    lax = re.compile(r".*\b(?:AllowUnauthenticated|AllowInsecureRepositories)\b\W+(?:true|yes|1)\b", re.I)
    for path in files(root, "/etc/apt/apt.conf", "/etc/apt/apt.conf.d/*"):
        for number, row in rows(root, path):
            if not row.startswith("//") and lax.match(row):
                yield Finding(path, "Packages need no signature.", number)


def modified(subject: Subject) -> list[Finding]:
    """Files that are not what their package brought; configuration is not among them."""
    owned = subject.owned
    known = [path for path, file in owned.files.items() if file.digest is not None]
    if not known:
        raise GuestError("packages_missing", "No package says what its files were", path="/")
    compared = _Compared(subject.root)
    found = []
    for path in sorted(known):
        file = owned.files[path]
        if not file.config and not file.ghost and (file.mode is None or stat.S_ISREG(file.mode)):
            finding = compared.finding(path, file)
            if finding is not None:
                found.append(finding)
    return [*found, *_silent(subject, {owned.files[path].package for path in known})]


def _silent(subject: Subject, telling: set[str]) -> list[Finding]:
    """The packages that bring programs and do not say what they were."""
    silent = {
        file.package: path
        for path, file in subject.owned.files.items()
        if file.package not in telling and path.startswith(_PROGRAMS) and subject.root.is_file(path)
    }
    what = "does not say what its files were."
    return [Finding(path, f"{name} {what}", None, NOTE) for name, path in sorted(silent.items())]


class _Compared:
    """Reads each file once, whatever its names, and all of them together no more than `Allowance` grants."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._allowance = Allowance()
        self._known: dict[tuple[int, int, str], str] = {}

    def finding(self, path: str, file: OwnedFile) -> Finding | None:
        status = self._root.status(path, follow=False)
        program = path.startswith(_PROGRAMS)
        if status is None:
            # Minimal systems leave documentation out on purpose.
            return Finding(path, f"{_kind(file.package)}The file of {file.package} is missing.") if program else None
        if not stat.S_ISREG(status.st_mode):
            return Finding(path, f"{_kind(file.package)}It is not the file that {file.package} brought.", None, ERROR)
        if file.algorithm is None:
            return None
        key = (status.st_dev, status.st_ino, file.algorithm)
        if key not in self._known:
            self._known[key] = digest_of(self._root, path, file.algorithm, self._allowance)
        if self._known[key] == file.digest:
            return None
        if status.st_size <= _SMALL and _PRELINKED in (self._root.read(path, limit=_SMALL) or b""):
            return Finding(path, f"prelink has changed the file of {file.package}: it cannot be compared.")
        binary = program or bool(status.st_mode & 0o111)
        kind = _kind(file.package)
        what = f"{kind}It is not as {file.package} brought it."
        return Finding(path, what, None, ERROR if binary or kind else WARNING)


def _kind(package: str) -> str:
    for kind, patterns in _PROTECTED:
        if any(fnmatch.fnmatchcase(package, pattern) for pattern in patterns):
            return f"{kind}: "
    return ""


def licences(subject: Subject) -> list[Finding]:
    """Packages whose licence no program can read; those of the others are in the manifest."""
    silent: dict[str, list[Package]] = defaultdict(list)
    for database, package in subject.packages:
        if package.licence is None:
            silent[database.path].append(package)
    found = []
    for path, packages in silent.items():
        names = [package.name for package in packages]
        told = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        found.append(Finding(path, f"{len(names)} packages name no licence that a program can read: {told}."))
    return found
