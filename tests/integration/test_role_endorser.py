# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role endorser, applied to a home of its own: an environment, the history, and a published list."""

from __future__ import annotations

import json
import re
import subprocess
import typing as t
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.needs("/usr/bin/python3")

LIST, IMAGE = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3", "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
RECAP = re.compile(r"localhost +: +ok=\d+ +changed=(\d+) +unreachable=0 +failed=0")
PLAY = [{"hosts": "localhost", "gather_facts": True, "roles": ["hepix.vmimages.endorser"]}]


def test_an_endorsers_workstation(run_playbook: t.Any, tmp_path: Path, pki: t.Any) -> None:
    (tmp_path / "play.yml").write_text(yaml.safe_dump(PLAY))
    (tmp_path / "web").mkdir()
    (tmp_path / "worker.raw").write_bytes(b"image " * 1000)
    key = Path(pki.endorser.key_path)
    variables = {
        "endorser_directory": f"{tmp_path}/home/hepix",
        "endorser_certificate": str(pki.endorser.certificate_path),
        "endorser_private_key": str(key),
        "endorser_lists": [
            {
                "identifier": LIST,
                "uri": "https://x.org/workers.list",
                "images": [{"identifier": IMAGE, "path": f"{tmp_path}/worker.raw", "uri": "https://x.org/{version}"}],
                "uploads": [{"uri_match": "https://x.org/", "uri_replace": f"{tmp_path}/web/"}],
                "anchors": str(pki.certificates),
            }
        ],
    }

    def apply(*options: str) -> subprocess.CompletedProcess[str]:
        done = run_playbook(tmp_path / "play.yml", "--diff", *options, "-e", json.dumps(variables))
        return t.cast("subprocess.CompletedProcess[str]", done)

    def changes(done: subprocess.CompletedProcess[str]) -> int:
        recap = RECAP.search(done.stdout)
        assert recap is not None, done.stdout + done.stderr
        assert "[WARNING]" not in done.stdout + done.stderr
        return int(recap.group(1))

    (tmp_path / "home").mkdir()
    assert changes(apply("--check")) > 0
    assert list((tmp_path / "home").iterdir()) == []
    assert changes(apply()) > 0
    assert (tmp_path / "web" / "1").read_bytes() == b"image " * 1000
    assert (tmp_path / "home/hepix/history" / LIST / "record.json").exists()
    assert (tmp_path / "home/hepix").stat().st_mode & 0o777 == 0o700
    assert changes(apply()) == 0
    assert changes(apply("--check")) == 0

    key.chmod(0o640)
    refused = apply()
    assert refused.returncode != 0
    assert "chmod 0600" in refused.stdout
