# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database as vmcatcher made it, read as options that subscribe to its lists."""

from __future__ import annotations

import contextlib
import sqlite3
import typing as t
from pathlib import Path

import pytest

LIST, IMAGE = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3", "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
GONE, UNWANTED = IMAGE.replace("2", "3", 1), IMAGE.replace("2", "4", 1)
URI = "https://images.example.org/workers.list"
DN, CA = "/DC=org/DC=example-grid/CN=Erin Endorser", "/DC=org/DC=example-grid/CN=Example Grid Classic CA"

#: The tables and columns by which vmcatcher kept what it knew.
TABLES = {
    "endorser": "id, identifier",
    "endorserPrincible": "id, hv_dn, hv_ca, endorser",
    "subscription": "id, identifier, description, uri, authorised, imagelist_latest, updated",
    "subscriptionAuth": "id, subscription, endorser, authorised",
    "ImageDefinition": "id, identifier, latest, cache, subscription",
    "imageListInstance": "id, data, data_hash, expired, sub_auth, imported, created, expires, version",
    "ImageInstance": "id, description, hypervisor, sha512, uri, os, osversion, arch, version, size, title, comments, "
    "fkIdentifier, fkimagelistinstance",
}
#: These came later.
USERS = ("trustAnchor", "userName", "password")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """One list with three images, of which two are wanted, and one is no longer there."""
    path = tmp_path / "vmcatcher db?.sqlite"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for name, columns in TABLES.items():
            connection.execute(f'CREATE TABLE "{name}" ({columns})')
        for column in USERS:
            connection.execute(f"ALTER TABLE subscription ADD COLUMN {column} DEFAULT ''")
        rows: dict[str, list[tuple[t.Any, ...]]] = {
            "endorser": [(1, "Erin"), (2, "Mallory")],
            "endorserPrincible": [(1, DN, CA, 1), (2, "/CN=Mallory", "/CN=CA", 2)],
            "subscription": [(1, LIST.upper(), "Worker nodes", URI, 1, 3, "2015-01-21 00:00:00", 2, "", "")],
            "subscriptionAuth": [(1, 1, 1, 1), (2, 1, 2, 0)],
            "ImageDefinition": [(1, IMAGE.upper(), 2, 1, 1), (2, GONE, 0, 3, 1), (3, UNWANTED, 3, 2, 1)],
            "imageListInstance": [(2, b"", "", None, 1, "", "", "", "16"), (3, b"", "", None, 1, "", "", "", "17")],
            "ImageInstance": [
                (number, "", "kvm", digest * 64, URI, "Linux", "SL 6", "x86_64", "4", 2**31, "worker", "", image, of)
                for number, (image, of, digest) in enumerate(((1, 2, "CD"), (1, 3, "AB"), (2, 2, "CD"), (3, 3, "EF")))
            ],
        }
        for name, entries in rows.items():
            connection.executemany(f'INSERT INTO "{name}" VALUES ({", ".join("?" * len(entries[0]))})', entries)
    return path


def _change(database: Path, statement: str, *values: t.Any) -> None:
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(statement, values)


def test_a_subscription_is_described_as_what_declares_it(bench: t.Any, database: Path) -> None:
    (found,) = bench.done("vmcatcher_info", {"database": str(database)})["lists"]
    assert (found["identifier"], found["version"], found["lacks"]) == (LIST, "17", [])
    assert found["endorsers"] == [{"name": "Erin", "dn": DN, "ca": CA}]
    assert found["subscription"] == {
        "uri": URI,
        "identifier": LIST,
        "endorsers": [{"dn": DN, "ca": CA}],
        "select": [IMAGE, GONE],
    }
    assert found["decisions"] == [
        {"decision": "approve", "images": [IMAGE], "list": LIST, "reason": "Subscribed in vmcatcher"}
    ]


def test_images_are_told_as_the_last_version_had_them(bench: t.Any, database: Path) -> None:
    (found,) = bench.done("vmcatcher_info", {"database": str(database)})["lists"]
    told = {
        image["identifier"]: (image["wanted"], image["listed"], image["sha512"][:2], image["size"])
        for image in found["images"]
    }
    assert told == {
        IMAGE: (True, True, "ab", 2147483648),
        GONE: (True, False, "", 0),
        UNWANTED: (False, True, "ef", 2147483648),
    }


def test_what_was_read_subscribes_and_approves(bench: t.Any, database: Path) -> None:
    bench.publish(bench.image())
    _change(database, "UPDATE subscription SET uri = ?", bench.uri)
    erin = bench.pki.endorser
    _change(database, "UPDATE endorserPrincible SET hv_dn = ?, hv_ca = ? WHERE id = 1", erin.dn, erin.ca)
    (found,) = bench.done("vmcatcher_info", {"database": str(database)})["lists"]
    bench.done("imagelist_subscribe", {**bench.subscription(), **found["subscription"]})
    for decision in found["decisions"]:
        bench.done("image_decision", {"state_dir": str(bench.state_dir), **decision})
    done = bench.done("image_cache", {"state_dir": str(bench.state_dir)})
    assert [image["image"] for image in done["downloaded"]] == [IMAGE]


@pytest.mark.parametrize(
    ("statement", "lacks"),
    [
        ("UPDATE subscription SET userName = 'site', password = 'S3cret-42'", ["credentials"]),
        ("UPDATE subscription SET uri = 'https://S3cret-42:x-oauth-basic@images.example.org/w'", ["credentials"]),
        ("UPDATE subscription SET authorised = 0", ["your trust (it was not authorised)"]),
        ("DELETE FROM subscriptionAuth WHERE authorised", ["endorsers"]),
        ("UPDATE subscription SET identifier = 'workers'", ["identifier (it is no UUID)"]),
        ("UPDATE ImageDefinition SET identifier = 'worker' WHERE id = 1", ["the image worker (it is no UUID)"]),
        (
            "UPDATE subscription SET uri = 'ftp://images.example.org/w'",
            ["uri (The address ftp://images.example.org/w is not an https or http address)"],
        ),
    ],
)
def test_what_is_lacking_is_said_and_no_secret(bench: t.Any, database: Path, statement: str, lacks: list[str]) -> None:
    _change(database, statement)
    done = bench.done("vmcatcher_info", {"database": str(database)})
    assert done["lists"][0]["lacks"] == lacks
    assert "S3cret-42" not in str(done.data)


def test_the_first_databases_know_of_no_users(bench: t.Any, database: Path) -> None:
    for column in USERS:
        _change(database, f"ALTER TABLE subscription DROP COLUMN {column}")
    assert bench.done("vmcatcher_info", {"database": str(database)})["lists"][0]["lacks"] == []


def test_another_file_is_refused_and_nothing_is_made(bench: t.Any, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database at all, but long enough to be looked at as one" * 20)
    _change(tmp_path / "other.db", "CREATE TABLE subscription (id)")
    for name, code in (("text", "option_invalid"), ("other.db", "option_invalid"), ("absent", "not_found")):
        assert bench.run("vmcatcher_info", {"database": str(tmp_path / name)})["code"] == code
    assert not (tmp_path / "absent").exists()
