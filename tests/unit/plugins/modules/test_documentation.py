# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module says about itself."""

from __future__ import annotations

import importlib
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

HERE = Path(__file__).resolve()
CHECKOUT = HERE.parents[4]
NAMES = sorted(path.stem for path in (CHECKOUT / "plugins" / "modules").glob("*.py"))


def load(name: str) -> t.Any:
    return importlib.import_module(f"ansible_collections.hepix.vmimages.plugins.modules.{name}")


@pytest.mark.parametrize("name", NAMES)
def test_every_module_is_tested_through_its_main(name: str) -> None:
    assert HERE.with_name(f"test_{name}.py").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_are_accepted_by_the_module(name: str) -> None:
    module = load(name)
    key = f"hepix.vmimages.{name}"
    own = [task[key] for task in yaml.safe_load(module.EXAMPLES) if key in task]
    assert own
    for options in own:
        assert ArgumentSpecValidator(module.ARGUMENTS).validate(options).error_messages == []


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
