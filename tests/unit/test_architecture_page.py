# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who imports whom in the core is as the page of the architecture says."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator
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


#: What root imports for others, who are above it: see the module.
PRELOAD = "site.store.preload"


def _modules() -> dict[str, Path]:
    files = (path for path in CORE.rglob("*.py") if path.name != "__init__.py")
    return {".".join(path.relative_to(CORE).with_suffix("").parts): path for path in files}


def _used(name: str, path: Path, modules: Container[str]) -> Iterator[str]:
    """The modules of _core that one imports, now or when it runs; not those that it has for its types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guards = (node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    for_types = {id(node) for guard in guards for node in ast.walk(guard)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and id(node) not in for_types:
            place = name.split(".")[: -node.level] + (node.module.split(".") if node.module else [])
            yield from (one for one in (".".join([*place, item.name]) for item in node.names) if one in modules)
            if ".".join(place) in modules:
                yield ".".join(place)


def test_no_module_imports_itself_by_way_of_others() -> None:
    modules = _modules()
    left = {name: set(_used(name, path, modules)) for name, path in modules.items() if name != PRELOAD}
    while free := {name for name, used in left.items() if not used & set(left)}:
        left = {name: used for name, used in left.items() if name not in free}
    assert left == {}


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
