# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changed octets are refused in words, or change nothing that was signed."""

from __future__ import annotations

import random
import typing as t

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import (
    ber,
    certificates,
    verify,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message import mime, smime
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.naming import policies

MESSAGES: t.Final = (
    "ok-openssl-cms-rsa",
    "ok-openssl-cms-p256",
    "ok-openssl-cms-opaque-stream-ber",
    "ok-bc-owen-ed25519-ed25519-opaque",
    "ok-gnutls-pss",
    "ok-pyca-text",
)


def mutated(octets: bytes, dice: random.Random) -> bytes:
    changed = bytearray(octets)
    at, other = dice.randrange(len(changed)), dice.randrange(len(changed))
    kind = dice.randrange(5)
    if kind == 0:
        changed[at] ^= 1 << dice.randrange(8)
    elif kind == 1:
        changed[at] = dice.choice(b"\x00\x01\x04\x24\x30\x31\x7f\x80\xa0\xff")
    elif kind == 2:
        del changed[at : at + dice.randrange(1, 20)]
    elif kind == 3:
        changed[at:at] = changed[other : other + dice.randrange(1, 20)]
    else:
        changed[at : at + 8] = changed[other : other + 8]
    return bytes(changed)


@pytest.mark.parametrize("name", MESSAGES)
def test_mutations(corpus: t.Any, name: str) -> None:
    octets = corpus.message(name)
    parts = mime.split(octets)
    genuine = verify.verify_message(octets, corpus.anchors(), corpus.when)
    dice = random.Random(name)
    refused = 0
    for _round in range(150):
        cms = mutated(parts.cms, dice)
        if parts.content is None:
            head = b"Content-Type: application/pkcs7-mime\nContent-Transfer-Encoding: binary\n\n"
            changed = head + cms
        else:
            changed = mime.join(parts.content, cms, micalg="x", boundary="----Mutation")
        try:
            found = verify.verify_message(changed, corpus.anchors(), corpus.when)
        except TrustError as refusal:
            assert refusal.code != "internal_error", refusal.__cause__
            refused += 1
        else:
            assert (found.content, found.certificate) == (genuine.content, genuine.certificate)
    assert refused > 50


def test_a_certificate_has_one_fingerprint_only(corpus: t.Any) -> None:
    der = corpus.certificate("owen").public_bytes(Encoding.DER)
    assert certificates.fields(der)
    changed = bytearray(der)
    assert changed[-257] == 0
    changed[-257] = 1
    with pytest.raises(ber.BerError):
        certificates.fields(bytes(changed))


def test_a_certificate_of_an_unknown_version(corpus: t.Any) -> None:
    octets = corpus.message("ok-openssl-cms-rsa")
    parts = mime.split(octets)
    der = corpus.certificate("owen").public_bytes(Encoding.DER)
    version = bytes.fromhex("a003020102")
    assert parts.content is not None and der.count(version) == 1
    cms = parts.cms.replace(der, der.replace(version, bytes.fromhex("a003020106")))
    changed = mime.join(parts.content, cms, micalg="x", boundary="----Mutation")
    with pytest.raises(TrustError) as caught:
        verify.verify_message(changed, corpus.anchors(), corpus.when)
    assert caught.value.code == "certificate_malformed"


WORDS: t.Final = (
    *("TO", "Issuer", "SELF", "PERMIT", "DENY", "Subject", '"/C=XX/.*"', '"(a"', "\\\n", "#", "\n", '"', "'", "\\"),
    *("access_id_CA", "X509", "'/CN=CA'", "pos_rights", "globus", "CA:sign", "cond_subjects", "'\"/C=XX/*\"'", "'\"a'"),
)


@given(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join))
def test_any_policy_ends_in_rules_or_in_a_refusal(text: str) -> None:
    for kind in policies.KINDS:
        try:
            assert isinstance(policies.read_rules(text.encode(), kind, "x"), tuple)
        except TrustError as refusal:
            assert refusal.code == "policy_malformed"


@given(st.binary(max_size=400))
def test_any_message_ends_in_a_refusal(octets: bytes) -> None:
    for head in (b"", b"Content-Type: application/pkcs7-mime\nContent-Transfer-Encoding: binary\n\n"):
        with pytest.raises(TrustError) as caught:
            smime.read_message(head + octets)
        assert caught.value.code != "internal_error"
