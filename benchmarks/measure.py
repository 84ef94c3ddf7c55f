# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How benchmarks measure: in rounds, in each of which everybody has a turn, and each time somebody else begins.

A ratio is of one round, so that what else the machine does concerns both sides; tables show medians. CPU seconds are
those of one core, the kernel's for the process included; those of servers are not counted.
"""

from __future__ import annotations

import datetime
import os
import platform
import resource
import statistics
import subprocess
import time
import typing as t

#: Rounds that a median needs at least.
LEAST: t.Final = 5


class Usage(t.NamedTuple):
    """Seconds of CPU and by the clock."""

    cpu: float
    wall: float


def usage_here(action: t.Callable[[], object]) -> Usage:
    """What `action` takes in this process, and in the processes that it starts and waits for."""
    begun, clock = _cpu(), time.monotonic()
    action()
    return Usage(_cpu() - begun, time.monotonic() - clock)


def _cpu() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def usage_of(
    command: t.Sequence[str],
    *,
    statuses: t.Container[int] = (0,),
    environment: t.Mapping[str, str] | None = None,
    quiet: bool = False,
) -> tuple[Usage, str]:
    """What a process takes that must end with one of `statuses`, and its output; `quiet`: what it complains of is not
    shown."""
    clock = time.monotonic()
    errors = subprocess.DEVNULL if quiet else None
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
    ) as process:
        if process.stdout is None:
            raise SystemExit("A process without output")
        output = process.stdout.read()
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in statuses:
        raise SystemExit(f"{' '.join(command)[:200]} failed with {process.returncode}: {output[-500:]}")
    return Usage(usage.ru_utime + usage.ru_stime, time.monotonic() - clock), output


class Rounds:
    """Measurements by name, one of each in every round."""

    def __init__(self) -> None:
        self._found: dict[str, list[Usage]] = {}

    def run(
        self,
        contenders: t.Mapping[str, t.Callable[[], Usage]],
        *,
        rounds: int = LEAST,
        before: t.Callable[[int], object] = lambda number: None,
    ) -> None:
        """Measure all `contenders` in every round; `before` makes ready for it, and is not measured."""
        names = list(contenders)
        for number in range(max(LEAST, rounds)):
            before(number)
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                self._found.setdefault(name, []).append(contenders[name]())

    def median(self, name: str) -> Usage:
        """The median of the CPU seconds, and of those by the clock."""
        return Usage(*(statistics.median(values) for values in zip(*self._found[name])))

    def ratio(self, name: str, to: str) -> Usage:
        """The medians of the ratios within a round."""
        pairs = list(zip(self._found[name], self._found[to]))
        return Usage(
            statistics.median(one.cpu / other.cpu for one, other in pairs),
            statistics.median(one.wall / other.wall for one, other in pairs),
        )


class Goals:
    """What was to be reached; a benchmark ends with `end`."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, str, str]] = []
        self._missed = False

    def most(self, what: str, found: float, limit: float, unit: str = "") -> None:
        """`found` should be `limit` at most."""
        self._missed |= found > limit
        said = "yes" if found <= limit else "NO"
        self._rows.append((what, f"{found:.3g}{unit}", f"{limit:g}{unit}", said))

    def end(self) -> t.NoReturn:
        """Print them; the exit status is 1 where one was missed."""
        print(table(("goal", "found", "at most", "reached"), self._rows), end="\n\n")
        raise SystemExit(1 if self._missed else 0)


def heading(text: str) -> str:
    """What is measured, when, and on what."""
    return f"{text}\n{datetime.date.today()}, {os.cpu_count()} cores, Python {platform.python_version()}\n"


def table(head: t.Sequence[str], rows: t.Iterable[t.Sequence[str]]) -> str:
    """Lines of columns: the first to the left, the others to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    shown = [
        "  ".join(cell.rjust(width) if at else cell.ljust(width) for at, (cell, width) in enumerate(zip(line, widths)))
        for line in lines
    ]
    return "\n".join([shown[0], "  ".join("-" * width for width in widths), *shown[1:]])
