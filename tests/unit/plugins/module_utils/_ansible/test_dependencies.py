# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which interpreter lacks what: found without imports, told in one sentence, mended by another interpreter."""

from __future__ import annotations

import sys
import typing as t
from importlib import metadata
from pathlib import Path

import cryptography
import pytest
import requests
import yaml
from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.doc_fragments import dependencies as fragment
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible import dependencies
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import (
    CRYPTOGRAPHY,
    INTERPRETER_VARIABLE,
    PYCDLIB,
    REQUESTS,
    RESPAWN_LIMIT,
    Library,
)

NOWHERE = Library("no_such_library", (1,))
TOO_NEW = Library("cryptography", (999,))


@pytest.mark.parametrize(
    ("version", "suits"),
    [("48.9.9", False), ("49", True), ("49.0.0", True), ("51.9.1", True), ("52.0.0", False), ("unknown", False)],
)
def test_a_version_must_be_within_the_bounds(version: str, suits: bool) -> None:
    assert CRYPTOGRAPHY.suits(version) is suits


def test_what_is_not_installed_does_not_suit() -> None:
    assert not REQUESTS.suits(None)


def test_the_requirements_are_those_of_the_fragment() -> None:
    documented = [
        entry.replace(" ", "")
        for text in (
            fragment.ModuleDocFragment.DOCUMENTATION,
            fragment.ModuleDocFragment.TRANSFER,
            fragment.ModuleDocFragment.ISO,
        )
        for entry in yaml.safe_load(text)["requirements"]
    ]
    assert {CRYPTOGRAPHY.requirement, PYCDLIB.requirement, REQUESTS.requirement} <= set(documented)


def test_installed_versions_are_found() -> None:
    assert dependencies.installed_version("cryptography") == cryptography.__version__
    assert dependencies.installed_version("requests") == requests.__version__
    assert dependencies.installed_version("no_such_library") is None


def test_a_version_that_no_file_of_the_library_states_is_that_of_its_metadata() -> None:
    assert dependencies.installed_version("pycdlib") == metadata.version("pycdlib")


def test_this_interpreter_lacks_nothing() -> None:
    assert dependencies.lacking([CRYPTOGRAPHY, REQUESTS]) == []


def main_that_needs(*libraries: Library) -> t.Callable[[], t.NoReturn]:
    def main() -> t.NoReturn:
        module = AnsibleModule(argument_spec={"images": {"type": "list", "elements": "str", "default": []}})
        dependencies.ensure(module, libraries)
        module.exit_json(went_on=True)

    return main


def test_nothing_happens_when_nothing_lacks(run_module: t.Any) -> None:
    assert run_module(main_that_needs(CRYPTOGRAPHY), {})["went_on"] is True


def test_one_sentence_says_which_interpreter_lacks_what_and_how_to_get_it(run_module: t.Any) -> None:
    result = run_module(main_that_needs(NOWHERE, TOO_NEW), {})
    assert result.failed and result["code"] == "library_missing"
    assert sys.executable in result["msg"]
    assert "no_such_library>=1 (found: none)" in result["msg"]
    assert f"cryptography>=999 (found: {cryptography.__version__})" in result["msg"]
    assert "pip install" in result["msg"] and "ansible_python_interpreter" in result["msg"]
    assert ". " not in result["msg"]


@pytest.fixture
def other_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another interpreter, which says that it has what this one lacks."""
    other = tmp_path / "python3"
    other.write_text('#!/bin/sh\necho "[[3, 11], [\\"999.1\\"]]"\n')
    other.chmod(0o755)
    monkeypatch.setenv(INTERPRETER_VARIABLE, str(other))
    return other


def test_the_interpreter_that_has_it_is_found(other_interpreter: Path) -> None:
    assert dependencies.suitable_interpreter([TOO_NEW]) == str(other_interpreter)


def test_an_interpreter_that_has_it_not_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(INTERPRETER_VARIABLE, str(tmp_path / "missing"))
    assert dependencies.suitable_interpreter([NOWHERE]) is None


def test_arguments_too_large_to_hand_over_are_a_sentence(run_module: t.Any, other_interpreter: Path) -> None:
    result = run_module(main_that_needs(TOO_NEW), {"images": ["x" * RESPAWN_LIMIT]})
    assert result["code"] == "library_missing"
    assert "too large" in result["msg"] and f"set ansible_python_interpreter to {other_interpreter}" in result["msg"]


def test_the_handover_counts_what_the_respawn_writes() -> None:
    # A quote and a non-ASCII letter grow: JSON escapes them, and so does the Python literal around it.
    assert dependencies.handover_size({"a": "é" * 100}) >= 700


def test_what_pip_would_have_to_compile_is_the_systems_package() -> None:
    command = dependencies.install_command([dependencies.LIBVIRT, PYCDLIB])
    assert "install python3-libvirt" in command and "--system-site-packages" in command
    assert "'pycdlib" in command and "'libvirt" not in command
    assert "venv" not in dependencies.install_command([dependencies.LIBVIRT])


@pytest.mark.needs("/usr/lib/python3/dist-packages/libvirt.py")
def test_a_binding_of_another_name_is_found_where_the_system_has_it() -> None:
    assert dependencies.suitable_interpreter([dependencies.LIBVIRT]) == "/usr/bin/python3"
