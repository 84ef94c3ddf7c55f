# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of an outcome, an answer, a refusal and a defect."""

from __future__ import annotations

import typing as t
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import fail, run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import REMEDIES, SiteError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome

SPEC = {"secret": {"type": "str", "no_log": True}}
OUTCOME = Outcome(
    changed=True,
    before={"version": "1"},
    after={"version": "2", "created": datetime(2026, 1, 2, tzinfo=timezone.utc)},
    actions=({"action": "sign", "path": Path("/x")},),
    warnings=("Mind the gap.",),
    data={"list": {"version": "2"}},
)


def main_of(work: Callable[[AnsibleModule], t.Any]) -> Callable[[], t.NoReturn]:
    def main() -> t.NoReturn:
        run(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), work)

    return main


def test_an_outcome_is_reported_with_its_actions_data_and_warnings(run_module: t.Any) -> None:
    result = run_module(main_of(lambda module: OUTCOME), {})
    assert result["changed"] is True
    assert result["actions"] == [{"action": "sign", "path": "/x"}]
    assert result["list"] == {"version": "2"}
    assert result.warnings == ["Mind the gap."]
    assert not result.failed


def test_the_diff_is_there_only_when_asked_for(run_module: t.Any) -> None:
    main = main_of(lambda module: OUTCOME)
    assert run_module(main, {}, diff=True)["diff"] == {
        "before": {"version": "1"},
        "after": {"version": "2", "created": "2026-01-02T00:00:00Z"},
    }
    assert "diff" not in run_module(main, {}, diff=False).data


def test_an_answer_is_no_change_and_has_no_actions(run_module: t.Any) -> None:
    result = run_module(main_of(lambda module: {"images": []}), {})
    assert {key: result[key] for key in ("changed", "images")} == {"changed": False, "images": []}
    assert "actions" not in result.data


def test_a_refusal_fails_with_sentence_code_remedy_and_context(run_module: t.Any) -> None:
    def refuse(module: AnsibleModule) -> Outcome:
        raise SiteError("unknown_list", "No list x is subscribed", path=Path("/x"), when=b"octets")

    result = run_module(main_of(refuse), {})
    assert result.failed and result["changed"] is False
    assert result["msg"] == f"No list x is subscribed. {REMEDIES['unknown_list']}"
    assert result["code"] == "unknown_list"
    assert result["remedy"] == REMEDIES["unknown_list"]
    assert result["context"]["path"] == "/x"
    assert not result.data.get("exception")


def test_what_was_done_before_a_failure_is_reported(run_module: t.Any) -> None:
    def partly(module: AnsibleModule) -> Outcome:
        fail(module, SiteError("unknown_list", "One failed."), changed=True, actions=({"action": "download"},))

    result = run_module(main_of(partly), {})
    assert result.failed and result["changed"] is True
    assert result["actions"] == [{"action": "download"}]


@pytest.mark.parametrize("value", [RuntimeError("broken"), KeyError("key")])
def test_a_defect_is_internal_error_with_its_traceback(run_module: t.Any, value: Exception) -> None:
    def break_down(module: AnsibleModule) -> Outcome:
        raise value

    result = run_module(main_of(break_down), {})
    assert result.failed and result["changed"] is False
    assert result["code"] == "internal_error"
    assert type(value).__name__ in result["msg"]
    assert "break_down" in result["context"]["traceback"]


def test_a_result_that_is_not_plain_is_a_defect_not_a_crash(run_module: t.Any) -> None:
    result = run_module(main_of(lambda module: {"octets": b""}), {})
    assert result["code"] == "internal_error"


def test_a_secret_in_a_defect_is_not_shown(run_module: t.Any) -> None:
    def leak(module: AnsibleModule) -> Outcome:
        raise RuntimeError(f"with {module.params['secret']}")

    assert "correct horse" not in run_module(main_of(leak), {"secret": "correct horse"}).text
