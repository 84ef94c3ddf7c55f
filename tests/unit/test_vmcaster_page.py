# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page for those who come from vmcaster: every command of its manual is there, and so is every test it names."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "docsite" / "rst" / "coming_from" / "vmcaster.rst").read_text()

#: The commands of the manual of 2014, chapters 2 to 4; what only selects is part of them.
COMMANDS = {
    *("--import-imagelist-smime", "--import-imagelist-json", "--upload-image", "--upload-imagelist"),
    *(f"--{verb}-{what}" for verb, what in itertools.product(("list", "show"), ("imagelist", "image", "endorser"))),
    *(f"--{verb}-{what}" for verb, what in itertools.product(("add", "del"), ("imagelist", "image", "endorser"))),
    *(f"--imagelist-{verb}-{what}" for verb, what in itertools.product(("add", "del"), ("image", "endorser"))),
    *(f"--key-{verb}-{what}" for verb, what in itertools.product(("set", "del"), ("imagelist", "image", "endorser"))),
    *("VMCASTER_CFG", "VMCASTER_RDBMS", "VMCASTER_LOG_CONF"),
    *("VMCASTER_X509_DIR", "VMCASTER_X509_KEY", "VMCASTER_X509_CERT"),
    *("scp", "local", "egiappdb", "gsidcap", "--verbose", "--quiet", "--logcfg"),
}


def test_every_command_of_the_manual_has_its_equivalent() -> None:
    told = set(re.findall(r"``([^\s`]+)[^`]*``", PAGE))
    assert sorted(COMMANDS - told) == []


def test_every_test_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"``(test_\w+\.py)``", PAGE))
    assert len(named) > 5
    assert sorted(name for name in named if not list((ROOT / "tests").rglob(name))) == []
