# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One way to run a module: check the libraries, do the work, report the outcome or the refusal."""

from __future__ import annotations

import traceback
import typing as t

from .._core.errors import REMEDIES, SiteError, VmimagesError
from .._core.outcome import Outcome
from .._core.plain import plain
from .dependencies import Library, ensure

if t.TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ansible.module_utils.basic import AnsibleModule

Answer = t.Mapping[str, t.Any]


def run(
    module: AnsibleModule, work: Callable[[AnsibleModule], Outcome | Answer], *, needs: Sequence[Library] = ()
) -> t.NoReturn:
    """Do the work and exit: an `Outcome` becomes a change with actions and diff, a mapping an answer without change.

    A refusal becomes a failure with its code and remedy; an unexpected exception is the refusal internal_error.
    """
    ensure(module, needs)
    try:
        _refuse_nul(module.params)
        result = work(module)
        answer = _from_outcome(module, result) if isinstance(result, Outcome) else {**plain(result), "changed": False}
    except VmimagesError as error:
        fail(module, error)
    except Exception as error:
        _fail_defect(module, error)
    module.exit_json(**answer)


def _refuse_nul(options: t.Mapping[str, t.Any]) -> None:
    """No path, name or address holds a NUL character, which every system call meets with an error of its own."""
    for option, value in options.items():
        waiting = [value]
        while waiting:
            one = waiting.pop()
            if isinstance(one, str) and "\0" in one:
                raise SiteError("option_invalid", f"{option}: it holds a NUL character.", option=option)
            if isinstance(one, (list, tuple)):
                waiting.extend(one)
            elif isinstance(one, t.Mapping):
                waiting.extend(one.values())


def fail(module: AnsibleModule, error: VmimagesError, **result: t.Any) -> t.NoReturn:
    """Fail with the refusal's sentence, code, remedy and context; `result` adds what was done nevertheless."""
    report = {"changed": False, **plain(result), "code": error.code, "remedy": error.remedy}
    module.fail_json(msg=error.message, context=_context(error), **report)


def _fail_defect(module: AnsibleModule, error: Exception) -> t.NoReturn:
    # ansible-core drops `exception` unless tracebacks are asked for, and a defect may not show itself again.
    trace = traceback.format_exc()
    module.fail_json(
        msg=f"An unexpected {type(error).__name__} stopped the module: {error}. {REMEDIES['internal_error']}",
        code="internal_error",
        remedy=REMEDIES["internal_error"],
        context={"traceback": trace},
        changed=False,
        exception=trace,
    )


def _context(error: VmimagesError) -> dict[str, t.Any]:
    try:
        return t.cast("dict[str, t.Any]", plain(error.context))
    except TypeError:
        return {key: str(value) for key, value in error.context.items()}


def _from_outcome(module: AnsibleModule, outcome: Outcome) -> dict[str, t.Any]:
    for warning in outcome.warnings:
        module.warn(warning)
    report = {**plain(outcome.data), "changed": outcome.changed, "actions": plain(outcome.actions)}
    if module._diff:
        report["diff"] = {"before": plain(outcome.before), "after": plain(outcome.after)}
    if report.get("failures"):
        _fail_partly(module, report)
    return t.cast("dict[str, t.Any]", report)


def _fail_partly(module: AnsibleModule, report: dict[str, t.Any]) -> t.NoReturn:
    """Fail for what did not succeed, with the first failure's code, and report all that was done."""
    first = report["failures"][0]
    count = len(report["failures"])
    many = "" if count == 1 else f"{count} of them failed, the first: "
    module.fail_json(
        msg=f"{many}{first['detail']} {first['remedy']}",
        **{**report, "code": first["code"], "remedy": first["remedy"], "context": first["context"]},
    )
