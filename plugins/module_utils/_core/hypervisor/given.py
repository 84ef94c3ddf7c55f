# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a machine, read one by one: each of the shape that it must have, and none that nobody knows."""

from __future__ import annotations

import re
import typing as t

from ..errors import HypervisorError

_PATH: t.Final = re.compile(r"/[ -!#-&(-\[\]-~]+")


class Given:
    """Options of one level. What was not asked for by the time of `finish` is unknown."""

    def __init__(self, options: t.Any, path: str) -> None:
        if not isinstance(options, t.Mapping):
            raise invalid(path or "machine", "it is not a mapping")
        self._options = {key: value for key, value in options.items() if value is not None}
        self._path = path
        self._asked: set[str] = set()

    def where(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def get(self, key: str, default: t.Any = None) -> t.Any:
        self._asked.add(key)
        return self._options.get(key, default)

    def matching(self, key: str, shape: re.Pattern[str], what: str, default: t.Optional[str] = None) -> str:
        value = self.get(key, default)
        if not isinstance(value, str) or not shape.fullmatch(value):
            raise invalid(self.where(key), f"{value!r} is not {what}")
        return value

    def choice(self, key: str, choices: t.Sequence[str], default: t.Optional[str] = None) -> str:
        value = self.get(key, default)
        if value not in choices:
            raise invalid(self.where(key), f"{value!r} is none of {', '.join(choices)}")
        return str(value)

    def number(self, key: str, least: int, most: int) -> int:
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise invalid(self.where(key), f"{value!r} is not a whole number from {least} to {most}")
        return value

    def text(self, key: str) -> str:
        value = self.get(key)
        if not isinstance(value, str) or not value or len(value) > 1024 or not value.isprintable():
            raise invalid(self.where(key), f"{value!r} is not a line of printable text")
        return value

    def path(self, key: str, default: t.Optional[str] = None) -> str:
        what = "an absolute path of printable ASCII, without quotes, backslashes and '..'"
        value = self.matching(key, _PATH, what, default)
        if ".." in value.split("/") or value.endswith(("/", " ")):
            raise invalid(self.where(key), f"{value!r} is not {what}")
        return value

    def optional_path(self, key: str) -> t.Optional[str]:
        return None if self.get(key) is None else self.path(key)

    def part(self, key: str) -> Given:
        return Given(self.get(key), self.where(key))

    def parts(self, key: str) -> list[Given]:
        value = self.get(key, [])
        if not isinstance(value, (list, tuple)):
            raise invalid(self.where(key), "it is not a list")
        return [Given(one, f"{self.where(key)}[{index}]") for index, one in enumerate(value)]

    def finish(self) -> None:
        unknown = sorted(str(key) for key in set(self._options) - self._asked)
        if unknown:
            raise invalid(self.where(unknown[0]), "there is no such option")


def invalid(where: str, why: str) -> HypervisorError:
    """The refusal of one option."""
    return HypervisorError("machine_invalid", f"{where}: {why}", option=where)
