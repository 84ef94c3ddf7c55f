# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages events``, and the events at the end of ``refresh`` and ``sync``."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core import main as command

IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"


class Site(t.NamedTuple):
    """A bench with one handler: what it logs, and calls of the command."""

    bench: t.Any
    log: Path
    capfd: pytest.CaptureFixture[str]

    def call(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        self.capfd.readouterr()
        code = command.main([arguments[0], "--state-dir", str(self.bench.state_dir), *arguments[1:]])
        out, err = self.capfd.readouterr()
        return code, out, err

    def json(self, *arguments: str) -> tuple[int, t.Any]:
        """Exit code and document."""
        code, out, _err = self.call(*arguments, "--json")
        return code, json.loads(out)

    def told(self) -> list[str]:
        """The events that the handler has heard of."""
        return self.log.read_text().split() if self.log.exists() else []

    def settings(self, text: str | None = None) -> None:
        """Write the settings file."""
        directory = self.bench.work / "events.d"
        document = {"events": {"directory": str(directory), "timeout": 20}}
        (self.bench.state_dir / "settings.json").write_text(text or json.dumps(document))

    def handler(self, *lines: str) -> None:
        """Replace the handler."""
        path = self.bench.work / "events.d" / "log"
        path.write_text("\n".join(["#!/bin/sh", f'echo "$VMCATCHER_EVENT_TYPE" >>{self.log}', *lines]) + "\n")
        path.chmod(0o755)


@pytest.fixture
def site(bench: t.Any, capfd: pytest.CaptureFixture[str]) -> Site:
    """A subscribed list with an approved image, and a handler."""
    bench.publish()
    bench.subscribe()
    bench.decide("approve")
    (bench.work / "events.d").mkdir(mode=0o755)
    made = Site(bench, bench.work / "handler.log", capfd)
    made.handler()
    made.settings()
    return made


def test_sync_and_refresh_tell_at_their_end_what_is_pending(site: Site) -> None:
    assert site.call("sync", "--check")[0] == 0 and site.call("refresh", "--check")[0] == 0
    assert site.told() == []
    code, document = site.json("refresh")
    assert (code, site.told()) == (0, ["ProcessPrefix", "SubscriptionImageNew", "ProcessPostfix"])
    assert [item["result"] for item in document["events"]["events"]] == ["handled"] * 3
    site.log.unlink()
    assert site.call("sync")[0] == 0
    assert site.told() == ["ProcessPrefix", "AvailablePrefix", "AvailablePostfix", "ProcessPostfix"]
    code, out, _err = site.call("events")
    assert (code, out) == (0, "Nothing is to be told.\n")


def test_events_tells_and_shows_what_was_told(site: Site) -> None:
    code, out, _err = site.call("events")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["RESULT", "HANDLER", "EVENT", "LIST", "IMAGE"]
    assert ["handled", "log", "SubscriptionImageNew"] in [line[:3] for line in lines]
    assert site.json("events") == (
        0,
        {"events": [], "failures": [], "waiting": [], "changed": False, "actions": []},
    )


@pytest.mark.parametrize("name", ["events", "sync", "refresh"])
def test_a_handler_that_fails_ends_with_code_3(site: Site, name: str) -> None:
    site.handler("[ $VMCATCHER_EVENT_TYPE = SubscriptionImageNew ] && echo no room >&2 && exit 9", "exit 0")
    code, _out, err = site.call(name)
    assert code == 3
    assert "log: handler_failed: log ended with status 9 at SubscriptionImageNew (attempt 1)." in err
    code, document = site.json("events")
    assert code == 0
    assert [(item["receiver"], item["image"], item["attempts"]) for item in document["waiting"]] == [
        ("handler:log", IMAGE, 1)
    ]


@pytest.mark.parametrize(
    "text, code", [("{", "settings_invalid"), ('{"events": {"directory": "/nowhere/at/all"}}', "not_readable")]
)
def test_settings_that_are_wrong_do_not_keep_a_site_from_its_work(site: Site, text: str, code: str) -> None:
    site.settings(text)
    status, document = site.json("sync")
    assert status == 3
    assert [item["action"] for item in document["actions"]] == ["download"]
    assert [item["code"] for item in document["events"]["failures"]] == [code]
    status, _out, err = site.call("events")
    assert status == 1 and err.startswith(f"vmimages: {code}: ")


def test_without_settings_nothing_is_told_and_nothing_fails(site: Site) -> None:
    (site.bench.state_dir / "settings.json").unlink()
    code, document = site.json("sync")
    assert (code, document["events"]) == (0, {"events": [], "failures": [], "waiting": []})
    assert site.told() == []
