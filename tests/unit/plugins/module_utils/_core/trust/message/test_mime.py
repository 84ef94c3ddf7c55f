# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages are split at their boundaries octet by octet; what two readers could read differently is refused."""

from __future__ import annotations

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message import mime

MESSAGE = (
    b"MIME-Version: 1.0\n"
    b'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; micalg=x; boundary="B="\n'
    b"\n"
    b"preamble\n"
    b"--B=\n"
    b'{"a": 1}\n'
    b"\n"
    b"--B=\n"
    b"Content-Type: application/x-pkcs7-signature; name=smime.p7s\n"
    b"Content-Transfer-Encoding: base64\n"
    b"\n"
    b"QUJD\n"
    b"REVG\n"
    b"\n"
    b"--B=--\n"
)


def refused(octets: bytes) -> str:
    with pytest.raises(TrustError) as caught:
        mime.split(octets)
    return caught.value.code


def changed(*pairs: tuple[bytes, bytes]) -> bytes:
    octets = MESSAGE
    for old, new in pairs:
        assert old in octets
        octets = octets.replace(old, new, 1)
    return octets


def test_a_part_without_headers() -> None:
    assert mime.split(MESSAGE) == mime.Parts(b'{"a": 1}\n', b"ABCDEF")


def test_crlf_on_the_way() -> None:
    assert mime.split(MESSAGE.replace(b"\n", b"\r\n")) == mime.Parts(b'{"a": 1}\r\n', b"ABCDEF")


@pytest.mark.parametrize(
    "octets",
    [
        changed((b"preamble\n", b"")),
        changed((b"--B=\n", b"--B= \t\n")),
        changed((b"--B=--\n", b"--B=--")),
        changed((b"--B=--\n", b"--B=--\n\r\n \n")),
        changed((b'micalg=x; boundary="B="', b'micalg=x;\n\tboundary="B="')),
        changed((b"MIME-Version", b"Subject: a list\nX-Odd: \xff\nMIME-Version")),
        changed((b"Content-Type", b"CONTENT-type")),
        changed((b"multipart/signed", b"Multipart/Signed")),
        changed((b"QUJD\nREVG", b"QUJDREVG")),
        changed((b"base64\n\nQUJD\nREVG\n\n", b"binary\n\nABCDEF\n")),
    ],
)
def test_the_same_message_in_other_words(octets: bytes) -> None:
    assert mime.split(octets).content == b'{"a": 1}\n'


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"{}",
        b"\n" + MESSAGE,
        b" " + MESSAGE,
        MESSAGE[:100],
        changed((b'; boundary="B="', b"")),
        changed((b'boundary="B="', b'boundary="B="; boundary="C"')),
        changed((b'boundary="B="', b'boundary="B= "')),
        changed((b'boundary="B="', b"boundary*=B")),
        changed((b'boundary="B="', b'boundary=""')),
        changed((b"MIME-Version", b"Content-Type: text/plain\nMIME-Version")),
        changed((b"MIME-Version: 1.0", b"MIME-Version\r: 1.0")),
        changed((b"MIME-Version: 1.0", b"From someone")),
        changed((b"--B=--\n", b"")),
        changed((b"--B=--\n", b"--B=--\n{}")),
        changed((b"--B=--\n", b"--B=\n\n--B=--\n")),
        changed((b'{"a": 1}\n', b'{"a": 1}\n--B=x\n')),
        changed((b'{"a": 1}\n', b'{"a": 1}\n--B=--\n')),
        changed((b'{"a": 1}\n\n', b"")),
        changed((b"QUJD", b"QUJ!")),
        changed((b"REVG", b"REV")),
        changed((b"QUJD", b"QQ==")),
        changed((b"Content-Type: application/x-pkcs7-signature; name=smime.p7s\n", b"")),
        b"X: " + b"y" * 70_000 + b"\n" + MESSAGE,
    ],
)
def test_malformed(octets: bytes) -> None:
    assert refused(octets) == "mime_malformed"


@pytest.mark.parametrize(
    "octets",
    [
        changed((b"multipart/signed", b"multipart/mixed")),
        changed((b"multipart/signed", b"application/json")),
        changed((b"application/pkcs7-signature", b"application/pgp-signature")),
        changed((b'protocol="application/pkcs7-signature"; ', b"")),
        changed((b"application/x-pkcs7-signature", b"text/plain")),
        changed((b"base64", b"quoted-printable")),
        changed((b"base64", b"8bit")),
        b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\n\nAAAA\n",
    ],
)
def test_unsupported(octets: bytes) -> None:
    assert refused(octets) == "mime_unsupported"


def test_opaque_messages() -> None:
    head = b"Content-Type: application/x-pkcs7-mime; smime-type=signed-data; name=x\nContent-Transfer-Encoding: "
    assert mime.split(head + b"base64\n\nQUJD\n") == mime.Parts(None, b"ABC")
    assert mime.split(head + b"binary\n\nABC") == mime.Parts(None, b"ABC")


def test_only_bare_line_feeds_are_canonicalised() -> None:
    assert mime.canonical(b"a\nb\r\nc\rd\n\n") == b"a\r\nb\r\nc\rd\r\n\r\n"


@pytest.mark.parametrize(
    ("signed", "content"),
    [
        (b'{"a": 1}', b'{"a": 1}'),
        (b'\r\n{"Content-Type: x\r\n\r\n": 1}', b'\r\n{"Content-Type: x\r\n\r\n": 1}'),
        (b"[]", b"[]"),
        (b"\xef\xbb\xbf{}", b"\xef\xbb\xbf{}"),
        (b"Content-Type: text/plain\r\n\r\n{}", b"{}"),
        (b"content-type: application/json; charset=UTF-8\n\n{}", b"{}"),
        (b"MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{}", b"{}"),
    ],
)
def test_the_content_of_a_signed_part(signed: bytes, content: bytes) -> None:
    assert mime.without_headers(signed) == content


@pytest.mark.parametrize(
    "signed",
    [
        b"Content-Type: text/html\r\n\r\n{}",
        b"Content-Type: text/plain; charset=utf-16\r\n\r\n{}",
        b"Content-Transfer-Encoding: base64\r\n\r\ne30=",
        b"MIME-Version: 1.0\r\nContent-Type: multipart/signed\r\n\r\n{}",
    ],
)
def test_a_signed_part_of_another_kind(signed: bytes) -> None:
    with pytest.raises(TrustError) as caught:
        mime.without_headers(signed)
    assert caught.value.code == "mime_unsupported"
