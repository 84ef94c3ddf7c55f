# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The YAML in the pages and READMEs: the modules take these options, and the roles have these variables."""

from __future__ import annotations

import importlib
import re
import textwrap
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

CHECKOUT = Path(__file__).resolve().parents[2]
READMES = (CHECKOUT / "README.md", *CHECKOUT.glob("roles/*/README.md"))
PAGES = sorted([*(CHECKOUT / "docs" / "docsite" / "rst").rglob("*.rst"), *READMES])
BLOCK = re.compile(r"\.\. code-block:: yaml(?:\+jinja)?\n(?: +:.*\n)*\n((?: +.*\n|\n)+)")
FENCED = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
OURS = "hepix.vmimages."


def blocks(page: Path) -> t.Iterator[t.Any]:
    """What each block of YAML says."""
    text = page.read_text(encoding="utf-8")
    for found in (BLOCK if page.suffix == ".rst" else FENCED).findall(text):
        yield yaml.safe_load(textwrap.dedent(found))


def mappings(value: t.Any) -> t.Iterator[dict[str, t.Any]]:
    """Every mapping in it, however deep."""
    if isinstance(value, dict):
        yield value
        for below in value.values():
            yield from mappings(below)
    elif isinstance(value, list):
        for below in value:
            yield from mappings(below)


def complaints(module: str, options: t.Mapping[str, t.Any]) -> list[str]:
    arguments = importlib.import_module(f"ansible_collections.{OURS}plugins.modules.{module}").ARGUMENTS
    # What a template will say cannot be known, and what a task leaves out may be in module_defaults.
    told = ArgumentSpecValidator(arguments).validate(dict(options)).error_messages
    return [text for text in told if "missing required" not in text and "{{" not in text]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_the_examples_name_what_there_is(page: Path) -> None:
    for found in (each for block in blocks(page) for each in mappings(block)):
        for key, value in found.items():
            if isinstance(key, str) and key.startswith(OURS) and isinstance(value, dict):
                assert complaints(key[len(OURS) :], value) == [], value
        role = str(found.get("role", ""))
        if role.startswith(OURS):
            name = role[len(OURS) :]
            specs = CHECKOUT / "roles" / name / "meta" / "argument_specs.yml"
            known = yaml.safe_load(specs.read_text())["argument_specs"]["main"]["options"]
            # Beside its own variables a role may be given those of a role that it uses.
            assert {variable for variable in found.get("vars", {}) if variable.startswith(name)} <= set(known)


def test_there_are_examples() -> None:
    assert sum(len(list(mappings(block))) for page in PAGES for block in blocks(page)) > 100


def test_every_page_is_in_the_table_of_contents_once() -> None:
    root = CHECKOUT / "docs" / "docsite"
    index = yaml.safe_load((root / "extra-docs.yml").read_text(encoding="utf-8"))
    listed = [page for section in index["sections"] for page in section["toctree"]]
    there = [str(page.relative_to(root / "rst").with_suffix("")) for page in PAGES if page.suffix == ".rst"]
    assert sorted(listed) == sorted(there)
