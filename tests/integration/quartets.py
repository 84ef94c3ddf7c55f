# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a quartet of a task: check, run, check again, run again, each followed by what must be true of it.

A playbook in `playbooks/` reads like a table. These variables of a task make it a quartet; a task without them is run
once, as it is:

``expected_change``   whether the first check and the first run report a change; the second ones never do
``expected_code``     all four must fail with this code, and change nothing
``expected``          conditions on the result of the first run, as ``result``
"""

from __future__ import annotations

import typing as t
from pathlib import Path

import yaml

Task = dict[str, t.Any]

RUNS: t.Final = ("check", "run", "check again", "run again")
KEYWORDS: t.Final = ("expected_change", "expected_code", "expected")


def write_quartets(source: Path, target: Path) -> None:
    """Write the playbook with its quartets to `target`."""
    plays = yaml.safe_load(source.read_text())
    for play in plays:
        play["tasks"] = [made for task in play["tasks"] for made in expand(task)]
    target.write_text(yaml.safe_dump(plays, sort_keys=False, width=10_000))


def expand(task: Task) -> list[Task]:
    """The tasks that a task stands for."""
    variables = dict(task.get("vars", {}))
    wanted = {name: variables.pop(name) for name in KEYWORDS if name in variables}
    if not wanted:
        return [task]
    plain = {**task, "vars": variables}
    made: list[Task] = []
    for number, run in enumerate(RUNS):
        register = f"quartet_{number}"
        made.append(
            {
                **plain,
                "name": f"{task['name']} ({run})",
                "check_mode": run.startswith("check"),
                "register": register,
                "failed_when": False,
            }
        )
        made.append(_assert(f"{task['name']} ({run}) is as expected", _conditions(number, wanted), register))
    made.append(_assert(f"{task['name']} is foretold", _foretold(wanted), "quartet_1"))
    return made


def _assert(name: str, conditions: t.Sequence[str], register: str) -> Task:
    return {
        "name": name,
        "ansible.builtin.assert": {
            "that": list(conditions),
            "fail_msg": f"{{{{ {register} | to_nice_json }}}}",
            "quiet": True,
        },
        "vars": {"result": f"{{{{ {register} }}}}"},
    }


def _conditions(number: int, wanted: t.Mapping[str, t.Any]) -> list[str]:
    conditions = ["result.warnings | default([]) == []", "result.deprecations | default([]) == []"]
    if "expected_code" in wanted:
        # An Ansible string in an Ansible expression: the code holds letters and underscores only.
        return [*conditions, f"result.code | default('none') == '{wanted['expected_code']}'", "result is not changed"]
    change = bool(wanted.get("expected_change", False)) and number < 2
    conditions += ["result.code is not defined", f"result is {'changed' if change else 'not changed'}"]
    if not change:
        conditions.append("result.diff is not defined or result.diff.before == result.diff.after")
    if number == 1:
        conditions += wanted.get("expected", [])
    return conditions


def _foretold(wanted: t.Mapping[str, t.Any]) -> list[str]:
    """What check mode said is what was done. Times of signing and durations may differ, kinds and places may not."""
    if "expected_code" in wanted:
        return ["quartet_0.msg == quartet_1.msg"]
    kinds = "actions | default([]) | map(attribute='action') | sort"
    return [
        f"quartet_0.{kinds} == quartet_1.{kinds}",
        "(quartet_0.diff | default({})).before | default({}) == (quartet_1.diff | default({})).before | default({})",
        "(quartet_0.diff | default({})).after | default({}) | list == (quartet_1.diff | default({})).after "
        "| default({}) | list",
    ]
