# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endorser's key: only its owner may read it, it opens, and it belongs to a certificate that is valid."""

from __future__ import annotations

import datetime
import pathlib
import typing as t

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.credentials import keys

SECRET = b"correct horse"


def write(path: pathlib.Path, key: t.Any, passphrase: bytes | None = None, mode: int = 0o600) -> pathlib.Path:
    encryption: t.Any = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    path.chmod(mode)
    return path


@pytest.fixture
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def refusal(call: t.Callable[..., object], *arguments: t.Any) -> VmimagesError:
    with pytest.raises(VmimagesError) as caught:
        call(*arguments)
    return caught.value


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_is_loaded(tmp_path: pathlib.Path, key: t.Any, mode: int) -> None:
    loaded = keys.load_signing_key(write(tmp_path / "key.pem", key, mode=mode))
    assert loaded.public_key() == key.public_key()


def test_an_encrypted_key(tmp_path: pathlib.Path, key: t.Any) -> None:
    path = write(tmp_path / "key.pem", key, SECRET)
    assert keys.load_signing_key(path, SECRET).public_key() == key.public_key()
    assert refusal(keys.load_signing_key, path).code == "passphrase_missing"
    wrong = refusal(keys.load_signing_key, path, b"wrong secret")
    assert wrong.code == "passphrase_wrong"
    assert "wrong secret" not in f"{wrong} {wrong.as_dict()}"


def test_a_passphrase_that_is_not_needed_is_ignored(tmp_path: pathlib.Path, key: t.Any) -> None:
    assert keys.load_signing_key(write(tmp_path / "key.pem", key), SECRET)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_key_that_others_may_use(tmp_path: pathlib.Path, key: t.Any, mode: int) -> None:
    found = refusal(keys.load_signing_key, write(tmp_path / "key.pem", key, mode=mode))
    assert found.code == "key_permissions"
    assert f"{mode:04o}" in found.detail


def test_what_is_no_key(tmp_path: pathlib.Path) -> None:
    assert refusal(keys.load_signing_key, tmp_path / "none").code == "key_missing"
    assert refusal(keys.load_signing_key, tmp_path).code == "key_unreadable"
    garbage = tmp_path / "garbage.pem"
    garbage.write_bytes(b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    garbage.chmod(0o600)
    found = refusal(keys.load_signing_key, garbage)
    assert found.code == "key_unreadable"
    assert "c2VjcmV0" not in f"{found} {found.as_dict()}"


def test_keys_that_cannot_endorse(tmp_path: pathlib.Path) -> None:
    weak = write(tmp_path / "weak.pem", rsa.generate_private_key(65537, 1024))
    assert refusal(keys.load_signing_key, weak).code == "weak_key"
    odd = write(tmp_path / "odd.pem", ed25519.Ed25519PrivateKey.generate())
    assert refusal(keys.load_signing_key, odd).code == "key_unreadable"


def test_certificates(corpus: t.Any, tmp_path: pathlib.Path) -> None:
    owen = corpus.certificate("owen")
    assert keys.load_certificate(corpus.path("owen.pem")) == owen
    both = tmp_path / "both.pem"
    both.write_bytes(b"Bag Attributes\n" + corpus.path("owen.pem").read_bytes() + corpus.path("sub.pem").read_bytes())
    assert keys.load_certificate(both) == owen
    assert keys.load_chain([both, corpus.path("root.pem")]) == tuple(
        corpus.certificate(name) for name in ("owen", "sub", "root")
    )
    der = tmp_path / "owen.der"
    der.write_bytes(owen.public_bytes(Encoding.DER))
    assert keys.load_certificate(der) == owen


def test_what_is_no_certificate(tmp_path: pathlib.Path) -> None:
    assert refusal(keys.load_certificate, tmp_path / "none").code == "certificate_missing"
    for octets in (b"", b"\x30\x03\x02\x01\x01", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        (tmp_path / "garbage").write_bytes(octets)
        assert refusal(keys.load_certificate, tmp_path / "garbage").code == "certificate_malformed"


def test_key_and_certificate_belong_together(corpus: t.Any) -> None:
    owen, key = corpus.certificate("owen"), corpus.key("owen")
    keys.check_signer(owen, key, corpus.when)
    assert refusal(keys.check_signer, owen, corpus.key("email"), corpus.when).code == "key_mismatch"
    years = datetime.timedelta(days=800)
    assert refusal(keys.check_signer, owen, key, corpus.when + years).code == "certificate_expired"
    assert refusal(keys.check_signer, owen, key, corpus.when - years).code == "certificate_expired"


def test_the_passphrase_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(SECRET + b"\nsecond line\n")
    path.chmod(0o600)
    assert keys.read_passphrase(path) == SECRET
    path.chmod(0o644)
    assert refusal(keys.read_passphrase, path).code == "key_permissions"
    assert refusal(keys.read_passphrase, tmp_path / "none").code == "passphrase_missing"
