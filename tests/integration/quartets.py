# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a quartet of a task: check, run, check again, run again, followed by what must be true of all four.

A playbook in `playbooks/` reads like a table. These variables of a task make it a quartet; a task without them is run
once, as it is:

``expected_change``   whether the first check and the first run report a change; the second ones never do
``expected_code``     every run must fail with this code, and change nothing
``expected``          conditions on the result of the first run, as ``result``

What is refused, what only answers a question, and what finds its work done leaves nothing that a second round could
find: check and run do.
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
    runs = RUNS if wanted.get("expected_change") and not _only_reads(task) else RUNS[:2]
    made = [
        {
            **task,
            "vars": variables,
            "name": f"{task['name']} ({run})",
            "check_mode": run.startswith("check"),
            "register": f"quartet_{number}",
            "failed_when": False,
        }
        for number, run in enumerate(runs)
    ]
    conditions = [condition for number, _run in enumerate(runs) for condition in _conditions(number, wanted)]
    results = ", ".join(repr(run["register"]) for run in made)
    return [
        *made,
        {
            "name": f"{task['name']} is as expected and foretold",
            "ansible.builtin.assert": {
                "that": [*conditions, *wanted.get("expected", []), *_foretold(wanted)],
                "fail_msg": f"{{{{ query('ansible.builtin.vars', {results}) | to_nice_json }}}}",
                "quiet": True,
            },
            "vars": {"result": "{{ quartet_1 }}"},
        },
    ]


def _only_reads(task: Task) -> bool:
    return any(name.endswith(("_info", "_history")) for name in task)


def _conditions(number: int, wanted: t.Mapping[str, t.Any]) -> list[str]:
    """What must be true of one run."""
    found = f"quartet_{number}"
    conditions = [f"{found}.warnings | default([]) == []", f"{found}.deprecations | default([]) == []"]
    if "expected_code" in wanted:
        # An Ansible string in an Ansible expression: the code holds letters and underscores only.
        code = f"{found}.code | default('none') == '{wanted['expected_code']}'"
        return [*conditions, code, f"{found} is not changed"]
    change = bool(wanted.get("expected_change", False)) and number < 2
    conditions += [f"{found}.code is not defined", f"{found} is {'changed' if change else 'not changed'}"]
    if not change:
        conditions.append(f"{found}.diff is not defined or {found}.diff.before == {found}.diff.after")
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
