# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the endorser says of the image, compared with the image; and what only the endorser can look for."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import tempfile
import typing as t

from ....errors import GuestError
from ...boot.matrix import judge
from ...plan.configuration.identity import FIELDS, IDENTITY
from ...root.names import shown
from ...root.walking import Allowance, parts, walk
from ..model import NOTE, WARNING, Finding, Subject
from ..places import digest

_OVERLAP: t.Final = 4096
_SAID: t.Final = 64 * 1024
_LINES: t.Final = 20


def boot_modes(subject: Subject) -> list[Finding] | None:
    """Whether the image boots in the modes that it is said to boot in."""
    claimed = subject.asked.modes
    if claimed is None:
        return None
    found = []
    for mode, verdict in judge(subject.survey).items():
        if mode in claimed and not verdict.ok:
            found += [Finding("/boot", f"{mode}: {text}") for _requirement, text in verdict.reasons]
        elif mode not in claimed and verdict.ok:
            found.append(Finding("/boot", f"It boots as {mode}, too, which is not said of it.", None, NOTE))
    return found


def identity(subject: Subject) -> list[Finding]:
    """Whether the image says which image it is, and the same as its list."""
    octets = subject.root.read(IDENTITY)
    if octets is None:
        return [Finding(IDENTITY, "The image does not say which image it is.")]
    try:
        said = json.loads(octets)
    except (ValueError, RecursionError) as error:
        raise GuestError("guest_malformed", f"{IDENTITY} of the tree is no JSON", path=IDENTITY) from error
    if not isinstance(said, dict):
        raise GuestError("guest_malformed", f"{IDENTITY} of the tree is no object", path=IDENTITY)
    lacking = [name for name in FIELDS if not isinstance(said.get(name), str)]
    found = [Finding(IDENTITY, f"It does not say {', '.join(lacking)}.")] if lacking else []
    for name, wanted in (subject.asked.identity or {}).items():
        if said.get(name) != wanted:
            what = f"It says another {name} than the list: {shown(str(said.get(name)))[:80]!a}."
            found.append(Finding(IDENTITY, what, None, WARNING))
    return found


def patterns(subject: Subject) -> list[Finding] | None:
    """What the endorser's own patterns find: neither the pattern nor the text that it finds is told."""
    given = subject.asked.patterns
    if given is None:
        return None
    found: list[Finding] = []
    allowance = Allowance()
    seen: set[tuple[int, int]] = set()
    for path, status in walk(subject.root, "/", skip=("/proc", "/sys", "/dev")):
        if stat.S_ISREG(status.st_mode) and status.st_size and (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            for number, line in _matches(subject, path, given, allowance):
                what = f"Pattern {number} of the endorser is found."
                found.append(Finding(path, what, line, None, digest(subject.root, path)))
    return found


def _matches(
    subject: Subject, path: str, given: t.Sequence[re.Pattern[bytes]], allowance: Allowance
) -> list[tuple[int, int]]:
    """The number of each pattern that is found, and the line of its first place."""
    found: dict[int, int] = {}
    lines, before = 1, b""
    for octets in parts(subject.root, path, allowance):
        text = before + octets
        for number, expression in enumerate(given, 1):
            match = expression.search(text) if number not in found else None
            if match is not None:
                found[number] = lines + text.count(b"\n", 0, match.start())
        before = text[-_OVERLAP:]
        lines += text.count(b"\n", 0, len(text) - len(before))
    return sorted(found.items())


def scanner(subject: Subject) -> list[Finding] | None:
    """What a program of the builder finds in the tree: status 0 nothing, 1 something, anything else is unknown."""
    given = subject.asked.scanner
    if not given:
        return None
    argv = [word.replace("{root}", subject.root.path) for word in given]
    with tempfile.TemporaryFile() as said:
        try:
            status = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=subject.asked.scanner_timeout,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired as error:
            seconds = subject.asked.scanner_timeout
            raise GuestError("scanner_failed", f"{argv[0]} did not end within {seconds:.0f} seconds") from error
        except OSError as error:
            raise GuestError("scanner_failed", f"{argv[0]} cannot be run: {(error.strerror or '').lower()}") from error
        said.seek(0)
        lines = said.read(_SAID).decode("utf-8", "backslashreplace").splitlines()
    if status not in (0, 1):
        raise GuestError("scanner_failed", f"{argv[0]} ended with status {status}")
    if status == 0:
        return []
    told = [shown(line.replace(subject.root.path, ""))[:300] for line in lines if line.strip()]
    found = [Finding("/", f"{argv[0].rsplit('/', 1)[-1]}: {line}") for line in told[:_LINES]]
    return found or [Finding("/", f"{argv[0]} found something, and did not say what.")]
