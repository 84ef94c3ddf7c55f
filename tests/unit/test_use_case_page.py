# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the use cases has each of the book's, and the tests that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = (CHECKOUT / "docs" / "docsite" / "rst" / "guides" / "use_cases.rst").read_text(encoding="utf-8")
TESTS = "".join(path.read_text() for path in (CHECKOUT / "tests" / "integration").glob("test_use_cases*.py"))

#: Those of chapter 5. 2.1.1 and 2.1.2 are fulfilled by how it is built, as the book says itself.
USE_CASES = [
    *("1.1", "1.1.1", "1.1.2", "1.1.3", "1.2", "1.2.1", "1.2.2", "1.2.3", "1.3", "1.4"),
    *("2.1", "2.2", "2.3"),
    *("3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7", "3.8"),
]


def test_every_use_case_is_told() -> None:
    told = re.findall(r"\*\*([0-9.]+)(?: and ([0-9.]+))? ", PAGE)
    assert [number for pair in told for number in pair if number] == USE_CASES


def test_every_test_that_is_named_is_there_and_the_other_way_round() -> None:
    named = set(re.findall(r"``(test_\w+)``", PAGE))
    there = set(re.findall(r"def (test_(?:use_case_)?[123]_\w+)\(", TESTS))
    assert named == there
