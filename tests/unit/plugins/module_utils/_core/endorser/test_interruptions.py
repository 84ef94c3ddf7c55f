# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Killed before each step that makes something durable: the published list is whole, and the next run completes."""

from __future__ import annotations

import itertools
import os
import shutil
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.check import content_digest
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message.smime import read_message

from ..killing import killed_before

ONE, TWO = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1", "3b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
STEPS = tuple((os, name) for name in ("fsync", "replace", "mkdir", "unlink"))


class Reader:
    """A site that reads after every step: one version never has two contents, and versions only rise."""

    def __init__(self, bench: t.Any) -> None:
        self.bench, self.seen = bench, dict[int, str]()

    def read(self) -> int:
        if not self.bench.list_file.exists():
            return 0
        version = int(self.bench.published().version)
        digest = content_digest(read_message(self.bench.list_file.read_bytes()).content)
        assert self.seen.setdefault(version, digest) == digest
        assert version == max(self.seen)
        return version


def another_title(bench: t.Any) -> dict[str, t.Any]:
    return {"title": "Another"}


def one_image(bench: t.Any) -> dict[str, t.Any]:
    """Says nothing of the image whose new version was on its way."""
    return {"purge_images": False, "images": [], "title": "Another"}


def the_same(bench: t.Any) -> dict[str, t.Any]:
    return {"title": "New"}


@pytest.mark.parametrize(("start", "then"), [("nothing", the_same), ("a list", another_title), ("a list", one_image)])
def test_killed_between_any_two_steps(bench: t.Any, start: str, then: t.Callable[..., t.Any], tmp_path: Path) -> None:
    if start == "a list":
        bench.run()
    bench.source(TWO).write_bytes(b"the next image")
    saved = tmp_path / "saved"
    for directory in (bench.web, bench.history):
        if directory.exists():
            shutil.copytree(directory, saved / directory.name)
    for steps in itertools.count(1):
        for directory in (bench.web, bench.history):
            shutil.rmtree(directory, ignore_errors=True)
            if (saved / directory.name).exists():
                shutil.copytree(saved / directory.name, directory)
        reader = Reader(bench)
        before = reader.read()
        killed = killed_before(steps, lambda: bench.run(title="New"), *STEPS)
        between = reader.read()
        bench.run(**then(bench))
        after = reader.read()
        assert bench.published().title == then(bench)["title"]
        assert not bench.run(**then(bench)).changed
        if then is not one_image or between > before:
            assert bench.published().images[-1].size == len(b"the next image")
        assert before <= between <= after
        if then is the_same:
            assert not [path for place in (bench.web, bench.history) for path in place.rglob("*.part")]
        if not killed:
            break
    assert steps > 20
