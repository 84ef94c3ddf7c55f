# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many instances in one call: each for itself, so that one refusal keeps none of the others from what they need."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass, field
from datetime import datetime

from ...errors import VmimagesError
from ...guest.context.payload.content import fetcher
from ...outcome import Outcome
from ...transfer.atomic import storage_error
from .approval import Approved, Verdicts
from .boots import BootFacts
from .domains import Connections
from .plan.making import Making, plan_making
from .plan.removing import plan_removal
from .plan.steps import Plan
from .plan.templates import plan_template
from .standing import Names, find, names_taken_twice
from .turns import turn
from .wishes import Wish


@dataclass
class World:
    """What the instances of a call share, each looked at once, and only when it is needed."""

    now: datetime
    connections: Connections
    boots: BootFacts = field(default_factory=BootFacts)
    names: Names = field(default_factory=Names)
    _verdicts: dict[str, Verdicts] = field(default_factory=dict)

    def approve(self, wish: Wish) -> Approved:
        if wish.state_dir not in self._verdicts:
            self._verdicts[wish.state_dir] = Verdicts(wish.state_dir, self.now)
        return self._verdicts[wish.state_dir].approve(
            wish.image, wanted=wish.format, whole=wish.is_verified_whole, max_age=wish.max_age
        )


def bring_about(wishes: t.Sequence[Wish], *, now: datetime, check: bool) -> Outcome:
    """Make the instances what is wished, or in check mode plan it; ``failures`` has what was refused, by instance."""
    names_taken_twice(wishes)
    with Connections() as connections:
        world = World(now, connections)
        reports = [_one(wish, world, check=check) for wish in wishes]
    return Outcome(
        changed=any(report.result["changed"] for report in reports),
        before={report.name: report.before for report in reports if report.before},
        after={report.name: report.after for report in reports if report.after},
        actions=tuple(action for report in reports for action in report.actions),
        warnings=tuple(dict.fromkeys(sentence for report in reports for sentence in report.warnings)),
        data={
            "instances": [report.result for report in reports],
            "failures": [report.failure for report in reports if report.failure is not None],
        },
    )


@dataclass(frozen=True)
class _Report:
    name: str
    result: dict[str, t.Any]
    before: t.Mapping[str, t.Any] = field(default_factory=dict)
    after: t.Mapping[str, t.Any] = field(default_factory=dict)
    actions: t.Sequence[t.Mapping[str, t.Any]] = ()
    warnings: t.Sequence[str] = ()
    failure: dict[str, t.Any] | None = None


_EMPTY: t.Final[dict[str, t.Any]] = {
    **dict.fromkeys(("uuid", "state", "image", "version", "mode", "disk", "record", "until", "xml", "configuration")),
    "contexts": [],
    "differences": [],
    "restart_needed": False,
    "code": None,
}


def _one(wish: Wish, world: World, *, check: bool) -> _Report:
    done: list[dict[str, t.Any]] = []
    plan = Plan(wish.name)
    try:
        plan = plan_of(wish, world)
        if check:
            done += plan.actions
        elif plan.steps:
            with _alone(wish, plan) as waited:
                if waited:
                    world.names = Names()
                if waited or _is_another(wish, plan, world):
                    plan = plan_of(wish, world)
                plan.carry_out(done)
    except (VmimagesError, OSError) as caught:
        error = storage_error(caught, caught.filename or wish.name) if isinstance(caught, OSError) else caught
        failure = {"name": wish.name, **error.as_dict()}
        failure["detail"] = error.sentence if wish.name in error.sentence else f"{wish.name}: {error.sentence}"
        result = {**_EMPTY, "name": wish.name, "changed": bool(done), "code": error.code}
        return _Report(wish.name, result, actions=done, warnings=plan.warnings, failure=failure)
    result = {**_EMPTY, **plan.result, "name": wish.name, "changed": bool(done)}
    return _Report(wish.name, result, plan.before, plan.after, done, plan.warnings)


def _alone(wish: Wish, plan: Plan) -> t.ContextManager[bool]:
    """Its turn; where nothing is recorded there is nobody to wait for, and no directory to be made."""
    is_unrecorded = wish.state == "absent" and not wish.records_dir.exists()
    if plan.standing is None or is_unrecorded:
        return contextlib.nullcontext(False)
    return turn(wish.records_dir, wish.name)


def _is_another(wish: Wish, plan: Plan, world: World) -> bool:
    """Whether another call has been there between the plan and the turn."""
    return plan.standing is not None and find(wish, world.connections, world.names) != plan.standing


def plan_of(wish: Wish, world: World) -> Plan:
    """The plan of one instance: the verdict comes before everything else."""
    if wish.output == "opennebula":
        return plan_template(wish, world)
    if wish.state == "absent":
        return plan_removal(wish, find(wish, world.connections, world.names))
    approved = world.approve(wish)
    boot_info = wish.boot_info if wish.boot_info is not None else world.boots.of(approved)
    standing = find(wish, world.connections, world.names)
    return plan_making(Making(wish, approved, boot_info, standing, world.now, fetcher(wish.ca_path), world.connections))
