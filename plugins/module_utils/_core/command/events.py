# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages events``, and what ``refresh`` and ``sync`` do at their end: handlers and endorsers are told."""

from __future__ import annotations

import typing as t

from ..errors import VmimagesError
from .line.catalogue import open_catalogue
from .line.output import SOME_FAILED, emit, emit_failures, emit_json, table

if t.TYPE_CHECKING:
    import argparse

    from ..site.store.catalogue import Catalogue


def events(options: argparse.Namespace) -> int:
    """0, or 3 when a handler or a message failed; what failed is tried again by later runs."""
    from ..site import settings
    from ..site.events.dispatch import dispatch

    with open_catalogue(options) as catalogue:
        outcome = dispatch(catalogue, settings.load(catalogue.state.path))
    if options.json:
        emit_json({**outcome.data, "changed": outcome.changed, "actions": outcome.actions})
    else:
        rows = [
            (
                item["result"],
                item.get("handler"),
                item.get("event") or item.get("message"),
                item["list"],
                item.get("image"),
            )
            for item in outcome.data["events"]
        ]
        emit(*(table(("RESULT", "HANDLER", "EVENT", "LIST", "IMAGE"), rows) or ["Nothing is to be told."]))
        waiting = [
            (item["receiver"], item["kind"], item["image"] or item["list"], item["attempts"], item["not_before"])
            for item in outcome.data["waiting"]
        ]
        if waiting:
            emit("", *table(("WAITING", "KIND", "SUBJECT", "ATTEMPTS", "NOT BEFORE"), waiting))
        emit_event_failures(outcome.data)
    return SOME_FAILED if outcome.data["failures"] else 0


def announce(catalogue: Catalogue, *, check: bool) -> dict[str, t.Any]:
    """Tell what a refresh or a sync has journaled; what goes wrong here is told beside their own result.

    Where another process is telling already, it tells this too, or the next run does.
    """
    from ..site import settings
    from ..site.events.dispatch import dispatch

    told: dict[str, t.Any] = {"events": [], "failures": [], "waiting": []}
    if check:
        return told
    try:
        told.update(dispatch(catalogue, settings.load(catalogue.state.path), patience=0.0).data)
    except VmimagesError as error:
        if error.code != "state_busy":
            told["failures"].append({"handler": None, "event": None, "list": None, "image": None, **error.as_dict()})
    return told


def emit_event_failures(told: t.Mapping[str, t.Any]) -> None:
    """Handlers and messages that failed, on standard error."""
    emit_failures((item["handler"] or "events", item) for item in told["failures"])
