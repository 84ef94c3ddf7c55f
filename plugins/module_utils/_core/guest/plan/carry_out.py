# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry a plan out: configuration first, then the initrds, and the boot loader last, when what it names is there."""

from __future__ import annotations

import difflib
import typing as t
from datetime import datetime

from ...errors import GuestError
from ...outcome import Outcome
from ..boot.matrix import Verdict, judge
from ..boot.survey import Survey, survey
from ..root import writing
from ..root.backup import check_outside, keep
from ..root.draft import Change
from ..root.names import printable, shown
from ..root.tree import Root
from .initrds import Build, lacking
from .inside import run_inside
from .plan import Plan, make_plan
from .wishes import Note, Wishes

_LOADERS: t.Final = ("/boot/grub/", "/boot/grub2/", "/boot/loader/")

Builder = t.Callable[[Root, t.Sequence[str]], t.Any]


def make_bootable(
    root: Root,
    wishes: Wishes,
    *,
    check: bool,
    now: datetime,
    image: str | None = None,
    backup_dir: str | None = None,
    build: Builder | None = run_inside,
) -> Outcome:
    """Plan what the modes of `wishes` need, and unless `check` do it; a second run finds nothing to do.

    `build` runs a command in the system, None: initrds are not built, and entries that wait for one are not written.
    Raises `GuestError`.
    """
    if backup_dir is not None:
        check_outside(root, backup_dir)
    found = survey(root, image=image)
    _refuse_unread(found)
    plan = make_plan(root, found, wishes)
    first, later = _phases(plan, builds=build is not None)
    builds = plan.builds if build is not None else ()
    changes = first + later
    backup = None
    if not check and (changes or builds):
        if backup_dir is not None:
            backup = keep(root, [change.path for change in changes], backup_dir, now)
        _write(root, first)
        _build(root, builds, t.cast(Builder, build))
        _write(root, later)
        found = survey(root, image=image)
    return _outcome(plan, changes, builds, judge(found), wishes, backup, waiting=build is None)


def _refuse_unread(found: Survey) -> None:
    """A system that does not let itself be read is not changed: the plan would be for another one."""
    fatal = [
        problem
        for problem in found.problems
        if problem.code in ("guest_too_large", "guest_not_a_file", "guest_path_loop")
    ]
    if fatal:
        raise GuestError(fatal[0].code, fatal[0].detail, path=fatal[0].path)


def _phases(plan: Plan, *, builds: bool) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    later = tuple(change for change in plan.changes if change.path.startswith(_LOADERS))
    first = tuple(change for change in plan.changes if change not in later)
    return first, () if plan.builds and not builds else later


def _write(root: Root, changes: t.Sequence[Change]) -> None:
    for change in changes:
        if change.link is not None:
            writing.link(root, change.path, change.link)
        elif change.after is None:
            writing.remove(root, change.path)
        else:
            if change.was_link is not None:
                writing.remove(root, change.path)
            writing.write(root, change.path, change.after, mode=change.mode)


def _build(root: Root, builds: t.Sequence[Build], run: Builder) -> None:
    for build in builds:
        run(root, build.argv)
        why = lacking(root, build.path, build.kernel, build.needs)
        if why:
            raise GuestError(
                "initrd_incomplete", shown(f"{build.argv[0]} ended well, but {why[0]}"), path=shown(build.path)
            )


def _outcome(
    plan: Plan,
    changes: t.Sequence[Change],
    builds: t.Sequence[Build],
    verdicts: t.Mapping[str, Verdict],
    wishes: Wishes,
    backup: str | None,
    *,
    waiting: bool,
) -> Outcome:
    notes = list(plan.notes)
    if waiting:
        notes += [Note("A09", f"{build.path} has to be built: {' '.join(build.why)}") for build in plan.builds]
    before, after = _difference(changes)
    for build in builds:
        before[shown(build.path)] = [shown(why) for why in build.why]
        after[shown(build.path)] = [shown(" ".join(build.argv))]
    actions = [change.as_dict() for change in changes]
    actions += [
        {"action": "build", "path": build.path, "requirements": ["A09"], "reasons": list(build.why)} for build in builds
    ]
    return Outcome(
        bool(changes or builds),
        before,
        after,
        tuple(printable(actions)),
        tuple(shown(f"{note.requirement}: {note.text}") for note in notes),
        {
            "builds": printable([build.as_dict() for build in plan.builds]),
            "notes": printable([note.as_dict() for note in notes]),
            "matrix": printable({mode: _told(verdict) for mode, verdict in verdicts.items()}),
            "wanted": list(wishes.modes),
            "backup": backup,
        },
    )


def _told(verdict: Verdict) -> dict[str, t.Any]:
    told = verdict.as_dict()
    return {key: told[key] for key in ("ok", "entry", "kernel", "reasons", "warnings")}


def _difference(changes: t.Sequence[Change]) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """The lines that go and the lines that come: nothing else of a file, which may hold secrets, is ever shown."""
    before: dict[str, t.Any] = {}
    after: dict[str, t.Any] = {}
    for change in changes:
        old, new = _lines(change.before, change.was_link), _lines(change.after, change.link)
        compared = list(difflib.ndiff(old, new)) if change.after is not None or change.link is not None else []
        name = shown(change.path)
        before[name] = [line[2:] for line in compared if line.startswith("- ")] if compared else None
        after[name] = [line[2:] for line in compared if line.startswith("+ ")] if compared else None
        if change.after is None and change.link is None:
            before[name], after[name] = "there", "removed"
        elif not compared:
            before[name], after[name] = "absent", "an empty file"
    return before, after


def _lines(octets: bytes | None, link: str | None) -> list[str]:
    if link is not None:
        return [f"link to {shown(link)}"]
    lines = (octets or b"").decode("utf-8", "surrogateescape").splitlines()
    return ["\t".join(shown(part) for part in line.split("\t")) for line in lines]
