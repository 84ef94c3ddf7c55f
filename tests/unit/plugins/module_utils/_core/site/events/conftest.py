# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site with handlers: real programs, started by the real dispatcher."""

from __future__ import annotations

import json
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import settings
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.events.dispatch import dispatch

#: Appends one JSON line for each call: the event, the image, the file's octets (in hex) and all that it was given.
RECORDER = f"""#!{sys.executable}
import json, os, sys
with open({{log!r}}, "a") as stream:
    stream.write(json.dumps({{{{"environment": dict(os.environ), "input": sys.stdin.read()}}}}) + "\\n")
"""


@dataclass
class Stage:
    """Handlers and settings for a world's site."""

    world: t.Any
    directory: Path
    timeout: int = 10
    attempts: int = 5
    mail: t.Optional[t.Mapping[str, t.Any]] = None

    def handler(self, name: str, text: str, *, mode: int = 0o755) -> Path:
        """Install a handler."""
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    def shell(self, name: str, *lines: str) -> Path:
        """Install a shell script."""
        return self.handler(name, "\n".join(("#!/bin/sh", *lines)) + "\n")

    def logging(self, name: str, *lines: str) -> Path:
        """Install a shell script that, after `lines`, logs each event that it is told; its log."""
        log = self.directory.parent / f"{name}.log"
        self.shell(name, *lines, f'echo "$VMCATCHER_EVENT_TYPE $VMCATCHER_EVENT_DC_IDENTIFIER" >>{log}')
        return log

    def recorder(self, name: str = "recorder") -> Path:
        """Install a handler that records everything that it is given; its log."""
        log = self.directory.parent / f"{name}.jsonl"
        self.handler(name, RECORDER.format(log=str(log)))
        return log

    def settings(self) -> settings.Settings:
        """As the settings file would state them."""
        events = {"directory": str(self.directory), "timeout": self.timeout, "attempts": self.attempts}
        document: dict[str, t.Any] = {"site": "example-site", "events": events}
        return settings.parse({**document, "mail": self.mail} if self.mail else document)

    def dispatch(self, **options: t.Any) -> Outcome:
        """Tell what is pending."""
        with self.world.open() as catalogue:
            return dispatch(catalogue, self.settings(), **options)

    def journal(self, *events: str) -> list[dict[str, t.Any]]:
        """The data of the journal's lines of these kinds."""
        lines = (self.world.state / "journal.jsonl").read_text().splitlines()
        return [record["data"] for record in map(json.loads, lines) if record["event"] in events]


def events_of(log: Path) -> list[str]:
    """What a logging handler was told, without what frames a run."""
    if not log.exists():
        return []
    return [line.strip() for line in log.read_text().splitlines() if not line.startswith("Process")]


@pytest.fixture
def stage(world: t.Any, tmp_path: Path) -> Stage:
    directory = tmp_path / "events.d"
    directory.mkdir(mode=0o755)
    return Stage(world, directory)
