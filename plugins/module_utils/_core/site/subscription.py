# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A subscription: what the administrator says about one list, as given in options and as kept in the journal."""

from __future__ import annotations

import re
import typing as t
from dataclasses import asdict, dataclass, fields
from datetime import timedelta

from ..durations import parse_duration
from ..errors import SiteError, TransferError
from ..transfer.policy import Policy, check_uri, host_of
from ..trust.anchors import DEFAULT_ANCHORS

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


@dataclass(frozen=True)
class Subscription:
    """One subscription. `endorsers` are (DN, CA) pairs in slash form; durations are seconds, None for no limit."""

    uri: str
    identifier: str | None
    endorsers: tuple[tuple[str, str], ...]
    trust: TrustOptions = TrustOptions()
    select: tuple[str, ...] = ()
    new_images: str = "report"
    tag_key: str = "dc:title"
    max_list_age: int | None = None
    max_unrefreshed: int | None = None
    ca_path: str | None = None
    allow_private: bool = False

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
        endorsers = tuple(_endorser(number, item) for number, item in enumerate(options.get("endorsers") or ()))
        if not endorsers:
            raise _invalid("endorsers", "at least one endorser (dn and ca) is needed: nobody else may change the list")
        new_images = options.get("new_images") or "report"
        if new_images not in NEW_IMAGES:
            raise _invalid("new_images", f"{new_images!r} is none of {', '.join(NEW_IMAGES)}")
        return cls(
            uri=uri,
            identifier=identifier,
            endorsers=tuple(sorted(set(endorsers))),
            trust=TrustOptions.from_options(options.get("trust") or options),
            select=tuple(sorted({_name(item) for item in options.get("select") or ()})),
            new_images=new_images,
            tag_key=options.get("tag_key") or "dc:title",
            max_list_age=_seconds("max_list_age", options.get("max_list_age")),
            max_unrefreshed=_seconds("max_unrefreshed", options.get("max_unrefreshed")),
            ca_path=options.get("ca_path"),
            allow_private=bool(options.get("allow_private")),
        )

    def as_dict(self) -> dict[str, t.Any]:
        """For the journal, the diff and the result; `from_options` reads it back."""
        return {**asdict(self), "endorsers": [{"dn": dn, "ca": ca} for dn, ca in self.endorsers]}

    @property
    def approves_new(self) -> bool:
        """Whether an image that nobody decided about counts as approved."""
        return self.new_images in ("approve", "cache")

    def selects(self, image_id: str, tag: str, *, decided: bool) -> bool:
        """Whether an approved image is to be cached: named in `select`; without a `select`, what was decided for."""
        if self.select:
            return image_id in self.select or tag in self.select
        return decided or self.new_images == "cache"

    def age_limit(self) -> timedelta | None:
        """How old the list's date of creation may be."""
        return timedelta(seconds=self.max_list_age) if self.max_list_age else None

    def policy(self, *, content: bool) -> Policy:
        """What may be contacted: for the subscription's own address, or (`content`) for addresses inside the list."""
        host = host_of(self.uri)
        return Policy(
            allow_private=self.allow_private,
            allow_file=not content,
            trusted_hosts=frozenset({host} if host else ()),
            ca_path=self.ca_path,
        )


def _endorser(number: int, item: t.Mapping[str, t.Any]) -> tuple[str, str]:
    for key in ("dn", "ca"):
        value = item.get(key)
        if not isinstance(value, str) or not value.startswith("/"):
            raise _invalid(f"endorsers[{number}].{key}", f"{value!r} is not a name in slash form, such as /DC=org/CN=x")
    return item["dn"], item["ca"]


def _name(text: str) -> str:
    """A UUID in lower case, a tag as it is."""
    return text.lower() if UUID.match(text.lower()) else text


def _seconds(option: str, value: t.Any) -> int | None:
    if value is None:
        return None
    try:
        seconds = value if isinstance(value, int) else int(parse_duration(value).total_seconds())
    except ValueError as error:
        raise _invalid(option, str(error)) from error
    if seconds <= 0:
        raise _invalid(option, "it must be longer than nothing; leave it out for no limit")
    return seconds


def _invalid(option: str, text: str) -> SiteError:
    return SiteError("subscription_invalid", f"{option}: {text}.", option=option)
