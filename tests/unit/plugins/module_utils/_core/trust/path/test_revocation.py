# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A good CRL for every level below the root, found by its issuer; whatever is wrong with one refuses."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

HOUR = datetime.timedelta(hours=1)
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")


def test_both_levels_are_asked(chain: t.Any) -> None:
    verified = chain.verify()
    assert [crl.issuer for crl in verified.crls] == ["/C=XX/CN=Sub", "/C=XX/CN=Root"]
    assert verified.good_until == chain.when + datetime.timedelta(hours=24)
    assert "CRL" in verified.good_until_reason


@pytest.mark.parametrize("level", ["sub", "root"])
def test_a_missing_crl_refuses(chain: t.Any, level: str) -> None:
    (chain.directory / {"sub": "22222222.r0", "root": "11111111.r0"}[level]).unlink()
    assert chain.refusal() == "crl_unavailable"
    assert len(chain.verify(crl_mode="if-present").crls) == 1


def test_a_revoked_signer_is_refused(chain: t.Any) -> None:
    chain.write("22222222.r0", chain.crl(chain.sub, chain.endorser))
    assert chain.refusal() == "revoked"
    assert chain.refusal(crl_mode="if-present") == "revoked"


def test_a_revoked_ca_is_refused(chain: t.Any) -> None:
    chain.write("11111111.r0", chain.crl(chain.root, chain.sub))
    assert chain.refusal() == "revoked"


def test_revoked_is_said_before_unavailable(chain: t.Any) -> None:
    chain.write("11111111.r0", chain.crl(chain.root, chain.sub))
    (chain.directory / "22222222.r0").unlink()
    assert chain.refusal() == "revoked"


def test_a_serial_in_an_expired_crl_is_still_revoked(chain: t.Any) -> None:
    chain.write("22222222.r0", chain.crl(chain.sub, chain.endorser, hours=(-48, -24)))
    assert chain.refusal() == "revoked"


def test_a_current_crl_does_not_forget_what_an_older_one_revoked(chain: t.Any) -> None:
    chain.write("22222222.r1", chain.crl(chain.sub, chain.endorser, hours=(-48, -24)))
    assert chain.refusal() == "revoked"


def test_the_newest_current_crl_is_the_one_named(chain: t.Any) -> None:
    chain.write("22222222.r1", chain.crl(chain.sub, hours=(0, 48), number=7))
    assert [crl.number for crl in chain.verify().crls] == [7, 1]


@pytest.mark.parametrize(
    ("hours", "good"),
    [((-2, -1), False), ((-2, 0), False), ((1, 2), False), ((0, 1), True)],
    ids=["expired", "ends now", "future", "starts now"],
)
def test_this_update_and_next_update(chain: t.Any, hours: tuple[int, int], good: bool) -> None:
    chain.write("22222222.r0", chain.crl(chain.sub, hours=hours))
    if good:
        assert chain.verify()
    else:
        assert chain.refusal() == "crl_unavailable"
        assert chain.refusal(crl_mode="if-present") == "crl_unavailable"


def test_a_forged_crl_is_none(chain: t.Any) -> None:
    chain.write("22222222.r0", chain.crl(chain.sub, key=ec.generate_private_key(ec.SECP256R1())))
    assert chain.refusal() == "crl_unavailable"


def test_a_forged_crl_cannot_revoke(chain: t.Any) -> None:
    forged = chain.crl(chain.sub, chain.endorser, key=ec.generate_private_key(ec.SECP256R1()))
    chain.write("22222222.r1", forged)
    assert chain.verify()


def test_a_crl_signed_with_sha1_is_none(chain: t.Any) -> None:
    key = rsa.generate_private_key(65537, 2048)
    sub = chain.issue(chain.sub.certificate.subject, chain.root, ca=True, key=key)
    chain.write("22222222.0", sub.pem)
    message = chain.message(chain.issue(chain.endorser.certificate.subject, sub))
    chain.write("22222222.r0", chain.crl(sub))
    assert chain.verify(message)
    weak = signed_with_sha1(chain.crl(sub), key)
    crl = x509.load_der_x509_crl(weak)
    key.public_key().verify(crl.signature, crl.tbs_certlist_bytes, padding.PKCS1v15(), hashes.SHA1())
    chain.write("22222222.r0", weak)
    assert chain.refusal(message) == "crl_unavailable"


def signed_with_sha1(pem: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """The CRL signed again with SHA-1, which the library itself refuses to do."""
    sha256, sha1 = bytes.fromhex("300d06092a864886f70d01010b0500"), bytes.fromhex("300d06092a864886f70d0101050500")
    tbs = x509.load_pem_x509_crl(pem).tbs_certlist_bytes
    assert tbs.count(sha256) == 1
    tbs = tbs.replace(sha256, sha1)
    signature = key.sign(tbs, padding.PKCS1v15(), hashes.SHA1())
    return der(0x30, tbs + sha1 + der(0x03, b"\0" + signature))


def der(tag: int, content: bytes) -> bytes:
    length = len(content)
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, length] if length < 128 else [tag, 0x80 | len(octets), *octets]) + content


@pytest.mark.parametrize(
    "extension",
    [
        (UNKNOWN, True),
        (x509.DeltaCRLIndicator(1), True),
        (x509.DeltaCRLIndicator(1), False),
    ],
    ids=["unknown critical", "delta", "delta not critical"],
)
def test_a_crl_that_is_not_the_full_list_is_none(chain: t.Any, extension: t.Any) -> None:
    chain.write("22222222.r0", chain.crl(chain.sub, extensions=[extension]))
    assert chain.refusal() == "crl_unavailable"


def test_an_unknown_extension_that_is_not_critical_does_no_harm(chain: t.Any) -> None:
    chain.write("22222222.r0", chain.crl(chain.sub, extensions=[(UNKNOWN, False)]))
    assert chain.verify()


def test_an_entry_with_a_critical_extension_makes_the_crl_unusable(chain: t.Any) -> None:
    other = chain.issue([(NameOID.COMMON_NAME, "Other")], chain.sub)
    reason = x509.CRLReason(x509.ReasonFlags.key_compromise)
    chain.write("22222222.r0", chain.crl(chain.sub, other, entry_extensions=[(reason, True)]))
    assert chain.refusal() == "crl_unavailable"


def test_an_issuer_that_may_not_sign_crls_cannot(chain: t.Any) -> None:
    usage = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
    sub = chain.issue(chain.sub.certificate.subject, chain.root, ca=True, extensions=[(usage, True)])
    endorser = chain.issue(chain.endorser.certificate.subject, sub)
    chain.write("22222222.0", sub.pem)
    chain.write("22222222.r0", chain.crl(sub))
    assert chain.refusal(chain.message(endorser)) == "crl_unavailable"


def test_a_crl_is_found_by_its_issuer_not_by_its_file_name(chain: t.Any) -> None:
    (chain.directory / "22222222.r0").rename(chain.directory / "99999999.r3")
    assert len(chain.verify().crls) == 2


@pytest.mark.parametrize("name", ["Sub", " SUB "])
def test_a_crl_that_writes_its_issuer_in_another_encoding_is_found(chain: t.Any, name: str) -> None:
    """Where a CRL may be missing, one that is passed over would let a revoked signer through."""
    country, common = (NameOID.COUNTRY_NAME, "XX"), (NameOID.COMMON_NAME, name)
    issuer = x509.Name([x509.NameAttribute(*one, _type=_ASN1Type.PrintableString) for one in (country, common)])
    entry = x509.RevokedCertificateBuilder().serial_number(chain.endorser.certificate.serial_number)
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer)
        .last_update(chain.when - HOUR)
        .next_update(chain.when + HOUR)
        .add_revoked_certificate(entry.revocation_date(chain.when - HOUR).build())
    )
    assert issuer.public_bytes() != chain.sub.certificate.subject.public_bytes()
    chain.write("22222222.r0", crl.sign(chain.sub.key, hashes.SHA256()).public_bytes(Encoding.PEM))
    assert chain.refusal() == "revoked"
    assert chain.refusal(crl_mode="if-present") == "revoked"


def test_an_unreadable_crl_of_the_ca_is_not_taken_for_a_missing_one(chain: t.Any) -> None:
    chain.write("22222222.r0", b"<html>404</html>")
    assert chain.refusal(crl_mode="if-present") == "crl_unavailable"


def test_an_unreadable_crl_of_another_ca_does_no_harm(chain: t.Any) -> None:
    chain.write("33333333.r0", b"<html>404</html>")
    assert chain.verify()


def test_a_der_crl_is_read(chain: t.Any) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    der = x509.load_pem_x509_crl(chain.crl(chain.sub, chain.endorser)).public_bytes(Encoding.DER)
    chain.write("22222222.r0", der)
    assert chain.refusal() == "revoked"


def test_a_large_crl_is_found_by_its_first_octets(chain: t.Any) -> None:
    others = [chain.issue([(NameOID.COMMON_NAME, "Other")], chain.sub, key=chain.sub.key) for _number in range(600)]
    octets = chain.crl(chain.sub, *others, chain.endorser, digest=hashes.SHA512())
    assert len(octets) > 16 * 1024
    chain.write("22222222.r0", octets)
    assert chain.refusal() == "revoked"
