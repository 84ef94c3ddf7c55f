# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Credentials from PEM files, from a PKCS#12 file, and from where they are when nobody says."""

from __future__ import annotations

import pathlib
import subprocess
import typing as t
from datetime import datetime

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import PublishError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.credentials import bundle, defaults
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.credentials.load import (
    Credentials,
    load,
    passphrase_of,
)

NONE = passphrase_of(None, None)


def secret(text: bytes) -> t.Callable[[], t.Optional[bytes]]:
    return passphrase_of(text, None)


def make_bundle(pki: t.Any, path: pathlib.Path, password: str) -> pathlib.Path:
    """By openssl, as a certification authority's web page would have made it."""
    command = ["openssl", "pkcs12", "-export", "-in", pki.endorser.certificate_path, "-inkey", pki.endorser.key_path]
    subprocess.run([*command, "-out", path, "-passout", f"pass:{password}"], check=True)
    path.chmod(0o600)
    return path


def signs_for(found: Credentials, pki: t.Any) -> bool:
    expected = pki.endorser.certificate
    return bool(found.certificate == expected and found.key.public_key() == expected.public_key())


def test_a_bundle_opens_with_its_passphrase(pki: t.Any, tmp_path: pathlib.Path, now: datetime) -> None:
    path = make_bundle(pki, tmp_path / "cred.p12", "s3cret")
    assert signs_for(load(str(path), None, secret(b"s3cret"), now), pki)
    for given, code in ((b"wrong", "passphrase_wrong"), (None, "passphrase_missing")):
        with pytest.raises(PublishError) as caught:
            load(str(path), None, passphrase_of(given, None), now)
        assert caught.value.code == code
        assert "s3cret" not in str(caught.value)


def test_a_bundle_without_a_passphrase_opens(pki: t.Any, tmp_path: pathlib.Path, now: datetime) -> None:
    assert signs_for(load(str(make_bundle(pki, tmp_path / "cred.p12", "")), None, secret(b""), now), pki)


def test_a_bundle_that_others_can_read_is_refused(pki: t.Any, tmp_path: pathlib.Path, now: datetime) -> None:
    path = make_bundle(pki, tmp_path / "cred.p12", "s3cret")
    path.chmod(0o640)
    with pytest.raises(PublishError) as caught:
        load(str(path), None, secret(b"s3cret"), now)
    assert caught.value.code == "key_permissions"


def test_a_certificate_is_no_bundle(pki: t.Any, tmp_path: pathlib.Path) -> None:
    der = tmp_path / "cert.der"
    subprocess.run(
        ["openssl", "x509", "-in", pki.endorser.certificate_path, "-outform", "DER", "-out", der], check=True
    )
    assert not bundle.is_bundle(str(der))
    assert not bundle.is_bundle(str(pki.endorser.certificate_path))
    assert not bundle.is_bundle(str(tmp_path / "absent"))
    assert bundle.is_bundle(str(make_bundle(pki, tmp_path / "cred.p12", "x")))


def test_one_file_may_hold_both(pki: t.Any, tmp_path: pathlib.Path, now: datetime) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pki.endorser.certificate_path.read_bytes() + pki.endorser.key_path.read_bytes())
    both.chmod(0o600)
    assert signs_for(load(str(both), None, NONE, now), pki)


def test_a_key_of_somebody_else_is_refused(pki: t.Any, now: datetime) -> None:
    other = pki.issue("Other", directory="other")
    with pytest.raises(PublishError) as caught:
        load(str(pki.endorser.certificate_path), str(other.key_path), NONE, now)
    assert caught.value.code == "key_mismatch"


def test_the_places_where_the_grids_tools_look(tmp_path: pathlib.Path) -> None:
    home = {"HOME": str(tmp_path)}
    globus = tmp_path / ".globus"
    globus.mkdir()
    both = (str(globus / "usercert.pem"), str(globus / "userkey.pem"))
    assert defaults.find(None, None, home) == both
    (globus / "usercred.p12").touch()
    assert defaults.find(None, None, home) == (str(globus / "usercred.p12"), None)
    (globus / "usercert.pem").touch()
    assert defaults.find(None, None, home) == both
    vmcaster = {"VMCASTER_X509_CERT": "/v/cert", "VMCASTER_X509_KEY": "/v/key", **home}
    assert defaults.find(None, None, vmcaster) == ("/v/cert", "/v/key")
    assert defaults.find(None, None, {"X509_USER_CERT": "/x", "X509_USER_KEY": "/y", **vmcaster}) == ("/x", "/y")
    assert defaults.find(None, None, {"VMCASTER_X509_DIR": "/d"}) == ("/d/usercert.pem", "/d/userkey.pem")
    # What is given is given whole: the environment's key does not belong to it.
    assert defaults.find("/given", None, vmcaster) == ("/given", None)
    assert defaults.find("/given", "/key", vmcaster) == ("/given", "/key")
