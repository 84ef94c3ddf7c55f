# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The BER reader stays within its budget, whatever it is fed."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import ber, certificates
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message import cms
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.naming import names


def test_definite_and_indefinite_lengths() -> None:
    reader = ber.Reader(bytes.fromhex("3080 3003020105 0402abcd 0000"))
    outer = reader.only(ber.SEQUENCE)
    assert outer.indefinite
    inner, string = reader.children(outer)
    assert reader.integer(reader.children(inner)[0]) == 5
    assert reader.octet_string(string) == b"\xab\xcd"


def test_strings_in_segments() -> None:
    reader = ber.Reader(bytes.fromhex("2480 040161 2406 0401620401 63 2480 0401640000 0000"))
    assert reader.octet_string(reader.only(0x24)) == b"abcd"


@pytest.mark.parametrize(
    "octets",
    [
        "",
        "30",
        "3001",
        "308101",
        "3080",
        "30800000 00",
        "3000 00",
        "0480 0000",
        "1f8101 00",
        "30ff" + "01" * 127,
        "0000",
        "3084ffffffff",
        "3080 0001 00 0000",
    ],
)
def test_malformed(octets: str) -> None:
    reader = ber.Reader(bytes.fromhex(octets))
    with pytest.raises(ber.BerError):
        reader.children(reader.only(ber.SEQUENCE))


@pytest.mark.parametrize("octets", ["0600", "060180", "06022a80", "060380802a"])
def test_malformed_identifiers(octets: str) -> None:
    reader = ber.Reader(bytes.fromhex(octets))
    with pytest.raises(ber.BerError):
        reader.oid(reader.only(ber.OID))


def test_identifiers() -> None:
    reader = ber.Reader(bytes.fromhex("0609608648016503040201"))
    assert reader.oid(reader.only(ber.OID)) == "2.16.840.1.101.3.4.2.1"


@pytest.mark.parametrize(
    "octets",
    [
        b"\x30\x80" * 4_000_000,
        b"\x24\x80" * 1_000_000 + b"\0\0" * 1_000_000,
        b"\x30\x84\x00\x7f\xff\xf0" + b"\x05\x00" * 4_000_000,
    ],
    ids=["never ends", "nested strings", "many elements"],
)
def test_bombs_end_soon(octets: bytes) -> None:
    begin = time.process_time()
    for read in (
        lambda: cms.read(octets, allow_sha1=True),
        lambda: certificates.fields(octets),
        lambda: names.slash(octets),
    ):
        with pytest.raises((ber.BerError, TrustError)):
            read()
    reader = ber.Reader(octets)
    with pytest.raises(ber.BerError):
        reader.octet_string(reader.only(0x24))
    assert time.process_time() - begin < 5


@given(st.binary(max_size=200))
def test_any_octets_end_in_a_refusal(octets: bytes) -> None:
    with pytest.raises(TrustError) as caught:
        cms.read(octets, allow_sha1=True)
    assert caught.value.code in ("cms_malformed", "cms_not_signed_data")
