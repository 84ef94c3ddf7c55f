# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The libraries that the modules need, mirrored by the doc fragment `dependencies`: check, respawn, or one sentence."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.common.respawn import has_respawned, respawn_module

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ansible.module_utils.basic import AnsibleModule

#: Names the interpreter to respawn into, for an environment that is not in the usual place.
INTERPRETER_VARIABLE: t.Final = "HEPIX_VMIMAGES_PYTHON"
ENVIRONMENT: t.Final = "/opt/hepix-vmimages"
CANDIDATES: t.Final = (f"{ENVIRONMENT}/bin/python3", "/usr/bin/python3")

#: A respawn hands the arguments over through a pipe that nobody reads yet: what exceeds the pipe (64 KiB) hangs.
RESPAWN_LIMIT: t.Final = 48 * 1024
_PROBE_TIMEOUT: t.Final = 20.0


@dataclass(frozen=True)
class Library:
    """A library and the versions of it that will do: at least `minimum`, less than `below` (None: no upper bound).

    `module` is what is imported, where that is not its name; `package` the system's, where pip would have to compile.
    """

    name: str
    minimum: tuple[int, ...]
    below: tuple[int, ...] | None = None
    module: str = ""
    package: str = ""

    @property
    def imported(self) -> str:
        """What is imported."""
        return self.module or self.name

    @property
    def requirement(self) -> str:
        """As pip writes it."""
        above = f"{self.name}>={'.'.join(map(str, self.minimum))}"
        return above if self.below is None else f"{above},<{'.'.join(map(str, self.below))}"

    def suits(self, version: str | None) -> bool:
        """Whether this version will do; None means not installed."""
        if version is None:
            return False
        found = _numbers(version)
        return found >= self.minimum and (self.below is None or found < self.below)


CRYPTOGRAPHY: t.Final = Library("cryptography", (49,), (52,))
LIBVIRT: t.Final = Library("libvirt-python", (5, 0), module="libvirt", package="python3-libvirt")
PYCDLIB: t.Final = Library("pycdlib", (1, 14))
REQUESTS: t.Final = Library("requests", (2, 28))


@dataclass(frozen=True)
class Lack:
    """A library that an interpreter does not have in a suitable version; `found` is None when it is not there."""

    library: Library
    found: str | None

    def __str__(self) -> str:
        return f"{self.library.requirement} (found: {self.found or 'none'})"


def ensure(module: AnsibleModule, libraries: Sequence[Library]) -> None:
    """Return when this interpreter has the libraries; else respawn in one that has them, or fail with one sentence."""
    lacks = lacking(libraries)
    if not lacks:
        return
    other = None if has_respawned() else suitable_interpreter(libraries)
    size = handover_size(module.params)
    if other is not None and size < RESPAWN_LIMIT:
        respawn_module(other)
    module.fail_json(
        msg=sentence(lacks, other=other, size=size),
        code="library_missing",
        remedy=install_command(libraries),
        context={"interpreter": sys.executable, "found": {lack.library.name: lack.found for lack in lacks}},
        changed=False,
    )


def lacking(libraries: Iterable[Library]) -> list[Lack]:
    """What this interpreter lacks, found without importing more than a version number."""
    found = [Lack(library=library, found=installed_version(library.name, library.imported)) for library in libraries]
    return [lack for lack in found if not lack.library.suits(lack.found)]


def installed_version(name: str, module: str = "") -> str | None:
    """The version of an installed library, read from the file that states it: importing requests takes 0.15 s."""
    spec = importlib.util.find_spec(module or name)
    if spec is None or spec.origin is None:
        return None
    for stated in ("__about__.py", "__version__.py"):
        try:
            text = Path(spec.origin).with_name(stated).read_text(encoding="utf-8")
        except OSError:
            continue
        for line in text.splitlines():
            key, equals, value = line.partition("=")
            if equals and key.split(":")[0].strip() == "__version__":
                return value.strip().strip("\"'")
    # What reads the metadata takes 9 ms to import, in each call of every module.
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def suitable_interpreter(libraries: Sequence[Library]) -> str | None:
    """The first other interpreter that has the libraries: the named one, the collection's environment, the system's."""
    named = os.environ.get(INTERPRETER_VARIABLE)
    for candidate in (named, *CANDIDATES):
        if candidate and candidate != sys.executable and _probe(candidate, libraries):
            return candidate
    return None


def _probe(interpreter: str, libraries: Sequence[Library]) -> bool:
    names = [library.name for library in libraries]
    code = (
        "import importlib, importlib.metadata, json, sys\n"
        f"modules = [importlib.import_module(name) for name in {[library.imported for library in libraries]!r}]\n"
        f"versions = [importlib.metadata.version(name) for name in {names!r}]\n"
        "print(json.dumps([list(sys.version_info[:2]), versions]))"
    )
    try:
        answer = subprocess.run(
            [interpreter, "-c", code], capture_output=True, check=True, timeout=_PROBE_TIMEOUT, stdin=subprocess.DEVNULL
        )
        python, versions = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return False
    return tuple(python) >= (3, 9) and all(library.suits(version) for library, version in zip(libraries, versions))


def handover_size(params: t.Mapping[str, t.Any]) -> int:
    """Octets that a respawn would have to hand over: the arguments as JSON in the form of a Python literal."""
    return len(repr(json.dumps(params, default=str).encode()))


def sentence(lacks: Sequence[Lack], *, other: str | None, size: int) -> str:
    """One sentence: which interpreter lacks what, and how to get it."""
    missing = " and ".join(str(lack) for lack in lacks)
    if other is not None:
        return (
            f"The interpreter {sys.executable} lacks {missing}, and the arguments are too large ({size} octets) to be "
            f"handed over to {other}: set ansible_python_interpreter to {other}."
        )
    return (
        f"The interpreter {sys.executable} lacks {missing}: set ansible_python_interpreter to an environment that has "
        f"it, made for instance by: {install_command([lack.library for lack in lacks])}"
    )


def install_command(libraries: Sequence[Library]) -> str:
    """The shell commands that make the collection's environment, where needed on top of the system's packages."""
    packages = [library.package for library in libraries if library.package]
    requirements = " ".join(f"'{library.requirement}'" for library in libraries if not library.package)
    made = f"python3 -m venv {'--system-site-packages ' if packages else ''}{ENVIRONMENT}"
    steps = [made, f"{ENVIRONMENT}/bin/pip install {requirements}"] if requirements else []
    if packages:
        # Its name is the same on Debian and its relatives, and on Red Hat's.
        steps = [f"apt-get install {' '.join(packages)} (or dnf install)", *steps]
    return " && ".join(steps)


def _numbers(version: str) -> tuple[int, ...]:
    numbers = []
    for part in version.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
