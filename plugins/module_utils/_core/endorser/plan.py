# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a publication would do: the difference between what is declared and what is published. Nothing is written."""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ..endorserlist.kinds import KINDS, Kind
from ..errors import PublishError
from ..imagelist.check import content_digest
from ..imagelist.difference import images_by_identifier
from ..imagelist.model import IMAGE, IMAGES
from ..times import from_text, to_text
from ..trust.credentials.load import Credentials
from ..trust.message.smime import read_message
from .adopt import Adoption, judge_found
from .compose import Base, Decision, Signer, compose, decide
from .declared.spec import PublishSpec
from .delivery.packing import Packing
from .delivery.places import Place, Places, find_place
from .delivery.uploads import Upload, plan_images, plan_message
from .entries.images import known_images
from .entries.kinds import ENTRIES, Entries
from .evidence import Evidence, plan_evidence
from .history import PENDING, PUBLISHED, Entry, History, Record
from .signing import describe_signer, is_mended_by_signing, sign

#: How long before its end a certificate is warned of: some authorities take weeks to renew one.
_NEAR_END: t.Final = timedelta(days=30)


@dataclass(frozen=True)
class Kept:
    """A message that the history has to keep under `path`, with the record that then holds it."""

    entry: Entry
    path: Path
    message: bytes
    record: Record


@dataclass(frozen=True)
class Plan:
    """In order: keep `evidence`, `adopted` and `signed`, write `images` and `listing`, mark `entry` as published.

    `base` is the current list before, `raw` the list object after; `entry` is the message that has this content;
    `before` and `record` are the records without and with `signed`; `found` is the message in the list's place.
    """

    base: t.Optional[Base]
    raw: t.Mapping[str, t.Any]
    entries: Entries
    entry: Entry
    path: Path
    before: Record
    record: Record
    signer: Signer
    adopted: t.Optional[Kept]
    decision: t.Optional[Decision]
    signed: t.Optional[Kept]
    evidence: tuple[Evidence, ...]
    images: tuple[Upload, ...]
    listing: tuple[Upload, ...]
    found: t.Optional[bytes]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Published:
    """The current state: where the list goes (None: nowhere), what is there, and what the history knows."""

    place: t.Optional[Place]
    found: t.Optional[bytes]
    record: Record
    base: t.Optional[Base]
    adopted: t.Optional[Kept]
    warning: t.Optional[str]


def make_plan(
    spec: PublishSpec, credentials: Credentials, history: History, places: Places, packing: Packing, now: datetime
) -> Plan:
    """Compare, compose, and where there is a reason sign and verify, in memory. Raises VmimagesError."""
    kind = KINDS[spec.kind]
    signer = describe_signer(credentials.certificate)
    published = _published(spec, history, places, signer, now)
    base, record = published.base, published.record
    prepared = packing.prepare(image for image in spec.images if not image.absent)
    paths = {name: path for name, (path, _digest) in prepared.items()}
    composed = compose(spec, base, signer, {name: digest for name, (_path, digest) in prepared.items()}, record.images)
    evidence = plan_evidence(
        spec.images,
        images_by_identifier(composed),
        packing.sources,
        history.kept_evidence(record),
        required=spec.require_evidence,
    )
    for item in evidence:
        record = record.with_evidence(item.image_sha512, item.kind, item.sha512)
    before = record
    decision = decide(spec, base, composed, signer, now)
    if decision is None and _is_outlived(published, history, spec, credentials, now):
        decision = decide(spec, base, composed, signer, now, outlived=True)
    sources = _sources(spec, record.current, composed, paths)
    signed = None
    if decision is not None:
        done = sign(decision.raw, spec, credentials, base, now)
        signed = _keep(
            history,
            record,
            Base(kind.read(done.content), content_digest(done.content), signer.not_after),
            done.message,
            signer,
            now,
            state=PENDING,
            sources=sources,
            removed=_removed(spec, base, decision.raw),
        )
        record = signed.record
    entry, raw = record.current, decision.raw if decision is not None else _raw(base)
    if entry is None:
        raise PublishError("internal_error", "Nothing is published, and nothing was to be signed.")
    images, listing = _uploads(published, spec, raw, sources, signed, entry, history, places)
    return Plan(
        base=base,
        raw=raw,
        entries=ENTRIES[spec.kind],
        entry=entry,
        path=history.path(entry.sequence, entry.version),
        before=before,
        record=record,
        signer=signer,
        adopted=published.adopted,
        decision=decision,
        signed=signed,
        evidence=evidence,
        images=images,
        listing=listing,
        found=published.found,
        warnings=tuple(_warnings(published, raw, signer, images, now)),
    )


def _published(spec: PublishSpec, history: History, places: Places, signer: Signer, now: datetime) -> _Published:
    record, kind = history.read(), KINDS[spec.kind]
    base = _read_base(history, record, kind)
    if not spec.uploads:
        return _Published(None, None, record, base, None, None)
    place = find_place(spec.uri, spec.uploads)
    found = places.message(place)
    adoption = Adoption()
    if found is not None:
        adoption = judge_found(found, place, spec=spec, record=record, base=base, signer=signer, now=now)
    if found is None or adoption.base is None:
        return _Published(place, found, record, base, None, adoption.warning)
    kept = _keep(history, record, adoption.base, found, signer, now, state=PUBLISHED, sources={})
    return _Published(place, found, kept.record, adoption.base, kept, None)


def _is_outlived(
    published: _Published, history: History, spec: PublishSpec, credentials: Credentials, now: datetime
) -> bool:
    """Whether the signature of the current list has to be replaced. One that is adopted was verified just now."""
    entry = published.record.current
    if entry is None or published.adopted is not None:
        return False
    return is_mended_by_signing(history.message(entry), spec, credentials, now)


def _raw(base: t.Optional[Base]) -> t.Mapping[str, t.Any]:
    return {} if base is None else base.content.raw


def _read_base(history: History, record: Record, kind: Kind) -> t.Optional[Base]:
    entry = record.current
    if entry is None:
        return None
    content = read_message(history.message(entry)).content
    return Base(kind.read(content), entry.sha512_of_content, from_text(entry.signer_not_after))


def _keep(
    history: History,
    record: Record,
    base: Base,
    message: bytes,
    signer: Signer,
    now: datetime,
    *,
    state: str,
    sources: t.Mapping[str, Path],
    removed: t.Optional[t.Mapping[str, str]] = None,
) -> Kept:
    content, sequence = base.content, record.next_sequence
    path = history.path(sequence, content.version)
    entry = Entry(
        sequence=sequence,
        version=content.version,
        state=state,
        file=path.name,
        sha256=hashlib.sha256(message).hexdigest(),
        sha512_of_content=base.sha512,
        created=to_text(content.created),
        expires=to_text(content.expires),
        signer_dn=signer.dn,
        signer_ca=signer.ca,
        signer_not_after=to_text(base.signer_not_after),
        recorded=to_text(now),
        sources={name: str(source.absolute()) for name, source in sources.items()},
        removed=removed or {},
    )
    return Kept(entry, path, message, record.with_entry(entry, known_images(content.raw)))


def _removed(spec: PublishSpec, base: t.Optional[Base], raw: t.Mapping[str, t.Any]) -> dict[str, str]:
    """The images that the list no longer holds, with the endorser's reason."""
    reasons = {image.identifier: image.removal_reason for image in spec.images if image.absent}
    before = {} if base is None else images_by_identifier(base.content.raw)
    return {name: reasons.get(name, "") for name in before.keys() - images_by_identifier(raw).keys()}


def _sources(
    spec: PublishSpec, current: t.Optional[Entry], composed: t.Mapping[str, t.Any], paths: t.Mapping[str, Path]
) -> dict[str, Path]:
    """Where the list's images are read from: as declared, or as an unfinished publication has left them to us."""
    if current is None or current.state != PENDING:
        return dict(paths)
    listed = {item[IMAGE]["dc:identifier"].lower() for item in composed.get(IMAGES, ())}
    declared = {image.identifier for image in spec.images}
    left = {name: Path(path) for name, path in current.sources.items() if name in listed and name not in declared}
    return {**left, **paths}


def _uploads(
    published: _Published,
    spec: PublishSpec,
    raw: t.Mapping[str, t.Any],
    sources: t.Mapping[str, Path],
    signed: t.Optional[Kept],
    entry: Entry,
    history: History,
    places: Places,
) -> tuple[tuple[Upload, ...], tuple[Upload, ...]]:
    if published.place is None:
        return (), ()
    kept = signed or published.adopted
    message = kept.message if kept is not None else history.message(entry)
    describes = {"identifier": spec.identifier, "version": entry.version}
    images = plan_images((item[IMAGE] for item in raw.get(IMAGES, ())), sources, spec.uploads, published.place, places)
    return tuple(images), tuple(plan_message(published.place, message, published.found, describes, places))


def _warnings(
    published: _Published, raw: t.Mapping[str, t.Any], signer: Signer, images: t.Iterable[Upload], now: datetime
) -> t.Iterator[str]:
    if published.warning is not None:
        yield f"{published.warning} It is replaced."
    if to_text(signer.not_after) < raw["dc:date:expires"]:
        yield (
            f"The certificate ends at {to_text(signer.not_after)}, before the list expires "
            f"({raw['dc:date:expires']}): sites refuse the list from then on."
        )
    elif signer.not_after - now < _NEAR_END:
        yield f"The certificate ends at {to_text(signer.not_after)}: renew it in time."
    for upload in images:
        if upload.found == "other content":
            yield (
                f"The image at {upload.place.uri} is replaced in its place: until sites have the new list they cannot "
                "fetch it. With the placeholder {version} in its address it would be published beside the old one."
            )
