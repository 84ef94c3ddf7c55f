# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site that comes from vmcatcher: its database becomes a file, and the file its subscriptions and decisions here."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import typing as t
from pathlib import Path

import pytest
import yaml

from .grid import Grid, make
from .region import Endorser, Image, Site

pytestmark = pytest.mark.needs("nginx")

#: A name from a database goes into a comment, and must not come out of it.
EVIL = "none\nhepix_vmimages_rules: []"
STATEMENTS = (
    "CREATE TABLE endorser (id, identifier)",
    "CREATE TABLE endorserPrincible (id, hv_dn, hv_ca, endorser)",
    "CREATE TABLE subscription (id, identifier, description, uri, authorised, imagelist_latest, updated)",
    "CREATE TABLE subscriptionAuth (id, subscription, endorser, authorised)",
    "CREATE TABLE ImageDefinition (id, identifier, latest, cache, subscription)",
    "CREATE TABLE imageListInstance (id, version)",
    "CREATE TABLE ImageInstance (sha512, uri, version, size, title, fkIdentifier, fkimagelistinstance)",
    "INSERT INTO endorser VALUES (1, 'Erin')",
    "INSERT INTO subscriptionAuth VALUES (1, 1, 1, 1)",
    "INSERT INTO imageListInstance VALUES (1, '17')",
    "INSERT INTO ImageInstance VALUES ('00', '', '1', 1, '{{ 1 + 1 }}', 1, 1), ('00', '', '1', 1, '', 2, 1)",
)


@pytest.fixture
def grid(demo_ca: t.Any, now: t.Any, tmp_path: Path, ansible_environment: dict[str, str]) -> t.Iterator[Grid]:
    with make(tmp_path, demo_ca, now, ansible_environment) as found:
        yield found


def _write_database(path: Path, erin: Endorser, wanted: Image, other: Image) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in STATEMENTS:
            connection.execute(statement)
        person = erin.person
        connection.execute("INSERT INTO endorserPrincible VALUES (1, ?, ?, 1)", (person.dn, person.ca))
        subscriptions = [(1, erin.identifier, "", erin.uri, 1, 1, ""), (2, EVIL, "", "", 1, None, "")]
        connection.executemany("INSERT INTO subscription VALUES (?, ?, ?, ?, ?, ?, ?)", subscriptions)
        images = [(1, wanted.identifier, 1, 1, 1), (2, other.identifier, 2, 0, 1)]
        connection.executemany("INSERT INTO ImageDefinition VALUES (?, ?, ?, ?, ?)", images)


def test_a_database_becomes_subscriptions_and_decisions(run_playbook: t.Any, grid: Grid, tmp_path: Path) -> None:
    erin = Endorser(grid, "Erin", grid.pki.endorser)
    wanted, other = erin.build("worker"), erin.build("other")
    erin.publish(wanted, other)
    _write_database(tmp_path / "vmcatcher.db", erin, wanted, other)
    site, written = Site(grid, erin), tmp_path / "site.yml"
    place = {"hepix_vmimages_database": f"{tmp_path}/vmcatcher.db", "hepix_vmimages_site": str(written)}

    done = run_playbook("hepix.vmimages.import_vmcatcher", "-e", json.dumps(place))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"# {erin.identifier}: vmcatcher had version 17\n" in written.read_text()
    described = yaml.safe_load(written.read_text())
    assert "hepix_vmimages_rules" not in described
    # The operator leaves out what cannot be subscribed, and says what vmcatcher had no words for.
    evil, subscription = sorted(described["hepix_vmimages_subscriptions"], key=lambda item: str(item["uri"]))
    assert evil["identifier"] == EVIL
    subscription["anchors"] = str(grid.pki.certificates)
    subscription["ca_path"] = str(grid.pki.tls / "ca.pem")
    subscription["allow_private"] = True
    described["hepix_vmimages_subscriptions"] = [subscription]
    written.write_text(yaml.safe_dump(described))

    taken_over = ("-e", json.dumps(place), "-e", f"@{written}", "-e", f"hepix_vmimages_state_dir={site.state}")
    done = run_playbook("hepix.vmimages.import_vmcatcher", "hepix.vmimages.subscribe", *taken_over)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout + done.stderr
    assert yaml.safe_load(written.read_text()) == described
    assert site.command("sync")[0] == 0
    assert site.runs(wanted)
    assert site.verdict(other) == "not_approved"
