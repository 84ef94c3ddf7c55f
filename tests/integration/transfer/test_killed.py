# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL at a hundred random moments of a download: no wrong octet in `current`, and the next run goes on."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
import typing as t

import pytest

from .conftest import HURRIED, Site

KILLS = 100
SIZE = 3_000_000

#: Imports everything once, and then forks a process for each run: so many of them would cost too much otherwise.
PREPARED = """
import os, signal, sys, time
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache.sync import sync
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache.work import Limits
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store import preload
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue
preload.everything()
for line in sys.stdin:
    child = os.fork()
    if not child:
        code = 1
        try:
            with Catalogue.open(sys.argv[1]) as catalogue:
                code = 3 if sync(catalogue, limits=Limits(timeout=20.0)).data["failures"] else 0
        finally:
            os._exit(code)
    time.sleep(float(line))
    os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Runs:
    """Runs of the prepared process."""

    def __init__(self, site: Site) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", PREPARED, str(site.state)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def kill_after(self, seconds: float) -> int:
        """A run that is killed after so long, unless it has ended; its exit code."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def end(self) -> None:
        """No more runs."""
        self._process.communicate(timeout=30)


@pytest.fixture
def server(misbehaving: t.Any) -> t.Iterator[t.Any]:
    with misbehaving.Misbehaving() as found:
        found.pace = 0.002
        yield found


def test_a_hundred_kills(server: t.Any, site: Site) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)

    def publish() -> bytes:
        server.octets = chance.randbytes(SIZE)
        server.etag = f'"{site.version}"'
        site.publish(server.octets, server.uri())
        return t.cast("bytes", server.octets)

    octets = publish()
    started = time.monotonic()
    assert site.sync(HURRIED).changed
    longest = time.monotonic() - started
    octets = publish()
    runs = Runs(site)
    killed = resumed = 0
    try:
        while killed < KILLS:
            code = runs.kill_after(chance.uniform(0.01, longest))
            assert code in (-9, 0)
            killed += code == -9
            parts = [path for path in (site.state / "cache" / "downloading").iterdir() if path.suffix == ""]
            for path in parts:
                part = path.read_bytes()
                assert part == octets[: len(part)]
            for path in site.current():
                assert hashlib.sha512(path.read_bytes()).hexdigest() in site.endorsed
            if killed % 10 == 9 or code == 0:
                outcome = site.sync(HURRIED)
                site.check()
                assert [path.read_bytes() for path in site.current()] == [octets]
                assert site.verdict() == "allowed"
                resumed += any(entry["resumed_from"] > 0 for entry in outcome.data["downloaded"])
                octets = publish()
    finally:
        runs.end()
    assert resumed > 0
