# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who imports whom in the core is as the page of the architecture says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
CORE = CHECKOUT / "plugins" / "module_utils" / "_core"

#: Whom each package may import, beside itself and the single files of _core.
ALLOWED: dict[str, set[str]] = {
    "trust": set(),
    "transfer": set(),
    "imagelist": {"trust"},
    "endorserlist": {"imagelist", "trust"},
    "disks": {"transfer"},
    "guest": {"transfer", "disks"},
    "endorser": {"imagelist", "endorserlist", "transfer", "disks", "trust"},
    "site": {"imagelist", "endorserlist", "transfer", "disks", "trust"},
    "hypervisor": {"site", "guest", "imagelist", "transfer", "disks", "trust"},
    "command": {"endorser", "site", "guest", "hypervisor", "imagelist", "endorserlist", "transfer", "disks", "trust"},
}


def _imported(path: Path) -> Iterator[str]:
    """The packages of _core that a file imports from; the name of a single file where it is one."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (f"import {name.name}" for name in node.names if name.name.startswith("ansible"))
        elif isinstance(node, ast.ImportFrom) and node.level:
            place = path.parents[node.level - 1].relative_to(CORE).parts
            full = (*place, *(node.module or "").split(".")) if node.module else place
            yield from ((full[0],) if full else (name.name for name in node.names))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ansible"):
            yield f"import {node.module}"


def test_every_package_is_known() -> None:
    assert {path.name for path in CORE.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(ALLOWED)


def test_nobody_imports_whom_they_must_not() -> None:
    wrong = [
        f"{path.relative_to(CORE)} imports {name}"
        for package, allowed in ALLOWED.items()
        for path in sorted((CORE / package).rglob("*.py"))
        for name in _imported(path)
        if name != package and name not in allowed and not (CORE / f"{name}.py").is_file()
    ]
    assert wrong == []
