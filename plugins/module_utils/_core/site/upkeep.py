# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a site keeps its cache: how much room it may take, what is kept how long, and how often files are read again."""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass
from datetime import timedelta

from ..disks.formats import MAX_UNPACKED, parse_wanted
from ..durations import parse_duration
from ..errors import SiteError
from ..sizes import parse_size

SIZES: t.Final = ("quota", "min_free", "max_unpacked", "scrub_rate")
DURATIONS: t.Final = ("keep_expired", "scrub_interval")


@dataclass(frozen=True)
class Upkeep:
    """Octets and times; None where there is no limit, or nothing is done.

    `quota`: what the cache's directories may hold together; `min_free`: what stays free on their file system;
    `keep_expired`: how long a file is kept in `expired` even when its room is needed; `max_unpacked`: the largest disk
    that is made; `scrub_interval`: how long ago a file may have been read last, and `scrub_rate`: how many octets a
    second are read then. `formats`: what is made of every image beside what its subscription asks for.
    """

    quota: t.Optional[int] = None
    min_free: t.Optional[int] = None
    keep_expired: timedelta = timedelta(0)
    max_unpacked: int = MAX_UNPACKED
    scrub_interval: t.Optional[timedelta] = None
    scrub_rate: t.Optional[int] = None
    formats: tuple[str, ...] = ()

    def with_options(self, options: t.Mapping[str, t.Any]) -> Upkeep:
        """With what the options of a module or a command say, where they do; ``option_invalid`` names a wrong one."""
        given: dict[str, t.Any] = {}
        readers = {**dict.fromkeys(SIZES, parse_size), **dict.fromkeys(DURATIONS, _duration)}
        for name, read in {**readers, "formats": parse_wanted}.items():
            value = options.get(name)
            if value is None:
                continue
            try:
                given[name] = value if isinstance(value, timedelta) else t.cast("t.Any", read)(value)
            except ValueError as error:
                raise SiteError("option_invalid", f"{name}: {error}.", option=name) from None
        return dataclasses.replace(self, **given)


def _duration(value: t.Any) -> timedelta:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a duration: write a whole number and a unit, as in 28d or 12h")
    return parse_duration(value)


#: What holds where nobody says anything.
NO_LIMITS: t.Final = Upkeep()
