# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""vmimages status --html, --prometheus and --check: what monitoring gets, and how the command ends."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ansible_collections.hepix.vmimages.plugins.module_utils._core import main as command
from ansible_collections.hepix.vmimages.plugins.module_utils._core.command.line import parser

from .conftest import Call

MODULE_UTILS = Path(command.__file__).resolve().parents[1]


@pytest.fixture
def status(call: Call) -> Call:
    """`status("--check")` -> exit code, standard output, standard error."""
    return functools.partial(call, "status")


def test_the_page_goes_to_a_file_or_to_standard_output(site: t.Any, status: Call) -> None:
    target = site.work / "index.html"
    assert status("--html", str(target)) == (0, "", "")
    code, out, _err = status("--html", "-")
    for text in (target.read_text(), out):
        assert text.startswith("<!DOCTYPE html>") and text.endswith("</html>\n") and "Worker nodes" in text
    assert code == 0
    assert list(site.work.glob(".index.html.*")) == []


def test_the_metrics_go_to_a_file_or_to_standard_output(site: t.Any, status: Call) -> None:
    target = site.work / "vmimages.prom"
    assert json.loads(status("--prometheus", str(target), "--json")[1]) == {"written": str(target)}
    code, out, _err = status("--prometheus", "-")
    assert (code, out) == (0, target.read_text())
    names = {family.name for family in text_string_to_metric_families(out)}
    assert {"vmimages_lists", "vmimages_list_unrefreshed", "vmimages_image_allowed"} <= names


def test_a_report_that_cannot_be_written_is_refused(site: t.Any, status: Call) -> None:
    code, out, err = status("--html", str(site.work / "missing" / "index.html"))
    assert (code, out) == (1, "")
    assert err.startswith("vmimages: not_found: ")


def test_the_check_is_ok_then_warns_then_alarms_then_does_not_know(site: t.Any, status: Call) -> None:
    code, out, err = status("--check")
    assert (code, err, out.count("\n")) == (0, "", 1)
    assert out.startswith("VMIMAGES OK - 1 list, 1 image, 1 may run | lists=1;;;0 ")
    site.message.write_bytes(b"nothing")
    site.run("image_cache", {"state_dir": str(site.state_dir), "refresh": True})
    assert status("--check")[0] == 1
    (site.state_dir / "settings.json").write_text('{"max_unrefreshed": "0s"}')
    code, out, _err = status("--check")
    assert code == 2 and out.startswith("VMIMAGES CRITICAL - list ") and " unrefreshed=1;;0;0 " in out
    with (site.state_dir / "journal.jsonl").open("a") as journal:
        journal.write("{}\n")
    code, out, err = status("--check")
    assert (code, err, out.count("\n")) == (3, "", 1)
    assert out.startswith("VMIMAGES UNKNOWN - snapshot_stale: ")


def test_the_check_in_json_has_all_facts(site: t.Any, status: Call) -> None:
    code, out, _err = status("--check", "--json")
    answer = json.loads(out)
    assert (code, answer["code"]) == (0, 0)
    assert answer["line"].startswith("VMIMAGES OK - ")
    assert answer["status"]["lists"][0]["images"][0]["code"] == "allowed"


def test_a_defect_is_unknown_to_the_check(site: t.Any, status: Call) -> None:
    snapshot = site.state_dir / "verdicts.json"
    document = json.loads(snapshot.read_bytes())
    del document["written"]
    snapshot.write_text(json.dumps(document))
    code, out, err = status("--check")
    assert (code, out.startswith("VMIMAGES UNKNOWN - internal_error: ")) == (3, True)
    assert "Traceback" in err


def test_monitoring_is_for_everyone_and_needs_neither_index_nor_library(site: t.Any, status: Call) -> None:
    (site.state_dir / "catalogue.sqlite").unlink()
    code = (
        "import os, sys; os.geteuid = lambda: 4711\n"
        "from _core.main import main; code = main(sys.argv[1:])\n"
        "print(code, [name for name in ('cryptography', 'requests', 'urllib3', 'ansible') if name in sys.modules])"
    )
    arguments = ["status", "--state-dir", str(site.state_dir)]
    environment = {**os.environ, "PYTHONPATH": str(MODULE_UTILS), "LC_ALL": "C"}
    for option in (["--check"], ["--html", "-"], ["--prometheus", "-"]):
        ended = subprocess.run(
            [sys.executable, "-c", code, *arguments, *option],
            capture_output=True,
            check=True,
            env=environment,
            encoding="utf-8",
        )
        assert ended.stdout.splitlines()[-1] == "0 []"
    assert not (site.state_dir / "catalogue.sqlite").exists()


def test_one_report_at_a_time(site: t.Any, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["status", "--check", "--html", "-"])
    assert ended.value.code == 2


def test_help_documents_the_exit_codes_of_the_check(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["status", "--help"])
    assert parser.CHECK_CODES.strip() in capfd.readouterr().out


def test_a_module_warns_of_a_report_that_cannot_be_written(site: t.Any) -> None:
    settings = {"reports": {"html": str(site.work / "missing" / "index.html")}}
    (site.state_dir / "settings.json").write_text(json.dumps(settings))
    for answer in (site.decide("blacklist"), site.cache(), site.subscribe(refresh="always")):
        assert not answer.failed
        assert any("index.html was not written: not_found" in warning for warning in answer.warnings)
