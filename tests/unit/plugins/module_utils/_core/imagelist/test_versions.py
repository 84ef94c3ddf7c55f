# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist import versions

VERSION = (
    st.builds(
        lambda parts, separators: "".join(x + y for x, y in zip(parts, separators)) + parts[-1],
        st.lists(
            st.one_of(st.from_regex(r"[0-9]{1,4}", fullmatch=True), st.sampled_from(["a", "B", "rc1", "1a"])),
            min_size=1,
            max_size=5,
        ),
        st.lists(st.sampled_from(".-"), min_size=5, max_size=5),
    )
    .map(lambda text: text.rstrip(".-"))
    .filter(versions.is_version)
)


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("9", "10"),
        ("1", "1.0"),
        ("1.9", "1.10"),
        ("3.3.0", "3.3.0-1"),
        ("3.3.0-1", "3.3.0-2"),
        ("1.999", "1.a"),
        ("1.a", "1.b"),
        ("1.B", "1.a"),
        ("2.6.0-4-1", "2.6.0-10-1"),
        ("1" * 100, "2" * 100),
        ("9" * 99, "1" * 100),
    ],
)
def test_order(lower: str, higher: str) -> None:
    assert versions.compare(lower, higher) == -1
    assert versions.compare(higher, lower) == 1


@pytest.mark.parametrize(("a", "b"), [("7", "7"), ("07", "7"), ("1.0", "1-0"), ("0", "000")])
def test_equal(a: str, b: str) -> None:
    assert versions.compare(a, b) == 0


@pytest.mark.parametrize("text", ["", ".", "1.", "-1", "1..2", "1_2", "1 ", " 1", "1\n", "1/2", "é", "١", "1" * 129])  # noqa: RUF001
def test_not_a_version(text: str) -> None:
    with pytest.raises(TrustError) as refusal:
        versions.parse(text)
    assert refusal.value.code == "list_malformed"


@pytest.mark.parametrize(
    ("text", "following"),
    [
        ("1", "2"),
        ("9", "10"),
        ("3.3.0-1", "3.3.0-2"),
        ("1.0", "1.1"),
        ("2.rc", "2.rc.1"),
        ("1.rc1", "1.rc1.1"),
        ("09", "10"),
    ],
)
def test_next_version(text: str, following: str) -> None:
    assert versions.next_version(text) == following


@given(VERSION)
def test_the_next_version_is_higher(text: str) -> None:
    assert versions.compare(text, versions.next_version(text)) == -1


@given(VERSION, VERSION, VERSION)
def test_the_order_is_total(x: str, y: str, z: str) -> None:
    assert versions.compare(x, y) == -versions.compare(y, x)
    assert versions.compare(x, x) == 0
    if versions.compare(x, y) <= 0 and versions.compare(y, z) <= 0:
        assert versions.compare(x, z) <= 0


@given(st.integers(min_value=0), st.integers(min_value=0))
def test_numbers_compare_as_numbers(a: int, b: int) -> None:
    assert versions.compare(str(a), str(b)) == (a > b) - (a < b)


def model(text: str) -> list[tuple[int, int, str]]:
    """The order in other words: numbers by value before texts by their characters."""
    parts = text.replace("-", ".").split(".")
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


@given(VERSION, VERSION)
def test_the_order_is_that_of_the_model(a: str, b: str) -> None:
    assert versions.compare(a, b) == (model(a) > model(b)) - (model(a) < model(b))


@given(st.text(st.sampled_from("019aZ.-_ /\né١"), max_size=8))  # noqa: RUF001
def test_any_text_is_a_version_or_is_refused(text: str) -> None:
    parts = text.replace("-", ".").split(".")
    good = all(part.isascii() and part.isalnum() for part in parts)
    assert versions.is_version(text) == good
    if good:
        assert versions.compare(text, text) == 0
        assert versions.compare(text, f"{text}.0") == -1
        return
    with pytest.raises(TrustError):
        versions.compare(text, "1")
    with pytest.raises(TrustError):
        versions.next_version(text)
