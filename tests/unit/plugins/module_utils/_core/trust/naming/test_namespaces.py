# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which names a CA may issue: the readers, and which file decides."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.naming import policies

POLICY = "access_id_CA X509 '{}'\npos_rights globus CA:sign\ncond_subjects globus '{}'\n"


def namespaces(text: str) -> tuple[policies.Rule, ...]:
    return policies.read_rules(text.encode(), "namespaces", "x")


def signing_policy(text: str) -> tuple[policies.Rule, ...]:
    return policies.read_rules(text.encode(), "signing_policy", "x")


def test_namespaces_are_read() -> None:
    rules = namespaces(
        "#NAMESPACES-VERSION: 1.0\n# a comment\n"
        'TO Issuer "/C=XX/CN=CA" \\\n  PERMIT Subject "/C=XX/.*"  # why\n'
        'to issuer SELF deny subject "/C=XX/O=(a|b)/.*"\n'
    )
    assert [(rule.issuer, rule.permit, rule.pattern) for rule in rules] == [
        ("/C=XX/CN=CA", True, "/C=XX/.*"),
        (None, False, "/C=XX/O=(a|b)/.*"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        'TO Issuer "/C=XX" PERMIT Subject',
        'TO Issuer "/C=XX" ALLOW Subject "/C=XX"',
        'TO Issuer /C=XX PERMIT Subject "/C=XX"',
        'TO Issuer "/C=XX" PERMIT Subject "/C=XX/("',
        'TO Issuer "/C=XX" PERMIT Subject "/C=XX/(?i)x"',
        'TO Issuer "/C=XX" PERMIT Subject "/C=[[:alpha:]]"',
        'TO Issuer "/C=XX" PERMIT Subject "/C=XX/.*',
        '#NAMESPACES-VERSION: 2.0\nTO Issuer "/C=XX" PERMIT Subject "/C=XX"',
        "garbage",
    ],
)
def test_malformed_namespaces(text: str) -> None:
    with pytest.raises(TrustError) as caught:
        namespaces(text)
    assert caught.value.code == "policy_malformed"


def test_regular_expressions_are_anchored() -> None:
    (rule,) = namespaces('TO Issuer SELF PERMIT Subject "/C=XX/O=a|/C=YY"')
    assert rule.matches("/C=XX/O=a")
    assert not rule.matches("/C=XX/O=ab")
    assert not rule.matches("/DC=x/C=YY")


def test_a_pattern_matches_its_own_text() -> None:
    (rule,) = namespaces('TO Issuer SELF PERMIT Subject "/CN=CA G3  [Run by the Issuer]"')
    assert rule.matches("/CN=CA G3  [Run by the Issuer]")


def test_signing_policies_are_read() -> None:
    rules = signing_policy(
        "# EACL\n" + POLICY.format("/C=XX/CN=CA", '"/C=XX/*" "/O=grid/*"') + "access_id_CA X509 '/C=YY/CN=CA'\n"
        "neg_rights globus CA:sign\ncond_subjects globus '\"/C=YY/*\"'\n"
    )
    assert [(rule.issuer, rule.permit, rule.pattern) for rule in rules] == [
        ("/C=XX/CN=CA", True, "/C=XX/*"),
        ("/C=XX/CN=CA", True, "/O=grid/*"),
        ("/C=YY/CN=CA", False, "/C=YY/*"),
    ]


def test_globs_are_anchored_and_know_only_stars_and_question_marks() -> None:
    rules = signing_policy(POLICY.format("/CN=CA", '"/C=X?/*" "/O=a.[b]"'))
    assert rules[0].matches("/C=XX/CN=Owen")
    assert not rules[0].matches("/DC=x/C=XX/CN=Owen")
    assert not rules[0].matches("/C=XX")
    assert rules[1].matches("/O=a.[b]")
    assert not rules[1].matches("/O=axb")


@pytest.mark.parametrize(
    "text",
    [
        "access_id_CA X509",
        "access_id_CA X509 '/CN=CA'\npos_rights globus CA:revoke\n",
        "cond_subjects globus '\"/C=XX/*\"'",
        "access_id_CA X509 '/CN=CA'\npos_rights globus CA:sign\ncond_subjects globus '\"/C=XX/*'",
        "anything goes here",
    ],
)
def test_malformed_signing_policies(text: str) -> None:
    with pytest.raises(TrustError) as caught:
        signing_policy(text)
    assert caught.value.code == "policy_malformed"


def test_every_certificate_below_the_root_is_checked(chain: t.Any) -> None:
    chain.write("11111111.namespaces", 'TO Issuer "/C=XX/CN=Root" PERMIT Subject "/C=YY/.*"')
    assert chain.refusal() == "namespace_violation"
    assert chain.refusal(namespaces_mode="if-present") == "namespace_violation"


def test_a_missing_rule(chain: t.Any) -> None:
    (chain.directory / "22222222.namespaces").unlink()
    assert chain.refusal() == "namespace_missing"
    assert chain.verify(namespaces_mode="if-present")


def test_deny_wins(chain: t.Any) -> None:
    permit = 'TO Issuer "/C=XX/CN=Sub" PERMIT Subject "/C=XX/.*"\n'
    chain.write("22222222.namespaces", 'TO Issuer SELF DENY Subject "/C=XX/CN=O.*"\n' + permit)
    assert chain.refusal() == "namespace_violation"


def test_self_is_the_ca_that_the_file_belongs_to(chain: t.Any) -> None:
    chain.write("22222222.namespaces", 'TO Issuer SELF PERMIT Subject "/C=XX/.*"')
    assert chain.verify()
    chain.write("22222222.namespaces", 'TO Issuer SELF PERMIT Subject "/C=YY/.*"')
    assert chain.refusal() == "namespace_violation"


def test_self_of_the_ca_above_says_nothing_about_the_ca_below(chain: t.Any) -> None:
    (chain.directory / "22222222.namespaces").unlink()
    chain.write("11111111.namespaces", 'TO Issuer SELF PERMIT Subject "/C=XX/.*"')
    assert chain.refusal() == "namespace_missing"


def test_without_a_rule_in_its_own_file_the_ca_above_decides(chain: t.Any) -> None:
    (chain.directory / "22222222.namespaces").unlink()
    root = 'TO Issuer "/C=XX/CN=Root" PERMIT Subject "/C=XX/CN=Sub"\n'
    chain.write("11111111.namespaces", root + 'TO Issuer "/C=XX/CN=Sub" PERMIT Subject "/C=XX/CN=Owen"')
    assert chain.verify()
    chain.write("11111111.namespaces", root + 'TO Issuer "/C=XX/CN=Sub" PERMIT Subject "/C=XX/CN=Eve"')
    assert chain.refusal() == "namespace_violation"


def test_its_own_file_decides_before_the_ca_above(chain: t.Any) -> None:
    root = 'TO Issuer "/C=XX/CN=Root" PERMIT Subject "/C=XX/CN=Sub"\n'
    chain.write("11111111.namespaces", root + 'TO Issuer "/C=XX/CN=Sub" PERMIT Subject "/C=XX/CN=Owen"')
    chain.write("22222222.namespaces", 'TO Issuer "/C=XX/CN=Sub" PERMIT Subject "/C=XX/CN=Eve"')
    assert chain.refusal() == "namespace_violation"


def test_the_signing_policy_counts_only_where_no_namespaces_rule_is(chain: t.Any) -> None:
    chain.write("22222222.signing_policy", POLICY.format("/C=XX/CN=Sub", '"/C=YY/*"'))
    assert chain.verify()
    (chain.directory / "22222222.namespaces").unlink()
    assert chain.refusal() == "namespace_violation"
    chain.write("22222222.signing_policy", POLICY.format("/C=XX/CN=Sub", '"/C=XX/*"'))
    assert chain.verify()


def test_a_policy_is_known_by_its_ca_not_by_its_file_name(chain: t.Any) -> None:
    (chain.directory / "22222222.namespaces").unlink()
    chain.write("99999999.signing_policy", POLICY.format("/C=XX/CN=Sub", '"/C=XX/*"'))
    assert chain.verify()
    chain.write("99999999.signing_policy", POLICY.format("/C=XX/CN=Other", '"/C=XX/*"'))
    assert chain.refusal() == "namespace_missing"


def test_a_malformed_file_of_the_ca_refuses_in_every_mode(chain: t.Any) -> None:
    chain.write("22222222.namespaces", "garbage")
    chain.write("22222222.signing_policy", POLICY.format("/C=XX/CN=Sub", '"/C=XX/*"'))
    assert chain.refusal(namespaces_mode="if-present") == "policy_malformed"


def test_a_malformed_file_of_another_ca_does_no_harm(chain: t.Any) -> None:
    chain.write("33333333.namespaces", "garbage")
    chain.write("22222222.namespaces", "# nothing here\n")
    chain.write("22222222.signing_policy", POLICY.format("/C=XX/CN=Sub", '"/C=XX/*"'))
    assert chain.verify()
