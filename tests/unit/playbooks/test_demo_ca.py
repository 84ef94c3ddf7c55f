# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's certification authority keeps to IGTF's layout and OpenSSL's rules."""

from __future__ import annotations

import os
import stat
import subprocess
import typing as t
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID


def _openssl(*arguments: str | Path) -> str:
    environment = {**os.environ, "OPENSSL_CONF": os.devnull}
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, check=True, text=True, capture_output=True, env=environment).stdout


def _verify(pki: t.Any, certificate: Path) -> subprocess.CompletedProcess[str]:
    command = ["openssl", "verify", "-no-CAfile", "-CApath", str(pki.certificates), "-crl_check_all", str(certificate)]
    return subprocess.run(command, check=False, text=True, capture_output=True)


@pytest.mark.needs("openssl")
def test_both_hashes_are_openssls(pki: t.Any, demo_ca: t.Any) -> None:
    for which in ("root", "sub"):
        path = pki.certificates / f"example-grid-{which}.pem"
        subject = x509.load_pem_x509_certificate(path.read_bytes()).subject
        hashes = _openssl("x509", "-in", path, "-noout", "-subject_hash", "-subject_hash_old").split()
        assert [demo_ca.new_hash(subject), demo_ca.old_hash(subject)] == hashes
        for digest in hashes:
            assert (pki.certificates / f"{digest}.0").read_bytes() == path.read_bytes()
            for suffix in ("r0", "namespaces", "signing_policy"):
                assert (pki.certificates / f"{digest}.{suffix}").stat().st_size > 0


@pytest.mark.needs("openssl")
def test_canonical_hash_folds_case_and_blanks(demo_ca: t.Any, pki: t.Any, tmp_path: Path) -> None:
    odd = demo_ca.make_name((NameOID.ORGANIZATION_NAME, "  Ünder   GRID "), (NameOID.COMMON_NAME, "x" * 64))
    certificate = pki._sign_authority(odd, demo_ca.make_key("p256"), None)
    (tmp_path / "odd.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    expected = _openssl("x509", "-in", tmp_path / "odd.pem", "-noout", "-subject_hash", "-subject_hash_old").split()
    assert [demo_ca.new_hash(odd), demo_ca.old_hash(odd)] == expected


@pytest.mark.needs("openssl")
def test_openssl_accepts_the_endorser_until_revoked(pki: t.Any) -> None:
    assert _verify(pki, pki.endorser.certificate_path).returncode == 0
    pki.revoke(pki.endorser.certificate)
    assert "certificate revoked" in _verify(pki, pki.endorser.certificate_path).stderr


@pytest.mark.needs("openssl")
def test_revoking_the_sub_ca_and_expiry_are_seen(pki: t.Any) -> None:
    expired = pki.issue("Late Larry", days=-1, key="p256")
    assert "has expired" in _verify(pki, expired.certificate_path).stderr
    pki.write_crls(-1)
    assert "CRL has expired" in _verify(pki, pki.endorser.certificate_path).stderr
    pki.revoke(pki.sub.certificate)
    assert "certificate revoked" in _verify(pki, pki.endorser.certificate_path).stderr


def test_crl_numbers_rise(pki: t.Any) -> None:
    def numbers() -> list[int]:
        crls = [x509.load_pem_x509_crl(path.read_bytes()) for path in pki.certificates.glob("example-grid-*.r0")]
        return [crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for crl in crls]

    before = numbers()
    pki.write_crls(3)
    assert len(before) == 2
    assert [number + 1 for number in before] == numbers()


def test_modes_do_not_depend_on_the_umask(demo_ca: t.Any, now: t.Any, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        pki = demo_ca.DemoCA(tmp_path / "ca", now)
        pki.make()
    finally:
        os.umask(old)
    for path in pki.directory.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o022, path
    for path in (pki.endorser.key_path, pki.tls / "server.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_key_with_a_passphrase(pki: t.Any) -> None:
    issued = pki.issue("Pat Passphrase", key="p256", passphrase=b"open sesame")
    with pytest.raises(TypeError):
        serialization.load_pem_private_key(issued.key_path.read_bytes(), None)
    assert serialization.load_pem_private_key(issued.key_path.read_bytes(), b"open sesame")
    assert issued.dn == "/DC=org/DC=example-grid/OU=users/CN=Pat Passphrase"
    assert issued.ca == "/DC=org/DC=example-grid/CN=Example Grid Classic CA"


@pytest.mark.parametrize("kind", ["rsa", "rsa3072", "p256", "p384", "p521", "ed25519"])
def test_every_kind_of_key(pki: t.Any, kind: str) -> None:
    issued = pki.issue("Kim Key", key=kind)
    issued.certificate.verify_directly_issued_by(pki.sub.certificate)
