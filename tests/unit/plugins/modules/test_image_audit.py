# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module: a report that is written once, says which image it is about, and can be published with it."""

from __future__ import annotations

import hashlib
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.audit.table import TABLE

#: Without data of known flaws no image passes.
UNPATCHED = {"check": "P33", "path": None, "reason": "nothing is known of it", "until": "2999-12-31"}

CHECKOUT = Path(__file__).resolve().parents[4]


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A system of which nothing blocks an endorsement, though much is missing."""
    tree = tmp_path / "system"
    for path, text in {
        "etc/passwd": "root:x:0:0:root:/root:/bin/bash\n",
        "etc/shadow": "root:*:1::::::\n",
        "etc/rc3.d/S12syslog": "",
        "var/lib/dpkg/status": "Package: one\nStatus: install ok installed\nVersion: 1\n",
        "var/lib/dpkg/info/one.md5sums": "d41d8cd98f00b204e9800998ecf8427e  root/.profile\n",
        "root/.profile": "",
    }.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    return tree


def test_a_report_is_written_once_and_can_be_published(bench: t.Any, system: Path, tmp_path: Path) -> None:
    report, text = tmp_path / "report.json", tmp_path / "report.txt"
    image = bench.image(audit_report=str(report))
    flaws = tmp_path / "flaws.json"
    flaws.write_text('{"one": "1"}')
    options = {"root": str(system), "image": image["path"], "report": str(report), "text_report": str(text)}
    options.update(vulnerabilities=str(flaws), scanner=["true", "{root}"], modes=[], package_keys=["0xB86B3716"])
    assert bench.run("image_audit", options, check=True)["changed"] is True
    assert not report.exists()
    first = bench.done("image_audit", options)
    assert first["changed"] is True and first["report"]["result"] == "pass"
    octets = report.read_bytes()
    assert json.loads(octets) == first["report"]
    sha512 = hashlib.sha512(Path(image["path"]).read_bytes()).hexdigest()
    assert first["report"]["image"]["sha512"] == sha512 and sha512 in text.read_text()
    assert bench.done("image_audit", options)["changed"] is False and report.read_bytes() == octets
    assert bench.done("imagelist_publish", bench.publishing(image))["changed"] is True


def test_a_failed_image_is_not_published(bench: t.Any, system: Path, tmp_path: Path) -> None:
    (system / "root/.bash_history").write_text("ls\n")
    report = tmp_path / "report.json"
    image = bench.image(audit_report=str(report))
    result = bench.done("image_audit", {"root": str(system), "image": image["path"], "report": str(report)})
    assert result["report"]["result"] == "fail"
    refused = bench.run("imagelist_publish", bench.publishing(image))
    assert refused.failed and refused["code"] == "audit_failed"


def test_a_waiver_is_in_both_reports(bench: t.Any, system: Path, tmp_path: Path) -> None:
    (system / "root/.bash_history").write_text("ls\n")
    text = tmp_path / "report.txt"
    waiver = {"check": "P16", "reason": "shows how to start", "until": "2999-12-31"}
    result = bench.done("image_audit", {"root": str(system), "waivers": [waiver, UNPATCHED], "text_report": str(text)})
    assert result["report"]["result"] == "waived" and result["report"]["image"] is None
    assert "shows how to start" in text.read_text() and "waived: error: /root/.bash_history" in text.read_text()


def test_a_repair_is_told_and_done(bench: t.Any, system: Path) -> None:
    (system / "root/.bash_history").write_text("mysql -psecret\n")
    result = bench.done("image_audit", {"root": str(system), "fix": True})
    assert result["actions"] == [{"action": "removed", "path": "/root/.bash_history"}]
    assert result["diff"]["before"]["found"] == ["/root/.bash_history"] and "psecret" not in result.text
    assert bench.done("image_audit", {"root": str(system), "fix": True})["changed"] is False


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"report": "{root}/root/report.json"}, "report_inside"),
        ({"text_report": "{root}/report.txt"}, "report_inside"),
        ({"waivers": [{"check": "P77", "reason": "none", "until": "2999-12-31"}]}, "waiver_invalid"),
        ({"vulnerabilities": "/nowhere.json"}, "audit_input_invalid"),
        ({"patterns": "{root}/etc/shadow-"}, "audit_input_invalid"),
        ({"manifest": "{root}/etc/passwd"}, "audit_input_invalid"),
        ({"package_keys": ["everybody"]}, "audit_input_invalid"),
        ({"image": "/nowhere.img", "fix": True}, "audit_writes"),
        ({"image": "/nowhere.img"}, "not_found"),
        ({"root": "/nowhere"}, "root_missing"),
    ],
)
def test_a_refusal_is_one_sentence(bench: t.Any, system: Path, more: dict[str, t.Any], code: str) -> None:
    given = {key: value.format(root=system) if isinstance(value, str) else value for key, value in more.items()}
    result = bench.run("image_audit", {"root": str(system), **given})
    assert result.failed and result["code"] == code


def test_every_check_is_documented() -> None:
    text = (CHECKOUT / "docs/docsite/rst/building/audit.rst").read_text()
    assert [check.id for check in TABLE if f"   * - {check.id}\n     - {check.clause}\n" not in text] == []
