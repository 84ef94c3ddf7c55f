# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of each role's variables: in its specification, its defaults and its README, the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[3] / "roles"
#: Made of a host's facts, which a specification cannot have.
COMPUTED = frozenset({"endorser_directory"})


@pytest.mark.parametrize("role", sorted(ROLES.iterdir()), ids=lambda role: str(role.name))
def test_every_variable_is_described_with_its_default(role: Path) -> None:
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((role / "defaults/main.yml").read_text())
    told = {name: spec["default"] for name, spec in specs.items() if "default" in spec}
    assert told == {name: value for name, value in defaults.items() if name not in COMPUTED}
    readme = (role / "README.md").read_text()
    assert [name for name in specs if f"`{name}`" not in readme] == []
