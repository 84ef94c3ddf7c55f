# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a module's real main() and hand back what Ansible would get."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from ansible.module_utils.common import warnings as ansible_warnings
from ansible.module_utils.testing import patch_module_args


@dataclass(frozen=True)
class Result:
    """The module's answer; `text` is all that it wrote."""

    data: dict[str, t.Any]
    text: str

    def __getitem__(self, key: str) -> t.Any:
        return self.data[key]

    @property
    def failed(self) -> bool:
        return bool(self.data.get("failed"))

    @property
    def warnings(self) -> list[str]:
        """The sentences of its warnings."""
        found = self.data.get("warnings", [])
        return [warning if isinstance(warning, str) else warning["event"]["msg"] for warning in found]


RunModule = Callable[..., Result]


@pytest.fixture
def run_module(capfd: pytest.CaptureFixture[str]) -> RunModule:
    """`run_module(main, options, check=False, diff=True)` -> Result."""

    def run(
        main: Callable[[], t.NoReturn], options: t.Mapping[str, t.Any], *, check: bool = False, diff: bool = True
    ) -> Result:
        # A module is a process of its own to Ansible, and collects its warnings per process.
        ansible_warnings._global_warnings.clear()
        capfd.readouterr()
        arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": diff}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            main()
        text = capfd.readouterr().out
        return Result(data=json.loads(text), text=text)

    return run
