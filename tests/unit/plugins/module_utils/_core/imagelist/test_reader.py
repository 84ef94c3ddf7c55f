# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import dataclasses
import datetime
import json
import time
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.reader import read_list
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.writer import write_list

LIST_ID = "4e186b44-2c64-40ea-97d5-e9e5c0bce059"
IMAGE_ID = "488dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"
OTHER_ID = "588dcdc4-9ab1-4fc8-07ba-b7a5428ecb3d"


def image(**changes: t.Any) -> dict[str, t.Any]:
    raw = {
        "dc:identifier": IMAGE_ID,
        "dc:title": "t",
        "dc:description": "d",
        "hv:version": "1",
        "hv:uri": "https://example.org/image.img",
        "hv:size": 2147483648,
        "sl:checksum:sha512": "ab" * 64,
        "sl:arch": "x86_64",
        "sl:os": "Linux",
        "sl:osversion": "SL 5.5",
        "sl:comments": "",
        "hv:hypervisor": "kvm",
        **changes,
    }
    return {key: value for key, value in raw.items() if value is not ABSENT}


def document(**changes: t.Any) -> dict[str, t.Any]:
    raw = {
        "dc:date:created": "2026-11-01T00:00:00Z",
        "dc:date:expires": "2026-12-15",
        "dc:identifier": LIST_ID.upper(),
        "dc:title": "title",
        "dc:description": "",
        "dc:source": "example.org",
        "hv:version": "7",
        "hv:uri": "https://example.org/list",
        "hv:endorser": {"hv:x509": {"dc:creator": "Jürgen", "hv:ca": "/CN=CA", "hv:dn": "/CN=J", "hv:email": "j@x"}},
        "hv:images": [{"hv:image": image()}],
        **changes,
    }
    return {key: value for key, value in raw.items() if value is not ABSENT}


ABSENT = object()


def octets(raw: t.Any, *, wrap: bool = True) -> bytes:
    return json.dumps({"hv:imagelist": raw} if wrap else raw).encode()


def refusal(data: bytes) -> TrustError:
    with pytest.raises(TrustError) as caught:
        read_list(data)
    return caught.value


@pytest.mark.parametrize("wrap", [True, False])
def test_reads_both_forms(wrap: bool) -> None:
    found = read_list(octets(document(), wrap=wrap))
    utc = datetime.timezone.utc
    assert (found.identifier, found.version, found.title, found.source) == (LIST_ID, "7", "title", "example.org")
    assert found.created == datetime.datetime(2026, 11, 1, tzinfo=utc)
    assert found.expires == datetime.datetime(2026, 12, 15, tzinfo=utc)
    assert [(e.dn, e.ca, e.email, e.name) for e in found.endorsers] == [("/CN=J", "/CN=CA", "j@x", "Jürgen")]
    (read,) = found.images
    assert (read.identifier, read.version, read.size, read.sha512) == (IMAGE_ID, "1", 2147483648, "ab" * 64)
    assert (read.arch, read.os, read.osversion, read.hypervisor) == ("x86_64", "Linux", "SL 5.5", "kvm")
    assert (read.format, read.expires, dict(read.checksums)) == (None, None, {})
    assert read.raw == image()


def test_reads_several_endorsers() -> None:
    one, two = {"hv:x509": {"hv:dn": "/CN=A", "hv:ca": "/CN=C"}}, {"hv:x509": {"hv:dn": "/CN=B", "hv:ca": "/CN=C"}}
    found = read_list(octets(document(**{"hv:endorser": [one, two]})))
    assert [endorser.dn for endorser in found.endorsers] == ["/CN=A", "/CN=B"]


@pytest.mark.parametrize("images", [ABSENT, []])
def test_a_list_may_be_without_images(images: t.Any) -> None:
    assert read_list(octets(document(**{"hv:images": images}))).images == ()


@pytest.mark.parametrize(("stated", "size"), [("121243136", 121243136), (1, 1), ("0012", 12), (10**17, 10**17)])
def test_a_size_is_a_number_or_its_digits(stated: t.Any, size: int) -> None:
    assert (
        read_list(octets(document(**{"hv:images": [{"hv:image": image(**{"hv:size": stated})}]}))).images[0].size
        == size
    )


def test_optional_fields_of_an_image() -> None:
    changes = {
        "dc:date:expires": "2026-12-01T01:02:03Z",
        "hv:format": "QCOW2.gz",
        "hv:version": ABSENT,
        "dc:title": ABSENT,
        "sl:checksum:sha512": "AB" * 64,
        "sl:checksum:sha256": "CD" * 32,
        "sl:checksum:md5": "",
        "sl:checksum:whirlpool": "Anything",
    }
    (read,) = read_list(octets(document(**{"hv:images": [{"hv:image": image(**changes)}]}))).images
    assert read.expires == datetime.datetime(2026, 12, 1, 1, 2, 3, tzinfo=datetime.timezone.utc)
    assert (read.format, read.version, read.title, read.sha512) == ("QCOW2.gz", "", "", "ab" * 64)
    assert dict(read.checksums) == {"sha256": "cd" * 32, "whirlpool": "Anything"}


IN_LIST: list[tuple[str, t.Any]] = [
    ("dc:identifier", ABSENT),
    ("dc:identifier", "FOOBAR"),
    ("dc:identifier", "../../" + LIST_ID[6:]),
    ("dc:identifier", LIST_ID + "\n"),
    ("dc:identifier", "\u212a" + LIST_ID[1:]),
    ("dc:identifier", LIST_ID.replace("-", "")),
    ("dc:date:created", ABSENT),
    ("dc:date:created", "2026-11-01T00:00:00"),
    ("dc:date:created", "2026-11-01 00:00:00Z"),
    ("dc:date:created", "2026-11-01T00:00:00+00:00"),
    ("dc:date:created", "2026-02-30T00:00:00Z"),
    ("dc:date:created", "2026-11-01T24:00:00Z"),
    ("dc:date:created", "٢٠٢٦-11-01T00:00:00Z"),
    ("dc:date:expires", ABSENT),
    ("dc:date:expires", ""),
    ("dc:date:expires", 20261201),
    ("hv:version", ABSENT),
    ("hv:version", ""),
    ("hv:version", 7),
    ("hv:version", "1_0"),
    ("hv:uri", 7),
    ("dc:title", None),
    ("hv:endorser", ABSENT),
    ("hv:endorser", []),
    ("hv:endorser", "/CN=J"),
    ("hv:images", {}),
    ("hv:images", None),
]


@pytest.mark.parametrize(("key", "value"), IN_LIST)
def test_a_malformed_list_is_refused_with_the_field(key: str, value: t.Any) -> None:
    caught = refusal(octets(document(**{key: value})))
    assert (caught.code, caught.context["field"]) == ("list_malformed", key)


IN_IMAGE: list[tuple[str, t.Any]] = [
    ("dc:identifier", ABSENT),
    ("dc:identifier", "../../etc/passwd"),
    ("hv:uri", ABSENT),
    ("hv:uri", ""),
    ("hv:size", ABSENT),
    ("hv:size", 0),
    ("hv:size", -4),
    ("hv:size", True),
    ("hv:size", ""),
    ("hv:size", "4 "),
    ("hv:size", "٤"),
    ("hv:size", "4.0"),
    ("hv:size", "1" * 19),
    ("sl:checksum:sha512", ABSENT),
    ("sl:checksum:sha512", ""),
    ("sl:checksum:sha512", "ab" * 63),
    ("sl:checksum:sha512", "xy" * 64),
    ("sl:checksum:sha256", "ab"),
    ("sl:checksum:whirlpool", 7),
    ("hv:version", "a/b"),
    ("sl:arch", ["x86_64"]),
    ("hv:format", 1),
    ("dc:date:expires", "tomorrow"),
]


@pytest.mark.parametrize(("key", "value"), IN_IMAGE)
def test_one_malformed_image_refuses_the_whole_list(key: str, value: t.Any) -> None:
    good = {"hv:image": image(**{"dc:identifier": OTHER_ID})}
    caught = refusal(octets(document(**{"hv:images": [good, {"hv:image": image(**{key: value})}]})))
    assert (caught.code, caught.context["field"]) == ("list_malformed", f"hv:images[1].{key}")


@pytest.mark.parametrize("item", [7, {}, {"hv:image": []}, image()])
def test_an_image_is_an_object_in_hv_image(item: t.Any) -> None:
    caught = refusal(octets(document(**{"hv:images": [item]})))
    assert caught.code == "list_malformed"
    assert caught.context["field"].startswith("hv:images[0]")


@pytest.mark.parametrize("key", ["hv:dn", "hv:ca"])
def test_an_endorser_has_a_name_and_a_ca(key: str) -> None:
    x509 = {"hv:dn": "/CN=A", "hv:ca": "/CN=C"}
    del x509[key]
    assert (
        refusal(octets(document(**{"hv:endorser": {"hv:x509": x509}}))).context["field"] == f"hv:endorser.hv:x509.{key}"
    )
    many = [{"hv:x509": {"hv:dn": "/CN=A", "hv:ca": "/CN=C"}}, {"hv:x509": x509}]
    assert refusal(octets(document(**{"hv:endorser": many}))).context["field"] == f"hv:endorser[1].hv:x509.{key}"


def test_one_uuid_stands_for_one_image() -> None:
    images = [{"hv:image": image()}, {"hv:image": image(**{"dc:identifier": IMAGE_ID.upper()})}]
    assert refusal(octets(document(**{"hv:images": images}))).context["field"] == "hv:images[1].dc:identifier"


TEXT = octets(document()).decode()
NOT_JSON: dict[str, bytes] = {
    "bom": b"\xef\xbb\xbf" + TEXT.encode(),
    "utf16": TEXT.encode("utf-16"),
    "latin1": TEXT.replace("title", "\xe9").replace("dc:\xe9", "dc:title").encode("latin-1"),
    "surrogate octets": TEXT.encode().replace(b'"title"', b'"\xed\xa0\x80"'),
    "lone surrogate": TEXT.replace('"title"', r'"\ud800"').encode(),
    "lone surrogate in a key": TEXT.replace('"dc:source"', r'"\udfff"').encode(),
    "nul": TEXT.replace('"title"', r'"\u0000"').encode(),
    "raw nul": TEXT.replace('"title"', '"\0"').encode(),
    "duplicate": TEXT.replace('"dc:title"', '"hv:version": "8", "dc:title"', 1).encode(),
    "escaped duplicate": TEXT.replace('"dc:title"', r'"hv:versio\u006e": "8", "dc:title"', 1).encode(),
    "duplicate deep inside": TEXT.replace('"title"', '{"a": [{"b": 1, "b": 1}]}').encode(),
    "float": TEXT.replace("2147483648", "2147483648.0").encode(),
    "exponent": TEXT.replace("2147483648", "2e9").encode(),
    "nan": TEXT.replace("2147483648", "NaN").encode(),
    "infinity": TEXT.replace("2147483648", "-Infinity").encode(),
    "long integer": TEXT.replace("2147483648", "1" * 19).encode(),
    "huge integer": TEXT.replace("2147483648", "1" * 10000).encode(),
    "trailing": TEXT.encode() + b"x",
    "two values": TEXT.encode() * 2,
    "single quotes": TEXT.replace('"', "'").encode(),
    "empty": b"",
    "deep array": TEXT.replace('"title"', "[" * 16 + "]" * 16).encode(),
    "deep object": TEXT.replace('"title"', '{"a":' * 15 + "1" + "}" * 15).encode(),
    "very deep": b"[" * 1_000_000,
}


@pytest.mark.parametrize("name", NOT_JSON)
def test_json_is_strict(name: str) -> None:
    assert refusal(NOT_JSON[name]).code == "json_invalid"


def test_what_strict_json_allows() -> None:
    allowed = [
        TEXT.replace('"title"', r'"\ud83d\ude00 \\u0000 [[[[[[[[[[[[[[[[[[[[ \" {"'),
        TEXT.replace('"dc:source": "example.org"', '"x": ' + "[" * 14 + "]" * 14),
        TEXT.replace('"dc:source": "example.org"', '"x": -999999999999999999'),
    ]
    for text in allowed:
        read_list(text.encode())


@pytest.mark.parametrize("document_", ["[]", '"text"', "7", "null", '{"hv:imagelist": []}', "{}"])
def test_a_list_is_an_object(document_: str) -> None:
    assert refusal(document_.encode()).code == "list_malformed"


def test_a_list_has_a_largest_size() -> None:
    space = 4 * 1024 * 1024 - len(TEXT.encode())
    read_list(TEXT.encode() + b" " * space)
    assert refusal(TEXT.encode() + b" " * (space + 1)).code == "too_large"


@pytest.mark.parametrize(
    "hostile",
    [
        b'"\\' + b'"\\' * 2_000_000,
        b"{" + b",".join(b'"%d":0' % number for number in range(300_000)) + b',"7":0}',
        b'{"x": "' + b"\\u0041" * 600_000,
    ],
    ids=["unterminated strings", "many keys", "escapes"],
)
def test_a_hostile_text_is_refused_in_linear_time(hostile: bytes) -> None:
    begin = time.process_time()
    refusal(hostile)
    assert time.process_time() - begin < 5


def test_the_detail_of_a_refusal_is_printable_and_short() -> None:
    caught = refusal(octets(document(**{"dc:identifier": "\x1b[31m\n" + "x" * 10000})))
    assert caught.detail.isprintable()
    assert len(caught.detail) < 200
    key = "sl:checksum:\x1b[31m\n" + "x" * 10000
    caught = refusal(octets(document(**{"hv:images": [{"hv:image": image(**{key: 7})}]})))
    assert caught.code == "list_malformed"
    assert (caught.detail + caught.context["field"]).isprintable()
    assert len(caught.detail) < 300


def test_unknown_keys_survive_a_round_trip() -> None:
    raw = document(**{"ad:swid": "810", "x": {"y": [1, None, True, "é"]}})
    raw["hv:images"][0]["hv:image"]["ad:vo"] = ["a", {"b": 1}]
    raw["hv:images"][0]["beside"] = 1
    raw["hv:endorser"]["hv:x509"]["hv:phone"] = "1"
    written = write_list(read_list(json.dumps({"hv:imagelist": copy.deepcopy(raw), "also": 1}).encode()))
    assert json.loads(written) == {"hv:imagelist": raw, "also": 1}


def test_how_a_list_is_written() -> None:
    raw = document(**{"hv:images": ABSENT, "hv:endorser": [document()["hv:endorser"]]})
    written = write_list(raw)
    text = written.decode("utf-8")
    assert text.endswith("\n}\n")
    assert "\r" not in text
    assert text.startswith('{\n    "hv:imagelist": {\n        "dc:date:created": ')
    assert json.loads(text)["hv:imagelist"]["hv:images"] == []
    assert json.loads(text)["hv:imagelist"]["hv:endorser"] == document()["hv:endorser"]
    assert "Jürgen" in text
    assert list(json.loads(text)["hv:imagelist"]) == sorted(json.loads(text)["hv:imagelist"])


KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=10).filter(
    lambda key: not key.startswith(("dc:", "hv:", "sl:"))
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(min_value=-(10**18) + 1, max_value=10**18 - 1),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    ),
    lambda children: st.one_of(st.lists(children, max_size=3), st.dictionaries(KEYS, children, max_size=3)),
    max_leaves=6,
)
EXTRA = st.dictionaries(KEYS, VALUES, max_size=3)


@given(EXTRA, st.lists(st.tuples(st.uuids(), EXTRA, st.integers(1, 10**18 - 1)), max_size=3, unique_by=lambda x: x[0]))
def test_whatever_is_written_is_read_back(extra: t.Any, images: t.Any) -> None:
    many = [{"hv:image": image(**{**e, "dc:identifier": str(u), "hv:size": s})} for u, e, s in images]
    raw = document(**{**extra, "hv:images": many})
    found = read_list(write_list(raw))
    assert found.raw == raw
    assert read_list(write_list(found)) == found
    assert [read.identifier for read in found.images] == [str(uuid) for uuid, _extra, _size in images]


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(TrustError):
        read_list(data)


@given(st.data())
def test_any_mutation_is_read_or_refused(data: st.DataObject) -> None:
    text = bytearray(TEXT.encode())
    position = data.draw(st.integers(0, len(text) - 1))
    text[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        found = read_list(bytes(text))
    except TrustError:
        return
    again = read_list(write_list(found))
    assert again.raw == {"hv:images": [], **found.raw}  # written always
    assert dataclasses.replace(again, raw=found.raw) == found
