# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages verify``: what proves a message, what refuses it, and the sixteen steps."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes

from ansible_collections.hepix.vmimages.plugins.module_utils._core import main as command
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import to_text

from .conftest import Answer

Verify = Callable[..., Answer]


@pytest.fixture
def verify(capfd: pytest.CaptureFixture[str]) -> Verify:
    def run(*arguments: str) -> Answer:
        capfd.readouterr()
        code = command.main(["verify", *arguments])
        return Answer(code, *capfd.readouterr())

    return run


def test_verify_says_what_proves_a_message_and_what_ends_it(bench: t.Any, verify: Verify) -> None:
    bench.publish()
    answer = verify(str(bench.message), "--anchors", str(bench.pki.certificates))
    lines = [" ".join(line.split()) for line in answer.out.splitlines()]
    assert lines[0] == "verified"
    assert any(line.startswith("RFC 4514 CN=Erin Endorser,") for line in lines)
    assert any(line.startswith("good until ") and line.endswith(", when the list expires") for line in lines)
    fingerprint = bench.pki.endorser.certificate.fingerprint(hashes.SHA256()).hex()
    assert f"certificate SHA-256 {fingerprint}" in lines
    assert sum(line.startswith(f"{bench.pki.sub.name} ") for line in lines) == 2  # in the path, and with its CRL
    assert any(line.startswith(f"{bench.pki.root.name} 1 1 h") for line in lines)


def test_verify_explains_the_sixteen_steps(bench: t.Any, verify: Verify) -> None:
    bench.publish()
    arguments = (str(bench.message), "--anchors", str(bench.pki.certificates), "--explain")
    lines = verify(*arguments).out.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("STEP"))
    table = lines[head + 1 :]
    assert [int(line[:4]) for line in table] == list(range(1, 17))
    column = lines[head].index("OUTCOME")
    assert {line[column:].split("  ")[0] for line in table} == {"passed", "not asked"}
    assert len(verify(*arguments, "--json").json["steps"]) == 16


def test_verify_says_at_which_step_a_message_is_refused(bench: t.Any, verify: Verify) -> None:
    bench.publish()
    bench.pki.revoke(bench.pki.endorser.certificate)
    arguments = (str(bench.message), "--anchors", str(bench.pki.certificates))
    answer = verify(*arguments)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("vmimages: revoked: The certificate of /DC=org/")
    assert answer.err.endswith("\n  refused at step 8 of 16: revocation\n")
    explained = verify(*arguments, "--explain")
    assert [line.split()[0] for line in explained.out.splitlines() if "  refused  " in line] == ["8"]
    report = verify(*arguments, "--json")
    assert report.code == 1
    assert (report.json["error"]["code"], report.json["step"]["number"]) == ("revoked", 8)
    assert report.json["error"]["remedy"] and len(report.json["steps"]) == 16


def test_an_audit_says_that_it_authorises_nothing(bench: t.Any, verify: Verify) -> None:
    bench.publish()
    anchors = ("--anchors", str(bench.pki.certificates))
    when = to_text(bench.pki.now + timedelta(days=3))
    answer = verify(str(bench.message), *anchors, "--when", when)
    assert answer.code == 0
    assert answer.out.splitlines()[0] == f"good at {when}: an audit of that time, which authorises nothing"
    report = verify(str(bench.message), *anchors, "--when", when, "--json").json
    assert (report["verified"], report["audit"], report["as_of"]) == (False, True, when)
    early = verify(str(bench.message), *anchors, "--when", "2001-01-01", "--json")
    assert (early.code, early.json["step"]["number"]) == (1, 7)
    assert verify(str(bench.message), *anchors, "--when", "soon").err.startswith("vmimages: option_invalid: ")
