# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict: may this image run now? One pure function that knows every reason, and asks nothing of the world."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ...errors import REMEDIES, SiteError
from ...times import to_text

ALLOWED: t.Final = "allowed"
RUN_ANYWAY: t.Final = "run_anyway"

#: What an explicit run_anyway overrides: the age of the list or of the image, never a withdrawal or a revocation.
OVERRIDABLE: t.Final = frozenset({"list_expired", "image_expired"})

#: The order of precedence: the first of these that applies is the verdict's code; codes of the certification path
#: that are not named here stand where ``path`` does.
_PRECEDENCE: t.Final = (
    "unsubscribed",
    "not_yet_accepted",
    "uuid_clash",
    "withdrawn",
    "revoked",
    "blacklisted",
    "not_authorised",
    "list_expired",
    "image_expired",
    "path",
    "list_not_yet_valid",
    "list_stale",
    "not_approved",
    "file_changed",
    "not_selected",
    "not_cached",
)


@dataclass(frozen=True)
class FileFacts:
    """The cached file of an image; `unchanged` says that its stat is still `record`, that of the verified file."""

    path: str
    unchanged: bool
    record: t.Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageFacts:
    """One image of one list. `endorsed`: it is in the list's current version; `owner`: the list that owns its UUID.

    `selected`: the site wants it in its cache, once it is approved.
    """

    identifier: str
    title: str
    tag: str
    version: str
    endorsed: bool
    owner: str
    expires: datetime | None
    file: FileFacts | None
    selected: bool = True


@dataclass(frozen=True)
class ListFacts:
    """The image's list; `version`, `created` and `expires` are None while no version of it was accepted.

    `approves_new`: its images need no decision; `by_name_only`: no approval but that of a UUID speaks of its images.
    `refreshed`: when its server was last asked with success, which may be `max_unrefreshed` ago.
    `endorsers`: the names by which the signer of its message is known, as far as decisions ask for them.
    `ended`: why the site does not subscribe to it any more, where that was not a person's word.
    """

    identifier: str
    subscribed: bool
    version: str | None
    created: datetime | None
    expires: datetime | None
    max_age: timedelta | None
    approves_new: bool
    by_name_only: bool
    refreshed: datetime | None = None
    max_unrefreshed: timedelta | None = None
    endorsers: frozenset[str] = frozenset()
    ended: str = ""


@dataclass(frozen=True)
class PathStatus:
    """How the list's archived message was judged with the present anchors and CRLs: `code` is None where it stands.

    `crls`: the SHA-256 of each CRL by which it stands, the signer's first.
    """

    code: str | None
    detail: str
    good_until: datetime | None
    crls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """What the site decided, for images of one list (`list_id`; empty: of any), from `begins` on and before `until`.

    `target_type` says what `target` is: an ``image``, a ``tag``, a ``list``, an ``endorser``, or the ``rule`` by which
    the image at hand was found.
    """

    decision: str
    target_type: str
    target: str
    reason: str
    author: str
    until: datetime | None
    list_id: str = ""
    begins: datetime | None = None

    def speaks_of(self, image: ImageFacts, of: ListFacts) -> bool:
        """Whether it is about `image` of the list, at some time."""
        if self.list_id not in ("", of.identifier):
            return False
        if self.target_type == "endorser":
            return self.target in of.endorsers
        named = {"image": image.identifier, "tag": image.tag, "list": of.identifier, "rule": self.target}
        return self.target == named.get(self.target_type)

    def applies(self, image: ImageFacts, of: ListFacts, now: datetime) -> bool:
        """Whether it is about `image` of the list, now."""
        return self.is_in_force(now) and self.speaks_of(image, of)

    def is_in_force(self, now: datetime) -> bool:
        """Whether it has begun and has not ended."""
        return (self.begins is None or self.begins <= now) and (self.until is None or now < self.until)

    @property
    def approves(self) -> bool:
        """Whether it lets an image run."""
        return self.decision in ("approve", RUN_ANYWAY)

    @property
    def chooses(self) -> bool:
        """Whether what it approves is meant one by one, and so wanted in the cache without a `select`."""
        return self.target_type not in ("list", "endorser")

    def turns(self, now: datetime) -> datetime | None:
        """When, after `now`, it begins or ends to be in force; None if never."""
        return earliest(*(time for time in (self.begins, self.until) if time is not None and now < time))


@dataclass(frozen=True)
class Reason:
    """One reason, with the sentence that explains it."""

    code: str
    text: str


@dataclass(frozen=True)
class Verdict:
    """`allowed`, the code of the weightiest reason, every reason, the file to start, and how long this may stand.

    `good_until` is the first of the list's own end (see `list_end`) and of `own_end`, that of this image's verdict
    otherwise; None where there is no end, and for what is refused.
    """

    allowed: bool
    code: str
    reasons: tuple[Reason, ...]
    path: str | None
    good_until: datetime | None
    own_end: datetime | None = None

    def as_dict(self) -> dict[str, t.Any]:
        """For JSON: reasons as code and text, the time as text."""
        return {
            "allowed": self.allowed,
            "code": self.code,
            "reasons": [{"code": reason.code, "text": reason.text} for reason in self.reasons],
            "remedy": REMEDIES.get(self.code, ""),
            "path": self.path,
            "good_until": to_text(self.good_until) if self.good_until else None,
        }


def verdict(
    image: ImageFacts, of: ListFacts, path: PathStatus, decisions: t.Sequence[Decision], now: datetime
) -> Verdict:
    """Judge one image of the list `of`.

    ``run_anyway`` overrides the expiry of the list or the image only. `decisions` may hold decisions for other
    images: only those that speak of this one now count, and of these a blacklist wins. One that begins later ends the
    verdict then.
    """
    relevant = [decision for decision in decisions if decision.applies(image, of, now)]
    override = next((decision for decision in relevant if decision.decision == RUN_ANYWAY), None)
    found = [
        *list_reasons(of, path, now),
        *_endorsement(image, of),
        *_blacklists(relevant),
        *_validity(image, now),
        *_approval(image, of, relevant),
        *_file(image),
    ]
    standing = [reason for reason in found if override is None or reason.code not in OVERRIDABLE]
    if standing:
        standing.sort(key=lambda reason: _rank(reason.code))
        return Verdict(False, standing[0].code, tuple(standing), _file_path(image), None)
    why = [_spoken(decision) for decision in relevant] or [
        Reason("approved", "The subscription approves this list's images.")
    ]
    own = _own_end(image, of, relevant, _coming_blacklist(image, of, decisions, now))
    return Verdict(
        allowed=True,
        code=RUN_ANYWAY if found else ALLOWED,
        reasons=(*why, *found),
        path=_file_path(image),
        good_until=earliest(own, list_end(of, path)),
        own_end=own,
    )


def list_reasons(of: ListFacts, path: PathStatus, now: datetime) -> tuple[Reason, ...]:
    """The reasons that stand against every image of a list, whatever the image."""
    return (*_standing(of), *_age(of, now), *_certification(path, now))


def list_end(of: ListFacts, path: PathStatus) -> datetime | None:
    """When the list's images may no longer run, whatever is decided about them; a refresh or new CRLs may move it."""
    ends = [path.good_until]
    if of.created is not None and of.max_age is not None:
        ends.append(of.created + of.max_age)
    if of.refreshed is not None and of.max_unrefreshed is not None:
        ends.append(of.refreshed + of.max_unrefreshed)
    return earliest(*ends)


def list_turns(of: ListFacts, path: PathStatus, now: datetime) -> datetime | None:
    """When, after `now`, `list_reasons` may be others by the clock alone; None if never."""
    times = [of.created, of.expires, path.good_until]
    if of.created is not None and of.max_age is not None:
        times.append(of.created + of.max_age)
    if of.refreshed is not None and of.max_unrefreshed is not None:
        times.append(of.refreshed + of.max_unrefreshed)
    return earliest(*(time for time in times if time is not None and now < time))


def earliest(*times: datetime | None) -> datetime | None:
    """The first of the times that there are."""
    return min((time for time in times if time is not None), default=None)


def _rank(code: str) -> int:
    return _PRECEDENCE.index(code if code in _PRECEDENCE else "path")


def _standing(of: ListFacts) -> t.Iterator[Reason]:
    if not of.subscribed:
        because = f": {of.ended.rstrip('.')}" if of.ended else ""
        yield Reason("unsubscribed", f"The site no longer subscribes to list {of.identifier}{because}.")
    if of.version is None:
        yield Reason("not_yet_accepted", f"No version of list {of.identifier} was accepted so far.")


def _endorsement(image: ImageFacts, of: ListFacts) -> t.Iterator[Reason]:
    if of.version is None:
        return
    if image.owner not in ("", of.identifier):
        yield Reason("uuid_clash", f"The UUID {image.identifier} belongs to list {image.owner}.")
    if not image.endorsed:
        which = f"version {image.version} of image" if image.version else "image"
        yield Reason(
            "withdrawn", f"Version {of.version} of list {of.identifier} no longer holds {which} {image.identifier}."
        )


def _blacklists(decisions: t.Sequence[Decision]) -> t.Iterator[Reason]:
    return (_spoken(decision, "blacklisted") for decision in decisions if decision.decision == "blacklist")


def _validity(image: ImageFacts, now: datetime) -> t.Iterator[Reason]:
    if image.expires is not None and image.expires <= now:
        yield Reason("image_expired", f"Image {image.identifier} expired at {to_text(image.expires)}.")


def _age(of: ListFacts, now: datetime) -> t.Iterator[Reason]:
    if of.expires is not None and of.expires <= now:
        yield Reason("list_expired", f"List {of.identifier} expired at {to_text(of.expires)}.")
    if of.created is not None:
        if now < of.created:
            yield Reason("list_not_yet_valid", f"List {of.identifier} is dated {to_text(of.created)}, in the future.")
        if of.max_age is not None and of.created + of.max_age <= now:
            yield Reason(
                "list_stale", f"List {of.identifier} was created at {to_text(of.created)}, longer ago than allowed."
            )
    if of.refreshed is not None and of.max_unrefreshed is not None and of.refreshed + of.max_unrefreshed <= now:
        yield Reason(
            "list_stale",
            f"List {of.identifier} was not refreshed since {to_text(of.refreshed)}, longer than allowed.",
        )


def _certification(path: PathStatus, now: datetime) -> t.Iterator[Reason]:
    if path.code is not None:
        yield Reason(path.code, path.detail)
    elif path.good_until is not None and path.good_until <= now:
        yield Reason("no_valid_path", f"What proves the signer was good until {to_text(path.good_until)}.")


def _approval(image: ImageFacts, of: ListFacts, decisions: t.Sequence[Decision]) -> t.Iterator[Reason]:
    if not of.approves_new and not _approving(of, decisions):
        yield Reason("not_approved", f"The site has not approved image {image.identifier}.")


def _approving(of: ListFacts, decisions: t.Sequence[Decision]) -> list[Decision]:
    return [item for item in decisions if item.approves and not (of.by_name_only and item.target_type != "image")]


def _file(image: ImageFacts) -> t.Iterator[Reason]:
    if image.file is None and not image.selected:
        yield Reason("not_selected", f"The subscription does not select image {image.identifier} for the cache.")
    elif image.file is None:
        yield Reason("not_cached", f"Image {image.identifier} version {image.version} is not in the cache.")
    elif not image.file.unchanged:
        yield Reason("file_changed", f"The cached file {image.file.path} is no longer the one that was verified.")


def _file_path(image: ImageFacts) -> str | None:
    return image.file.path if image.file else None


def _spoken(decision: Decision, code: str | None = None) -> Reason:
    verb = {"approve": "approved", "blacklist": "blacklisted", RUN_ANYWAY: "allowed to run in spite of its age"}
    because = f": {decision.reason}" if decision.reason else ""
    what = f"The {decision.target_type} {decision.target} was {verb[decision.decision]}"
    if decision.target_type == "rule":
        what = f"By the rule {decision.target} the image is {verb[decision.decision]}, as written"
    words = f"{what} by {decision.author}{because}"
    return Reason(code or decision.decision, words if words.endswith(".") else f"{words}.")


def _coming_blacklist(
    image: ImageFacts, of: ListFacts, decisions: t.Sequence[Decision], now: datetime
) -> datetime | None:
    """When the first blacklist that does not apply yet will: a rule on age begins with the age."""
    return earliest(
        *(
            decision.begins
            for decision in decisions
            if decision.decision == "blacklist"
            and decision.begins is not None
            and now < decision.begins
            and (decision.until is None or decision.begins < decision.until)
            and decision.speaks_of(image, of)
        )
    )


def _own_end(
    image: ImageFacts, of: ListFacts, decisions: t.Sequence[Decision], forbidden: datetime | None
) -> datetime | None:
    """The first moment at which a reason to refuse may come up, the list's own end aside; None where none is known."""
    ends = [forbidden]
    expiry = earliest(of.expires, image.expires)
    overriding = [decision.until for decision in decisions if decision.decision == RUN_ANYWAY]
    if not overriding:
        ends.append(expiry)
    elif expiry is not None:
        ends.append(_last((expiry, _last(overriding))))
    if not of.approves_new:
        ends.append(_last([decision.until for decision in _approving(of, decisions)]))
    return earliest(*ends)


def _last(ends: t.Sequence[datetime | None]) -> datetime | None:
    """The last of some ends, None where one of them never comes."""
    known = [end for end in ends if end is not None]
    return max(known) if known and len(known) == len(ends) else None


def require_allowed(image: t.Mapping[str, t.Any]) -> None:
    """Refuse an image with its verdict, as the catalogue and the snapshot tell it, unless it may run now.

    Raises SiteError: the verdict's code, with its first reason.
    """
    judged = image["verdict"]
    if judged["allowed"]:
        return
    name, version, of = image["identifier"], image["version"], image["list"]
    reason = judged["reasons"][0]["text"] if judged["reasons"] else f"Image {name} may not run."
    raise SiteError(judged["code"], reason, image=name, version=version, list=of)
