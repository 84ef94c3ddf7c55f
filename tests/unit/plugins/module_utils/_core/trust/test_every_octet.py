# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every octet of three messages, and of their DER, changed; and every length cut off: refused, or the same message.

Octets that no signature covers (MIME headers, embedded certificates of CAs, line ends) may change; what is accepted
then is the same content by the same signer. VMIMAGES_MUTATIONS=all tries each bit and more values: some minutes.
"""

from __future__ import annotations

import base64
import collections
import os
import re
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.check import check_list
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import verify
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message import mime

#: a detached signature with an RSA key, an opaque one in BER, one with an EC key
MESSAGES: t.Final = ("ok-openssl-cms-rsa", "ok-openssl-cms-opaque-stream-ber", "ok-openssl-cms-p256")
ALL: t.Final = os.environ.get("VMIMAGES_MUTATIONS") == "all"

Change = t.Callable[[int, int], int]
BITS: t.Final[dict[str, Change]] = {f"bit {bit}": lambda _at, octet, bit=bit: octet ^ 1 << bit for bit in range(8)}  # type: ignore[misc]
VALUES: t.Final[dict[str, Change]] = {
    f"value {value}": lambda _at, _octet, value=value: value  # type: ignore[misc]
    for value in b"\x00\x01\x02\x04\x05\x06\n\r \"'-0:;=A\x24\x30\x31\x7f\x80\x81\x84\xa0\xa1\xff"
}
INVERTED: t.Final[dict[str, Change]] = {"all bits": lambda _at, octet: octet ^ 0xFF}
ONE_BIT: t.Final[dict[str, Change]] = {"one bit": lambda at, octet: octet ^ 1 << at % 8}
CHANGES: t.Final[dict[str, Change]] = {**BITS, **VALUES, **INVERTED} if ALL else {**ONE_BIT, **INVERTED}
#: Inverted, an octet of the text is never a letter of base64 again.
TEXT_CHANGES: t.Final = CHANGES if ALL else ONE_BIT


class Bench:
    """Judges changed messages by what the genuine one says."""

    def __init__(self, corpus: t.Any, octets: bytes) -> None:
        self.corpus = corpus
        self.genuine = verify.verify_message(octets, corpus.anchors(), corpus.when)
        self.codes: collections.Counter[str] = collections.Counter()

    def judge(self, octets: bytes) -> bool:
        """Whether it is accepted; if so, it must say the same."""
        corpus = self.corpus
        try:
            found = verify.verify_message(octets, corpus.anchors(), corpus.when)
            check_list(
                found.content,
                found.certificate,
                corpus.when,
                identifier=corpus.config["identifier"],
                endorsers=[tuple(pair) for pair in corpus.config["authorised_endorsers"]],
                last_accepted=None,
            )
        except VmimagesError as refusal:
            assert refusal.code != "internal_error", repr(refusal.__cause__)
            self.codes[refusal.code] += 1
            return False
        assert found.content == self.genuine.content
        assert found.certificate == self.genuine.certificate
        assert found.path == self.genuine.path
        return True


def accepted(bench: Bench, octets: bytes, change: Change, wrap: t.Callable[[bytes], bytes] = bytes) -> list[int]:
    """Positions whose change is accepted."""
    found = []
    for at, octet in enumerate(octets):
        other = change(at, octet) & 0xFF
        if other != octet and bench.judge(wrap(octets[:at] + bytes([other]) + octets[at + 1 :])):
            found.append(at)
    return found


@pytest.mark.parametrize("change", TEXT_CHANGES)
@pytest.mark.parametrize("name", MESSAGES)
def test_every_octet_of_the_message(corpus: t.Any, name: str, change: str) -> None:
    octets = corpus.message(name)
    bench = Bench(corpus, octets)
    spared = accepted(bench, octets, CHANGES[change])
    assert bench.codes
    if mime.split(octets).content is not None:
        start = octets.index(b"{")
        end = start + len(bench.genuine.content.replace(b"\r\n", b"\n").rstrip())
        inside = {octets[at : at + 1] for at in spared if start <= at < end}
        assert inside <= {b"\r", b"\n"}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", MESSAGES)
def test_every_octet_of_the_der(corpus: t.Any, name: str, change: str) -> None:
    octets = corpus.message(name)
    parts = mime.split(octets)
    bench = Bench(corpus, octets)

    def wrap(cms: bytes) -> bytes:
        if parts.content is None:
            return b"Content-Type: application/pkcs7-mime\nContent-Transfer-Encoding: binary\n\n" + cms
        head = b'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; boundary="B"\n\n--B\n'
        # not binary: a CMS could hold the boundary, and line ends
        tail = b"\n--B\nContent-Type: application/pkcs7-signature\nContent-Transfer-Encoding: base64\n\n"
        return head + parts.content + tail + base64.encodebytes(cms) + b"\n--B--\n"

    spared = accepted(bench, parts.cms, CHANGES[change], wrap)
    signer = bench.genuine.certificate.tbs_certificate_bytes
    start = parts.cms.index(signer)
    assert not [at for at in spared if start <= at < start + len(signer)]
    assert bench.codes


@pytest.mark.parametrize("name", MESSAGES)
def test_every_length(corpus: t.Any, name: str) -> None:
    octets = corpus.message(name)
    bench = Bench(corpus, octets)
    whole = re.sub(rb"\s*\Z", b"", octets)
    for length in range(len(whole) - 1 if mime.split(octets).content is not None else len(whole) - 4):
        assert not bench.judge(octets[:length])
    for start in range(1, 400):
        bench.judge(octets[start:])


def test_every_octet_of_a_crl(chain: t.Any) -> None:
    """Whatever happens to it on the way here, it never forgets who is revoked."""
    revoked = chain.issue(chain.endorser.certificate.subject, chain.sub)
    good, bad = chain.message(), chain.message(revoked)
    octets = x509.load_pem_x509_crl(chain.crl(chain.sub, revoked)).public_bytes(Encoding.DER)
    codes: collections.Counter[str] = collections.Counter()
    for number, change in enumerate(CHANGES.values()):
        for at in range(number % 2, len(octets), 1 if ALL else 2):
            chain.write("22222222.r0", octets[:at] + bytes([change(at, octets[at]) & 0xFF]) + octets[at + 1 :])
            found = chain.anchors()
            for message in (good, bad):
                try:
                    verify.verify_message(message, found, chain.when)
                except VmimagesError as refusal:
                    assert refusal.code in ("revoked", "crl_unavailable"), repr(refusal.__cause__)
                    codes[refusal.code] += 1
                else:
                    assert message is good
                    codes["accepted"] += 1
    assert codes["crl_unavailable"] > len(octets)
