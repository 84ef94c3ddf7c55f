# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thousand context disks in one call beside as many processes of genisoimage.

Ours compose, check, write, synchronise and describe every disk; genisoimage writes it.
"""

from __future__ import annotations

import argparse
import functools
import pathlib
import shutil
import subprocess
import tempfile
import typing as t

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context.disks import make_disks, wanted_disks

from . import measure

GOAL: t.Final = 0.5
FILES: t.Final = {
    "context.sh": "VMID='vm-{number}'\nHOSTNAME='wn{number}.example.org'\nAFS='off'\n",
    "prolog.sh": "#!/bin/sh\necho prolog\n",
    "epilog.sh": "#!/bin/sh\necho epilog\n",
    "lsf.conf": "LSF_SERVER_HOSTS=lsf.example.org\n",
}


def measured(work: t.Callable[[pathlib.Path, int], None], count: int) -> measure.Usage:
    """What it takes, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="context-bench-") as directory:
        return measure.usage_here(lambda: work(pathlib.Path(directory), count))


def ours(directory: pathlib.Path, count: int) -> None:
    """All disks in one call, as the module makes it."""
    items = [
        {
            "dest": str(directory / f"{number}.iso"),
            "instance_id": f"vm-{number}",
            "hostname": f"wn{number}.example.org",
            "variables": {"AFS": "off"},
            "scripts": {name: {"content": FILES[f"{name}.sh"]} for name in ("prolog", "epilog")},
            "files": [{"name": "lsf.conf", "content": FILES["lsf.conf"], "target": "/etc/lsf.conf"}],
        }
        for number in range(count)
    ]
    wanted = [disk for item in items for disk in wanted_disks(item)]
    assert make_disks(wanted, check=False, fetch=lambda url: b"").changed


def genisoimage(directory: pathlib.Path, count: int) -> None:
    """A process for every disk, each with its own context.sh."""
    tree = directory / "tree"
    tree.mkdir()
    for name, text in FILES.items():
        (tree / name).write_text(text)
    for number in range(count):
        (tree / "context.sh").write_text(FILES["context.sh"].format(number=number))
        image = str(directory / f"{number}.iso")
        subprocess.run(["genisoimage", "-quiet", "-V", "CONTEXT", "-J", "-R", "-o", image, str(tree)], check=True)


def main() -> t.NoReturn:
    """Run the rounds, print the table, and say whether the goal is reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="disks in one round")
    options = parser.parse_args()
    if shutil.which("genisoimage") is None:
        raise SystemExit("genisoimage is missing.")
    rounds = measure.Rounds()
    makers = {"one call": ours, "genisoimage": genisoimage}
    rounds.run({name: functools.partial(measured, work, options.count) for name, work in makers.items()})
    print(measure.heading(f"{options.count} context disks; milliseconds for one"))
    medians = {name: rounds.median(name) for name in makers}
    rows = [
        (name, f"{used.cpu * 1000 / options.count:.2f}", f"{used.wall * 1000 / options.count:.2f}")
        for name, used in medians.items()
    ]
    print(measure.table(("made by", "CPU", "by the clock"), rows), end="\n\n")
    ratio = rounds.ratio("one call", "genisoimage")
    goals = measure.Goals()
    goals.most("CPU of one call, against as many processes of genisoimage", ratio.cpu, GOAL)
    goals.end()


if __name__ == "__main__":
    main()
