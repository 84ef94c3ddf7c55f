# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patterns of name policies: the same answers as `re`, in bounded time, and anchored at both ends."""

from __future__ import annotations

import fnmatch
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.naming import patterns

CLOSED = ("a", "b", "[ab]", "[a-c]", r"\.", r"\/", r"\d", "[]a]", "/", "^", "$", "=", "}")
TIMES = ("*", "+", "?", "{2}", "{0,2}", "{1,}", "{,1}", "*?", "{}")


def regular(*atoms: str) -> st.SearchStrategy[str]:
    return st.recursive(
        st.sampled_from(atoms),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4).map("".join),
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
            st.tuples(inner, st.sampled_from(TIMES)).map(lambda pair: f"({pair[0]}){pair[1]}"),
        ),
        max_leaves=8,
    )


NAME = st.text(st.sampled_from("abc./=1}"), max_size=10)


@given(regular(*CLOSED, ".", "[^a]", r"\W"), NAME)
def test_the_same_answer_as_re(text: str, name: str) -> None:
    expected = re.fullmatch(text, name, re.DOTALL | re.ASCII) is not None
    assert patterns.regular(text).fullmatch(name) == expected


@given(st.text(st.sampled_from("ab*?.[]/\\("), max_size=10), NAME)
def test_the_same_answer_as_a_glob(text: str, name: str) -> None:
    quoted = "".join(f"[{char}]" if char == "[" else char for char in text)
    expected = re.fullmatch(fnmatch.translate(quoted), name) is not None
    assert patterns.glob(text).fullmatch(name) == expected


@given(regular(*CLOSED), NAME, st.text(st.sampled_from("zé\n"), min_size=1, max_size=3))
def test_a_name_in_the_middle_of_more_text_never_matches(text: str, name: str, more: str) -> None:
    pattern = patterns.regular(text)
    assert not pattern.fullmatch(name + more)
    assert not pattern.fullmatch(more + name)


@given(st.text(st.sampled_from("ab*+?{}[](),|^$.\\-19é"), max_size=12))
def test_any_text_is_a_pattern_or_is_refused(text: str) -> None:
    try:
        found = patterns.regular(text)
    except patterns.PatternError:
        return
    expected = re.fullmatch(text, "ab1", re.DOTALL | re.ASCII) is not None
    assert found.fullmatch("ab1") == expected


NO_PATTERNS = (
    *("(", ")", "(a", "a)", "*", "a**", "a*{2}", "(?:a)", "(?=a)", "[", "[a", "[b-a]", "[[a]]", "[a--b]"),
    *("\\", r"\1", r"\Aa", r"\é", "a{3,1}", "{2}", "^*", "(" * 17 + ")" * 17, "a" * 1025, "a{9999}"),
    *("(((a{99}){99}){99}){99}", "((((()){9999}){9999}){9999}){9999}"),
)


@pytest.mark.parametrize("text", NO_PATTERNS)
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(patterns.PatternError):
        patterns.regular(text)


@pytest.mark.parametrize(
    "text", ["(a*)*b", "(a|a)*b", "(.*)*(.*)*b", ".*a" * 300 + "b", "(a?){500}a{500}b", "((a+)+)+b", "(a|aa|aaa)+b"]
)
def test_no_pattern_takes_long(text: str) -> None:
    begin = time.process_time()
    assert not patterns.regular(text).fullmatch("a" * patterns.MAX_NAME)
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("text", ["*a" * 500 + "b", "*?" * 500 + "b"])
def test_no_glob_takes_long(text: str) -> None:
    begin = time.process_time()
    assert not patterns.glob(text).fullmatch("a" * patterns.MAX_NAME)
    assert time.process_time() - begin < 5


def test_a_long_name_matches_nothing() -> None:
    assert patterns.regular(".*").fullmatch("a" * patterns.MAX_NAME)
    assert not patterns.regular(".*").fullmatch("a" * (patterns.MAX_NAME + 1))
    with pytest.raises(patterns.PatternError):
        patterns.glob("a" * 1025)
