# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command, called as its `main`; the site that it works for is that of the bench."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core import main as command

#: Commands that work for no site.
WITHOUT_SITE = ("verify",)


class Answer(t.NamedTuple):
    """How a call of the command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> t.Any:
        return json.loads(self.out)


Call = Callable[..., Answer]


@pytest.fixture
def call(bench: t.Any, capfd: pytest.CaptureFixture[str]) -> Call:
    """`call("status", "--json")`, with the site's state directory where the command wants one."""

    def run(name: str, *arguments: str) -> Answer:
        state = () if name in WITHOUT_SITE else ("--state-dir", str(bench.state_dir))
        capfd.readouterr()
        code = command.main([name, *state, *arguments])
        return Answer(code, *capfd.readouterr())

    return run


@pytest.fixture
def site(bench: t.Any) -> t.Any:
    """One approved image in the cache."""
    bench.publish()
    bench.subscribe()
    bench.decide("approve", reason="Tested.")
    assert not bench.cache().failed
    return bench
