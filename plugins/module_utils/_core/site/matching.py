# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image is like: one match for the rules of the site and for the images that a subscription selects.

A match is a mapping, and an image must be like all of it. Text is compared with globs (``*`` and ``?``, everything else
literally), upper and lower case alike; of several globs under one key one must fit. A key of which the image's list
says nothing fits no glob. What is compared is the endorser's word, but for the list, the endorser and the age.
"""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cached_property, lru_cache

from ..durations import duration_text, parse_duration
from ..sizes import parse_size
from ..times import from_text

#: The keys of a match that compare what the list says of the image, and the list's keys.
DESCRIBED: t.Final[t.Mapping[str, str]] = {
    "os": "sl:os",
    "osversion": "sl:osversion",
    "arch": "sl:arch",
    "hypervisor": "hv:hypervisor",
    "vo": "ad:vo",
    "format": "hv:format",
    "title": "dc:title",
}
#: Those that say whose image it is, which no endorser can choose for another's list.
PROVENANCE: t.Final = ("list", "endorser")
_SIZES: t.Final = ("size_min", "size_max")
_AGES: t.Final = ("older_than", "newer_than")
KEYS: t.Final = (*DESCRIBED, "tag", *PROVENANCE, *_SIZES, *_AGES, "metadata", "all")

_MAX_GLOB: t.Final = 1024
#: Texts of which a glob remembers whether it fits them.
_REMEMBERED: t.Final = 256
_NEVER: t.Final = datetime.max.replace(tzinfo=timezone.utc)


class MatchError(ValueError):
    """A match that makes no sense; `path` is the key, as in ``metadata.ad:vo``, empty for the whole."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(text)
        self.path = path


@dataclass(frozen=True)
class Subject:
    """An image as a match sees it: `size` in octets, `dated` since when (as text) there is this version of it.

    `metadata` is what its list says of it, as JSON; `vo` what the list says of itself under ``ad:vo``. `address` is
    where the list is subscribed. `endorsers` are the names by which the list's signer is known.
    """

    image_id: str
    list_id: str
    address: str
    tag: str
    size: int
    dated: str
    described: str
    vo: str = ""
    endorsers: t.Collection[str] = ()

    @cached_property
    def metadata(self) -> t.Mapping[str, t.Any]:
        """Read when it is asked for the first time."""
        return t.cast("t.Mapping[str, t.Any]", json.loads(self.described))


class Window(t.NamedTuple):
    """From when until when a match fits; None: always did, ever will."""

    begins: datetime | None
    ends: datetime | None


_Test = t.Callable[[Subject], bool]


@dataclass(frozen=True)
class Match:
    """A match that was read by `parse`: `text` is its canonical form, the other fields follow from that."""

    text: str
    tests: tuple[_Test, ...] = field(compare=False, repr=False)
    older_than: timedelta | None = field(default=None, compare=False)
    newer_than: timedelta | None = field(default=None, compare=False)

    def as_dict(self) -> dict[str, t.Any]:
        """For the journal, the diff and results; `parse` reads it back."""
        return t.cast("dict[str, t.Any]", json.loads(self.text))

    @property
    def names_provenance(self) -> bool:
        """Whether it says of whom the images are, or that it means everybody's."""
        return any(key in self.as_dict() for key in (*PROVENANCE, "all"))

    def window(self, subject: Subject) -> Window | None:
        """When it fits `subject`, as that is now and grows older; None for never."""
        for test in self.tests:
            if not test(subject):
                return None
        return Window(
            None if self.older_than is None else _later(subject.dated, self.older_than),
            None if self.newer_than is None else _later(subject.dated, self.newer_than),
        )

    def fits(self, subject: Subject, now: datetime) -> bool:
        """Whether it fits `subject` now."""
        window = self.window(subject)
        if window is None:
            return False
        return (window.begins is None or window.begins <= now) and (window.ends is None or now < window.ends)


def parse(given: t.Any) -> Match:
    """Read a match; `MatchError` names the key that makes no sense, and says why."""
    if not isinstance(given, t.Mapping):
        raise MatchError("", f"{given!r} is not a mapping, such as os: Linux")
    _check_keys(given)
    if "all" in given:
        if given["all"] is not True:
            raise MatchError("all", "it can only be true; leave it out otherwise")
        if len(given) > 1:
            raise MatchError("all", "it means every image; leave it out, or the other keys")
        return Match('{"all": true}', ())
    canonical: dict[str, t.Any] = {}
    tests: list[_Test] = []
    undescribed: list[_Test] = []
    for key, value in given.items():
        if key == "metadata":
            canonical[key], found = _metadata(value)
            tests += found
        elif key in _SIZES:
            canonical[key] = _number(key, value, parse_size)
        elif key in _AGES:
            canonical[key] = duration_text(_number(key, value, _age))
        else:
            canonical[key], fits = _globs(key, value)
            (tests if key in DESCRIBED else undescribed).append(_test(_READERS[key], fits))
    # The first test that fails is the last that is asked, and to read a description takes longest.
    tests = [*_size_tests(canonical), *undescribed, *tests]
    older, newer = (parse_duration(canonical[key]) if key in canonical else None for key in _AGES)
    if older is not None and newer is not None and newer <= older:
        raise MatchError("newer_than", f"no image is newer than {canonical['newer_than']} and older than that at once")
    return Match(json.dumps(canonical, sort_keys=True), tuple(tests), older, newer)


def _check_keys(given: t.Mapping[t.Any, t.Any]) -> None:
    for key in given:
        if key not in KEYS:
            raise MatchError(str(key), f"there is no such key; there are {', '.join(sorted(KEYS))}")
    if not given:
        raise MatchError("", "it is empty, which would mean every image; write all: true if that is meant")


def _globs(path: str, given: t.Any) -> tuple[t.Any, t.Callable[[str], bool]]:
    """The canonical form of one glob or of several, and whether a text fits one of them."""
    several = isinstance(given, (list, tuple))
    if several and not given:
        raise MatchError(path, "it names nothing")
    globs = sorted({_glob_text(path, item) for item in (given if several else [given])})
    patterns = [_glob(glob) for glob in globs]

    # Thousands of images have the same few operating systems, architectures and lists.
    @lru_cache(maxsize=_REMEMBERED)
    def fits(text: str) -> bool:
        folded = text.casefold()
        return any(pattern.fullmatch(folded) for pattern in patterns)

    return (globs if len(globs) > 1 else globs[0]), fits


def _glob_text(path: str, given: t.Any) -> str:
    if not isinstance(given, str):
        raise MatchError(path, f"{given!r} is not text; put it in quotes, as it stands in the list")
    if not given:
        raise MatchError(path, "it is empty, and fits nothing")
    if len(given) > _MAX_GLOB:
        raise MatchError(path, f"it has more than {_MAX_GLOB} characters")
    if not given.isprintable():
        raise MatchError(path, f"{given!r} holds a character that cannot be shown")
    return given


def _glob(text: str) -> re.Pattern[str]:
    """The pattern of a glob, for folded text; each part is found once, from left to right, so that no text is slow."""
    head, *parts = (re.escape(part).replace(r"\?", ".") for part in re.split(r"\*+", text.casefold()))
    if not parts:
        return re.compile(head, re.DOTALL)
    *middle, tail = parts
    steps = "".join(f"(?=(?P<g{number}>.*?{part}))(?P=g{number})" for number, part in enumerate(middle))
    return re.compile(f"{head}{steps}.*{tail}", re.DOTALL)


_Reader = t.Callable[[Subject], t.Iterable[str]]


def _test(read: _Reader, fits: t.Callable[[str], bool]) -> _Test:
    # Every rule asks this of every image: a generator would take half as long again.
    def test(subject: Subject) -> bool:
        for text in read(subject):  # noqa: SIM110
            if fits(text):
                return True
        return False

    return test


def _described(key: str) -> _Reader:
    def read(subject: Subject) -> t.Iterable[str]:
        value = subject.metadata.get(key)
        return (value,) if isinstance(value, str) else _texts(value)

    return read


def _texts(value: t.Any) -> t.Iterator[str]:
    """A value of the list's as text; those of an array one by one."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, bool):
        yield "true" if value else "false"
    elif isinstance(value, int):
        yield str(value)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _vo(subject: Subject) -> t.Iterator[str]:
    own = list(_texts(subject.metadata.get(DESCRIBED["vo"])))
    yield from own or [subject.vo] * bool(subject.vo)


_READERS: t.Final[t.Mapping[str, _Reader]] = {
    **{key: _described(name) for key, name in DESCRIBED.items()},
    "vo": _vo,
    "tag": lambda subject: (subject.tag,),
    "list": lambda subject: (subject.list_id, subject.address),
    "endorser": lambda subject: subject.endorsers,
}


def _metadata(given: t.Any) -> tuple[dict[str, t.Any], list[_Test]]:
    if not isinstance(given, t.Mapping) or not given:
        raise MatchError("metadata", "it is not a mapping of the list's keys to globs, such as 'ad:group': batch*")
    canonical, tests = {}, []
    for key, value in given.items():
        path = f"metadata.{key}"
        if not isinstance(key, str) or not key:
            raise MatchError(path, "a key of a list is text")
        canonical[key], fits = _globs(path, value)
        tests.append(_test(_described(key), fits))
    return canonical, tests


def _number(path: str, given: t.Any, read: t.Callable[[t.Any], t.Any]) -> t.Any:
    try:
        return read(given)
    except ValueError as error:
        raise MatchError(path, str(error)) from None


def _age(given: t.Any) -> timedelta:
    if not isinstance(given, str):
        raise ValueError(f"{given!r} is not a duration: write a whole number and a unit, as in 28d, 12h, 15m or 90s")
    return parse_duration(given)


def _size_tests(canonical: t.Mapping[str, t.Any]) -> list[_Test]:
    least, most = (canonical.get(key) for key in _SIZES)
    if least is not None and most is not None and most < least:
        raise MatchError("size_max", f"no image has at most {most} and at least {least} octets")
    tests: list[_Test] = []
    if least is not None:
        tests.append(lambda subject: subject.size >= least)
    if most is not None:
        tests.append(lambda subject: subject.size <= most)
    return tests


@lru_cache(maxsize=1024)
def _later(dated: str, span: timedelta) -> datetime:
    """Most images of a list have one date."""
    try:
        return from_text(dated) + span
    except OverflowError:
        return _NEVER
