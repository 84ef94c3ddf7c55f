# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages sync``, ``vmimages scrub`` and ``vmimages purge``: the cache."""

from __future__ import annotations

import contextlib
import typing as t

from .events import announce, emit_event_failures
from .line.catalogue import open_catalogue
from .line.output import SOME_FAILED, emit, emit_failures, emit_outcome, emit_warnings, note_actions, table

if t.TYPE_CHECKING:
    import argparse

    from ..outcome import Outcome
    from ..site.cache.sync import Scrub


def sync(options: argparse.Namespace) -> int:
    """0, or 3 if some images failed, or some handlers of events; the other images are in the cache."""
    return _run(options, "also" if options.scrub else "no", "The cache is up to date.")


def scrub(options: argparse.Namespace) -> int:
    """0 if what was read is good, or was damaged and is there again; else 3."""
    options.verify, options.purge_expired = False, None
    return _run(options, "only", "No file is due to be read again.")


def _run(options: argparse.Namespace, scrubbing: Scrub, nothing: str) -> int:
    from ..site import settings
    from ..site.cache.sync import sync as sync_cache
    from ..site.cache.work import Limits
    from ..site.progress.telling import telling
    from .line.live import shown

    with contextlib.ExitStack() as stack:
        # What is imported late is imported before root becomes the owner.
        listeners = stack.enter_context(shown(wanted=not options.json and not options.check and not options.quiet))
        catalogue = stack.enter_context(open_catalogue(options))
        board = stack.enter_context(telling(catalogue.state, options.command, listeners=listeners, dry=options.check))
        outcome = sync_cache(
            catalogue,
            lists=options.lists,
            images=options.images,
            verify=options.verify,
            scrub=scrubbing,
            purge_expired=options.purge_expired,
            limits=Limits(
                parallel=options.max_parallel,
                per_host=options.max_per_host,
                retries=options.retries,
                timeout=options.timeout.total_seconds() if options.timeout else None,
                minimum_rate=options.minimum_rate,
            ),
            upkeep=settings.upkeep(catalogue.state.path, vars(options), catalogue.warn),
            check=options.check,
            progress=board,
        )
        told = announce(catalogue, check=options.check)
    return _tell(options, outcome, told, nothing)


def purge(options: argparse.Namespace) -> int:
    """0, or 3 if some files could not be deleted, or some handlers of events failed."""
    from ..site import settings
    from ..site.cache.sync import purge_expired

    with open_catalogue(options) as catalogue:
        upkeep = settings.upkeep(catalogue.state.path, {}, catalogue.warn)
        outcome = purge_expired(catalogue, options.older, upkeep=upkeep, check=options.check)
        told = announce(catalogue, check=options.check)
    return _tell(options, outcome, told, "Nothing has been out of use for so long.")


def _tell(options: argparse.Namespace, outcome: Outcome, told: t.Mapping[str, t.Any], nothing: str) -> int:
    note_actions(() if options.check else outcome.actions)
    if options.json:
        emit_outcome(outcome, told)
    else:
        emit_warnings(outcome.warnings)
        rows = [
            (item["action"], item.get("image") or item.get("name"), item.get("version"), item.get("path"))
            for item in outcome.actions
        ]
        failed = outcome.data["failures"]
        emit(*(table(("ACTION", "IMAGE", "VERSION", "FILE"), rows) or ([] if failed else [nothing])))
        emit_failures((item["image"], item) for item in failed)
        emit_event_failures(told)
    return SOME_FAILED if outcome.data["failures"] or told["failures"] else 0
