# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of genuine messages put together anew: never another content, never another signer."""

from __future__ import annotations

import base64
import datetime
import random
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import verify
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message import mime, smime

#: An element: its tag, and its content or the elements inside.
Node = tuple[int, t.Any]
Where = tuple[int, ...]

CERTIFICATES: t.Final[Where] = (1, 0, 3)
SIGNERS: t.Final[Where] = (1, 0, 4)
SIGNER: t.Final[Where] = (1, 0, 4, 0)
IDENTIFIER, DIGEST, ATTRIBUTES, SCHEME, SIGNATURE = ((*SIGNER, number) for number in range(1, 6))


def read(octets: bytes) -> Node:
    """The tree of DER octets; only what is constructed has parts."""
    node, rest = _read(octets)
    assert not rest
    return node


def _read(octets: bytes) -> tuple[Node, bytes]:
    tag, length, start = octets[0], octets[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(octets[2:start], "big")
    content, rest = octets[start : start + length], octets[start + length :]
    if not tag & 0x20:
        return (tag, content), rest
    parts = []
    while content:
        part, content = _read(content)
        parts.append(part)
    return (tag, parts), rest


def write(node: Node) -> bytes:
    tag, content = node
    octets = content if isinstance(content, bytes) else b"".join(map(write, content))
    length = len(octets)
    if length < 0x80:
        return bytes([tag, length]) + octets
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + octets


def at(node: Node, where: Where) -> Node:
    for number in where:
        node = node[1][number]
    return node


def put(node: Node, where: Where, new: Node) -> Node:
    """The tree with another element at `where`."""
    if not where:
        return new
    parts = list(node[1])
    parts[where[0]] = put(parts[where[0]], where[1:], new)
    return (node[0], parts)


def places(node: Node, where: Where = ()) -> list[Where]:
    found = [where]
    if not isinstance(node[1], bytes):
        for number, part in enumerate(node[1]):
            found += places(part, (*where, number))
    return found


class Message:
    """A genuine message taken apart."""

    def __init__(self, corpus: t.Any, signer: str, content: bytes, chain: t.Sequence[str] = ()) -> None:
        self.certificate, self.key = corpus.certificate(signer), corpus.key(signer)
        octets = smime.sign_message(
            content, certificate=self.certificate, key=self.key, chain=[corpus.certificate(name) for name in chain]
        )
        parts = mime.split(octets)
        assert parts.content is not None
        self.octets, self.content, self.cms = octets, parts.content, read(parts.cms)
        assert write(self.cms) == parts.cms


class Bench:
    """Four messages: two of Owen, one of Owen's other key, one of Mallory, who has a certificate as well."""

    def __init__(self, corpus: t.Any) -> None:
        self.corpus = corpus
        other = corpus.content.replace(b'"hv:version": "7"', b'"hv:version": "8"')
        self.one = Message(corpus, "owen", corpus.content)
        self.two = Message(corpus, "owen", other, ["sub"])
        self.ec = Message(corpus, "owen_p256", b'{"ec": 1}\n')
        self.mallory = Message(corpus, "mallory", b'{"mallory": 1}\n', ["sub"])
        self.all = (self.one, self.two, self.ec, self.mallory)
        self.genuine = {(message.content, message.certificate) for message in self.all}

    def code(self, octets: bytes) -> str:
        """The refusal's code, or "" for an acceptance, which must be one of the genuine messages'."""
        try:
            found = verify.verify_message(octets, self.corpus.anchors(), self.corpus.when)
        except TrustError as refusal:
            assert refusal.code != "internal_error", repr(refusal.__cause__)
            return refusal.code
        assert (found.content, found.certificate) in self.genuine
        return ""

    def detached(self, content: bytes, cms: Node) -> str:
        return self.code(mime.join(content, write(cms), micalg="x", boundary="----Splice"))


@pytest.fixture(scope="module")
def bench(corpus: t.Any) -> Bench:
    found = Bench(corpus)
    assert [found.detached(message.content, message.cms) for message in found.all] == [""] * 4
    assert len(found.genuine) == 4
    return found


def test_the_content_of_one_with_the_signature_of_another(bench: Bench) -> None:
    for one in bench.all:
        for two in bench.all:
            assert bench.detached(one.content, two.cms) == ("" if one is two else "digest_mismatch")


def test_the_certificates_of_another(bench: Bench) -> None:
    for other in (bench.ec, bench.mallory):
        swapped = put(bench.one.cms, CERTIFICATES, at(other.cms, CERTIFICATES))
        assert bench.detached(bench.one.content, swapped) == "signer_certificate"
    assert bench.detached(bench.one.content, put(bench.one.cms, CERTIFICATES, at(bench.two.cms, CERTIFICATES))) == ""


def test_the_certificates_of_both(bench: Bench) -> None:
    both = [*at(bench.one.cms, CERTIFICATES)[1], *at(bench.mallory.cms, CERTIFICATES)[1]]
    for order in (both, both[::-1]):
        assert bench.detached(bench.one.content, put(bench.one.cms, CERTIFICATES, (0xA0, order))) == ""


@pytest.mark.parametrize("part", [ATTRIBUTES, SIGNATURE])
def test_the_attributes_or_the_signature_of_another(bench: Bench, part: Where) -> None:
    for other in (bench.two, bench.ec, bench.mallory):
        swapped = put(bench.one.cms, part, at(other.cms, part))
        for content in (bench.one.content, other.content):
            assert bench.detached(content, swapped) in ("digest_mismatch", "bad_signature")


def test_the_name_of_another(bench: Bench) -> None:
    swapped = put(bench.one.cms, IDENTIFIER, at(bench.mallory.cms, IDENTIFIER))
    assert bench.detached(bench.one.content, swapped) == "signer_certificate"
    swapped = put(swapped, CERTIFICATES, at(bench.mallory.cms, CERTIFICATES))
    assert bench.detached(bench.one.content, swapped) == "bad_signature"


def test_one_more_signer(bench: Bench) -> None:
    for other in bench.all:
        for signers in ([bench.one, other], [other, bench.one]):
            more = put(bench.one.cms, SIGNERS, (0x31, [at(message.cms, SIGNER) for message in signers]))
            assert bench.detached(bench.one.content, more) == "cms_signer_count"
    assert bench.detached(bench.one.content, put(bench.one.cms, SIGNERS, (0x31, []))) == "cms_signer_count"


def test_the_attributes_in_another_order_or_twice(bench: Bench) -> None:
    attributes = at(bench.one.cms, ATTRIBUTES)[1]
    for number in range(len(attributes)):
        without = attributes[:number] + attributes[number + 1 :]
        for changed in ([*without, attributes[number]], [attributes[number], *without]):
            expected = "" if changed == attributes else "bad_signature"
            assert bench.detached(bench.one.content, put(bench.one.cms, ATTRIBUTES, (0xA0, changed))) == expected
        twice = [*attributes, attributes[number]]
        assert bench.detached(bench.one.content, put(bench.one.cms, ATTRIBUTES, (0xA0, twice))) == "cms_malformed"
        missing = bench.detached(bench.one.content, put(bench.one.cms, ATTRIBUTES, (0xA0, without)))
        assert missing in ("cms_malformed", "bad_signature")


def test_the_algorithms_of_another(bench: Bench) -> None:
    sha512 = (0x30, [(6, bytes.fromhex("608648016503040203"))])
    rsa_sha1, ecdsa = bytes.fromhex("2a864886f70d010105"), bytes.fromhex("2a8648ce3d040302")
    for where, new, codes in (
        (DIGEST, sha512, ("digest_mismatch", "unsupported_algorithm")),
        (SCHEME, (0x30, [(6, rsa_sha1), (5, b"")]), ("weak_algorithm",)),
        (SCHEME, (0x30, [(6, ecdsa)]), ("unsupported_algorithm",)),
        (SCHEME, (0x30, [(6, bytes.fromhex("2b6570"))]), ("unsupported_algorithm",)),
    ):
        assert bench.detached(bench.one.content, put(bench.one.cms, where, new)) in codes


def test_the_same_name_and_number_on_another_key(bench: Bench) -> None:
    """Whoever makes a certificate with Owen's subject, issuer and serial number has not its CA's signature."""
    owen, key = bench.one.certificate, ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(owen.subject).issuer_name(owen.issuer)
    builder = builder.serial_number(owen.serial_number).public_key(key.public_key())
    when = bench.corpus.when
    builder = builder.not_valid_before(when - DAY).not_valid_after(when + DAY)
    for extension in owen.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    twin = builder.sign(key, hashes.SHA256())
    forged = smime.sign_message(bench.two.content, certificate=twin, key=key)
    assert bench.code(forged) == "no_valid_path"
    cms = read(mime.split(forged).cms)
    both = [read(twin.public_bytes(Encoding.DER)), *at(bench.one.cms, CERTIFICATES)[1]]
    for order in (both, both[::-1]):
        assert bench.detached(bench.two.content, put(cms, CERTIFICATES, (0xA0, order))) == "signer_certificate"
        genuine = put(bench.one.cms, CERTIFICATES, (0xA0, order))
        assert bench.detached(bench.one.content, genuine) == "signer_certificate"
    swapped = put(cms, CERTIFICATES, at(bench.one.cms, CERTIFICATES))
    assert bench.detached(bench.two.content, swapped) == "unsupported_algorithm"


DAY: t.Final = datetime.timedelta(days=1)


def test_a_content_beside_and_inside(bench: Bench) -> None:
    data = (6, bytes.fromhex("2a864886f70d010701"))
    for inside in (bench.one.content, bench.two.content):
        dual = put(bench.one.cms, (1, 0, 2), (0x30, [data, (0xA0, [(4, inside)])]))
        assert bench.detached(bench.one.content, dual) == "cms_dual_content"
        head = b"Content-Type: application/pkcs7-mime\nContent-Transfer-Encoding: binary\n\n"
        expected = "" if inside == bench.one.content else "digest_mismatch"
        assert bench.code(head + write(dual)) == expected
    nested = (0x30, [(6, bytes.fromhex("2a864886f70d010702")), (0xA0, [(4, write(bench.two.cms))])])
    assert bench.detached(bench.one.content, put(bench.one.cms, (1, 0, 2), nested)) == "cms_content_type"


def part(message: Message) -> bytes:
    head = b"Content-Type: application/pkcs7-signature\nContent-Transfer-Encoding: base64\n\n"
    return head + base64.encodebytes(write(message.cms))


def test_the_parts_in_every_order(bench: Bench) -> None:
    one, two = bench.one, bench.mallory
    pieces = {"content": one.content, "other": two.content, "signature": part(one), "signature of other": part(two)}
    head = b'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; boundary="B"\n\n'
    for first in pieces:
        for second in pieces:
            for third in (None, *pieces):
                chosen = [pieces[name] for name in (first, second, third) if name is not None]
                message = head + b"".join(b"--B\n" + piece + b"\n" for piece in chosen) + b"--B--\n"
                fits = (first, second, third) in (
                    ("content", "signature", None),
                    ("other", "signature of other", None),
                )
                assert (bench.code(message) == "") == fits, (first, second, third)
    prefix = head + b"--B\n" + two.content + b"\n"
    assert bench.code(prefix + one.octets) != ""
    assert bench.code(one.octets + two.octets) == "mime_malformed"
    assert bench.code(head + b"--B\n" + one.octets + b"\n--B\n" + part(two) + b"\n--B--\n") == "digest_mismatch"


def test_any_element_in_any_place(bench: Bench) -> None:
    """Elements of one message's CMS at places of another's, at random but the same in every run."""
    dice = random.Random("grafts")
    accepted = 0
    for _turn in range(2500):
        one, two = dice.choice(bench.all), dice.choice(bench.all)
        changed = one.cms
        for _times in range(dice.choice((1, 1, 2, 3))):
            where = dice.choice(places(changed))
            source = where if dice.random() < 0.5 else dice.choice(places(two.cms))
            if source in places(two.cms):
                changed = put(changed, where, at(two.cms, source))
        accepted += bench.detached(dice.choice((one, two)).content, changed) == ""
    assert accepted > 0
