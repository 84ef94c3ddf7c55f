# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is every name on the path one that its issuer may issue (step 9)?"""

from __future__ import annotations

import dataclasses
import typing as t

from ... import files
from ...errors import TrustError
from .. import certificates
from . import names, policies

if t.TYPE_CHECKING:
    from cryptography import x509

Mode = t.Literal["require", "if-present"]
MAX_FILE: t.Final = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Source:
    """A policy file: its path, the name hash in its file name, and its kind."""

    path: str
    stem: str
    kind: policies.Kind


class PolicyStore:
    """The policy files of a directory, each read when a path first needs it."""

    def __init__(self, sources: t.Sequence[Source], stems: t.Mapping[bytes, frozenset[str]]) -> None:
        self._sources = tuple(sources)
        self._stems = stems
        self._read: dict[str, tuple[policies.Rule, ...] | TrustError] = {}

    def _rules(self, source: Source) -> tuple[policies.Rule, ...]:
        if source.path not in self._read:
            try:
                _status, octets = files.read(source.path, MAX_FILE)
                self._read[source.path] = policies.read_rules(octets, source.kind, source.path)
            except (OSError, files.UnusableFileError) as error:
                detail = f"The file {source.path} cannot be read: {files.reason(error)}"
                self._read[source.path] = TrustError("policy_malformed", detail, path=source.path)
            except TrustError as error:
                self._read[source.path] = error
        found = self._read[source.path]
        if isinstance(found, TrustError):
            raise TrustError(found.code, found.detail, **found.context)
        return found

    def rules_for(self, issuer: bytes, above: t.Sequence[bytes]) -> list[policies.Rule]:
        """The rules that decide about what `issuer` (a Name) issues; `above` are the names of the CAs over it.

        The issuer's own files come first, then those of each CA above it, then files that carry nobody's hash or a
        wrong one (a policy is known by the CA it names). At each level `.namespaces` comes before `.signing_policy`.
        Raises `TrustError` (policy_malformed) when a file that might decide cannot be understood.
        """
        accepted = names.forms(issuer)
        looked_at: set[str] = set()
        for level, name in enumerate((issuer, *above)):
            stems = self._stems.get(name, frozenset())
            for kind in policies.KINDS:
                rules = []
                for source in self._sources:
                    if source.stem in stems and source.kind == kind:
                        looked_at.add(source.path)
                        rules += [rule for rule in self._rules(source) if _is_for(rule, accepted, own=level == 0)]
                if rules:
                    return rules
        for kind in policies.KINDS:
            rules = []
            for source in self._sources:
                if source.kind == kind and source.path not in looked_at:
                    try:
                        rules += [rule for rule in self._rules(source) if _is_for(rule, accepted, own=False)]
                    except TrustError:
                        continue  # a broken file of some other CA
            if rules:
                return rules
        return []


def _is_for(rule: policies.Rule, accepted: frozenset[str], *, own: bool) -> bool:
    return own if rule.issuer is None else rule.issuer in accepted


def check(path: t.Sequence[x509.Certificate], store: PolicyStore, mode: Mode) -> int:
    """Check every certificate below the root; returns how many were permitted by a rule.

    `path` has the signer first and the root last. Raises `TrustError`: namespace_violation namespace_missing
    policy_malformed.
    """
    subjects = [certificates.fields_of(certificate).subject for certificate in path]
    permitted = 0
    for position, subject in enumerate(subjects[:-1]):
        issuer, *above = subjects[position + 1 :]
        rules = store.rules_for(issuer, above)
        if not rules:
            if mode == "if-present":
                continue
            raise TrustError("namespace_missing", f"No rule says which names {names.slash(issuer)} may issue")
        accepted = names.forms(subject)
        hits = [rule for rule in rules if any(rule.matches(name) for name in accepted)]
        denied = [rule for rule in hits if not rule.permit]
        if denied or not hits:
            why = f"is denied by {denied[0].pattern!r}" if denied else "is not among its permitted names"
            raise TrustError("namespace_violation", f"{names.slash(issuer)} issued {names.slash(subject)}, which {why}")
        permitted += 1
    return permitted
