# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module says about itself."""

from __future__ import annotations

import importlib
import typing as t
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).resolve()
CHECKOUT = HERE.parents[4]
NAMES = sorted(path.stem for path in (CHECKOUT / "plugins" / "modules").glob("*.py"))


def load(name: str) -> t.Any:
    return importlib.import_module(f"ansible_collections.hepix.vmimages.plugins.modules.{name}")


@pytest.mark.parametrize("name", NAMES)
def test_every_module_is_tested_through_its_main(name: str) -> None:
    assert HERE.with_name(f"test_{name}.py").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_use_documented_options_only(name: str) -> None:
    module = load(name)
    options = {*module.ARGUMENTS}
    tasks = yaml.safe_load(module.EXAMPLES)
    used = [set(task[f"hepix.vmimages.{name}"]) for task in tasks if f"hepix.vmimages.{name}" in task]
    assert used and all(names <= options for names in used)


@pytest.mark.parametrize("name", NAMES)
def test_a_refusal_is_documented(name: str) -> None:
    assert {"code", "remedy", "context"} <= set(yaml.safe_load(load(name).RETURN))


@pytest.mark.parametrize("name", NAMES)
def test_no_result_is_taken_by_ansible_for_its_own(name: str) -> None:
    own = {"ansible_facts", "changed", "exception", "failed", "msg", "rc", "results", "skipped", "unreachable"}
    assert own.isdisjoint(yaml.safe_load(load(name).RETURN))


@pytest.mark.parametrize("name", NAMES)
def test_there_is_more_documentation_than_code(name: str) -> None:
    module = load(name)
    text = Path(module.__file__).read_text()
    written = sum(len(part.splitlines()) for part in (module.DOCUMENTATION, module.EXAMPLES, module.RETURN))
    assert written > len(text.splitlines()) - written
