# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The troubleshooting pages explain every refusal there is and no other, with the remedy that the code itself gives."""

from __future__ import annotations

import typing as t
from collections import Counter
from pathlib import Path

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import REMEDIES

CHECKOUT = Path(__file__).resolve().parents[2]


def test_every_code_is_explained_once_and_no_other(refusals: t.Any) -> None:
    explained = Counter(code for group in refusals.groups() for code in group.codes)
    missing = sorted(set(REMEDIES) - set(explained))
    stale = sorted(set(explained) - set(REMEDIES))
    twice = sorted(code for code, number in explained.items() if number > 1)
    to_do = (
        "Say in docs/refusals/<group>.yml what a code means and where it comes from, then run docs/refusals/write.py"
    )
    assert (missing, stale, twice) == ([], [], []), to_do


def test_the_explanations_are_whole_sentences(refusals: t.Any) -> None:
    for group in refusals.groups():
        for code, told in group.codes.items():
            assert set(told) == {"means", "cause"}, code
            for text in told.values():
                assert text[0].isupper() or text.startswith("``"), f"{code}: {text}"
                assert text.endswith("."), f"{code}: {text}"


def test_the_pages_are_what_the_table_says(refusals: t.Any, tmp_path: Path) -> None:
    for made in refusals.write(tmp_path):
        page = refusals.PAGES / made.name
        assert page.read_text(encoding="utf-8") == made.read_text(encoding="utf-8"), "Run docs/refusals/write.py"
    assert {path.name for path in refusals.PAGES.iterdir()} == {path.name for path in tmp_path.iterdir()}
