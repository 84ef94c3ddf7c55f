# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m benchmarks [NAME...]` runs the benchmarks named, or all, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import typing as t

#: What there is, each a module of this package that prints its tables and ends with 1 where a goal is missed.
ALL: t.Final = ("trust", "polling", "catalogue", "command", "transfers", "publishing", "context_iso")


def main(names: t.Sequence[str]) -> int:
    """0 when all goals were reached."""
    unknown = [name for name in names if name not in ALL]
    if unknown:
        print(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(ALL)}.", file=sys.stderr)
        return 2
    failed = []
    for name in names or ALL:
        print(f"==> {name}", flush=True)
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode:
            failed.append(name)
    if failed:
        print(f"A goal is missed, or nothing could be measured: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
