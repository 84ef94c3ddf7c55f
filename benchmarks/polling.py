# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A refresh of 1,000 subscriptions beside `curl --parallel` asking the same server for the same addresses.

Both send the validators of what they have. Ours is the command `vmimages refresh` in a catalogue of 1,000 lists with
100 images each: it asks, verifies what is new, takes it in, and records the verdicts. curl asks, and throws it away.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import pathlib
import sqlite3
import subprocess
import sys
import time
import typing as t

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists import refresh as refreshing
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue

from . import catalogues, kept, measure, servers
from .catalogues import Size, World

CHANGED: t.Final = 50
DELAY: t.Final = 0.04
PARALLEL: t.Final = 32


class Site:
    """A catalogue that has all lists of `base` in their first version, and validators for each."""

    def __init__(self, world: World, size: Size, web: pathlib.Path, base: str, directory: pathlib.Path) -> None:
        self.world, self.size, self.web, self.base = world, size, web, base
        self.state = world.copy(size, directory / "state")
        self.version = 1
        world.base = f"{base}/lists"
        with Catalogue.open(self.state) as catalogue:
            with catalogue.writing() as writer:
                writer.commit(*(("subscribed", world.subscription(number).as_dict()) for number in range(size.lists)))
            found = refreshing.refresh(catalogue)
        if found.data["failures"]:
            raise SystemExit(str(found.data["failures"][0]))
        self._config = directory / "curl.conf"

    def refresh(self, *, expected: t.Mapping[str, int]) -> measure.Usage:
        """Our refresh; `expected` says how many lists have which status."""
        command = [sys.executable, "-m", "benchmarks.vmimages", "refresh", "--json", "--state-dir", str(self.state)]
        used, output = measure.usage_of(command, statuses=(0, 3))
        for status, count in expected.items():
            if output.count(f'"status": "{status}"') != count:
                raise SystemExit(f"Not {count} lists were {status}: {output[:500]}")
        return used

    def remember(self) -> None:
        """Note the present validators for curl."""
        lines = []
        with contextlib.closing(sqlite3.connect(self.state / "catalogue.sqlite")) as index:
            query = "SELECT uri, etag, last_modified FROM polls JOIN lists USING (list_id)"
            for uri, etag, modified in index.execute(query):
                lines += ["next", f'url = "{uri}"', 'output = "/dev/null"', "silent"]
                if etag:
                    lines.append('header = "If-None-Match: {}"'.format(etag.replace('"', '\\"')))
                if modified:
                    lines.append(f'header = "If-Modified-Since: {modified}"')
        self._config.write_text("\n".join(["parallel", f"parallel-max = {PARALLEL}", *lines[1:], ""]))

    def curl(self) -> measure.Usage:
        """curl asks for all lists."""
        return measure.usage_of(["curl", "--config", str(self._config)], quiet=True)[0]

    def change(self, count: int) -> None:
        """Publish further versions of some lists."""
        self.version += 1
        size = Size(self.size.lists, self.size.images, self.version)
        for number in range(count):
            *_older, octets = self.world.messages(number, size)
            (self.web / "lists" / str(number)).write_bytes(octets)


def _web(world: World, size: Size, directory: pathlib.Path) -> pathlib.Path:
    web = directory / "web"
    (web / "lists").mkdir(parents=True)
    for number in range(size.lists):
        (message,) = (world.state(size) / "messages" / catalogues.list_id(number)).iterdir()
        (web / "lists" / str(number)).write_bytes(message.read_bytes())
    return web


def _start(directory: pathlib.Path) -> t.Callable[[], measure.Usage]:
    """A refresh of nothing: what the command costs before it asks anybody."""
    state = directory / "empty"
    with Catalogue.open(state, create=True) as catalogue, catalogue.writing() as writer:
        writer.commit(("unsubscribed", {"identifier": catalogues.list_id(0)}))
    command = [sys.executable, "-m", "benchmarks.vmimages", "refresh", "--json", "--state-dir", str(state)]
    return lambda: measure.usage_of(command)[0]


def _isolation(site: Site, base: str) -> float:
    """Seconds until all lists but a failing and a hanging one are noted, while the hanging one still hangs."""
    with Catalogue.open(site.state) as catalogue, catalogue.writing() as writer:
        for number, path in ((0, "fail/0"), (1, "hang/1")):
            terms = {**site.world.subscription(number).as_dict(), "uri": f"{base}/{path}"}
            writer.commit(("subscribed", terms))
    query = "SELECT count(*) FROM polls WHERE checked >= ?"
    time.sleep(1.1)
    begun = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    command = [sys.executable, "-m", "benchmarks.vmimages", "refresh", "--json", "--state-dir", str(site.state)]
    clock = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            with contextlib.closing(sqlite3.connect(site.state / "catalogue.sqlite")) as index:
                while index.execute(query, (begun,)).fetchone()[0] < site.size.lists - 1:
                    if process.poll() is not None or time.monotonic() > clock + 60:
                        raise SystemExit("The hanging server delayed the others.")
                    time.sleep(0.02)
            return time.monotonic() - clock
        finally:
            process.kill()


def _row(name: str, found: measure.Usage) -> tuple[str, str, str]:
    return name, f"{found.cpu:.2f}", f"{found.wall:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=measure.LEAST)
    parser.add_argument("--lists", type=int, default=1000)
    options = parser.parse_args()
    size = Size(options.lists, 100, 1)
    rounds, goals = measure.Rounds(), measure.Goals()
    with kept.scratch() as directory:
        world = kept.world()
        web = _web(world, size, directory)
        empty = _start(directory)
        with servers.nginx(web, directory / "nginx") as base:
            site = Site(world, size, web, base, directory)
            site.remember()
            unchanged = {"unchanged": size.lists}
            rounds.run(
                {"start": empty, "ours": lambda: site.refresh(expected=unchanged), "curl": site.curl},
                rounds=options.rounds,
            )
            changed = {"unchanged": size.lists - CHANGED, "new": CHANGED}

            def publish(_number: int) -> None:
                site.remember()
                site.change(CHANGED)

            rounds.run(
                {"ours, 50 new": lambda: site.refresh(expected=changed), "curl, 50 new": site.curl},
                rounds=options.rounds,
                before=publish,
            )
        os.environ["no_proxy"] = "*"
        with servers.slow(web, DELAY) as base:
            late = Site(world, size, web, base, directory / "late")
            late.remember()
            rounds.run(
                {"ours, 40 ms": lambda: late.refresh(expected=unchanged), "curl, 40 ms": late.curl},
                rounds=options.rounds,
            )
            alone = _isolation(late, base)
    print(measure.heading(f"refresh of {size.lists} lists of {size.images} images"))
    names = ("start", "ours", "curl", "ours, 50 new", "curl, 50 new", "ours, 40 ms", "curl, 40 ms")
    print(measure.table(("seconds", "CPU", "clock"), [_row(name, rounds.median(name)) for name in names]), end="\n\n")
    pairs = [("ours", "curl"), ("ours, 50 new", "curl, 50 new"), ("ours, 40 ms", "curl, 40 ms")]
    print(measure.table(("ratio", "CPU", "clock"), [_row(f"{a} : {b}", rounds.ratio(a, b)) for a, b in pairs]))
    print(f"\nA failing and a hanging server: the other {size.lists - 2} lists were done after {alone:.2f} s.\n")
    goals.most("unchanged, by the clock, beside curl", rounds.ratio("ours", "curl").wall, 2)
    goals.most("unchanged, CPU beyond the start", rounds.median("ours").cpu - rounds.median("start").cpu, 1, " s")
    goals.most("unchanged, 40 ms for each reply", rounds.median("ours, 40 ms").wall, 3, " s")
    goals.most("beside a hanging server", alone, 5, " s")
    goals.end()


if __name__ == "__main__":
    main()
