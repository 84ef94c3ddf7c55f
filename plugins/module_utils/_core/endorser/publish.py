# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish an image list, or a VO's list of endorsers, as declared.

The order of the steps is the promise: sign, verify our own message, record it as pending, write the images, write the
list, record it as published. Whatever stops it in between, no published list names an image that is not there, no
version is used twice, and the next run completes what was begun.
"""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t
from datetime import datetime

from ..endorserlist.kinds import ENDORSER_LIST
from ..errors import PublishError, VmimagesError
from ..outcome import Outcome
from .declared.images import ImageSpec
from .declared.spec import PublishSpec
from .delivery.packing import Packing
from .delivery.places import Places
from .delivery.uploads import carry_out
from .files import FileBook
from .history import PENDING, History
from .plan import Kept, Plan, make_plan
from .report import outcome
from .signing import load_credentials

__all__ = ["ENDORSER_LIST", "ImageSpec", "PublishSpec", "publish"]

#: Tells the images to publish.
Images = t.Callable[[], tuple[ImageSpec, ...]]


def publish(spec: PublishSpec, *, check: bool, now: datetime, images: t.Optional[Images] = None) -> Outcome:
    """Publish, or with `check` only say what would be done: signed and verified in memory, nothing written.

    `now` is an aware time. `images` is asked for the images, in place of those of `spec`, when no other publication of
    the list can come in between: what is true then is not replaced by what was true before. Raises VmimagesError; what
    was published and recorded before is then as it was. Only when the list itself could not be written to its end, its
    version is used up, and the next run completes it.
    """
    now = now.replace(microsecond=0)
    credentials = load_credentials(spec, now)
    history = History(spec.history_dir, spec.identifier)
    places = Places(history.places, FileBook(history.files))
    packing = Packing(history.packed, places.files, check=check)
    if check:
        spec = _with_images(spec, images)
        return outcome(make_plan(spec, credentials, history, places, packing, now), octets_read=places.files.read)
    with history.locked():
        try:
            spec = _with_images(spec, images)
            plan = make_plan(spec, credentials, history, places, packing, now)
            _carry_out(plan, history, places)
            packing.keep_only({image["sha512"] for image in plan.entries.tell(plan.raw) if "sha512" in image})
        finally:
            # What was read is worth keeping even when the publication failed.
            with contextlib.suppress(VmimagesError):
                places.save()
    return outcome(plan, octets_read=places.files.read)


def _with_images(spec: PublishSpec, images: t.Optional[Images]) -> PublishSpec:
    return spec if images is None else dataclasses.replace(spec, images=images())


def _carry_out(plan: Plan, history: History, places: Places) -> None:
    for evidence in plan.evidence:
        history.write_evidence(evidence.sha512, evidence.octets)
    if plan.adopted is not None:
        _keep(plan.adopted, history)
    try:
        if plan.signed is not None:
            _keep(plan.signed, history)
        carry_out(plan.images, places)
        _require_unchanged(plan, places)
    except Exception:
        _withdraw(plan, history)
        raise
    carry_out(plan.listing, places)
    if plan.entry.state == PENDING:
        history.write(plan.record.with_published(plan.entry.sequence))
    elif plan.evidence:
        history.write(plan.record)


def _require_unchanged(plan: Plan, places: Places) -> None:
    """Refuse when somebody else has published the list since it was looked at: images may take hours to upload."""
    for upload in plan.listing:
        if places.message(upload.place) != plan.found:
            detail = f"{upload.place.target} was written by somebody else while this publication was under way."
            raise PublishError("published_meanwhile", detail, path=upload.place.target)


def _keep(kept: Kept, history: History) -> None:
    history.write_message(kept.path, kept.message)
    history.write(kept.record)


def _withdraw(plan: Plan, history: History) -> None:
    """Forget a message whose list was not even begun to be written: its version is not used up."""
    if plan.signed is None:
        return
    with contextlib.suppress(VmimagesError, OSError):
        history.write(plan.before)
        plan.signed.path.unlink(missing_ok=True)
