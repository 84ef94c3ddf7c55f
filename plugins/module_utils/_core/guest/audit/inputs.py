# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the endorser gives an audit to compare with: files are read at once, and told by their SHA-256 in the report."""

from __future__ import annotations

import hashlib
import json
import re
import typing as t

from ..packages.flaws.data import invalid, read_flaws
from .model import Asked

_PATTERNS: t.Final = 1000
_LARGEST: t.Final = 256 * 1024 * 1024
_KEY: t.Final = re.compile(r"(?:0x)?([0-9a-f]{8}|[0-9a-f]{16}|[0-9a-f]{40}|[0-9a-f]{64})\Z")


def read_inputs(
    *,
    accounts: t.Iterable[str] = (),
    modes: t.Sequence[str] | None = None,
    identity: t.Mapping[str, str] | None = None,
    package_keys: t.Iterable[str] = (),
    vulnerabilities: str | None = None,
    manifest: str | None = None,
    patterns: str | None = None,
    scanner: t.Sequence[str] = (),
    free_space: bool = True,
) -> tuple[Asked, dict[str, t.Any]]:
    """What is asked, and the record of it for the report. Raises `GuestError` (audit_input_invalid)."""
    flaws = None if vulnerabilities is None else read_flaws(vulnerabilities)
    listed, listed_digest = (None, None) if manifest is None else _listed(manifest)
    expressions, patterns_digest = (None, None) if patterns is None else _expressions(patterns)
    asked = Asked(
        accounts=frozenset(accounts),
        package_keys=frozenset(_key(key) for key in package_keys),
        modes=None if modes is None else tuple(modes),
        identity=identity,
        flaws=flaws,
        listed=listed,
        patterns=expressions,
        scanner=tuple(scanner),
        free_space=free_space,
    )
    given = {
        "accounts": sorted(asked.accounts),
        "free_space": free_space,
        "identity": None if identity is None else dict(identity),
        "manifest": listed_digest,
        "modes": None if asked.modes is None else list(asked.modes),
        "package_keys": sorted(asked.package_keys),
        "patterns": patterns_digest,
        "scanner": list(asked.scanner),
        "vulnerabilities": None if flaws is None else flaws.sha256,
    }
    return asked, given


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - the path is the user's own
            octets = file.read(_LARGEST + 1)
    except OSError as error:
        raise invalid(path, (error.strerror or "it cannot be read").lower()) from error
    if len(octets) > _LARGEST:
        raise invalid(path, f"it has more than {_LARGEST} octets")
    return octets


def _listed(path: str) -> tuple[frozenset[tuple[str, str]], str]:
    """The packages of a database that an SPDX document lists; what it lists besides is none of them."""
    octets = _read(path)
    try:
        document = json.loads(octets)
        found = frozenset(
            (entry["name"], entry.get("versionInfo", ""))
            for entry in document["packages"]
            if any(_is_installed(reference) for reference in entry.get("externalRefs", ()))
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise invalid(path, "it is no SPDX document in JSON") from error
    return found, hashlib.sha256(octets).hexdigest()


def _is_installed(reference: t.Mapping[str, t.Any]) -> bool:
    return str(reference.get("referenceLocator", "")).startswith(("pkg:deb/", "pkg:rpm/"))


def _expressions(path: str) -> tuple[tuple[re.Pattern[bytes], ...], str]:
    """One regular expression a line; an empty line and one that begins with # is none."""
    octets = _read(path)
    found = []
    for number, row in enumerate(octets.split(b"\n"), 1):
        text = row.strip(b"\r")
        if not text.strip() or text.startswith(b"#"):
            continue
        try:
            found.append(re.compile(text, re.MULTILINE))
        except (re.error, RecursionError, OverflowError) as error:
            raise invalid(path, f"line {number} is no regular expression") from error
        if found[-1].search(b"") is not None or len(found) > _PATTERNS:
            raise invalid(path, f"line {number} matches everything, or is one of more than {_PATTERNS}")
    if not found:
        raise invalid(path, "it has no pattern")
    return tuple(found), hashlib.sha256(octets).hexdigest()


def _key(text: str) -> str:
    match = _KEY.match(text.replace(" ", "").lower())
    if match is None:
        raise invalid("package_keys", f"{text[:70]!a} is no id and no fingerprint of a key")
    # Of a fingerprint of version 4 the id is the end, of a later one the beginning.
    return match[1][:16] if len(match[1]) == 64 else match[1][-16:]
