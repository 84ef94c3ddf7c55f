# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The README names everything that the collection brings."""

from __future__ import annotations

import pathlib

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
MODULES = sorted(path.stem for path in (CHECKOUT / "plugins" / "modules").glob("[a-z]*.py"))
ROLES = sorted(path.name for path in (CHECKOUT / "roles").iterdir())
PLAYBOOKS = sorted(path.stem for path in (CHECKOUT / "playbooks").glob("*.yml"))


@pytest.mark.parametrize("name", [*MODULES, *PLAYBOOKS])
def test_the_readme_names_every_module_and_playbook(name: str) -> None:
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert f"`{name}`" in text or f"hepix.vmimages.{name}" in text


@pytest.mark.parametrize("name", ROLES)
def test_the_readme_leads_to_every_role(name: str) -> None:
    assert f"role `{name}`" in (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert (CHECKOUT / "roles" / name / "README.md").is_file()
