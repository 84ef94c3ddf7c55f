# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page for those who come from vmcatcher: every command and variable, and the tables that are read."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.takeover.vmcatcher import read_database

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "docsite" / "rst" / "coming_from" / "vmcatcher.rst").read_text()

#: The acts of vmcatcher's four commands, and the variables that they read.
ACTS = {
    "vmcatcher_endorser": {"--create", "--delete", "--link", "--unlink", "--list"},
    "vmcatcher_subscribe": {
        *("--subscribe", "--auto-endorse", "--update", "--list", "--info", "--format", "--output", "--delete"),
        *("--image-accept", "--image-refuse", "--image-list"),
    },
    "vmcatcher_image": {"--add", "--remove", "--list", "--info", "--sha512"},
    "vmcatcher_cache": {"--execute"},
}
VARIABLES = {
    *("RDBMS", "LOG_CONF", "DIR_CERT", "OUTPUT_FORMAT", "SUB_EVENT", "CACHE_EVENT"),
    *(f"CACHE_ACTION_{name}" for name in ("DOWNLOAD", "CHECK", "EXPIRE")),
    *(f"CACHE_DIR_{name}" for name in ("CACHE", "DOWNLOAD", "EXPIRE")),
}


def test_every_act_and_variable_has_its_equivalent() -> None:
    told: dict[str, set[str]] = {}
    for row in re.findall(r"^   \* - (``.*)$", PAGE, re.MULTILINE):
        command = re.match(r"``(\w+)", row)
        assert command is not None
        told.setdefault(command[1], set()).update(re.findall(r"--[\w-]+", row))
    assert {command: acts - told.get(command, set()) for command, acts in ACTS.items()} == {key: set() for key in ACTS}
    named = set(re.findall(r"``VMCATCHER_(\w+)``", PAGE))
    assert sorted(VARIABLES - named) == []


def test_the_tables_that_the_page_names_are_all_that_is_read(tmp_path: Path) -> None:
    section = PAGE.split("Databases that are none of SQLite")[1].split("What vmcatcher's commands are now")[0]
    rows = re.findall(r"\* - ``(\w+)``\n     - (``.*)$", section, re.MULTILINE)
    assert len(rows) == 7
    connection = sqlite3.connect(tmp_path / "copied.db")
    for table, columns in rows:
        connection.execute(f'CREATE TABLE "{table}" ({columns.replace("`", "")})')
    connection.execute(
        "INSERT INTO subscription (identifier, uri, authorised) VALUES "
        "('5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3', 'https://x.org/list', 1)"
    )
    connection.commit()
    connection.close()
    (found,) = read_database(tmp_path / "copied.db")
    assert found["lacks"] == ["endorsers"]
