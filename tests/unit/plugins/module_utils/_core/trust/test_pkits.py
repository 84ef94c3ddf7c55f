# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""NIST PKITS 1.0.1, end to end: every signed message gets the verdict of the table, and no invalid one is accepted.

The messages come with the package cryptography-vectors. The product never reads the CRLs inside a message: this harness
takes them out and makes them a site's CRL directory. NIST's users are of no grid, so there are no namespaces; some of
its signers are CAs, and only here that is no reason to refuse.
"""

from __future__ import annotations

import datetime
import importlib.resources
import pathlib
import re
import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import anchors, ber, verify
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message import mime
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.path import signer

CHECKOUT = pathlib.Path(__file__).resolve().parents[6]
PAGE = CHECKOUT / "docs" / "docsite" / "rst" / "trust" / "trust_model.rst"
WHEN = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.timezone.utc)
PREFIX = "Signed"


class Reason(t.NamedTuple):
    """A class of refusals: the codes, what the details look like, and for the page why a valid message is in it."""

    code: str
    detail: str
    why: str = ""


REASONS: t.Final[t.Mapping[str, Reason]] = {
    "algorithm": Reason(
        "weak_algorithm",
        "SHA-1",
        "Signed with DSA and SHA-1. Both are too weak to be believed.",
    ),
    "basic-constraints": Reason("no_valid_path", r"basicConstraints"),
    "bits": Reason("no_trust_anchor", "Bad Signed CA"),
    "critical-extension": Reason("no_valid_path", "unaccounted-for critical extensions"),
    "crl-dates": Reason("crl_unavailable", "it has expired on"),
    "crl-extension": Reason("crl_unavailable", "it has the extension .* which is not processed here"),
    "crl-key": Reason(
        "crl_unavailable",
        "its signature is not that of the issuer",
        "The CRL is signed with another key than the certificate, and the path does not hold the certificate of that"
        " key. Only the CA's keys on the path itself are believed.",
    ),
    "crl-missing": Reason("crl_unavailable", "there is none"),
    "crl-scope": Reason("crl_unavailable", "it is for .* only|a distribution point that the certificate does not name"),
    "crl-usage": Reason("crl_unavailable", "key usage does not allow to sign CRLs"),
    "dates": Reason("no_valid_path", "has expired on|valid only from|not valid at validation time"),
    "delta-crl": Reason(
        "crl_unavailable revoked",
        "it is a delta CRL|is revoked by the CRL of",
        "A delta CRL takes a certificate off hold. Delta CRLs are not processed, and what any genuine CRL has named"
        " stays revoked.",
    ),
    "indirect-crl": Reason(
        "crl_unavailable",
        "it is an indirect CRL|there is none|a distribution point that the certificate does not name",
        "Another authority than the CA itself issues the CRL (indirect CRL). Only CRLs of the CA itself are believed.",
    ),
    "key-usage": Reason("no_valid_path", "key usage of a CA does not allow to sign certificates"),
    "name-comparison": Reason(
        "no_trust_anchor",
        "No trust anchor stands above",
        "The name of a CA is written in another way in its own certificate and in those that it issued (upper and lower"
        " case, white space, type of the string). Names are compared as octets.",
    ),
    "name-constraints": Reason(
        "no_valid_path",
        "name ?[cC]onstraint",
        "A CA is constrained to distinguished names or to URIs, and the library does not process these name"
        " constraints. Namespaces do this work in the grid.",
    ),
    "path-length": Reason(
        "no_valid_path",
        "path length constraint violated|signature does not match",
        "Self-issued certificates count in the length of the path, which RFC 5280 excepts.",
    ),
    "policy": Reason(
        "no_valid_path",
        r"2\.5\.29\.(33|36|54): |signature does not match",
        "A CA of the path restricts or maps certificate policies (policy constraints, policy mappings, inhibit"
        " any-policy). Nothing here processes these, so a path that holds them is refused.",
    ),
    "revoked": Reason("revoked", "is revoked by the CRL of"),
    "serial-number": Reason("no_valid_path", "serial number cannot be negative"),
    "signature": Reason("no_valid_path", "signature does not match"),
    "some-reasons": Reason(
        "crl_unavailable",
        "it covers only some reasons",
        "The CA splits its CRLs by the reason for the revocation. Only CRLs for all reasons are believed.",
    ),
    "time-encoding": Reason(
        "no_valid_path",
        "must be UtcTime",
        "A date before 2050 is written as a GeneralizedTime, which RFC 5280 forbids a CA to do.",
    ),
}


class Entry(t.NamedTuple):
    """One line of the table: NIST's verdict under default settings, and ours ("accepted" or a class of refusals)."""

    name: str
    nist: str
    ours: str


def _table() -> list[Entry]:
    lines = (pathlib.Path(__file__).parent / "pkits_table.txt").read_text(encoding="utf-8").splitlines()
    return [Entry(*line.split()) for line in lines if line and not line.startswith("#")]


TABLE = _table()


@pytest.fixture(scope="session")
def data() -> pathlib.Path:
    """The folder PKITS_data of the package."""
    folder = importlib.resources.files("cryptography_vectors") / "x509" / "PKITS_data"
    assert isinstance(folder, pathlib.Path)
    return folder


@pytest.fixture
def ca_may_endorse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a CA sign messages: PKITS has such signers, and the product refuses them (not_end_entity)."""
    strict = signer.check_end_entity

    def lax(certificate: t.Any, *, allow_host: bool) -> str:
        try:
            return strict(certificate, allow_host=allow_host)
        except TrustError as refusal:
            if refusal.code != "not_end_entity":
                raise
            return "a CA"

    monkeypatch.setattr(signer, "check_end_entity", lax)


def crls_inside(message: bytes) -> list[bytes]:
    """The CRLs that a message carries, which only this harness takes out."""
    reader = ber.Reader(mime.split(message).cms)
    wrapper = reader.children(reader.only(ber.SEQUENCE))[1]
    fields = reader.children(reader.children(wrapper)[0])
    return [reader.whole(crl) for field in fields if field.tag == 0xA1 for crl in reader.children(field)]


def verdict(data: pathlib.Path, directory: pathlib.Path, name: str) -> TrustError | None:
    """The refusal of one message, None when it is accepted."""
    message = (data / "smime" / f"{PREFIX}{name}.eml").read_bytes()
    directory.mkdir(mode=0o755)
    files = {"00000000.0": (data / "certs" / "TrustAnchorRootCertificate.crt").read_bytes()}
    files.update({f"00000000.r{number}": crl for number, crl in enumerate(crls_inside(message))})
    for file, octets in files.items():
        (directory / file).write_bytes(octets)
        (directory / file).chmod(0o644)
    try:
        verify.verify_message(message, anchors.load_directory(directory), WHEN, namespaces_mode="if-present")
    except TrustError as refusal:
        return refusal
    return None


def test_the_table_is_of_all_messages(data: pathlib.Path) -> None:
    assert [entry.name for entry in TABLE] == sorted(
        path.stem[len(PREFIX) :] for path in (data / "smime").glob("*.eml")
    )
    assert len(TABLE) == 224


def test_the_table_keeps_to_nist() -> None:
    for entry in TABLE:
        assert entry.nist in ("valid", "invalid")
        assert entry.ours == "accepted" or entry.ours in REASONS
        if entry.name.startswith(("Valid", "Invalid")):
            assert entry.nist == re.split(r"(?<=valid)", entry.name.lower())[0]
    assert [entry.name for entry in TABLE if entry.ours == "accepted" and entry.nist != "valid"] == []


@pytest.mark.parametrize("entry", TABLE, ids=[entry.name for entry in TABLE])
@pytest.mark.usefixtures("ca_may_endorse")
def test_verdict(data: pathlib.Path, tmp_path: pathlib.Path, entry: Entry) -> None:
    refusal = verdict(data, tmp_path / "certificates", entry.name)
    if refusal is None:
        assert entry.nist == "valid", "a false accept"
        assert entry.ours == "accepted"
        return
    assert entry.ours != "accepted", str(refusal)
    reason = REASONS[entry.ours]
    assert refusal.code in reason.code.split()
    assert re.search(reason.detail, refusal.detail), refusal.detail


def test_a_ca_is_no_endorser_in_the_product(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    refusal = verdict(data, tmp_path / "certificates", "ValidonlyContainsCACertsCRLTest13")
    assert refusal is not None
    assert refusal.code == "not_end_entity"


def documented() -> str:
    """What the page says about the valid messages that are refused: one row for each reason."""
    valid = [entry for entry in TABLE if entry.nist == "valid"]
    accepted = [entry for entry in valid if entry.ours == "accepted"]
    lines = [
        f"Of the {len(TABLE) - len(valid)} invalid messages none is accepted.",
        f"Of the {len(valid)} valid ones {len(accepted)} are accepted, and {len(valid) - len(accepted)} refused:",
        "",
        ".. list-table::",
        "   :header-rows: 1",
        "   :widths: 45 10 45",
        "",
        "   * - Why",
        "     - Refused",
        "     - NIST's names of the tests",
    ]
    for name, reason in REASONS.items():
        refused = [entry.name for entry in valid if entry.ours == name]
        if refused:
            lines += [f"   * - {reason.why}", f"     - {len(refused)}", f"     - {', '.join(refused)}"]
            assert reason.why
    return "\n".join(lines)


def test_the_page_says_what_is_refused() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.partition(".. pkits: begin\n\n")[2].partition("\n\n.. pkits: end")[0] == documented()
