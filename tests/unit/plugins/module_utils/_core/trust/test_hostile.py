# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The largest input of every nasty shape ends soon: in a refusal that is no crash, or in the answer."""

from __future__ import annotations

import datetime
import json
import pathlib
import time
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist import check, fields, reader
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import (
    anchors,
    ber,
    certificates,
    verify,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.credentials import keys
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message import limits, mime, smime
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.naming import names, policies

#: CPU seconds; on an idle machine each takes under one.
SOON: t.Final = 4.0
CN = NameOID.COMMON_NAME


def ends_soon(action: t.Callable[[], object]) -> str:
    """The refusal's code, or "" when there was none."""
    begin = time.process_time()
    code = ""
    try:
        action()
    except TrustError as refusal:
        code = refusal.code
        assert len(refusal.detail) < 2000
    assert time.process_time() - begin < SOON
    assert code != "internal_error"
    return code


def filled(head: bytes, unit: bytes, size: int = limits.MAX_MESSAGE) -> bytes:
    return head + unit * ((size - len(head)) // len(unit))


def multipart(boundary: bytes) -> bytes:
    return b'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; boundary="' + boundary + b'"\n\n'


OPAQUE: t.Final = b"Content-Type: application/pkcs7-mime\nContent-Transfer-Encoding: binary\n\n"
ENCODED: t.Final = OPAQUE.replace(b"binary", b"base64")
MIME_SHAPES: t.Final[dict[str, bytes]] = {
    "dashes": filled(multipart(b"-") + b"x", b"-"),
    "boundary lines": filled(multipart(b"B"), b"--B\n"),
    "boundaries inside lines": filled(multipart(b"B"), b" --B"),
    "a long boundary": filled(multipart(b"-" * 69 + b"="), b"-"),
    "lines": filled(multipart(b"B"), b"\n--"),
    "headers": filled(b"", b"A:b\n"),
    "one header": filled(b"A:", b"b"),
    "continuation lines": filled(b"A:b\n", b" \n"),
    "parameters": filled(b"Content-Type: multipart/signed", b";a=b", 60_000) + b"\n\n",
    "blanks": b"Content-Type: multipart/signed;" + b" " * 60_000 + b"x\n\n",
    "backslashes": b'Content-Type: multipart/signed; a="' + b"\\\\" * 30_000 + b"\n\n",
    "base64": filled(ENCODED, b"AAA="),
    "padding": filled(ENCODED, b"="),
    "empty lines": filled(ENCODED, b"\n"),
}


@pytest.mark.parametrize("shape", MIME_SHAPES)
def test_hostile_mime(corpus: t.Any, shape: str) -> None:
    message = MIME_SHAPES[shape]
    assert len(message) <= limits.MAX_MESSAGE
    assert ends_soon(lambda: verify.verify_message(message, corpus.anchors(), corpus.when))


@pytest.mark.parametrize("line", [b"\n", b"\r\n", b"\r"])
def test_a_content_of_line_ends(corpus: t.Any, line: bytes) -> None:
    cms = mime.split(corpus.message("ok-openssl-cms-rsa")).cms
    message = mime.join(line * ((limits.MAX_MESSAGE - 20_000) // len(line)), cms, micalg="x", boundary="Q")
    assert ends_soon(lambda: verify.verify_message(message, corpus.anchors(), corpus.when)) == "digest_mismatch"


def tlv(tag: int, octets: bytes) -> bytes:
    return bytes([tag, 0x84]) + len(octets).to_bytes(4, "big") + octets


def signed_data(*fields: bytes) -> bytes:
    return tlv(0x30, bytes.fromhex("06092a864886f70d010702") + tlv(0xA0, tlv(0x30, b"\x02\x01\x01" + b"".join(fields))))


DATA: t.Final = bytes.fromhex("06092a864886f70d010701")
SET: t.Final = tlv(0x31, b"")
MANY: t.Final = 7 * 1024 * 1024
DER_SHAPES: t.Final[dict[str, bytes]] = {
    "never ends": b"\x30\x80" * (MANY // 2),
    "nested": b"\x30\x84\x00\x6f\xff\xf0" * (MANY // 6),
    "tiny elements": tlv(0x30, b"\x05\x00" * (MANY // 2)),
    "digest algorithms": signed_data(tlv(0x31, tlv(0x30, b"\x06\x01\x2a") * (MANY // 9)), tlv(0x30, DATA), SET),
    "a long identifier": tlv(0x30, tlv(0x06, b"\x81" * MANY)),
    "a long number": tlv(0x30, bytes.fromhex("06092a864886f70d010702") + tlv(0xA0, tlv(0x30, tlv(2, b"\x01" * MANY)))),
    "segments": signed_data(SET, tlv(0x30, DATA + tlv(0xA0, tlv(0x24, b"\x04\x01a" * (MANY // 3)))), SET),
    "nested segments": signed_data(
        SET, tlv(0x30, DATA + tlv(0xA0, b"\x24\x80" * 23 + b"\x04\x01a" * 8000 + b"\0\0" * 23)), SET
    ),
    "certificates": signed_data(SET, tlv(0x30, DATA), tlv(0xA0, b"\x30\x00" * (MANY // 2)), SET),
    "large certificates": signed_data(SET, tlv(0x30, DATA), tlv(0xA0, tlv(0x30, b"\0" * 100_000) * 64), SET),
    "signers": signed_data(SET, tlv(0x30, DATA), tlv(0x31, b"\x30\x00" * (MANY // 2))),
}


@pytest.mark.parametrize("shape", DER_SHAPES)
def test_hostile_der(corpus: t.Any, shape: str) -> None:
    message = OPAQUE + DER_SHAPES[shape]
    assert ends_soon(lambda: verify.verify_message(message, corpus.anchors(), corpus.when)).startswith("cms_")


def test_a_large_certificate_is_nobodys(corpus: t.Any) -> None:
    with pytest.raises(ber.BerError, match="cap"):
        certificates.fields(b"\x30" * (certificates.MAX_OCTETS + 1))


def test_certificates_that_lead_in_circles(corpus: t.Any, chain: t.Any) -> None:
    """Two CAs that certify each other, many times, with one key: without a limit the paths are countless."""
    key = ec.generate_private_key(ec.SECP256R1())

    def issue(subject: str, issuer: x509.Name, *, ca: bool = True) -> x509.Certificate:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(issuer).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(corpus.when - DAY).not_valid_after(corpus.when + DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        return builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256())

    circle = [issue("A", name("B")) for _turn in range(30)] + [issue("B", name("A")) for _turn in range(30)]
    circle.append(issue("B", chain.root.certificate.subject))
    message = smime.sign_message(b"{}\n", certificate=issue("Owen", name("A"), ca=False), key=key, chain=circle)
    assert ends_soon(lambda: chain.verify(message)) == "no_valid_path"


DAY: t.Final = datetime.timedelta(days=1)


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(CN, common_name)])


#: subjectAltName with an x400Address, an ediPartyName; cRLDistributionPoints with an ediPartyName
ODD_EXTENSIONS: t.Final = {
    "2.5.29.17": ["3004a3020500", "3008a506a1040c026161", "ff", "30058703010203"],
    "2.5.29.18": ["3008a506a1040c026161"],
    "2.5.29.31": ["300e300ca00aa008a506a1040c026161", "3000"],
    "2.5.29.30": ["3000"],
    "2.5.29.37": ["3000"],
}


@pytest.mark.parametrize(
    ("oid", "octets"), [(oid, octets) for oid, values in ODD_EXTENSIONS.items() for octets in values]
)
def test_odd_extensions_are_no_crash(chain: t.Any, oid: str, octets: str) -> None:
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), bytes.fromhex(octets))
    subject = chain.endorser.certificate.subject
    for issuer in (chain.sub, None):
        message = chain.message(chain.issue(subject, issuer, extensions=[(extension, False)]))
        ends_soon(lambda message=message: chain.verify(message))  # type: ignore[misc]


@pytest.mark.parametrize("file", ["11111111.0", "22222222.0"])
def test_odd_extensions_of_a_ca_are_no_crash(chain: t.Any, file: str) -> None:
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), bytes.fromhex("3008a506a1040c026161"))
    authority, issuer = (chain.root, None) if file == "11111111.0" else (chain.sub, chain.root)
    odd = chain.issue(
        authority.certificate.subject, issuer, ca=True, extensions=[(extension, False)], key=authority.key
    )
    chain.write(file, odd.pem)
    assert ends_soon(chain.verify) in ("crl_unavailable", "no_valid_path")


def issue_odd(chain: t.Any, tag: int, octets: bytes, days: tuple[int, int]) -> tuple[x509.Certificate, t.Any]:
    """A certificate that the CA has signed although its common name is of this type and these octets; and its key."""
    placeholder = "Z" * len(octets)
    issued = chain.issue([(NameOID.COUNTRY_NAME, "XX"), (CN, placeholder)], chain.sub, days=days)
    tbs = issued.certificate.tbs_certificate_bytes
    old = bytes([0x0C, len(octets)]) + placeholder.encode()
    assert tbs.count(old) == 1
    tbs = tbs.replace(old, bytes([tag, len(octets)]) + octets)
    signature = chain.sub.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    parts = tbs + bytes.fromhex("300a06082a8648ce3d040302") + bytes([0x03, len(signature) + 1, 0]) + signature
    return x509.load_der_x509_certificate(b"\x30\x82" + len(parts).to_bytes(2, "big") + parts), issued.key


@pytest.mark.parametrize(
    ("tag", "octets"),
    [(0x0C, b"\xff\xfe"), (0x14, b"\xe9\xe9"), (0x16, b"\xe9"), (0x30, b"\x05\x00"), (0x02, b"\x01"), (0x03, b"\0a")],
)
def test_odd_strings_in_a_name_are_no_crash(chain: t.Any, tag: int, octets: bytes) -> None:
    odd, key = issue_odd(chain, tag, octets, (-10, 100))
    verified = chain.verify(smime.sign_message(b"{}\n", certificate=odd, key=key))
    assert verified.signer.dn.startswith("/C=XX/CN=")
    assert f"#{tag:02x}" in verified.signer.rfc4514
    expired, key = issue_odd(chain, tag, octets, (-10, -1))
    assert chain.refusal(smime.sign_message(b"{}\n", certificate=expired, key=key)) == "no_valid_path"


LIST = b'"dc:identifier":"4e186b44-2c64-40ea-97d5-e9e5c0bce059","hv:version":"1",'
LIST += b'"dc:date:created":"2026-01-01","dc:date:expires":"2027-01-01"'
SIZE: t.Final = 4 * 1024 * 1024


def text(head: bytes, unit: bytes, tail: bytes) -> bytes:
    return filled(head, unit, SIZE - len(tail)) + tail


JSON_SHAPES: t.Final[dict[str, bytes]] = {
    "arrays": b"[" * SIZE,
    "objects": b'{"a":' * (SIZE // 5),
    "closing brackets": b"]" * SIZE,
    "flat arrays": text(b"[", b"[],", b"[]]"),
    "allowed depth": text(b"[", b"[" * 14 + b"]" * 14 + b",", b"[]]"),
    "digits": b"[" + b"1" * (SIZE - 2) + b"]",
    "fraction": b"[0." + b"1" * (SIZE - 4) + b"]",
    "numbers": text(b"[", b"1,", b"1]"),
    "quotes": b'"' * SIZE,
    "empty strings": text(b"[", b'"",', b'""]'),
    "backslashes": b'["' + b"\\" * (SIZE - 2),
    "escapes": text(b'["', b"\\u0041", b'"]'),
    "keys": b"{" + b",".join(b'"%x":0' % number for number in range(380_000)) + b"}",
    "one key": text(b"{", b'"":0,', b'"":0}'),
    "surrogates": text(b'["', b"\xc3\xa9", b'\\ud800"]'),
    "lines": b"\n" * SIZE,
    "endorsers": text(b"{" + LIST + b',"hv:endorser":[', b'{"hv:x509":{"hv:dn":"","hv:ca":""}},', b"0]}"),
    "version": b"{" + LIST.replace(b'"1"', b'"' + b"1." * 2_000_000 + b'"') + b"}",
}


@pytest.mark.parametrize("shape", JSON_SHAPES)
def test_hostile_json(shape: str) -> None:
    assert len(JSON_SHAPES[shape]) <= SIZE
    assert ends_soon(lambda: reader.read_list(JSON_SHAPES[shape])) in ("json_invalid", "list_malformed")


def test_many_endorsers(corpus: t.Any) -> None:
    endorsers = [{"hv:x509": {"hv:dn": "/CN=Nobody", "hv:ca": "/CN=CA"}}] * fields.MAX_ENDORSERS
    content = json.loads(b"{" + LIST + b"}")
    content["hv:endorser"] = endorsers

    def judge() -> None:
        octets = json.dumps(content).encode()
        owen = corpus.certificate("owen")
        check.check_list(octets, owen, corpus.when, identifier=None, endorsers=None, last_accepted=None)

    assert ends_soon(judge) == "endorser_mismatch"
    content["hv:endorser"] = [*endorsers, endorsers[0]]
    assert ends_soon(judge) == "list_malformed"


CROSS = "access_id_CA X509 a\n" * 20_000 + "pos_rights globus CA:sign\ncond_subjects globus '" + '"a"' * 100_000 + "'"
POLICIES: t.Final = {
    "statements": 'TO Issuer "a" PERMIT Subject "b"\n' * 30_000,
    "blanks": " " * 1_000_000 + '"',
    "backslashes": "\\ " * 500_000,
    "quotes": '"' * 999_999,
    "words": "a " * 499_999,
    "versions": "#NAMESPACES-VERSION:" * 50_000,
    "every CA may issue every subject": CROSS,
}


@pytest.mark.parametrize("shape", POLICIES)
def test_hostile_policies(shape: str) -> None:
    for kind in policies.KINDS:
        code = ends_soon(lambda kind=kind: policies.read_rules(POLICIES[shape].encode(), kind, "x"))  # type: ignore[misc]
        assert code in ("policy_malformed", "")


BEGIN, END = b"-----BEGIN CERTIFICATE-----\n", b"-----END CERTIFICATE-----\n"
BUNDLES: t.Final = {
    "beginnings": filled(b"", BEGIN),
    "beginnings of CRLs": filled(b"", b"-----BEGIN X509 CRL-----\nA\n" + END),
    "dashes": filled(b"", b"-"),
    "empty blocks": filled(b"", BEGIN + END),
    "blocks": filled(b"", BEGIN + b"MAAA\n" + END),
}


@pytest.mark.parametrize("shape", BUNDLES)
def test_hostile_bundles(tmp_path: pathlib.Path, shape: str) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(BUNDLES[shape])
    bundle.chmod(0o644)
    assert ends_soon(lambda: anchors.load(bundle)) == "anchors_unreadable"
    bundle.write_bytes(BUNDLES[shape][: keys.MAX_FILE])
    assert ends_soon(lambda: keys.load_certificate(bundle)) == "certificate_malformed"


def test_a_bundle_of_many_good_certificates(corpus: t.Any, tmp_path: pathlib.Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(filled(b"", corpus.certificate("root").public_bytes(Encoding.PEM)))
    bundle.chmod(0o644)
    assert ends_soon(lambda: anchors.load(bundle)) == ""


@given(st.binary(max_size=40).map(lambda octets: octets.translate(bytes(b"\r\nab"[octet % 4] for octet in range(256)))))
def test_canonical_line_ends(octets: bytes) -> None:
    """What `mime.canonical` does with two replacements, octet by octet."""
    expected = b"".join(
        b"\r\n" if octets[at : at + 1] == b"\n" and octets[at - 1 : at] != b"\r" else octets[at : at + 1]
        for at in range(len(octets))
    )
    assert mime.canonical(octets) == expected


def test_the_rfc4514_form_of_an_ordinary_name(corpus: t.Any) -> None:
    utf8 = corpus.certificate("utf8")
    assert names.rfc4514(utf8) == utf8.subject.rfc4514_string()
