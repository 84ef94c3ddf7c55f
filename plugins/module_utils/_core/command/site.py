# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own work, ``vmimages refresh``; the operator's: ``status``, ``rebaseline``, ``audit``, ..."""

from __future__ import annotations

import typing as t

from ..site.progress.words import sentence
from .events import announce, emit_event_failures
from .line.catalogue import ask, open_catalogue, state_of
from .line.output import (
    SOME_FAILED,
    emit,
    emit_error,
    emit_failures,
    emit_json,
    emit_outcome,
    emit_warnings,
    note_actions,
    printable,
    table,
)

if t.TYPE_CHECKING:
    import argparse

    from ..site.store.catalogue import Catalogue


def refresh(options: argparse.Namespace) -> int:
    """0, or 3 if some lists failed, or some handlers of events; the lists that did not fail are applied."""
    from ..site.lists.refresh import refresh as refresh_lists

    with open_catalogue(options) as catalogue:
        outcome = refresh_lists(catalogue, lists=options.lists, check=options.check)
        told = announce(catalogue, check=options.check)
    note_actions(() if options.check else outcome.actions)
    if options.json:
        emit_outcome(outcome, told)
    else:
        emit_warnings(outcome.warnings)
        reports = outcome.data["lists"]
        rows = [(item["identifier"], item["version"], item["status"], _code(item.get("error"))) for item in reports]
        emit(*(table(("LIST", "VERSION", "STATUS", "ERROR"), rows) or ["No list is subscribed."]))
        emit_failures((item["uri"], item["error"]) for item in reports if item.get("error"))
        emit_event_failures(told)
    return SOME_FAILED if outcome.data["failures"] or told["failures"] else 0


def status(options: argparse.Namespace) -> int:
    """0; the verdicts are those of now for the owner of the state, else those of the snapshot.

    A page, metrics or a check, where they are asked for, are made from the snapshot by whoever asks.
    """
    if options.check or options.html or options.prometheus:
        from . import monitoring

        return monitoring.check(options) if options.check else monitoring.report(options)
    lists, endorsers, images = _status(options)
    going = _runs(options)
    if options.json:
        emit_json({"runs": going, "lists": lists, "endorsers": endorsers, "images": images})
        return 0
    rows = [
        (item["identifier"], item["title"], item["version"], item["expires"], item["refreshed"], _state(item))
        for item in lists
    ]
    emit(*(table(("LIST", "TITLE", "VERSION", "EXPIRES", "REFRESHED", "STATE"), rows) or ["No list is subscribed."]))
    _emit_endorsers(lists, endorsers)
    waiting = [(item["identifier"], item["rebaseline"]) for item in lists if item.get("rebaseline")]
    acts = [(name, f"{act['digest'][:16]}...", act["author"], act["at"], act["reason"]) for name, act in waiting]
    if acts:
        emit("", *table(("LIST", "RE-BASELINED TO", "BY", "AT", "REASON"), acts))
    verdicts = [
        (item["identifier"], item["tag"], item["version"], item["verdict"]["code"], item["verdict"]["path"])
        for item in images
    ]
    if verdicts:
        emit("", *table(("IMAGE", "TAG", "VERSION", "VERDICT", "FILE"), verdicts))
    for run in going:
        emit("", f"{printable(run['what'])} is running (process {run['pid']}); {run['ended']} files are done.")
        emit(*(f"  {printable(sentence(step))}" for step in run["steps"]))
    return 0


def _runs(options: argparse.Namespace) -> list[dict[str, t.Any]]:
    from ..site.progress.file import runs

    return runs(state_of(options))


def rebaseline(options: argparse.Namespace) -> int:
    """0 when the act is recorded, or was before."""
    from ..site.lists.rebaseline import Act
    from ..site.lists.rebaseline import rebaseline as record

    act = Act.from_options({"digest": options.digest, "reason": options.reason})
    with open_catalogue(options) as catalogue:
        outcome = record(catalogue, options.list, act, check=options.check)
    if options.json:
        emit_outcome(outcome)
        return 0
    emit_warnings(outcome.warnings)
    made = outcome.data["rebaseline"]
    emit(
        {
            "pending": "The next refresh accepts this content, whatever its version; everything else is checked.",
            "done": f"This content was accepted after the act of {made['at']}; nothing is to be done.",
            "not_needed": "This content is the accepted one; nothing is to be done.",
        }[made["state"]]
    )
    return 0


def audit(options: argparse.Namespace) -> int:
    """0 when the journal and all archived messages are good, 1 if not."""
    from ..site.store import audit as auditing
    from ..site.store import preload
    from ..site.store.state import as_owner

    state = state_of(options)
    with as_owner(state.path, load=preload.judging):
        found = auditing.audit(state)
    if options.json:
        emit_json(found.as_dict())
    else:
        good = "are good; the others are not" if found.problems else "are good"
        emit(f"{found.lines} journal lines and {found.messages} archived messages {good}.")
        if found.unnamed:
            emit(f"{found.unnamed} archived messages are named by no line: they were not accepted, or lines are lost.")
        for problem in found.problems:
            emit_error(problem, as_json=False)
    return 1 if found.problems else 0


def rebuild(options: argparse.Namespace) -> int:
    """0 when the index was made anew; a journal that has lost lines is gone on with only where the caller says so."""
    from ..site.judgement import snapshot

    with open_catalogue(options, accept_journal=options.accept_journal) as catalogue:
        if options.accept_journal:
            snapshot.write(catalogue)
        else:
            catalogue.rebuild()
        sequence = catalogue.head().sequence
    if options.json:
        emit_json({"journal_sequence": sequence})
    else:
        emit(f"The index was made anew from {sequence} journal lines.")
    return 0


def _emit_endorsers(lists: t.Sequence[t.Mapping[str, t.Any]], endorsers: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    elected = [
        (item["identifier"], one["identifier"], "yes" if one["accepted"] else "no", pair["dn"], pair["ca"])
        for item in lists
        for one in item.get("endorsers") or ()
        for pair in one["pairs"]
    ]
    if elected:
        emit("", *table(("ENDORSER LIST", "ENDORSER", "ACCEPTED", "DN", "CA"), elected))
    registered = [
        (
            one["name"],
            "yes" if one["registered"] else f"removed by {one['author']} at {one['at']}",
            pair["dn"],
            pair["ca"],
        )
        for one in endorsers
        for pair in one["pairs"]
    ]
    if registered:
        emit("", *table(("ENDORSER", "REGISTERED", "DN", "CA"), registered))


_Items = list[dict[str, t.Any]]


def _status(options: argparse.Namespace) -> tuple[_Items, _Items, _Items]:
    """The lists, the registered endorsers, and the images."""
    from ..site import queries
    from ..site.judgement import snapshot

    def told(catalogue: Catalogue) -> tuple[_Items, _Items, _Items]:
        return queries.lists(catalogue), queries.endorsers(catalogue), queries.images(catalogue)

    found = ask(options, told)
    if found is not None:
        return found
    recorded = snapshot.load(state_of(options))
    lists = [{"identifier": name, **item} for name, item in recorded.lists.items()]
    return lists, recorded.document.get("endorsers", []), recorded.images()


def _state(item: t.Mapping[str, t.Any]) -> str:
    return _code(item["path"]) or _code(item["error"]) or "good"


def _code(error: t.Mapping[str, t.Any] | None) -> str | None:
    return error["code"] if error else None
