# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Partitioned CRLs count for the certificates that they are for, and a CA that changed its key signs for both."""

from __future__ import annotations

import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import NameOID

HERE = x509.UniformResourceIdentifier("http://crl.example.org/1.crl")
ELSEWHERE = x509.UniformResourceIdentifier("http://crl.example.org/2.crl")
PART = x509.RelativeDistinguishedName([x509.NameAttribute(NameOID.COMMON_NAME, "Part 1")])


def issuing(
    *names: x509.GeneralName,
    relative: x509.RelativeDistinguishedName | None = None,
    users: bool = False,
    cas: bool = False,
    reasons: frozenset[x509.ReasonFlags] | None = None,
    indirect: bool = False,
    attributes: bool = False,
) -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(list(names) or None, relative, users, cas, reasons, indirect, attributes)


def point(
    *names: x509.GeneralName,
    relative: x509.RelativeDistinguishedName | None = None,
    reasons: frozenset[x509.ReasonFlags] | None = None,
    issuer: x509.Name | None = None,
) -> x509.DistributionPoint:
    return x509.DistributionPoint(
        list(names) or None, relative, reasons, [x509.DirectoryName(issuer)] if issuer else None
    )


def outcome(
    chain: t.Any, extension: x509.IssuingDistributionPoint, *points: x509.DistributionPoint, critical: bool = True
) -> str:
    """The verdict on an endorser with these distribution points when the CA's only CRL has this one."""
    extensions = [(x509.CRLDistributionPoints(points), False)] if points else []
    endorser = chain.issue(chain.endorser.certificate.subject, chain.sub, extensions=extensions)
    message = chain.message(endorser)
    chain.write("22222222.r0", chain.crl(chain.sub, extensions=[(extension, critical)]))
    try:
        chain.verify(message)
    except Exception as refusal:
        return str(getattr(refusal, "code", refusal))
    return "accepted"


@pytest.mark.parametrize("critical", [True, False])
def test_a_crl_for_users_is_for_the_endorser(chain: t.Any, critical: bool) -> None:
    assert outcome(chain, issuing(users=True), critical=critical) == "accepted"
    assert outcome(chain, issuing(cas=True), critical=critical) == "crl_unavailable"


def test_a_crl_for_cas_is_for_the_ca(chain: t.Any) -> None:
    chain.write("11111111.r0", chain.crl(chain.root, extensions=[(issuing(cas=True), True)]))
    assert chain.verify()
    chain.write("11111111.r0", chain.crl(chain.root, extensions=[(issuing(users=True), True)]))
    assert chain.refusal() == "crl_unavailable"


@pytest.mark.parametrize(
    "extension",
    [
        issuing(reasons=frozenset({x509.ReasonFlags.key_compromise})),
        issuing(indirect=True),
        issuing(attributes=True),
        issuing(HERE, indirect=True),
        issuing(HERE, reasons=frozenset({x509.ReasonFlags.key_compromise})),
    ],
    ids=["some reasons", "indirect", "attributes", "named and indirect", "named with some reasons"],
)
def test_other_restrictions_make_a_crl_unusable(chain: t.Any, extension: x509.IssuingDistributionPoint) -> None:
    assert outcome(chain, extension, point(HERE)) == "crl_unavailable"


def test_a_named_partition_counts_for_who_names_it(chain: t.Any) -> None:
    assert outcome(chain, issuing(HERE), point(HERE)) == "accepted"
    assert outcome(chain, issuing(ELSEWHERE, HERE), point(HERE)) == "accepted"
    assert outcome(chain, issuing(HERE), point(ELSEWHERE), point(HERE)) == "accepted"
    assert outcome(chain, issuing(HERE), point(ELSEWHERE)) == "crl_unavailable"
    assert outcome(chain, issuing(HERE)) == "crl_unavailable"


def test_a_name_relative_to_the_issuer_is_its_full_name(chain: t.Any) -> None:
    full = x509.DirectoryName(x509.Name([*chain.sub.certificate.subject.rdns, PART]))
    assert outcome(chain, issuing(relative=PART), point(relative=PART)) == "accepted"
    assert outcome(chain, issuing(full), point(relative=PART)) == "accepted"
    assert outcome(chain, issuing(relative=PART), point(full)) == "accepted"
    assert outcome(chain, issuing(relative=PART), point(x509.DirectoryName(x509.Name([PART])))) == "crl_unavailable"


def test_a_point_of_some_reasons_or_of_another_issuer_names_nothing(chain: t.Any) -> None:
    reasons = frozenset({x509.ReasonFlags.key_compromise})
    assert outcome(chain, issuing(HERE), point(HERE, reasons=reasons)) == "crl_unavailable"
    assert outcome(chain, issuing(HERE), point(HERE, issuer=chain.root.certificate.subject)) == "crl_unavailable"


def test_what_any_partition_names_is_revoked(chain: t.Any) -> None:
    chain.write("22222222.r1", chain.crl(chain.sub, chain.endorser, extensions=[(issuing(ELSEWHERE), True)]))
    assert chain.refusal() == "revoked"


def test_partitions_beside_each_other(chain: t.Any) -> None:
    chain.write("22222222.r0", chain.crl(chain.sub, extensions=[(issuing(cas=True), True)], number=1))
    chain.write("22222222.r1", chain.crl(chain.sub, extensions=[(issuing(users=True), True)], number=2))
    assert [crl.number for crl in chain.verify().crls] == [2, 1]
    # The newest is the other's, and does not stand in for the one that has run out.
    chain.write("22222222.r0", chain.crl(chain.sub, extensions=[(issuing(cas=True), True)], hours=(0, 24)))
    chain.write("22222222.r1", chain.crl(chain.sub, extensions=[(issuing(users=True), True)], hours=(-9, -1)))
    assert chain.refusal() == "crl_unavailable"


def test_the_ca_above_cannot_sign_for_the_ca(chain: t.Any) -> None:
    chain.write("22222222.r0", chain.crl(chain.sub, key=chain.root.key))
    assert chain.refusal() == "crl_unavailable"


def signed(endorser: t.Any, *embedded: t.Any) -> bytes:
    """A message that holds these certificates too; sign_message() leaves self-issued ones out."""
    builder = pkcs7.PKCS7SignatureBuilder().set_data(b'{"hv:imagelist": {}}\r\n')
    builder = builder.add_signer(endorser.certificate, endorser.key, hashes.SHA256())
    for one in embedded:
        builder = builder.add_certificate(one.certificate)
    return builder.sign(Encoding.SMIME, [pkcs7.PKCS7Options.DetachedSignature])


def test_a_renewed_root_in_the_message_changes_nothing(chain: t.Any) -> None:
    public = chain.root.key.public_key()
    named = (x509.SubjectKeyIdentifier.from_public_key(public), False)
    names = (x509.AuthorityKeyIdentifier.from_issuer_public_key(public), False)
    # Its key identifier makes it the likelier issuer, and the site's root stands above it as well.
    renewed = chain.issue(chain.root.certificate.subject, key=chain.root.key, ca=True, extensions=[named])
    sub = chain.issue(chain.sub.certificate.subject, chain.root, ca=True, key=chain.sub.key, extensions=[names])
    chain.write("22222222.0", sub.pem)
    assert len(chain.verify(signed(chain.endorser, renewed)).path) == 3


class RollOver:
    """The sub-CA certifies its former key under the same name; the endorser's certificate is of the former key."""

    def __init__(self, chain: t.Any) -> None:
        self.chain = chain
        name = chain.sub.certificate.subject
        self.former = chain.issue(name, chain.sub, ca=True)
        self.endorser = chain.issue(chain.endorser.certificate.subject, self.former)

    def message(self, *vouching: t.Any) -> bytes:
        return signed(self.endorser, *vouching)


def test_after_a_roll_over_one_crl_counts_for_both_keys(chain: t.Any) -> None:
    rolled = RollOver(chain)
    chain.write("22222222.namespaces", 'TO Issuer "/C=XX/CN=Sub" PERMIT Subject "/C=XX/.*"\n')
    verified = chain.verify(rolled.message(rolled.former))
    assert len(verified.path) == 4
    assert [crl.issuer for crl in verified.crls] == ["/C=XX/CN=Sub", "/C=XX/CN=Sub", "/C=XX/CN=Root"]
    chain.write("22222222.r0", chain.crl(chain.sub, rolled.endorser))
    assert chain.refusal(rolled.message(rolled.former)) == "revoked"
    chain.write("22222222.r0", chain.crl(chain.sub, rolled.former))
    assert chain.refusal(rolled.message(rolled.former)) == "revoked"


def test_the_former_key_cannot_speak_for_the_present_one(chain: t.Any) -> None:
    rolled = RollOver(chain)
    chain.write("22222222.r0", chain.crl(rolled.former))
    assert chain.refusal(rolled.message(rolled.former)) == "crl_unavailable"
    assert chain.refusal() == "crl_unavailable"


def test_a_stranger_of_the_same_name_vouches_for_nobody(chain: t.Any) -> None:
    rolled = RollOver(chain)
    stranger = chain.issue(chain.sub.certificate.subject, ca=True, key=rolled.former.key)
    assert chain.refusal(rolled.message(stranger)) == "no_valid_path"
    assert chain.refusal(rolled.message()) == "no_valid_path"
