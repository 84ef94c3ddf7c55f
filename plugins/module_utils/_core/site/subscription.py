# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A subscription: what the administrator says about one list, as given in options and as kept in the journal."""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timedelta

from ..disks.formats import parse_wanted
from ..durations import LONGEST, parse_duration
from ..endorserlist.kinds import ENDORSER_LIST, IMAGE_LIST
from ..errors import SiteError, TransferError
from ..transfer.policy import Policy, check_uri, host_of
from ..trust.anchor_files import DEFAULT_ANCHORS
from .access import Access
from .endorsers.endorser import Pair, as_dicts, read_pair

if t.TYPE_CHECKING:
    from .endorsers.terms import Terms
    from .matching import Match, Subject

#: Whether CRLs or namespaces must be there, or are only used where they are.
Mode = t.Literal["require", "if-present"]

UUID: t.Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")

NEW_IMAGES: t.Final = ("report", "approve", "cache", "refuse")


@dataclass(frozen=True)
class TrustOptions:
    """How messages of one list are verified: the options of `verify_message`, and where the trust anchors are."""

    anchors: str = DEFAULT_ANCHORS
    crl_mode: Mode = "require"
    namespaces_mode: Mode = "require"
    allow_sha1: bool = False
    allow_host: bool = False

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> TrustOptions:
        """Read what is given of them among other options; the rest stays as it is by default."""
        return cls(**{field.name: options[field.name] for field in fields(cls) if options.get(field.name) is not None})


@dataclass(frozen=True, order=True)
class Named:
    """An endorser by name: of the site's registry or, with `endorser_list`, of that subscribed list of endorsers."""

    name: str
    endorser_list: str = ""

    def as_dict(self) -> dict[str, str]:
        """As an option gives it."""
        return {"name": self.name, **({"endorser_list": self.endorser_list} if self.endorser_list else {})}


@dataclass(frozen=True)
class Subscription:
    """One subscription; durations are seconds, None for no limit.

    Who may sign: `endorsers` are (DN, CA) pairs in slash form, `named` are endorsers whose pairs are looked up when
    the question is asked (see `endorsers.warrants`).
    `select` are UUIDs, tags, and matches of what images are like.

    A subscription of the kind ``endorserlist`` has `terms`, and none of what is about images. One with an `origin` was
    made by the site itself, because the endorser list of that identifier names the list (see `lists.follow`).
    """

    uri: str
    identifier: str | None
    endorsers: tuple[tuple[str, str], ...]
    trust: TrustOptions = TrustOptions()
    select: tuple[str | Match, ...] = ()
    new_images: str = "report"
    tag_key: str = "dc:title"
    max_list_age: int | None = None
    max_unrefreshed: int | None = None
    ca_path: str | None = None
    allow_private: bool = False
    named: tuple[Named, ...] = ()
    access: Access = field(default_factory=Access)
    formats: tuple[str, ...] = ()
    kind: str = IMAGE_LIST
    terms: Terms | None = None
    origin: str = ""

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> Subscription:
        """Read module options or a journal line's data; ``subscription_invalid`` names the option that is wrong."""
        uri = options.get("uri") or ""
        try:
            check_uri(uri, allow_file=True)
        except TransferError as error:
            raise _invalid("uri", error.detail) from error
        identifier = options.get("identifier")
        if identifier is not None:
            identifier = identifier.lower()
            if not UUID.match(identifier):
                raise _invalid("identifier", f"{identifier!r} is not a UUID")
        kind = options.get("kind") or IMAGE_LIST
        pairs, named = _endorsers(options, kind)
        new_images = options.get("new_images") or "report"
        if new_images not in NEW_IMAGES:
            raise _invalid("new_images", f"{new_images!r} is none of {', '.join(NEW_IMAGES)}")
        found = cls(
            uri=uri,
            identifier=identifier,
            endorsers=pairs,
            named=named,
            trust=TrustOptions.from_options(options.get("trust") or options),
            select=_selection(options.get("select") or ()),
            new_images=new_images,
            tag_key=options.get("tag_key") or "dc:title",
            max_list_age=_seconds("max_list_age", options.get("max_list_age")),
            max_unrefreshed=_seconds("max_unrefreshed", options.get("max_unrefreshed")),
            ca_path=options.get("ca_path"),
            allow_private=bool(options.get("allow_private")),
            access=Access.from_options(options.get("access") or options, _invalid),
            formats=_formats(options.get("formats") or ()),
            kind=kind,
            terms=_terms(options) if kind == ENDORSER_LIST else None,
            origin=options.get("origin") or "",
        )
        if found.terms is not None:
            found.derived("https://example.org/list", None, ("somebody",))
        return found

    def derived(self, uri: str, identifier: str | None, persons: t.Iterable[str]) -> Subscription:
        """The subscription to an image list of `persons`, whom this endorser list names; ``subscription_invalid``.

        What the template does not say about trust and access is as it is for the endorser list itself.
        """
        own, template = self.as_dict(), json.loads(self.terms.template) if self.terms else {}
        told = {
            part: {**own[part], **{key: template.pop(key) for key in own[part] if key in template}}
            for part in ("trust", "access")
        }
        rest = {"ca_path": self.ca_path, "allow_private": self.allow_private, **template, **told}
        endorsers = [{"name": person, "endorser_list": self.identifier} for person in persons]
        try:
            return Subscription.from_options(
                {**rest, "uri": uri, "identifier": identifier, "endorsers": endorsers, "origin": self.identifier}
            )
        except SiteError as error:
            option = f"subscription.{error.context.get('option', '')}"
            raise SiteError(error.code, f"subscription.{error.detail}", option=option) from error

    def as_dict(self) -> dict[str, t.Any]:
        """For the journal, the diff and the result; `from_options` reads it back."""
        told = {
            **asdict(replace(self, select=(), terms=None)),
            "endorsers": [*as_dicts(self.endorsers), *(item.as_dict() for item in self.named)],
            "access": self.access.as_dict(),
            "select": [item if isinstance(item, str) else item.as_dict() for item in self.select],
        }
        del told["named"], told["terms"]
        if self.terms is not None:
            told["authorities"] = told.pop("endorsers")
            del told["select"], told["new_images"], told["tag_key"], told["formats"], told["origin"]
            return {**told, **self.terms.as_dict()}
        del told["kind"]
        if not self.origin:
            del told["origin"]
        return told

    @property
    def approves_new(self) -> bool:
        """Whether an image that nobody decided about counts as approved."""
        return self.new_images in ("approve", "cache")

    def selects(
        self, image_id: str, tag: str, subject: t.Callable[[], Subject], *, decided: bool, now: datetime
    ) -> bool:
        """Whether an approved image is to be cached: one that `select` names or that is like a match in it; without a
        `select`, what was decided for."""
        if not self.select:
            return decided or self.new_images == "cache"
        if image_id in self.select or tag in self.select:
            return True
        matches = [item for item in self.select if not isinstance(item, str)]
        return any(match.fits(subject(), now) for match in matches)

    def age_limit(self) -> timedelta | None:
        """How old the list's date of creation may be."""
        return timedelta(seconds=self.max_list_age) if self.max_list_age else None

    def policy(self, *, content: bool) -> Policy:
        """What may be contacted: for the subscription's own address, or (`content`) for addresses inside the list."""
        # An address that an endorser list gave is not the administrator's word.
        host = None if self.origin else host_of(self.uri)
        policy = Policy(
            allow_private=self.allow_private,
            allow_file=not content and not self.origin,
            trusted_hosts=frozenset({host} if host else ()),
            ca_path=self.ca_path,
        )
        return self.access.apply(policy)


def _endorsers(options: t.Mapping[str, t.Any], kind: str) -> tuple[tuple[Pair, ...], tuple[Named, ...]]:
    """The pairs, and the endorsers by name, in a fixed order."""
    who = "authorities" if kind == ENDORSER_LIST else "endorsers"
    items = options.get(who) or ()
    if not items:
        raise _invalid(who, "at least one endorser (dn and ca, or name) is needed: nobody else may sign")
    pairs: set[Pair] = set()
    named: set[Named] = set()
    for number, item in enumerate(items):
        option = f"{who}[{number}]"
        if item.get("name") is None:
            pairs.add(read_pair(item, option, _invalid))
        elif item.get("dn") is not None or item.get("ca") is not None:
            raise _invalid(option, "an endorser is given by dn and ca, or by name")
        elif item.get("endorser_list") and kind == ENDORSER_LIST:
            raise _invalid(f"{option}.endorser_list", "no endorser list says who signs an endorser list")
        else:
            named.add(_named(item, option))
    return tuple(sorted(pairs)), tuple(sorted(named))


def _named(item: t.Mapping[str, t.Any], option: str) -> Named:
    name, of = item["name"], (item.get("endorser_list") or "").lower()
    if not isinstance(name, str) or not name:
        raise _invalid(f"{option}.name", f"{name!r} is not a name")
    if of and not UUID.match(of):
        raise _invalid(f"{option}.endorser_list", f"{of!r} is not a UUID")
    return Named(name, of)


def _selection(given: t.Sequence[t.Any]) -> tuple[str | Match, ...]:
    """UUIDs in lower case and tags as they are, then matches; each once."""
    names, matches = set(), {}
    for number, item in enumerate(given):
        if isinstance(item, str):
            names.add(item.lower() if UUID.match(item.lower()) else item)
            continue
        from .matching import MatchError, parse

        try:
            match = parse(item)
        except MatchError as error:
            where = f"select[{number}]"
            raise _invalid(f"{where}.{error.path}" if error.path else where, str(error)) from error
        matches[match.text] = match
    return (*sorted(names), *(matches[text] for text in sorted(matches)))


def _terms(options: t.Mapping[str, t.Any]) -> Terms:
    from .endorsers.terms import Terms

    return Terms.from_options(options, _invalid)


def _formats(names: t.Sequence[str]) -> tuple[str, ...]:
    try:
        return parse_wanted(names)
    except ValueError as error:
        raise _invalid("formats", str(error)) from error


def _seconds(option: str, value: t.Any) -> int | None:
    if value is None:
        return None
    try:
        seconds = value if isinstance(value, int) else int(parse_duration(value).total_seconds())
    except ValueError as error:
        raise _invalid(option, str(error)) from error
    if seconds <= 0:
        raise _invalid(option, "it must be longer than nothing; leave it out for no limit")
    if seconds > LONGEST.total_seconds():
        raise _invalid(option, "it is longer than any date allows; leave it out for no limit")
    return seconds


def _invalid(option: str, text: str) -> SiteError:
    return SiteError("subscription_invalid", f"{option}: {text}.", option=option)
