# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must hold for every input: the BER reader, the MIME splitter, the names, the name policies."""

from __future__ import annotations

import base64
import itertools
import sys
import typing as t

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import ber, certificates
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message import mime
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.naming import names, policies

# BER: an encoder of its own, with every freedom that the reader grants.

#: (tag, how the length is written, content or parts); "short", number of octets of a long form, or "indefinite"
Tree = tuple[int, t.Any, t.Any]

PRIMITIVE = st.sampled_from([0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x13, 0x80, 0x81, 0x9E])
CONSTRUCTED = st.sampled_from([0x30, 0x31, 0x24, 0xA0, 0xA1, 0xBE])
LENGTHS = st.sampled_from(["short", 1, 2, 4, 8])
LEAF = st.tuples(PRIMITIVE, LENGTHS, st.binary(max_size=6))
TREES: st.SearchStrategy[Tree] = st.recursive(
    LEAF,
    lambda inner: st.tuples(CONSTRUCTED, st.one_of(LENGTHS, st.just("indefinite")), st.lists(inner, max_size=4)),
    max_leaves=12,
)
DEFINITE: st.SearchStrategy[Tree] = st.recursive(
    LEAF, lambda inner: st.tuples(CONSTRUCTED, LENGTHS, st.lists(inner, max_size=4)), max_leaves=12
)


def encoded(tree: Tree) -> bytes:
    tag, length, content = tree
    octets = content if isinstance(content, bytes) else b"".join(map(encoded, content))
    if length == "indefinite":
        return bytes([tag, 0x80]) + octets + b"\0\0"
    if length == "short" and len(octets) < 0x80:
        return bytes([tag, len(octets)]) + octets
    count = max(2, length) if isinstance(length, int) else 2
    return bytes([tag, 0x80 | count]) + len(octets).to_bytes(count, "big") + octets


def decoded(reader: ber.Reader, element: ber.Element) -> t.Any:
    if element.tag & ber.CONSTRUCTED:
        return element.tag, [decoded(reader, part) for part in reader.children(element)]
    return element.tag, reader.content(element)


def plain(tree: Tree) -> t.Any:
    tag, _length, content = tree
    return tag, content if isinstance(content, bytes) else [plain(part) for part in content]


def size(tree: Tree) -> int:
    return 1 if isinstance(tree[2], bytes) else 1 + sum(map(size, tree[2]))


@given(TREES)
def test_what_is_encoded_is_read(tree: Tree) -> None:
    octets = encoded(tree)
    reader = ber.Reader(octets)
    element = reader.only(tree[0])
    assert reader.whole(element) == octets
    assert element.indefinite == (tree[1] == "indefinite")
    assert decoded(reader, element) == plain(tree)


@given(TREES, st.binary(min_size=1, max_size=3), st.data())
def test_neither_more_nor_less_is_read(tree: Tree, more: bytes, data: st.DataObject) -> None:
    octets = encoded(tree)
    for changed in (octets + more, octets[: data.draw(st.integers(0, len(octets) - 1))]):
        with pytest.raises(ber.BerError):
            ber.Reader(changed).only(tree[0])


@given(DEFINITE)
def test_the_budget_counts_every_element(tree: Tree) -> None:
    octets = encoded(tree)
    reader = ber.Reader(octets, max_elements=size(tree))
    assert decoded(reader, reader.only(tree[0])) == plain(tree)
    reader = ber.Reader(octets, max_elements=size(tree) - 1)
    with pytest.raises(ber.BerError, match="too many"):
        decoded(reader, reader.only(tree[0]))


@given(st.lists(st.binary(max_size=5), max_size=8), st.integers(0, ber.MAX_DEPTH - 2), st.booleans())
def test_segments_are_put_together(segments: list[bytes], depth: int, indefinite: bool) -> None:
    length = "indefinite" if indefinite else "short"
    tree: Tree = (0x24, length, [(0x04, "short", segment) for segment in segments])
    for _turn in range(depth):
        tree = (0x24, length, [(0x04, "short", b"<"), tree, (0x04, 1, b">")])
    reader = ber.Reader(encoded(tree))
    assert reader.octet_string(reader.only(0x24)) == b"<" * depth + b"".join(segments) + b">" * depth


READERS: t.Final[t.Mapping[str, t.Callable[[ber.Reader, ber.Element], object]]] = {
    "children": ber.Reader.children,
    "octet string": ber.Reader.octet_string,
    "identifier": ber.Reader.oid,
    "integer": ber.Reader.integer,
    "algorithm": ber.algorithm,
}


@given(st.one_of(st.binary(max_size=60), TREES.map(encoded)))
def test_any_octets_are_read_or_refused_as_ber(octets: bytes) -> None:
    for read in (certificates.fields, names.read_name, names.slash, names.forms, names.ambiguity):
        try:
            read(octets)
        except ber.BerError:
            continue
    reader = ber.Reader(octets)
    try:
        element = reader.element(0, len(octets))
    except ber.BerError:
        return
    for use in READERS.values():
        try:
            use(reader, element)
        except ber.BerError:
            continue


@given(st.integers())
def test_integers(number: int) -> None:
    octets = number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)
    reader = ber.Reader(encoded((ber.INTEGER, 4, octets)))
    assert reader.integer(reader.only(ber.INTEGER)) == number


@given(st.integers(0, 2), st.integers(0, 39), st.lists(st.integers(0, 2**70), max_size=5))
def test_identifiers(first: int, second: int, rest: list[int]) -> None:
    octets = b""
    for arc in (40 * first + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        octets += bytes(reversed(groups))
    reader = ber.Reader(encoded((ber.OID, "short", octets)))
    expected = ".".join(map(str, (first, second, *rest)))
    if len(octets) > 64:
        with pytest.raises(ber.BerError):
            reader.oid(reader.only(ber.OID))
    else:
        assert reader.oid(reader.only(ber.OID)) == expected


@pytest.mark.parametrize("indefinite", [True, False])
@pytest.mark.parametrize("depth", [10, 23, 24, 25, 1000, 50_000])
def test_nothing_recurses(depth: int, indefinite: bool) -> None:
    octets = b"\x04\x01x"
    if indefinite:
        octets = b"\x24\x80" * depth + octets + b"\0\0" * depth
    else:
        heads, length = [], len(octets)
        for _turn in range(depth):
            heads.append(b"\x24\x84" + length.to_bytes(4, "big"))
            length += 6
        octets = b"".join(reversed(heads)) + octets
    limit = sys.getrecursionlimit()
    frames = len(list(_frames()))
    sys.setrecursionlimit(frames + 40)
    try:
        reader = ber.Reader(octets)
        code = ""
        try:
            assert reader.octet_string(reader.only(0x24)) == b"x"
        except ber.BerError:
            code = "refused"
        for read in (certificates.fields, names.slash):
            with pytest.raises(ber.BerError):
                read(octets)
    finally:
        sys.setrecursionlimit(limit)
    assert code == ("" if depth <= ber.MAX_DEPTH else "refused")


def _frames() -> t.Iterator[object]:
    frame = sys._getframe()
    while frame is not None:
        yield frame
        frame = frame.f_back  # type: ignore[assignment]


# MIME


@given(st.binary(max_size=60), st.binary(min_size=1, max_size=60))
@example(b"", b"x")
@example(b"\n--B", b"x")
def test_what_is_joined_is_split(content: bytes, cms: bytes) -> None:
    assume(not content.endswith(b"\r"))  # the last line end belongs to the boundary, and CR LF is one
    parts = mime.split(mime.join(content, cms, micalg="x", boundary="----=_B'()+,./:?"))
    assert parts == mime.Parts(content, cms)


@given(
    st.lists(st.sampled_from([b"{", b"}", b'"a": 1', b"\n", b"\r\n", b" ", b"--", b"\t"]), max_size=12).map(b"".join)
)
def test_crlf_on_the_way_changes_only_line_ends(content: bytes) -> None:
    assume(not content.endswith(b"\r"))
    message = mime.join(content, b"cms", micalg="x", boundary="----B")
    parts = mime.split(mime.canonical(message))
    assert parts == mime.Parts(mime.canonical(content), b"cms")


@given(st.binary(max_size=40), st.sampled_from([b"--B", b"--B--", b"--B \t", b"--Bx", b"--B-", b"--B--x"]))
def test_no_line_of_the_content_may_look_like_the_boundary(content: bytes, line: bytes) -> None:
    for lines in (line + b"\n" + content, content + b"\n" + line + b"\n", content + b"\r\n" + line):
        with pytest.raises(TrustError) as caught:
            mime.split(mime.join(lines, b"cms", micalg="x", boundary="B"))
        assert caught.value.code == "mime_malformed"


@given(st.sampled_from([b"x", b"-", b" x", b"-- x", b"=", b"\0"]), st.integers(0, 2))
def test_no_line_that_only_begins_like_the_boundary_is_one(more: bytes, which: int) -> None:
    pieces = mime.join(b"{}", b"cms", micalg="x", boundary="B").split(b"\n--B")
    assert len(pieces) == 4
    pieces[which + 1] = more + pieces[which + 1]
    with pytest.raises(TrustError) as caught:
        mime.split(b"\n--B".join(pieces))
    assert caught.value.code == "mime_malformed"


HEAD: t.Final = b'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; boundary="B"\n\n'
PIECES: t.Final = (
    *(b"--B", b"--B--", b"\n", b"\r\n", b"\r", b" ", b"\t", b";", b'"', b"\\", b"=", b":", b"\0", b"\xff", b"{}"),
    *(b"Content-Type: ", b"multipart/signed", b"application/pkcs7-mime", b"application/pkcs7-signature", b"boundary=B"),
    *(b"Content-Transfer-Encoding: ", b"base64", b"binary", b"protocol=", b"smime-type=", b"AAAA", b"X-Y: z", HEAD),
)


@given(st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join))
def test_any_message_is_split_or_refused(octets: bytes) -> None:
    for message in (octets, HEAD + octets, b"Content-Type: application/pkcs7-mime\n" + octets):
        try:
            parts = mime.split(message)
        except TrustError as refusal:
            assert refusal.code in ("mime_malformed", "mime_unsupported")
            continue
        assert parts.cms in message or base64.b64encode(parts.cms) in b"".join(message.split())
        assert parts.content is None or parts.content in message


# Names

VALUE = st.one_of(
    st.lists(
        st.sampled_from(
            ["a", "/", "+", "=", "\\", "\\x", "2F", "C3", "/CN=", "+O=", "/E=", "é", "\xc3", "\n", " ", "\x7f", "1.2"]
        ),
        min_size=1,
        max_size=4,
    ).map("".join),
    st.text(min_size=1, max_size=4),
)
KEYS: t.Final = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.EMAIL_ADDRESS, x509.ObjectIdentifier("1.2.3"))
#: (key, value, tag of the string)
ATTRIBUTE = st.tuples(st.sampled_from(KEYS), VALUE, st.sampled_from([0x0C, 0x0C, 0x1E, 0x1C, 0x14]))
NAME = st.lists(ATTRIBUTE, min_size=1, max_size=3)
OIDS: t.Final = {
    NameOID.COMMON_NAME: "550403",
    NameOID.ORGANIZATION_NAME: "55040a",
    NameOID.EMAIL_ADDRESS: "2a864886f70d010901",
    KEYS[3]: "2a03",
}
ENCODINGS: t.Final = {0x0C: "utf-8", 0x1E: "utf-16-be", 0x1C: "utf-32-be", 0x14: "latin-1"}


def der(attributes: t.Sequence[tuple[t.Any, str, int]]) -> bytes:
    return encoded((0x30, 2, _rdns(attributes)))


def meaning(name: bytes) -> t.Any:
    return [(one.oid, one.text) for one in names.read_name(name)]


@given(NAME, NAME)
@example([(KEYS[0], "a/O=b", 0x0C)], [(KEYS[0], "a", 0x0C), (KEYS[1], "b", 0x0C)])
@example([(KEYS[0], "a\\xC3\\xA9", 0x0C)], [(KEYS[0], "aé", 0x0C)])
@example([(KEYS[0], "a\\", 0x0C), (KEYS[1], "b", 0x0C)], [(KEYS[0], "a/O=b", 0x0C)])
def test_two_names_share_no_form_unless_one_is_ambiguous(one: t.Any, two: t.Any) -> None:
    first, second = der(one), der(two)
    shared = names.forms(first) & names.forms(second)
    if shared and meaning(first) != meaning(second):
        octets = [[(part.oid, part.octets) for part in names.read_name(name)] for name in (first, second)]
        assert names.ambiguity(first) or names.ambiguity(second) or octets[0] == octets[1], shared


@given(NAME, st.data())
def test_a_value_put_together_from_two_is_told_apart(attributes: t.Any, data: st.DataObject) -> None:
    """A CA that lets its users choose a common name cannot be led to sign another user's name."""
    assume(len(attributes) > 1)
    key, value, tag = attributes[0]
    form = data.draw(st.sampled_from(sorted(names.forms(der(attributes[1:])))))
    merged = der([(key, value + form, tag)])
    if names.forms(merged) & names.forms(der(attributes)):
        assert names.ambiguity(merged) or names.ambiguity(der(attributes))


@given(NAME)
def test_the_form_that_is_shown_is_accepted_and_in_one_line(attributes: t.Any) -> None:
    name = der(attributes)
    assert names.slash(name) in names.forms(name)
    assert all(" " <= char <= "~" for char in names.slash(name))
    assert all(char not in "\n\r\0\x1b\x7f" for form in names.forms(name) for char in form)


@given(NAME, st.text(min_size=1, max_size=3))
def test_more_text_is_another_name(attributes: t.Any, more: str) -> None:
    name = der(attributes)
    accepted = names.forms(name)
    longest = max(accepted, key=len)
    assert longest + more not in accepted
    assert more + longest not in accepted


@given(st.lists(NAME, min_size=1, max_size=2).map(lambda parts: list(itertools.chain(*parts))))
def test_several_attributes_in_one_rdn(attributes: t.Any) -> None:
    assume(len(attributes) > 1)
    pairs = [part[2][0] for part in _rdns(attributes)]
    assert names.ambiguity(encoded((0x30, 2, [(0x31, 2, pairs)])))


def _rdns(attributes: t.Any) -> list[Tree]:
    found = []
    for key, value, tag in attributes:
        octets = value.encode(ENCODINGS[tag], "replace")
        pair = (0x30, "short", [(6, "short", bytes.fromhex(OIDS[key])), (tag, 2, octets)])
        found.append((0x31, "short", [pair]))
    return found


# Policies

LITERAL = st.text(st.sampled_from("/=ABab 09-,@:_é"), min_size=1, max_size=12)
MORE = st.text(st.sampled_from("/=ab\n\\.é"), min_size=1, max_size=4)


def rule(kind: policies.Kind, pattern: str) -> policies.Rule:
    text = f'TO Issuer "/CN=CA" PERMIT Subject "{pattern}"\n'
    if kind == "signing_policy":
        text = f"access_id_CA X509 '/CN=CA'\npos_rights globus CA:sign\ncond_subjects globus '\"{pattern}\"'\n"
    (found,) = policies.read_rules(text.encode(), kind, "x")
    return found


@pytest.mark.parametrize("kind", policies.KINDS)
@given(LITERAL, MORE, MORE)
def test_rules_are_anchored(kind: policies.Kind, name: str, before: str, after: str) -> None:
    exact = rule(kind, name)
    assert exact.matches(name)
    for other in (before + name, name + after, before + name + after, name[:-1], name[1:]):
        assert exact.matches(other) == (other == name)
    anything = ".*" if kind == "namespaces" else "*"
    assert rule(kind, name + anything).matches(name + after)
    assert rule(kind, name + anything).matches(before + name) == (before + name).startswith(name)
    assert rule(kind, anything + name).matches(name + after) == (name + after).endswith(name)


@given(LITERAL, LITERAL, MORE)
def test_alternatives_are_anchored_at_both_ends(one: str, two: str, more: str) -> None:
    either = rule("namespaces", f"{one}|{two}")
    for name in (one + more, more + one, two + more, more + two):
        assert either.matches(name) == (name in (one, two))
