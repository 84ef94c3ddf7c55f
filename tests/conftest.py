# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a plain checkout, of any directory name, importable as ansible_collections.hepix.vmimages."""

from __future__ import annotations

import atexit
import collections
import datetime
import hashlib
import importlib.util
import itertools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import types
import typing as t

import pytest

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent


def _importable() -> bool:
    try:
        return importlib.util.find_spec("ansible_collections.hepix.vmimages") is not None
    except ImportError:
        return False


if not _importable():
    _tree = pathlib.Path(tempfile.mkdtemp(prefix="vmimages-collections-"))
    atexit.register(shutil.rmtree, _tree, ignore_errors=True)
    (_tree / "ansible_collections" / "hepix").mkdir(parents=True)
    (_tree / "ansible_collections" / "hepix" / "vmimages").symlink_to(CHECKOUT)
    sys.path.insert(0, str(_tree))

# A user's PATH often lacks the directories where nginx and mke2fs are.
os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])

#: How the reason of a test that was left out begins; the reports of all workers carry it to the summary.
LEFT_OUT = "Skipped: needs "


def _is_missing(requirement: str) -> bool:
    if requirement == "root":
        return os.geteuid() != 0
    if requirement.startswith("/"):
        return not pathlib.Path(requirement).exists()
    return shutil.which(requirement) is None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out a test whose ``needs(...)`` are not there, for the loud summary; where CI is set, fail instead."""
    needed = [requirement for mark in item.iter_markers("needs") for requirement in mark.args]
    missing = [requirement for requirement in needed if _is_missing(requirement)]
    if not missing:
        return
    if os.environ.get("CI", "").lower() in ("true", "1", "yes"):
        pytest.fail(f"needs {', '.join(missing)}, and CI leaves nothing out", pytrace=False)
    pytest.skip(f"needs {', '.join(missing)}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which requirement left out how many tests."""
    reasons = [str(report.longrepr[-1]) for report in terminalreporter.getreports("skipped")]
    left_out = [reason[len(LEFT_OUT) :].split(", ") for reason in reasons if reason.startswith(LEFT_OUT)]
    if not left_out:
        return
    terminalreporter.section("LEFT OUT: something is missing on this machine", sep="!", red=True, bold=True)
    for requirement, tests in sorted(collections.Counter(itertools.chain(*left_out)).items()):
        terminalreporter.write_line(f"{requirement}: {tests} tests did not run", red=True)
    terminalreporter.write_line("As root on Debian, `make test` installs what it needs by itself.")


def load_by_path(path: pathlib.Path) -> types.ModuleType:
    """Import a Python file that belongs to no package, once per process."""
    name = f"vmimages_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def demo_ca() -> types.ModuleType:
    """The demo's certification authority, playbooks/files/demo_ca.py, as a module."""
    return load_by_path(CHECKOUT / "playbooks" / "files" / "demo_ca.py")


@pytest.fixture(scope="session")
def demo_server() -> types.ModuleType:
    """The demo's https server, playbooks/files/demo_server.py: ``with demo_server.serve(...) as server``."""
    return load_by_path(CHECKOUT / "playbooks" / "files" / "demo_server.py")


@pytest.fixture(scope="session")
def misbehaving() -> types.ModuleType:
    """A web server that does what it is told, however wrong: ``with misbehaving.Misbehaving(octets) as server``."""
    return load_by_path(CHECKOUT / "tests" / "misbehaving.py")


@pytest.fixture(scope="session")
def systems() -> types.ModuleType:
    """Small systems of every layout, tests/unit/plugins/guest_systems.py: ``systems.unpack("el5", directory)``."""
    return load_by_path(CHECKOUT / "tests" / "unit" / "plugins" / "guest_systems.py")


@pytest.fixture(scope="session")
def refusals() -> types.ModuleType:
    """What writes the troubleshooting pages, docs/refusals/write.py: ``refusals.groups()``."""
    return load_by_path(CHECKOUT / "docs" / "refusals" / "write.py")


@pytest.fixture(scope="session")
def wheelhouse() -> pathlib.Path:
    """The wheels that the role image_cache names, for the distribution's Python; kept in .venv between runs."""
    requirements = CHECKOUT / "roles" / "image_cache" / "files" / "requirements.txt"
    ask = "import sys; print('%d.%d' % sys.version_info[:2])"
    version = subprocess.run(["/usr/bin/python3", "-c", ask], check=True, text=True, capture_output=True).stdout.strip()
    digest = hashlib.sha256(requirements.read_bytes() + version.encode()).hexdigest()[:16]
    kept = CHECKOUT / ".venv" / "wheels" / digest
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = pathlib.Path(tempfile.mkdtemp(dir=kept.parent))
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
        options = ["--only-binary", ":all:", "--python-version", version, "--dest", str(part)]
        subprocess.run([*command, *options, "--requirement", str(requirements)], check=True, timeout=300)
        part.chmod(0o755)
        try:
            part.rename(kept)
        except OSError:
            if not kept.is_dir():
                raise
            shutil.rmtree(part)  # another worker was quicker
    return kept


@pytest.fixture(scope="session")
def now() -> datetime.datetime:
    """The session's time: aware, UTC, whole seconds."""
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


@pytest.fixture(scope="session")
def _pki_template(
    demo_ca: types.ModuleType, now: datetime.datetime, tmp_path_factory: pytest.TempPathFactory
) -> pathlib.Path:
    directory = tmp_path_factory.mktemp("pki") / "pki"
    demo_ca.DemoCA(directory, now).make()
    return directory


@pytest.fixture
def pki(
    demo_ca: types.ModuleType, now: datetime.datetime, _pki_template: pathlib.Path, tmp_path: pathlib.Path
) -> t.Any:
    """A DemoCA of this test's own: .certificates, .endorser (.dn, .ca, .certificate_path, .key_path), .sub, .tls."""
    shutil.copytree(_pki_template, tmp_path / "pki", symlinks=True)
    return demo_ca.DemoCA(tmp_path / "pki", now)
