# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The strict reader accepts exactly the JSON that keeps its rules, and reads it as Python's reader does."""

from __future__ import annotations

import json
import typing as t

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist import strict_json

SCALARS = st.sampled_from(
    (
        *("0", "-1", "12", "9" * 18, "9" * 19, "-" + "9" * 18, "-" + "9" * 19, "1.0", "1e2", "-0", "01", "NaN"),
        *("-Infinity", "true", "false", "null", '""', '"a"', '"[{"', '"\\""', '"\\\\"', '"\\u0061"', '"\\u0000"'),
        *('"\\ud800"', '"\\ud83d\\ude00"', '"é"', '"\t"', '"\\x"', '"', "'a'", "", "//", "1 2"),
    )
)
NAMES = st.sampled_from(
    ['"a"', '"b"', '"\\u0061"', '"A"', '""', '"\\u0000"', '"\\udfff"', '"é"', '"e\\u0301"', "a", "1"]
)
BLANK = st.sampled_from(["", "", " ", "\n\t", "\r\n"])
TEXTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.builds(
            lambda parts, blank: f"[{blank}{f',{blank}'.join(parts)}{blank}]", st.lists(inner, max_size=4), BLANK
        ),
        st.builds(
            lambda pairs, blank: "{" + f"{blank},".join(f"{key}{blank}:{value}" for key, value in pairs) + blank + "}",
            st.lists(st.tuples(NAMES, inner), max_size=4),
            BLANK,
        ),
        st.builds(lambda text, depth: "[" * depth + text + "]" * depth, inner, st.integers(0, 18)),
        st.builds(lambda text, depth: '{"a":' * depth + text + "}" * depth, inner, st.integers(0, 18)),
    ),
    max_leaves=6,
)


class BrokenRuleError(Exception):
    """The text is JSON to Python, but not to us."""


def pairs(found: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
    if len({key for key, _value in found}) != len(found):
        raise BrokenRuleError("a key twice")
    return dict(found)


def integer(text: str) -> int:
    if sum(char.isdigit() for char in text) > 18:
        raise BrokenRuleError("a long number")
    return int(text)


def no_number(text: str) -> t.NoReturn:
    raise BrokenRuleError(text)


def check(value: t.Any, depth: int) -> None:
    if isinstance(value, str) and any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value):
        raise BrokenRuleError("a character")
    if isinstance(value, (list, dict)):
        if depth == 16:
            raise BrokenRuleError("too deep")
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            check(item, depth + 1)


def reference(octets: bytes) -> t.Any:
    """Python's reader, and the rules once more in other words; raises ValueError or BrokenRuleError."""
    text = octets.decode("utf-8")
    if text.startswith("\ufeff"):
        raise BrokenRuleError("a byte order mark")
    value = json.loads(
        text, object_pairs_hook=pairs, parse_int=integer, parse_float=no_number, parse_constant=no_number
    )
    check(value, 0)
    return value


def agree(octets: bytes) -> None:
    try:
        expected = reference(octets)
    except (ValueError, BrokenRuleError, RecursionError):
        with pytest.raises(TrustError) as caught:
            strict_json.parse_json(octets)
        assert caught.value.code == "json_invalid"
        return
    assert strict_json.parse_json(octets) == expected == json.loads(octets)


@settings(max_examples=500)
@example('{"a":1,"\\u0061":1}')
@example('[{"b":1,"a":[],"b":1}]')
@example('{"\\u0000":1}')
@given(TEXTS)
def test_both_readers_agree(text: str) -> None:
    agree(text.encode())


@settings(max_examples=500)
@given(TEXTS, st.data())
def test_both_readers_agree_on_changed_texts(text: str, data: st.DataObject) -> None:
    octets = bytearray(text.encode())
    at = data.draw(st.integers(0, len(octets)))
    octets[at : at + data.draw(st.integers(0, 3))] = data.draw(
        st.one_of(
            st.binary(max_size=3), st.sampled_from([b'"', b"\\", b"[", b"}", b",", b"\xef\xbb\xbf", b"\xed\xa0\x80"])
        )
    )
    agree(bytes(octets))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18) + 1, 10**18 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('ab"\\[]{}é', max_size=3), inner, max_size=4),
    max_leaves=10,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 0, 2]))
def test_what_json_writes_is_read(value: t.Any, ascii_only: bool, indent: t.Optional[int]) -> None:
    agree(json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode())


@given(st.text('[]{}",:1', max_size=40))
def test_brackets_in_every_order(text: str) -> None:
    agree(text.encode())


@pytest.mark.parametrize("depth", [15, 16, 17, 18, 32, 33, 1000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":[', "]}"), ('[{"[":', "}]")])
def test_the_depth_is_exact(depth: int, opening: str, closing: str) -> None:
    brackets = sum(char in "[{" for char in opening.replace('"["', ""))
    octets = (opening * (depth // brackets) + ("[" if depth % brackets else "") + "1").encode()
    octets += (("]" if depth % brackets else "") + closing * (depth // brackets)).encode()
    if depth <= strict_json.MAX_DEPTH:
        assert strict_json.parse_json(octets) is not None
        return
    for text in (octets, octets[: len(octets) // 2]):
        with pytest.raises(TrustError) as caught:
            strict_json.parse_json(text)
        assert caught.value.code == "json_invalid"
