#!/usr/bin/env python
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the troubleshooting pages: meaning and cause from the files beside this one, the remedy from the code itself.

`write.py` writes them; with a directory as its argument it writes them there instead.
"""

from __future__ import annotations

import importlib.util
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
PAGES = CHECKOUT / "docs" / "docsite" / "rst" / "troubleshooting"
ERRORS = CHECKOUT / "plugins" / "module_utils" / "_core" / "errors.py"
LABEL = "ansible_collections.hepix.vmimages.docsite."

#: The pages, in the order in which a refusal may come on the way from the message to the machine.
GROUPS = (
    "message",
    "signer",
    "list",
    "verdict",
    "transfer",
    "site",
    "publishing",
    "disks",
    "guest",
    "context",
    "machines",
    "gate",
)

HEAD = """..
  Copyright: the hepix.vmimages contributors
  SPDX-License-Identifier: GPL-3.0-or-later

.. Written by docs/refusals/write.py. Change docs/refusals/{source} instead.

"""

INTRO = """When something is refused
=========================

Every refusal has a **code** that never changes its meaning, a sentence that says what was found, and one that says what
to do next. A module returns the code as ``code`` and the sentences as ``msg``; the command ``vmimages`` shows them on
standard error, and with ``--json`` in one document.

What tells more:

* ``vmimages status``: each list with its last refusal, each image with its verdict.
* ``vmimages verdict IMAGE --json``: all reasons, not only the gravest.
* ``vmimages verify --explain FILE``: the steps of the verification, with what each has found.
* ``vmimages history IMAGE``: what happened to an image, and who said so.

All codes
---------

"""


@dataclass(frozen=True)
class Group:
    """One page: its name, what stands at its head, and for each code what it means and where it comes from."""

    name: str
    title: str
    intro: str
    codes: t.Mapping[str, t.Mapping[str, str]]


def remedies() -> t.Mapping[str, str]:
    """The table of the code itself, which is loaded alone: it needs nothing else."""
    spec = importlib.util.spec_from_file_location("vmimages_errors", ERRORS)
    if spec is None or spec.loader is None:
        raise ImportError(str(ERRORS))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return t.cast("t.Mapping[str, str]", module.REMEDIES)


def groups() -> tuple[Group, ...]:
    """The files beside this one."""
    return tuple(Group(name, **yaml.safe_load((HERE / f"{name}.yml").read_text(encoding="utf-8"))) for name in GROUPS)


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def _entry(code: str, told: t.Mapping[str, str], remedy: str) -> str:
    literal = remedy.replace("`", "``").replace("*", r"\*")
    return (
        f".. _{LABEL}refusal_{code}:\n\n{_heading(f'``{code}``', '-')}\n"
        f"{told['means']}\n\n*Cause:* {told['cause']}\n\n*Remedy:* {literal}\n"
    )


def _page(group: Group, table: t.Mapping[str, str]) -> str:
    head = f"{HEAD.format(source=f'{group.name}.yml')}.. _{LABEL}refusals_{group.name}:\n\n"
    entries = [_entry(code, told, table[code]) for code, told in group.codes.items()]
    return "\n".join([f"{head}{_heading(group.title, '=')}\n{group.intro}\n", *entries])


def _index(found: t.Sequence[Group]) -> str:
    listed = [
        f":ref:`{LABEL}refusals_{group.name}`\n"
        + "\n".join(f"  * :ref:`{code} <{LABEL}refusal_{code}>`" for code in sorted(group.codes))
        + "\n"
        for group in found
    ]
    return HEAD.format(source="write.py") + f".. _{LABEL}troubleshooting:\n\n{INTRO}" + "\n".join(listed)


def write(directory: Path) -> tuple[Path, ...]:
    """Write all pages into `directory`; KeyError for a code that does not exist (any more)."""
    table, found = remedies(), groups()
    texts = {"index": _index(found), **{group.name: _page(group, table) for group in found}}
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / f"{name}.rst").write_text(text, encoding="utf-8")
    return tuple(directory / f"{name}.rst" for name in texts)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if sys.argv[1:] else PAGES)
