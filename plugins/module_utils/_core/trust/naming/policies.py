# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what names a CA may issue: `.namespaces` (EUGridPMA) and `.signing_policy` (Globus EACL) files."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import TrustError
from . import patterns

Kind = t.Literal["namespaces", "signing_policy"]
KINDS: t.Final[tuple[Kind, ...]] = ("namespaces", "signing_policy")

_TOKEN = re.compile(
    r"""(?P<blank>(?:\s|\\[ \t]*\r?\n)+) | (?P<comment>\#[^\n]*) | "(?P<double>[^"\n]*)" | '(?P<single>[^'\n]*)'
    | (?P<word>[^\s"'\#\\]+)""",
    re.VERBOSE,
)
_QUOTED = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)')\s*""")
MAX_RULES: t.Final = 4096
_VERSION = re.compile(r"#NAMESPACES-VERSION:[ \t]*(\S*)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Rule:
    """`issuer` (slash form; None means the CA that the file belongs to) may, or may not, issue what `matches`."""

    issuer: str | None
    permit: bool
    pattern: str
    expression: patterns.Pattern

    def matches(self, name: str) -> bool:
        """Whether the whole name matches; the pattern's own text always does."""
        return name == self.pattern or self.expression.fullmatch(name)


class _MalformedError(Exception):
    """What is wrong with the file."""


def read_rules(octets: bytes, kind: Kind, source: str) -> tuple[Rule, ...]:
    """The rules of one file.

    Raises `TrustError` (policy_malformed): a file that is only half understood decides nothing.
    """
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        text = octets.decode("latin-1")
    try:
        return _namespaces(text) if kind == "namespaces" else _signing_policy(text)
    except _MalformedError as error:
        raise TrustError("policy_malformed", f"The file {source} is malformed: {error}", path=source) from None


def _tokens(text: str) -> list[tuple[bool, str]]:
    """(quoted, text) of every word and string."""
    found = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            raise _MalformedError(f"line {text.count(chr(10), 0, at) + 1} cannot be read")
        at = match.end()
        if match["word"] is not None:
            found.append((False, match["word"]))
        elif match["double"] is not None or match["single"] is not None:
            found.append((True, match["double"] if match["double"] is not None else match["single"]))
    return found


def _namespaces(text: str) -> tuple[Rule, ...]:
    version = _VERSION.search(text)
    if version and version[1].split(".")[0] != "1":
        raise _MalformedError(f"its version is {version[1][:20]!r}, not 1.0")
    tokens = _tokens(text)
    if len(tokens) % 6:
        raise _MalformedError("a statement is incomplete")
    _check_number(len(tokens) // 6)
    rules = []
    for at in range(0, len(tokens), 6):
        statement = tokens[at : at + 6]
        words = [None if quoted else word.lower() for quoted, word in statement]
        issuer = None if words[2] == "self" else statement[2][1]
        if (
            words[:2] != ["to", "issuer"]
            or (issuer is not None and not statement[2][0])
            or words[3] not in ("permit", "deny")
            or words[4] != "subject"
            or not statement[5][0]
        ):
            raise _MalformedError(f"statement {at // 6 + 1} is not of the form TO Issuer ... PERMIT|DENY Subject ...")
        pattern = statement[5][1]
        rules.append(Rule(issuer, words[3] == "permit", pattern, _expression(pattern)))
    return tuple(rules)


def _expression(pattern: str) -> patterns.Pattern:
    try:
        return patterns.regular(pattern)
    except patterns.PatternError as error:
        raise _MalformedError(f"the pattern {pattern[:80]!r} is not understood: {error}") from None


def _signing_policy(text: str) -> tuple[Rule, ...]:
    tokens = _tokens(text)
    if len(tokens) % 3:
        raise _MalformedError("an entry is incomplete")
    rules: list[Rule] = []
    issuers: list[str] = []
    permit: bool | None = None
    for at in range(0, len(tokens), 3):
        (quoted, keyword), (_quoted, authority), (_quoted, value) = tokens[at : at + 3]
        keyword = "" if quoted else keyword.lower()
        if keyword.startswith("access_id_"):
            if permit is not None:
                issuers, permit = [], None
            if keyword == "access_id_ca" and authority.lower() == "x509":
                issuers.append(value)
        elif keyword in ("pos_rights", "neg_rights") and authority.lower() == "globus" and value.lower() == "ca:sign":
            permit = keyword == "pos_rights"
        elif keyword == "cond_subjects" and authority.lower() == "globus" and permit is not None:
            found = _patterns(value)
            _check_number(len(rules) + len(found) * len(issuers))
            for pattern in found:
                rules.extend(Rule(issuer, permit, pattern, _glob(pattern)) for issuer in issuers)
        else:
            raise _MalformedError(f"the entry {keyword or value!r:.80} is not understood")
    return tuple(rules)


def _check_number(rules: int) -> None:
    if rules > MAX_RULES:
        raise _MalformedError(f"it has more than {MAX_RULES} rules")


def _patterns(value: str) -> list[str]:
    if not value.lstrip().startswith(('"', "'")):
        return [value.strip()]
    found = []
    at = 0
    while at < len(value):
        match = _QUOTED.match(value, at)
        if not match:
            raise _MalformedError("the list of subjects is malformed")
        found.append(match[1] if match[1] is not None else match[2])
        at = match.end()
    return found


def _glob(pattern: str) -> patterns.Pattern:
    try:
        return patterns.glob(pattern)
    except patterns.PatternError as error:
        raise _MalformedError(f"the pattern {pattern[:80]!r} is not understood: {error}") from None
