# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log: files of the site's own by Python's logging, and levels for the journal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core import main as command

CONFIGURATION = """\
[loggers]
keys = root
[handlers]
keys = file
[formatters]
keys = plain
[logger_root]
level = INFO
handlers = file
[handler_file]
class = handlers.WatchedFileHandler
args = ('{path}',)
formatter = plain
[formatter_plain]
format = %(levelname)s %(name)s %(message)s
"""
MODULE_UTILS = Path(command.__file__).resolve().parents[1]


@pytest.fixture
def site(bench: t.Any) -> t.Any:
    bench.publish()
    bench.subscribe()
    bench.decide("approve")
    (bench.work / "logging.conf").write_text(CONFIGURATION.format(path=bench.work / "vmimages.log"))
    (bench.state_dir / "settings.json").write_text(json.dumps({"log": str(bench.work / "logging.conf")}))
    return bench


def run(site: t.Any, *arguments: str, **options: t.Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a service has it."""
    whole = [sys.executable, "-m", "_core.main", *arguments, "--state-dir", str(site.state_dir)]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(MODULE_UTILS), **options.pop("env", {})}
    return subprocess.run(whole, check=False, text=True, env=environment, timeout=60, **options)


def test_deeds_and_failures_are_logged_where_the_site_says(site: t.Any) -> None:
    assert run(site, "sync", "--quiet", capture_output=True).returncode == 0
    log = (site.work / "vmimages.log").read_text()
    assert log.startswith("INFO vmimages.sync download image=2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1 ")
    (site.www / "images.list").unlink(missing_ok=True)
    for published in site.www.glob("*.list"):
        published.write_bytes(b"broken")
    assert run(site, "refresh", capture_output=True).returncode == 3
    assert "ERROR vmimages.refresh " in (site.work / "vmimages.log").read_text()


def test_what_only_looks_is_not_logged(site: t.Any) -> None:
    run(site, "verdict", "worker", capture_output=True)
    run(site, "sync", "--check", capture_output=True)
    written = site.work / "vmimages.log"
    assert not written.exists() or written.read_text() == ""


@pytest.mark.parametrize("wrong", ["mode", "content", "missing"])
def test_a_configuration_that_cannot_be_used_is_a_warning(site: t.Any, wrong: str) -> None:
    path = site.work / "logging.conf"
    if wrong == "mode":
        path.chmod(0o666)
    elif wrong == "content":
        path.write_text("[loggers]\nkeys = nobody\n")
    else:
        path.unlink()
    done = run(site, "sync", "--quiet", capture_output=True)
    assert done.returncode == 0 and "download" in done.stdout
    assert f"warning: Nothing is logged by {path}: " in done.stderr
    assert not (site.work / "vmimages.log").exists()


def test_the_journal_is_told_how_bad_it_is(site: t.Any) -> None:
    (site.work / "logging.conf").unlink()
    with (site.work / "stream").open("wb") as stream:
        found = os.fstat(stream.fileno())
        journal = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        run(site, "sync", "--quiet", env=journal, stdout=subprocess.DEVNULL, stderr=stream)
        run(site, "verdict", "nobody", env=journal, stdout=subprocess.DEVNULL, stderr=stream)
        run(site, "verdict", "nobody", stdout=subprocess.DEVNULL, stderr=stream)
    lines = (site.work / "stream").read_text().splitlines()
    assert lines[0].startswith("<4>vmimages: warning: ")
    assert lines[1].startswith("<3>vmimages: ")
    assert lines[2].startswith("vmimages: ")
