# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database as vmcaster made it, read as options that publish its lists."""

from __future__ import annotations

import sqlite3
import typing as t
from pathlib import Path

import pytest

LIST, IMAGE = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3", "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"

#: The tables by which vmcaster kept everything: things with an identifier, and what is said of them.
TABLES = """
CREATE TABLE endorser (id INTEGER PRIMARY KEY, subject VARCHAR(100) NOT NULL UNIQUE);
CREATE TABLE "endorserMetadata" (id INTEGER PRIMARY KEY, "fkEndorser" INTEGER, key VARCHAR(200), value VARCHAR(200));
CREATE TABLE imagelist (id INTEGER PRIMARY KEY, identifier VARCHAR(50) NOT NULL UNIQUE, updated DATETIME);
CREATE TABLE "ImagelistMetadata" (id INTEGER PRIMARY KEY, "fkImageList" INTEGER, key VARCHAR(200), value VARCHAR(200));
CREATE TABLE "Image" (id INTEGER PRIMARY KEY, identifier VARCHAR(50) NOT NULL UNIQUE);
CREATE TABLE "ImageMetadata" (id INTEGER PRIMARY KEY, "fkImage" INTEGER, key VARCHAR(200), value VARCHAR(200));
CREATE TABLE "Endorsement" (id INTEGER PRIMARY KEY, "fkImageList" INTEGER, "fkEndorser" INTEGER);
CREATE TABLE "ImageListImage" (id INTEGER PRIMARY KEY, "fkImageList" INTEGER, "fkImage" INTEGER);
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "vmcaster db?.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(TABLES)
    connection.execute("INSERT INTO endorser VALUES (1, '/DC=org/CN=Erin')")
    connection.execute("INSERT INTO imagelist VALUES (1, ?, NULL)", (LIST.upper(),))
    connection.execute('INSERT INTO "Image" VALUES (1, ?)', (IMAGE,))
    connection.execute('INSERT INTO "Image" VALUES (2, ?)', (IMAGE.replace("2", "3", 1),))
    connection.execute('INSERT INTO "Endorsement" VALUES (1, 1, 1)')
    connection.execute('INSERT INTO "ImageListImage" VALUES (1, 1, 1)')
    said = {
        "endorserMetadata": {"dc:creator": "Erin", "hv:email": "erin@example.org", "hv:ca": "/DC=org/CN=CA"},
        "ImagelistMetadata": {
            "dc:title": "Workers",
            "dc:description": "Worker nodes",
            "dc:source": "example.org",
            "hv:uri": "https://images.example.org/workers.list",
            "hv:version": "17",
            "dc:date:created": "2014-01-21T00:00:00Z",
            "dc:date:expires": "2014-02-21T00:00:00Z",
            "ad:vo": "example",
        },
        "ImageMetadata": {
            "dc:title": "worker",
            "hv:uri": "https://images.example.org/worker.img",
            "hv:size": "2147483648",
            "sl:checksum:sha512": "AB" * 64,
            "hv:version": "4",
            "sl:os": "Linux",
            "sl:osversion": "SL 5.5",
        },
    }
    for table, pairs in said.items():
        for key, value in pairs.items():
            connection.execute(f'INSERT INTO "{table}" VALUES (NULL, 1, ?, ?)', (key, value))
    connection.commit()
    connection.close()
    return path


def test_a_list_is_described_as_what_publishes_it(bench: t.Any, database: Path) -> None:
    (found,) = bench.done("vmcaster_info", {"database": str(database)})["lists"]
    assert (found["identifier"], found["version"], found["lacks"]) == (LIST, "17", [])
    assert found["endorsers"][0]["subject"] == "/DC=org/CN=Erin"
    assert found["publication"] == {
        "identifier": LIST,
        "title": "Workers",
        "description": "Worker nodes",
        "source": "example.org",
        "uri": "https://images.example.org/workers.list",
        "endorser": {"name": "Erin", "email": "erin@example.org", "metadata": {}},
        "metadata": {"ad:vo": "example"},
        "images": [
            {
                "identifier": IMAGE,
                "uri": "https://images.example.org/worker.img",
                "version": "4",
                "size": 2147483648,
                "sha512": "ab" * 64,
                "title": "worker",
                "os": "Linux",
                "osversion": "SL 5.5",
                "metadata": {},
            }
        ],
    }
    published = bench.done(
        "imagelist_publish", {**bench.publishing(), **found["publication"], "uri": bench.uri, "version": "18"}
    )
    assert published["list"]["version"] == "18"
    assert published["images"][0]["version"] == "4"


def test_what_is_lacking_is_said(bench: t.Any, database: Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute("DELETE FROM \"ImageMetadata\" WHERE key = 'hv:size'")
    connection.commit()
    (found,) = bench.done("vmcaster_info", {"database": str(database)})["lists"]
    assert found["lacks"] == [f"hv:size of the image {IMAGE}"]


def test_another_file_is_refused_and_nothing_is_made(bench: t.Any, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database at all, but long enough to be looked at as one" * 20)
    assert bench.run("vmcaster_info", {"database": str(tmp_path / "text")})["code"] == "publish_invalid"
    assert bench.run("vmcaster_info", {"database": str(tmp_path / "absent")})["code"] == "not_found"
    assert not (tmp_path / "absent").exists()


def test_a_nul_in_an_option_is_refused_in_words(bench: t.Any) -> None:
    """From Python 3.12 on Ansible says so itself: it cannot log such an option."""
    for module, option, options in (
        ("vmcaster_info", "database", {"database": "/tmp/\0"}),
        ("imagelist_info", "endorsers", {"src": "/x", "endorsers": [{"dn": "/CN=\0", "ca": "/CN=x"}]}),
    ):
        result = bench.run(module, options)
        assert result.failed
        if "code" in result.data or "embedded null" not in result["msg"]:
            assert (result["code"], result["context"]["option"]) == ("option_invalid", option)
