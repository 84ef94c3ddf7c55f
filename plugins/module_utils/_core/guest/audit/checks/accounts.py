# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clause 2.d: accounts, their passwords, and what the tools that change them leave behind."""

from __future__ import annotations

import re
import stat
import typing as t
from collections import Counter

from ...root.walking import Allowance, walk
from ..model import WARNING, Finding, Repair, Subject
from ..places import digest, files, matching, records

_NO_LOGIN: t.Final = frozenset({"nologin", "false", "sync", "shutdown", "halt", "true"})
_BACKUPS: t.Final = (
    *(
        f"/etc/{name}{end}"
        for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid")
        for end in ("-", ".bak", ".old", ".orig", ".rpmsave", ".dpkg-old", "~")
    ),
    *(f"/var/backups/{name}.bak" for name in ("passwd", "shadow", "group", "gshadow")),
)
#: Where accounts are, with their passwords; the second pair is that of a root that cannot be changed.
_SHADOWS: t.Final = ("/etc/shadow", "/var/lib/extrausers/shadow")
_PASSWORDS: t.Final = (*_SHADOWS, "/etc/passwd", "/var/lib/extrausers/passwd")
_ELSEWHERE: t.Final = ("/etc", "/var/lib/cloud")
_SMALL: t.Final = 64 * 1024
_NOBODY: t.Final = frozenset({65533, 65534, 2**32 - 2})
#: What a hash looks like wherever it stands: $id$..., the older DES ones only in a field of their own.
_HASH: t.Final = re.compile(r"\$(?:[0-9a-z]{1,8})\$[./A-Za-z0-9,=$+-]{8,}")
#: One that has to be told from the rest of any file.
_IN_TEXT: t.Final = re.compile(rb"\$(?:1|2[abxy]?|5|6|7|y|gy)\$[./A-Za-z0-9$=,]{16,}")
_DES: t.Final = re.compile(r"[./A-Za-z0-9]{13}\Z")


def passwords(subject: Subject) -> list[Finding]:
    """Accounts other than root that have a password, or need none."""
    return [finding for name, finding in _passwords(subject) if name != "root"]


def root_password(subject: Subject) -> list[Finding]:
    """The same of root."""
    return [finding for name, finding in _passwords(subject) if name == "root"]


def _passwords(subject: Subject) -> t.Iterator[tuple[str, Finding]]:
    for path in _PASSWORDS:
        for number, fields in records(subject.root.text(path) or ""):
            if len(fields) > 1 and not fields[0].startswith(("+", "-")):
                what = _judge(fields[1], shadow=path in _SHADOWS)
                if what is not None:
                    yield fields[0], Finding(path, f"The account {fields[0]} {what}.", number)


def _judge(password: str, *, shadow: bool) -> str | None:
    if password == "":
        return "needs no password"
    if is_hash(password):
        return "has a password"
    if is_hash(password.lstrip("!*")):
        return "is locked, and its former password is still there"
    return "has a password of an unknown kind" if shadow and password[0] not in "!*x" else None


def is_hash(text: str) -> bool:
    """Whether a field is a password's hash."""
    return _HASH.match(text) is not None or _DES.match(text) is not None


def lock(subject: Subject, findings: t.Sequence[Finding]) -> t.Iterator[Repair]:
    """The password fields that were found are locked, without a hash."""
    for path in dict.fromkeys(finding.path for finding in findings):
        octets = subject.root.read(path) or b""
        lines = octets.split(b"\n")
        for finding in findings:
            if finding.path == path and finding.line is not None:
                fields = lines[finding.line - 1].split(b":")
                lines[finding.line - 1] = b":".join([fields[0], b"!!" if path in _SHADOWS else b"*", *fields[2:]])
        yield Repair(path, b"\n".join(lines), "passwords locked")


def people(subject: Subject) -> list[Finding]:
    """Accounts of people: a login shell, and a number that is none of the system's own."""
    first = _first_of_people(subject)
    return [
        Finding("/etc/passwd", f"The account {account.name} (uid {account.uid}) can log in.", account.line)
        for account in subject.places.accounts
        if account.uid is not None
        and account.uid >= first
        and account.uid not in _NOBODY
        and account.shell.rsplit("/", 1)[-1] not in _NO_LOGIN
        and account.name not in subject.asked.accounts
    ]


def _first_of_people(subject: Subject) -> int:
    found = re.findall(r"^UID_MIN\s+([0-9]{1,10})\s*$", subject.root.text("/etc/login.defs") or "", re.MULTILINE)
    return int(found[-1]) if found else 500


def duplicates(subject: Subject) -> t.Iterator[Finding]:
    """A second uid 0, names and numbers that are given twice, and lines that let a directory service in."""
    accounts = subject.places.accounts
    names = Counter(account.name for account in accounts)
    numbers = Counter(account.uid for account in accounts)
    for account in accounts:
        if account.uid is None:
            yield Finding(
                "/etc/passwd", f"The account {account.name} has no number, or none that can be read.", account.line
            )
        elif account.uid == 0 and account.name != "root":
            yield Finding("/etc/passwd", f"The account {account.name} is root by its number.", account.line)
        elif names[account.name] > 1 or (account.uid != 0 and numbers[account.uid] > 1):
            yield Finding("/etc/passwd", f"The name or number of {account.name} is given twice.", account.line)
    for path in ("/etc/passwd", "/etc/shadow", "/etc/group"):
        for number, fields in records(subject.root.text(path) or ""):
            if fields[0].startswith("+"):
                yield Finding(path, "The line lets every account of a directory service in.", number)


def remains(subject: Subject) -> t.Iterator[Finding]:
    """Hashes outside of shadow, and backups of the account files."""
    for number, fields in records(subject.root.text("/etc/gshadow") or ""):
        if len(fields) > 1 and is_hash(fields[1].lstrip("!*")):
            yield Finding("/etc/gshadow", f"The group {fields[0]} has a password.", number)
    for path in files(subject.root, "/etc/security/opasswd"):
        yield Finding(path, "Old passwords are kept.", digest=digest(subject.root, path))
    for path in matching(subject.root, *_BACKUPS):
        found = records(subject.root.text(path) or "")
        hashes = any(len(fields) > 1 and is_hash(fields[1].lstrip("!*")) for _number, fields in found)
        what = "with a password" if hashes else "without a password"
        yield Finding(path, f"A copy of an account file, {what}.", None, None if hashes else WARNING)
    yield from _in_configuration(subject)


def _in_configuration(subject: Subject) -> t.Iterator[Finding]:
    """Hashes in the files of installers, of cloud-init, of a web server, of systemd's credentials."""
    allowance = Allowance()
    told = {*_PASSWORDS, *_BACKUPS, "/etc/gshadow", "/etc/security/opasswd"}
    for path, status in walk(subject.root, *dict.fromkeys([*_ELSEWHERE, "/root"])):
        if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= _SMALL or path in told:
            continue
        allowance.take(status.st_size, path)
        octets = subject.root.read(path) or b""
        match = _IN_TEXT.search(octets)
        if match is not None:
            line = octets.count(b"\n", 0, match.start()) + 1
            yield Finding(path, "The hash of a password.", line, None, digest(subject.root, path))


def remove_copies(subject: Subject, findings: t.Sequence[Finding]) -> t.Iterator[Repair]:
    """Copies go, old passwords are emptied; a group's password is left to the endorser."""
    for finding in findings:
        if finding.path in _BACKUPS:
            yield Repair(finding.path, None, "removed")
        elif finding.path == "/etc/security/opasswd":
            yield Repair(finding.path, b"", "emptied")
