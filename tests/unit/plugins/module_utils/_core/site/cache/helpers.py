# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the cache have in common."""

from __future__ import annotations

import contextlib
import json
import subprocess
import typing as t
from pathlib import Path

from ..conftest import IMAGE, World

WRONG = b"these are not the endorsed octets"


def cached(world: World, **options: t.Any) -> dict[str, t.Any]:
    """Publish, subscribe, approve and cache one image; the image."""
    image: dict[str, t.Any] = world.image()
    world.publish("1", [image], **options)
    world.subscribe()
    world.decide("approve", IMAGE)
    world.sync()
    return image


def name_of(image: t.Mapping[str, t.Any]) -> str:
    return f"{image['dc:identifier']}_{image['hv:version']}_{image['sl:checksum:sha512'][:16]}"


def directory_of(world: World, place: str) -> Path:
    return world.state / "cache" / place


def names(world: World, place: str) -> list[str]:
    return sorted(path.name for path in directory_of(world, place).iterdir() if "catalogue.json" not in path.name)


def done(outcome: t.Any) -> list[str]:
    return [action["action"] for action in outcome.actions]


def told(outcome: t.Any) -> tuple[t.Any, ...]:
    """What check mode and the run must have in common."""
    actions = [(action["action"], action["name"], action.get("image")) for action in outcome.actions]
    return outcome.changed, outcome.before, outcome.after, actions, outcome.warnings


def same_in_check_mode(world: World, **options: t.Any) -> t.Any:
    """The outcome of a run, which check mode foretold."""
    planned = told(world.sync(check=True, **options))
    outcome = world.sync(**options)
    assert planned == told(outcome)
    return outcome


def is_behind(world: World) -> bool:
    """Whether the journal has gone on since the snapshot was written."""
    document = json.loads((world.state / "verdicts.json").read_text())
    return bool(document["journal"]["size"] != (world.state / "journal.jsonl").stat().st_size)


@contextlib.contextmanager
def mounted(path: Path, *arguments: str) -> t.Iterator[None]:
    """A file system of its own at `path`."""
    subprocess.run(["mount", *arguments, str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
