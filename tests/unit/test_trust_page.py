# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page on the trust model names tests that there are, and the index names the page.

That its tables of PKITS and of openssl are true is tested where these are (test_pkits.py, test_against_openssl.py).
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parent.parent.parent
TEXT = (CHECKOUT / "docs" / "docsite" / "rst" / "trust" / "trust_model.rst").read_text(encoding="utf-8")


def test_every_test_that_it_names_is_there() -> None:
    named = set(re.findall(r"``([a-z]+/test_[a-z0-9_]+\.py)``", TEXT))
    assert len(named) >= 20
    there = {path.relative_to(path.parent.parent).as_posix() for path in (CHECKOUT / "tests").rglob("test_*.py")}
    assert named - there == set()


def test_it_is_in_the_index() -> None:
    index = yaml.safe_load((CHECKOUT / "docs" / "docsite" / "extra-docs.yml").read_text(encoding="utf-8"))
    assert "trust/trust_model" in [page for section in index["sections"] for page in section["toctree"]]
