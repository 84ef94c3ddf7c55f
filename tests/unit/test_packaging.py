# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection's metadata says is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parent.parent.parent
CORE = CHECKOUT / "plugins" / "module_utils" / "_core"


def test_every_folder_of_the_core_is_a_package() -> None:
    folders = {path.parent for path in CORE.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_every_module_is_in_the_action_group() -> None:
    runtime = yaml.safe_load((CHECKOUT / "meta" / "runtime.yml").read_text())
    modules = sorted(path.stem for path in (CHECKOUT / "plugins" / "modules").glob("*.py"))
    assert runtime["action_groups"]["vmimages"] == modules


def test_one_version_everywhere() -> None:
    galaxy = yaml.safe_load((CHECKOUT / "galaxy.yml").read_text())
    project = re.search(r'^version = "(.+)"$', (CHECKOUT / "pyproject.toml").read_text(), re.MULTILINE)
    assert project is not None
    assert project.group(1) == galaxy["version"]


def test_requirements_agree() -> None:
    project = (CHECKOUT / "pyproject.toml").read_text()
    lines = (CHECKOUT / "requirements.txt").read_text().splitlines()
    requirements = [line for line in lines if line and not line.startswith("#")]
    assert requirements
    listed = ", ".join(f'"{requirement}"' for requirement in requirements)
    assert f"dependencies = [{listed}]" in project
