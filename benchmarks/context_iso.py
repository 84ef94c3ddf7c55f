# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thousand context disks in one call beside as many processes of genisoimage: prints a table and the ratios.

Every round takes both, one after the other, and a ratio is of one round; the table shows medians. CPU seconds count
what the kernel does for the process as well. Ours compose, check, write, synchronise and describe every disk;
genisoimage writes it.
"""

from __future__ import annotations

import argparse
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context.disks import make_disks, wanted_disks

GOAL: t.Final = 0.5
FILES: t.Final = {
    "context.sh": "VMID='vm-{number}'\nHOSTNAME='wn{number}.example.org'\nAFS='off'\n",
    "prolog.sh": "#!/bin/sh\necho prolog\n",
    "epilog.sh": "#!/bin/sh\necho epilog\n",
    "lsf.conf": "LSF_SERVER_HOSTS=lsf.example.org\n",
}


def cpu() -> float:
    """CPU seconds of this process and of its children that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def measured(work: t.Callable[[pathlib.Path, int], None], count: int) -> tuple[float, float]:
    """CPU seconds and seconds by the clock, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="context-bench-") as directory:
        began, clock = cpu(), time.monotonic()
        work(pathlib.Path(directory), count)
        return cpu() - began, time.monotonic() - clock


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


def main() -> int:
    """Run the rounds and say whether the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="disks in one round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if shutil.which("genisoimage") is None:
        print("genisoimage is missing.", file=sys.stderr)
        return 2
    found: dict[str, list[tuple[float, float]]] = {"ours": [], "genisoimage": []}
    for turn in range(options.rounds):
        pair = [("ours", ours), ("genisoimage", genisoimage)]
        for name, work in pair if turn % 2 == 0 else reversed(pair):
            found[name].append(measured(work, options.count))
    for name, taken in found.items():
        medians = [statistics.median(values) * 1000 / options.count for values in zip(*taken)]
        print(f"{name:12} {medians[0]:6.2f} ms CPU {medians[1]:6.2f} ms by the clock for one disk")
    ratios = [statistics.median(a[i] / b[i] for a, b in zip(found["ours"], found["genisoimage"])) for i in (0, 1)]
    print(f"ratio        {ratios[0]:6.2f} of CPU {ratios[1]:9.2f} by the clock, the goal is {GOAL} of CPU")
    return 0 if ratios[0] <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
