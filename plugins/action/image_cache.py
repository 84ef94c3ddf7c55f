# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_cache with live progress: the module runs in the background, and lines tell how far it is.

The module is started as ``async`` starts one, and writes a progress file below the state directory. That is read at
growing intervals, with the identity that the task has, and what it says becomes lines on standard error. The task's
result is the module's own. Where the controller is interrupted, or gone, the module stops.
"""

from __future__ import annotations

import json
import shlex
import time
import typing as t
import uuid

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.utils.vars import merge_hash

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.progress.file import parse
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.progress.words import sentence

#: Set to false where no lines are wanted; the module then runs as any other.
VARIABLE: t.Final = "hepix_vmimages_progress"
#: Seconds after which a module stops that nobody watches; a variable changes it.
PATIENCE: t.Final = 60
PATIENCE_VARIABLE: t.Final = "hepix_vmimages_patience"
#: Seconds between two looks: the first are short, so that a run that has nothing to do is soon over.
PAUSES: t.Final = (0.3, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
#: A task without a limit of its own may take so many seconds; async wants to have one.
LONGEST: t.Final = 30 * 24 * 3600
STATE_DIR: t.Final = "/var/lib/hepix-vmimages"
#: What async adds to a result.
ASYNCS_OWN: t.Final = ("ansible_job_id", "finished", "results_file", "started")
_BETWEEN: t.Final = "--- hepix.vmimages ---"
_GONE: t.Final = "--- gone ---"
#: After so many looks at a module that is no more, and has no result, there will be none.
_LOOKS: t.Final = 4
_LINES: t.Final = 5


class ActionModule(ActionBase):
    """Runs the module, and tells how far it is."""

    _supports_check_mode = True
    _supports_async = True

    @property
    def _base(self) -> ActionBase:
        """This object as Ansible knows it."""
        return self

    def run(self, tmp: t.Optional[str] = None, task_vars: t.Optional[dict[str, t.Any]] = None) -> dict[str, t.Any]:
        """The module's result."""
        variables = task_vars or {}
        result: dict[str, t.Any] = super().run(tmp, variables)
        state_dir = self._state_dir()
        if self._task.async_val or state_dir is None or not self._is_wanted(variables):
            return self._run_plainly(result, variables)
        return t.cast("dict[str, t.Any]", merge_hash(result, self._run_watched(state_dir, variables)))

    def _state_dir(self) -> t.Optional[str]:
        """The state directory as the target has it; None where only the module itself can tell."""
        given = str(self._task.args.get("state_dir") or STATE_DIR)
        expanded = self._base._remote_expand_user(given) if given.startswith("~") else given
        return expanded if expanded.startswith("/") and "$" not in expanded else None

    def _is_wanted(self, variables: dict[str, t.Any]) -> bool:
        wanted = self._templar.template(variables.get(VARIABLE, True))
        quiet = self._task.check_mode or self._task.no_log or "watched" in self._task.args
        return not quiet and str(wanted).lower() not in ("false", "no", "0")

    def _run_plainly(self, result: dict[str, t.Any], variables: dict[str, t.Any]) -> dict[str, t.Any]:
        wrap = bool(self._task.async_val) and not self._connection.has_native_async
        result = merge_hash(result, self._execute_module(task_vars=variables, wrap_async=wrap))
        if not wrap:
            self._base._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _run_watched(self, state_dir: str, variables: dict[str, t.Any]) -> dict[str, t.Any]:
        run = f"play-{uuid.uuid4()}"
        base = f"{state_dir.rstrip('/')}/progress/{run}"
        patience = self._templar.template(variables.get(PATIENCE_VARIABLE, PATIENCE))
        arguments = {**self._task.args, "watched": {"run": run, "patience": patience}}
        self._task.async_val = LONGEST
        try:
            started: dict[str, t.Any] = self._execute_module(
                module_args=arguments, task_vars=variables, wrap_async=True
            )
        finally:
            self._task.async_val = 0
        if started.get("failed") or "ansible_job_id" not in started:
            return started
        job = started["results_file"]
        try:
            has_ended = self._watch(job, base, variables.get("inventory_hostname", ""))
        except BaseException:
            # Without its lease the module stops within a second; should this not reach it, after PATIENCE.
            self._shell(f"rm -f {shlex.quote(base)}.lease")
            raise
        if not has_ended:
            return self._give_up(job, base)
        return self._fetch(started["ansible_job_id"], job, variables)

    def _give_up(self, job: str, base: str) -> dict[str, t.Any]:
        """The result of a job that will never have one."""
        self._shell(f"rm -f {shlex.quote(job)} {shlex.quote(base)}.lease {shlex.quote(base)}.json")
        self._base._remove_tmp_path(self._connection._shell.tmpdir)
        return {
            "failed": True,
            "msg": "The module was killed, or its host restarted: it is gone and has left no result. "
            "Run it again, it goes on where it was.",
        }

    def _watch(self, job: str, base: str, host: str) -> bool:
        """Return when the job has ended, or when nothing is left of it: whether it has ended."""
        lease, progress, results = (shlex.quote(path) for path in (f"{base}.lease", f"{base}.json", job))
        look = f"touch -c {lease} 2>/dev/null; cat {progress} 2>/dev/null; echo; echo '{_BETWEEN}'; cat {results}"
        failures = turn = gone = pid = 0
        while True:
            time.sleep(PAUSES[min(turn, len(PAUSES) - 1)])
            lives = f"kill -0 {pid} 2>/dev/null || echo '{_GONE}'; " if pid else ""
            try:
                found = self._base._low_level_execute_command(lives + look)
                failures = 0
            except AnsibleError:
                # A connection that breaks for a moment is no reason to stop; the lease outlives a few turns.
                failures += 1
                if failures > 3:
                    raise
                continue
            told, _between, results_text = found.get("stdout", "").partition(_BETWEEN)
            if found.get("rc") or not _is_running(results_text):
                return True
            gone = gone + 1 if told.startswith(_GONE) else 0
            if gone == _LOOKS:
                return False
            document = parse(told.replace(_GONE, "", 1).strip()) or {}
            pid = document.get("pid", pid)
            if turn >= 2 and not gone:
                self._tell(document.get("steps", []), host)
            turn += 1

    def _tell(self, steps: list[dict[str, t.Any]], host: str) -> None:
        for step in steps[:_LINES]:
            line = "".join(letter if letter.isprintable() else "\ufffd" for letter in sentence(step))
            Display().display(f"{host}: {line}", stderr=True)
        if len(steps) > _LINES:
            Display().display(f"{host}: and {len(steps) - _LINES} more", stderr=True)

    def _fetch(self, identifier: str, job: str, variables: dict[str, t.Any]) -> dict[str, t.Any]:
        """The result of the job that has ended; its file is removed."""
        directory = job.rpartition("/")[0]
        arguments = {"jid": identifier, "mode": "status", "_async_dir": directory}
        result: dict[str, t.Any] = self._execute_module(
            module_name="ansible.legacy.async_status", module_args=arguments, task_vars=variables
        )
        self._shell(f"rm -f {shlex.quote(job)}")
        self._base._remove_tmp_path(self._connection._shell.tmpdir)
        for key in ASYNCS_OWN:
            result.pop(key, None)
        return result

    def _shell(self, command: str) -> None:
        """Run a command whose failure changes nothing."""
        try:
            self._base._low_level_execute_command(command)
        except AnsibleError:
            return


def _is_running(text: str) -> bool:
    try:
        found = json.loads(text)
    except ValueError:
        # Not written yet, or just being replaced.
        return True
    return "started" in found and not found.get("finished")
