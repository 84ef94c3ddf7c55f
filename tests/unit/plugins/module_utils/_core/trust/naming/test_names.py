# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slash-form names: generated and compared, and refused where they could be read as another name."""

from __future__ import annotations

import subprocess
import typing as t

import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import ber
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.naming import names

EMAIL = NameOID.EMAIL_ADDRESS
CN, O, OU = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME  # noqa: E741


def name(*attributes: tuple[x509.ObjectIdentifier, str]) -> bytes:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes]).public_bytes()


def test_the_form_that_is_shown() -> None:
    der = name(
        (NameOID.DOMAIN_COMPONENT, "org"), (CN, "Jürgen/x+y"), (EMAIL, "a@b.c"), (x509.ObjectIdentifier("1.2.3.4"), "z")
    )
    assert names.slash(der) == "/DC=org/CN=J\\xC3\\xBCrgen/x+y/emailAddress=a@b.c/1.2.3.4=z"


def test_the_forms_that_are_accepted() -> None:
    accepted = names.forms(name((CN, "Jü a/b+c"), (EMAIL, "a@b.c")))
    assert accepted == {
        f"/CN={value}/{key}=a@b.c"
        for value in ("J\\xC3\\xBC a/b+c", "J\\xC3\\xBC a\\/b\\+c", "Jü a/b+c", "Jü a\\/b\\+c")
        for key in ("E", "Email", "emailAddress")
    }


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("which", ["owen", "email", "utf8", "serverauth", "sub"])
def test_openssl_writes_one_of_them(corpus: t.Any, which: str) -> None:
    command = ["openssl", "x509", "-in", str(corpus.path(f"{which}.pem")), "-noout", "-subject", "-nameopt", "compat"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown.strip().partition("=")[2].strip() in names.forms(corpus.certificate(which).subject.public_bytes())


@pytest.mark.parametrize(
    "value",
    [
        "users/CN=Owen",
        "a/ cn=b",
        "a/E=x@y",
        "a/Email=x",
        "a/2.5.4.3=b",
        "a/OID.2.5.4.3=b",
        "a+CN=b",
        "a\\/b",
        "a\\x2F",
        "a/USERID=1",
    ],
)
def test_ambiguous_values(value: str) -> None:
    assert names.ambiguity(name((OU, value), (CN, "Owen")))


@pytest.mark.parametrize("value", ["host/images.example.org", "a/b=c", "x+ab/Cd==", "C:\\users", "a=b", "Jürgen"])
def test_unambiguous_values(value: str) -> None:
    assert names.ambiguity(name((OU, value), (CN, "Owen"))) is None


def test_several_attributes_in_one_rdn_are_ambiguous() -> None:
    rdn = x509.RelativeDistinguishedName([x509.NameAttribute(OU, "users"), x509.NameAttribute(CN, "Owen")])
    assert names.ambiguity(x509.Name([rdn]).public_bytes())


def test_an_empty_name_is_ambiguous() -> None:
    assert names.ambiguity(x509.Name([]).public_bytes())


def test_the_octets_of_another_string_type_are_judged_too() -> None:
    hidden = "/CN=Owen".encode("ascii").decode("utf-16-be")
    der = x509.Name([x509.NameAttribute(OU, hidden, _ASN1Type.BMPString)]).public_bytes()
    assert "/CN=Owen" in names.slash(der)
    assert names.ambiguity(der)


def test_control_characters_are_always_escaped() -> None:
    assert all("\n" not in form and "\\x0A" in form for form in names.forms(name((CN, "a\nb"))))


def test_nothing_is_normalised(corpus: t.Any) -> None:
    owen, ca = corpus.certificate("owen"), "/DC=org/DC=example-grid/CN=Example Grid Classic CA"
    dn = "/DC=org/DC=example-grid/OU=users/CN=Owen Example"
    assert names.signer_matches(owen, dn, ca)
    for other in (dn.lower(), dn + " ", dn[:-1], dn.replace(" ", "  "), dn.replace("O", "\u041e"), f"{dn}/CN=1", ""):
        assert not names.signer_matches(owen, other, ca)
        assert not names.signer_matches(owen, dn, other)


def test_an_ambiguous_certificate_matches_nothing(corpus: t.Any) -> None:
    ca = "/DC=org/DC=example-grid/CN=Example Grid Classic CA"
    assert not names.signer_matches(
        corpus.certificate("slash2"), "/DC=org/DC=example-grid/OU=users/CN=Owen Example", ca
    )


@pytest.mark.parametrize("der", [b"", b"\x30\x02\x31\x00\x00", b"\x31\x00", b"\x30\x04\x31\x02\x30\x00"])
def test_malformed_names(der: bytes) -> None:
    with pytest.raises(ber.BerError):
        names.slash(der)
