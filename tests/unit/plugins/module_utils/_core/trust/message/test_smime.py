# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages of the openssl command line are accepted, ours verify there, and nothing may be changed on the way."""

from __future__ import annotations

import pathlib
import re
import subprocess
import typing as t

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import PublishError, TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import verify
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message import limits, smime


def openssl(*arguments: t.Any, octets: bytes | None = None) -> bytes:
    done = subprocess.run(["openssl", *map(str, arguments)], input=octets, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def refused(octets: bytes, corpus: t.Any, **options: t.Any) -> str:
    with pytest.raises(TrustError) as caught:
        verify.verify_message(octets, corpus.anchors(), corpus.when, **options)
    return caught.value.code


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("command", ["smime", "cms"])
@pytest.mark.parametrize("signer", ["owen", "owen_p256", "owen_p384"])
@pytest.mark.parametrize("options", [[], ["-nodetach"], ["-md", "sha512"], ["-binary"], ["-crlfeol"]], ids=" ".join)
def test_messages_of_openssl_are_accepted(corpus: t.Any, command: str, signer: str, options: list[str]) -> None:
    content = pathlib.Path(__file__).parents[1] / "corpus" / "list.json"
    pair = ("-signer", corpus.path(f"{signer}.pem"), "-inkey", corpus.path(f"{signer}.key"))
    octets = openssl(command, "-sign", "-in", content, *pair, *options)
    verified = verify.verify_message(octets, corpus.anchors(), corpus.when)
    assert verified.content.replace(b"\r\n", b"\n").strip() == corpus.content.replace(b"\r\n", b"\n").strip()
    assert verified.signer.dn == "/DC=org/DC=example-grid/OU=users/CN=Owen Example"


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("options", [["-keyid"], ["-nosmimecap"], ["-cades"], ["-stream", "-nodetach"]], ids=" ".join)
def test_messages_of_openssl_cms(corpus: t.Any, options: list[str]) -> None:
    pair = ("-signer", corpus.path("owen.pem"), "-inkey", corpus.path("owen.key"))
    octets = openssl("cms", "-sign", *pair, *options, octets=corpus.content)
    assert verify.verify_message(octets, corpus.anchors(), corpus.when)


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["-noattr"], "cms_no_signed_attributes"),
        (["-nocerts"], "signer_certificate"),
        (["-md", "md5"], "weak_algorithm"),
        (["-md", "sha1"], "weak_algorithm"),
        (["-md", "sha224"], "unsupported_algorithm"),
        (["-econtent_type", "1.2.840.113549.1.9.16.1.4"], "cms_content_type"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_messages_outside_the_profile(corpus: t.Any, options: list[str], code: str) -> None:
    pair = ("-signer", corpus.path("owen.pem"), "-inkey", corpus.path("owen.key"))
    assert refused(openssl("cms", "-sign", *pair, *options, octets=corpus.content), corpus) == code


@pytest.mark.needs("openssl")
def test_two_signers_are_refused(corpus: t.Any) -> None:
    pairs = [
        ("-signer", corpus.path(f"{name}.pem"), "-inkey", corpus.path(f"{name}.key")) for name in ("owen", "email")
    ]
    assert refused(openssl("cms", "-sign", *pairs[0], *pairs[1], octets=corpus.content), corpus) == "cms_signer_count"


@pytest.mark.needs("openssl")
def test_encrypted_messages_are_refused(corpus: t.Any) -> None:
    octets = openssl("cms", "-encrypt", "-aes256", corpus.path("owen.pem"), octets=corpus.content)
    assert refused(octets, corpus) == "mime_unsupported"
    disguised = octets.replace(b"enveloped-data", b"signed-data")
    assert refused(disguised, corpus) == "cms_not_signed_data"


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("signer", ["owen", "owen_p256", "owen_p384"])
@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
def test_our_messages_verify_everywhere(corpus: t.Any, tmp_path: pathlib.Path, signer: str, digest: str) -> None:
    octets = smime.sign_message(
        corpus.content.replace(b"\r\n", b"\n"),
        certificate=corpus.certificate(signer),
        key=corpus.key(signer),
        chain=[corpus.certificate("sub"), corpus.certificate("root"), corpus.certificate(signer)],
        digest=digest,
    )
    verified = verify.verify_message(octets, corpus.anchors("trust_rootonly"), corpus.when, **OPEN)
    assert verified.digest == digest
    message = tmp_path / "list.smime"
    message.write_bytes(octets)
    at = ("-attime", int(corpus.when.timestamp()), "-CAfile", corpus.path("root.pem"), "-no-CApath", "-no-CAstore")
    for command in ("cms", "smime"):
        content = openssl(command, "-verify", "-in", message, *at, "-purpose", "any")
        assert content == verified.content


OPEN: dict[str, t.Any] = {"crl_mode": "if-present", "namespaces_mode": "if-present"}


def test_the_format_that_we_write(corpus: t.Any) -> None:
    certificate, key = corpus.certificate("owen"), corpus.key("owen")
    octets = smime.sign_message(b'{"a": 1}\n', certificate=certificate, key=key)
    assert b'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; micalg="sha-256"' in octets
    message = smime.read_message(octets)
    assert message.content == b'{"a": 1}\r\n'
    assert message.form == "as sent"
    assert smime.read_message(octets.replace(b"\r\n", b"\n")).form == "canonical"
    assert smime.read_message(octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")).content == message.content


def test_the_root_is_not_embedded_and_nothing_twice(corpus: t.Any) -> None:
    names = ("sub", "root", "owen", "sub")
    octets = smime.sign_message(
        b"{}\n",
        certificate=corpus.certificate("owen"),
        key=corpus.key("owen"),
        chain=[corpus.certificate(name) for name in names],
    )
    assert len(smime.read_message(octets).signed_data.certificates) == 2


def test_what_cannot_be_signed(corpus: t.Any) -> None:
    owen = {"certificate": corpus.certificate("owen"), "key": corpus.key("owen")}
    cases: list[tuple[dict[str, t.Any], str]] = [
        ({"key": corpus.key("email")}, "key_mismatch"),
        ({"digest": "sha1"}, "publish_invalid"),
        ({"key": ed25519.Ed25519PrivateKey.generate()}, "publish_invalid"),
    ]
    for change, code in cases:
        with pytest.raises(PublishError) as caught:
            smime.sign_message(b"{}", **{**owen, **change})
        assert caught.value.code == code


def test_a_key_in_a_token_signs(corpus: t.Any) -> None:
    assert smime.read_message(
        smime.sign_message(b"{}\n", certificate=corpus.certificate("owen_p256"), key=token(corpus.key("owen_p256")))
    )


def token(key: ec.EllipticCurvePrivateKey) -> t.Any:
    """A key that only signs, as one behind PKCS#11 does."""

    class Token(ec.EllipticCurvePrivateKey):
        def sign(self, data: t.Any, signature_algorithm: t.Any) -> bytes:
            return key.sign(data, signature_algorithm)

        def public_key(self) -> ec.EllipticCurvePublicKey:
            return key.public_key()

        curve = property(lambda self: key.curve)
        key_size = property(lambda self: key.key_size)

        def _refuse(self, *_arguments: t.Any, **_options: t.Any) -> t.Any:
            raise AssertionError("the key never leaves its token")

        exchange = private_numbers = private_bytes = __copy__ = __deepcopy__ = _refuse

    return Token()


def test_every_changed_octet_of_the_content_is_seen(corpus: t.Any) -> None:
    octets = corpus.message("ok-openssl-cms-rsa")
    start = octets.index(b"{")
    for at in range(start, start + 1000, 37):
        changed = octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :]
        assert refused(changed, corpus) in ("digest_mismatch", "mime_malformed")


def test_changed_octets_of_the_signature_are_seen(corpus: t.Any) -> None:
    octets = corpus.message("ok-openssl-cms-rsa")
    match = re.search(rb"base64.*?\n\r?\n(.*?)\r?\n\r?\n--", octets, re.DOTALL)
    assert match
    start, end = match.span(1)
    accepted = []
    for at in range(start, end, 29):
        if octets[at] in b"\r\n=":
            continue
        other = b"A" if octets[at : at + 1] != b"A" else b"B"
        changed = octets[:at] + other + octets[at + 1 :]
        try:
            verified = verify.verify_message(changed, corpus.anchors(), corpus.when)
        except TrustError as refusal:
            assert refusal.code != "internal_error"
        else:
            accepted.append(verified.signer.fingerprint)
    # What nothing is said about by the signature (algorithm lists, unrelated certificates) may change; the signer not.
    assert set(accepted) <= {verify.verify_message(octets, corpus.anchors(), corpus.when).signer.fingerprint}


def test_the_size_cap(corpus: t.Any) -> None:
    octets = corpus.message("ok-openssl-cms-rsa")
    padded = octets + b"\n" * (limits.MAX_MESSAGE - len(octets))
    assert verify.verify_message(padded, corpus.anchors(), corpus.when)
    assert refused(padded + b"\n", corpus) == "too_large"


def test_reading_needs_no_time_and_no_trust(corpus: t.Any) -> None:
    message = smime.read_message(corpus.message("ok-m2crypto-sha1"))
    assert message.signed_data.signer.digest == "sha1"
    with pytest.raises(TrustError) as caught:
        smime.read_message(corpus.message("ok-m2crypto-sha1"), allow_sha1=False)
    assert caught.value.code == "weak_algorithm"
    with pytest.raises(TrustError) as caught:
        smime.read_message(corpus.message("bad-md5"))
    assert caught.value.code == "weak_algorithm"


def test_weak_and_odd_keys(chain: t.Any) -> None:
    cases: list[tuple[t.Any, str]] = [
        (rsa.generate_private_key(65537, 1024), "weak_key"),
        (ec.generate_private_key(ec.SECP192R1()), "weak_key"),
        (ec.generate_private_key(ec.SECP256K1()), "unsupported_algorithm"),
    ]
    for key, code in cases:
        endorser = chain.issue(chain.endorser.certificate.subject, chain.sub, key=key)
        assert chain.refusal(chain.message(endorser)) == code
