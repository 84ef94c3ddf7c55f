# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to report about a site: one pure function from the snapshot ``verdicts.json`` and the time.

Nothing else is asked: no index, no file, no library. Text that comes from lists, servers and certificates has gone
through `one_line`; what shows it must still escape it for its own format.
"""

from __future__ import annotations

import typing as t
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ...errors import REMEDIES
from ...times import from_text
from .words import moment, one_line, relative, span

Severity = t.Literal["critical", "warning", "note"]
State = t.Literal["critical", "warning", "good"]

#: The order in which problems are shown.
_SEVERITIES: t.Final = ("critical", "warning", "note")

#: Transports whose server proves who it is; over any other, someone in between may withhold a newer list.
_AUTHENTICATED: t.Final = ("https",)

#: Refusals that somebody meant: the site by what it decided or selects, the endorser by what the list says. Nothing is
#: to be mended.
SETTLED: t.Final = frozenset(
    {"not_approved", "not_selected", "withdrawn", "blacklisted", "unsubscribed", "image_expired"}
)

_TITLE: t.Final = 200
_ALLOWED: t.Final = ("allowed", "run_anyway")


@dataclass(frozen=True)
class Problem:
    """Something to be looked at: a stable code, and a sentence."""

    severity: Severity
    code: str
    text: str


@dataclass(frozen=True)
class ImageStatus:
    """One image; `reasons` are (code, sentence), the weightiest first.

    `code` is the snapshot's verdict, or ``snapshot_stale`` where that can no longer be believed. `state` is "good" for
    an image that may run and for one that is refused on purpose.
    """

    identifier: str
    list_id: str
    title: str
    tag: str
    version: str
    allowed: bool
    code: str
    reasons: tuple[tuple[str, str], ...]
    remedy: str
    path: str | None
    good_until: datetime | None
    state: State


@dataclass(frozen=True)
class ListStatus:
    """One subscribed list. `age` is the time since the last successful refresh, `limit` how long it may be.

    `images` are those that somebody here waits for; `others` counts the rest, all of them refused, by verdict.
    """

    identifier: str
    title: str
    uri: str
    version: str | None
    created: datetime | None
    expires: datetime | None
    refreshed: datetime | None
    age: timedelta | None
    limit: timedelta | None
    authenticated: bool
    path_code: str | None
    path_good_until: datetime | None
    problems: tuple[Problem, ...]
    images: tuple[ImageStatus, ...]
    others: t.Mapping[str, int] = field(default_factory=dict)

    def has(self, code: str) -> bool:
        """Whether the list has the problem `code`."""
        return any(problem.code == code for problem in self.problems)

    @property
    def state(self) -> State:
        """That of the worst problem of the list or of its images."""
        return _worst([*(problem.severity for problem in self.problems), *(image.state for image in self.images)])

    @property
    def verdicts(self) -> dict[str, int]:
        """How many of the list's images have which verdict."""
        return _count(self.images, self.others)

    @property
    def size(self) -> int:
        """How many images the list names or named."""
        return len(self.images) + sum(self.others.values())


@dataclass(frozen=True)
class RuleStatus:
    """One rule of the site; `match` are pairs of key and text, `spared` UUIDs and tags, `ended`: `until` is over."""

    name: str
    decision: str
    match: tuple[tuple[str, str], ...]
    spared: tuple[str, ...]
    reason: str
    author: str
    until: datetime | None
    ended: bool


@dataclass(frozen=True)
class SiteStatus:
    """A site as of `now`, by a snapshot written at `written`; lists with problems first.

    `unsubscribed` are images of lists that the site no longer subscribes to, as far as somebody here has to do with
    them; `others` counts the rest of those lists by verdict.
    """

    site: str
    now: datetime
    written: datetime
    problems: tuple[Problem, ...]
    lists: tuple[ListStatus, ...]
    unsubscribed: tuple[ImageStatus, ...]
    others: t.Mapping[str, int] = field(default_factory=dict)
    rules: tuple[RuleStatus, ...] = ()

    @property
    def state(self) -> State:
        """That of the worst problem."""
        return _worst([*(problem.severity for problem in self.problems), *(item.state for item in self.lists)])

    @property
    def images(self) -> tuple[ImageStatus, ...]:
        """The images of the lists, then those of no list, without those that are only counted."""
        return (*(image for item in self.lists for image in item.images), *self.unsubscribed)

    @property
    def verdicts(self) -> dict[str, int]:
        """How many images have which verdict; those that may run first."""
        return _count(self.images, *(item.others for item in self.lists), self.others)

    @property
    def size(self) -> int:
        """How many images there are in all."""
        return sum(self.verdicts.values())


def site_status(
    snapshot: t.Mapping[str, t.Any], now: datetime, *, site: str = "", max_unrefreshed: timedelta | None = None
) -> SiteStatus:
    """The facts of a `snapshot` (the `summary` of what `judgement.snapshot.load` gives) as they are at `now`.

    `max_unrefreshed` holds for lists whose subscription sets none.
    """
    written = from_text(snapshot["written"])
    images = [_image(image, now) for image in snapshot["images"].values()]
    images.sort(key=_image_order)
    by_list: dict[str, list[ImageStatus]] = {}
    for image in images:
        by_list.setdefault(image.list_id, []).append(image)
    others = dict(snapshot["others"])
    lists = [
        _list(name, item, by_list.pop(name, []), others.pop(name, {}), now, max_unrefreshed)
        for name, item in snapshot["lists"].items()
    ]
    lists.sort(key=lambda item: (_rank(item.state), item.title.casefold(), item.identifier))
    rest = [image for images in by_list.values() for image in images]
    left = _count((), *others.values())
    rules = tuple(_rule(item, now) for item in snapshot["rules"])
    return SiteStatus(one_line(site), now, written, tuple(_clock(written, now)), tuple(lists), tuple(rest), left, rules)


def _rule(item: t.Mapping[str, t.Any], now: datetime) -> RuleStatus:
    until = _time(item["until"])
    return RuleStatus(
        name=one_line(item["name"]),
        decision=item["decision"],
        match=tuple(_match(item["match"])),
        spared=tuple(one_line(name, _TITLE) for name in item["except"]),
        reason=one_line(item["reason"]),
        author=one_line(item["author"]),
        until=until,
        ended=until is not None and until <= now,
    )


def _match(match: t.Mapping[str, t.Any]) -> t.Iterator[tuple[str, str]]:
    for key, value in match.items():
        if isinstance(value, dict):
            yield from _match(value)
        else:
            text = " or ".join(value) if isinstance(value, list) else "yes" if value is True else str(value)
            yield one_line(key), one_line(text)


def _clock(written: datetime, now: datetime) -> t.Iterator[Problem]:
    if now < written:
        yield Problem(
            "warning", "snapshot_stale", f"The verdicts are dated {moment(written)}, in the future: check the clock."
        )


def _list(
    name: str,
    item: t.Mapping[str, t.Any],
    images: t.Sequence[ImageStatus],
    others: t.Mapping[str, int],
    now: datetime,
    max_unrefreshed: timedelta | None,
) -> ListStatus:
    refreshed, own = _time(item["refreshed"]), item["max_unrefreshed"]
    limit = max_unrefreshed if own is None else timedelta(seconds=own)
    problems = [*_staleness(refreshed, limit, now), *_standing(item, now), *_transport(item)]
    return ListStatus(
        identifier=name,
        title=one_line(item["title"], _TITLE),
        uri=one_line(item["uri"]),
        version=None if item["version"] is None else one_line(item["version"]),
        created=_time(item["created"]),
        expires=_time(item["expires"]),
        refreshed=refreshed,
        age=None if refreshed is None else now - refreshed,
        limit=limit,
        authenticated=_authenticated(item["uri"]),
        path_code=item["path"]["code"],
        path_good_until=_time(item["path"]["good_until"]),
        problems=tuple(sorted(problems, key=lambda problem: _SEVERITIES.index(problem.severity))),
        images=tuple(images),
        others=others,
    )


def _staleness(refreshed: datetime | None, limit: timedelta | None, now: datetime) -> t.Iterator[Problem]:
    if refreshed is None:
        severity: Severity = "warning" if limit is None else "critical"
        yield Problem(severity, "unrefreshed", "This host has never refreshed the list with success.")
    elif limit is not None and refreshed + limit <= now:
        age = span(now - refreshed)
        yield Problem("critical", "unrefreshed", f"The list was not refreshed for {age}; the limit is {span(limit)}.")


def _standing(item: t.Mapping[str, t.Any], now: datetime) -> t.Iterator[Problem]:
    """What became of the accepted version, of the last attempt to get another, and of an act that waits for it."""
    path, error, act, expires = item["path"], item["error"], item.get("rebaseline"), _time(item["expires"])
    if item["version"] is None:
        yield Problem("warning", "not_yet_accepted", "No version of the list was accepted so far.")
    if path["code"]:
        yield Problem("critical", path["code"], one_line(path["detail"]))
    elif path["good_until"] and from_text(path["good_until"]) <= now:
        good_until = moment(from_text(path["good_until"]))
        yield Problem("warning", "snapshot_stale", f"What proves the signer was good until {good_until}.")
    if expires is not None and expires <= now:
        yield Problem("critical", "list_expired", f"The list expired at {moment(expires)}, {relative(expires, now)}.")
    if error:
        yield Problem("warning", error["code"], f"The last refresh failed: {one_line(error['detail'])}")
    for decision in item["decisions"]:
        if decision["until"] is None or now < from_text(decision["until"]):
            yield Problem("note", decision["decision"], _decided(decision))
    if act:
        yield Problem("note", "rebaseline", f"A re-baselining waits for its content: {one_line(act['reason'])}")


def _decided(decision: t.Mapping[str, t.Any]) -> str:
    verb = {"approve": "approved", "blacklist": "blacklisted", "run_anyway": "allowed in spite of its age"}
    what = "The list" if decision["target_type"] == "list" else f"The endorser {one_line(decision['target'])}"
    because = f": {one_line(decision['reason']).rstrip('.')}" if decision["reason"] else ""
    return f"{what} was {verb[decision['decision']]} by {one_line(decision['author'])}{because}."


def _transport(item: t.Mapping[str, t.Any]) -> t.Iterator[Problem]:
    if not _authenticated(item["uri"]):
        scheme = one_line(item["uri"].partition(":")[0], 20)
        yield Problem(
            "warning",
            "unauthenticated",
            f"The list comes over {scheme}, which does not prove its server: a newer version may be withheld.",
        )


def _authenticated(uri: str) -> bool:
    return uri.partition(":")[0].lower() in _AUTHENTICATED


def _image(image: t.Mapping[str, t.Any], now: datetime) -> ImageStatus:
    judged = image["verdict"]
    good_until = _time(judged["good_until"])
    allowed, code, remedy = judged["allowed"], judged["code"], judged["remedy"]
    reasons = [(reason["code"], one_line(reason["text"])) for reason in judged["reasons"]]
    if allowed and good_until is not None and good_until <= now:
        allowed, code, remedy = False, "snapshot_stale", REMEDIES["snapshot_stale"]
        reasons.insert(0, (code, f"The verdict was good until {moment(good_until)}."))
    return ImageStatus(
        identifier=image["identifier"],
        list_id=image["list"],
        title=one_line(image["title"], _TITLE),
        tag=one_line(image["tag"], _TITLE),
        version=one_line(image["version"]),
        allowed=allowed,
        code=code,
        reasons=tuple(reasons),
        remedy=remedy,
        path=None if judged["path"] is None else one_line(judged["path"], 4096),
        good_until=good_until,
        state=_image_state(allowed, [code, *(reason for reason, _text in reasons)]),
    )


def _image_state(allowed: bool, codes: t.Sequence[str]) -> State:
    if allowed or not SETTLED.isdisjoint(codes):
        return "good"
    return "critical" if "file_changed" in codes else "warning"


def _image_order(image: ImageStatus) -> tuple[t.Any, ...]:
    return (_rank(image.state), not image.allowed, image.code, image.title.casefold(), image.identifier)


def _worst(found: t.Sequence[str]) -> State:
    return "critical" if "critical" in found else "warning" if "warning" in found else "good"


def _rank(state: State) -> int:
    return ("critical", "warning", "good").index(state)


def _count(images: t.Iterable[ImageStatus], *others: t.Mapping[str, int]) -> dict[str, int]:
    counts = Counter(image.code for image in images)
    for counted in others:
        counts.update(counted)
    return dict(sorted(counts.items(), key=lambda item: (item[0] not in _ALLOWED, item[0])))


def _time(text: str | None) -> datetime | None:
    return None if text is None else from_text(text)
