# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks, called by name, on the real thing: the demo, then its steps one by one."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import typing as t
from pathlib import Path

LIST = "0b4f3a52-6f2c-4b7c-9f0e-6f3f0e0a1d11"
IMAGE = "d0a5b1e4-9c52-4e55-8a3c-15b4d2c6a777"
DEMO_WORDS = {"not_approved", "allowed", "rollback", "digest_mismatch", "withdrawn"}


def _variables(**variables: t.Any) -> tuple[str, str]:
    return "-e", json.dumps(variables)


def _changes(done: subprocess.CompletedProcess[str]) -> int:
    """How many tasks changed something, in a run that must have succeeded without a warning."""
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stderr + done.stdout
    recap = re.search(r"changed=(\d+)", done.stdout)
    assert recap is not None
    return int(recap.group(1))


def test_demo_shows_the_main_path(run_playbook: t.Any, tmp_path: Path) -> None:
    report = tmp_path / "report.txt"
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = run_playbook("hepix.vmimages.demo", *_variables(hepix_vmimages_demo_report=str(report)), TMPDIR=temporary)
    assert _changes(done) > 0
    assert list(temporary.iterdir()) == []
    text = report.read_text()
    assert "/DC=org/DC=example-grid/OU=users/CN=Erin Endorser" in text
    lines = text.partition("what happened")[2].splitlines()[1:]
    # "image withdrawn" happened, and "withdrawn" is the verdict.
    rows = [re.split(r"[\s:]+", line) for line in lines if line.strip()]
    assert [[word for word in row if word in DEMO_WORDS] for row in rows] == [
        ["not_approved"],
        ["allowed"],
        ["allowed"],
        ["rollback", "allowed"],
        ["digest_mismatch", "allowed"],
        ["withdrawn", "withdrawn"],
    ]
    assert "cache/current/" in lines[1]
    assert "cache/expired/" in lines[5]


def test_demo_cleans_up_when_it_fails(run_playbook: t.Any, tmp_path: Path) -> None:
    """A list without a UUID is refused when the web server runs: it and its directory must be gone all the same."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    done = run_playbook("hepix.vmimages.demo", "-v", *_variables(demo_list="none"), TMPDIR=temporary)
    assert done.returncode != 0
    assert "publish_invalid" in done.stdout
    assert list(temporary.iterdir()) == []
    port = re.search(r"https://localhost:(\d+)", done.stdout)
    assert port is not None
    assert _refuses(int(port.group(1)))


def _refuses(port: int) -> bool:
    for _attempt in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
        except ConnectionRefusedError:
            return True
        except OSError:  # not yet gone, and no longer there to answer
            pass
        time.sleep(0.1)
    return False


def test_publish_subscribe_refresh_status(run_playbook: t.Any, pki: t.Any, demo_server: t.Any, tmp_path: Path) -> None:
    web = tmp_path / "web"
    web.mkdir()
    (tmp_path / "worker.img").write_bytes(b"An image." * 100_000)
    site = {"hepix_vmimages_state_dir": str(tmp_path / "site")}
    with demo_server.serve(web, pki.tls / "server.pem", pki.tls / "server.key") as server:
        publish = _variables(hepix_vmimages_publish=_description(pki, server.uri, tmp_path))
        subscribe = _variables(**site, **_subscription(pki, server.uri))
        assert _changes(run_playbook("hepix.vmimages.publish", *publish)) == 1
        assert _changes(run_playbook("hepix.vmimages.publish", *publish)) == 0
        assert _changes(run_playbook("hepix.vmimages.subscribe", *subscribe)) == 3
        assert _changes(run_playbook("hepix.vmimages.subscribe", *subscribe)) == 0
        assert _changes(run_playbook("hepix.vmimages.refresh", *_variables(**site))) == 1
        assert _changes(run_playbook("hepix.vmimages.refresh", *_variables(**site))) == 0
    # The verdict needs no network.
    status = run_playbook("hepix.vmimages.status", *_variables(**site))
    assert _changes(status) == 0
    assert re.search(rf"allowed: worker 1 \({IMAGE}\), {re.escape(str(tmp_path))}/site/cache/current/", status.stdout)
    refused = run_playbook("hepix.vmimages.status", *_variables(**site, hepix_vmimages_state="refused"))
    assert "No image." in refused.stdout


def _description(pki: t.Any, uri: str, tmp_path: Path) -> dict[str, t.Any]:
    return {
        "identifier": LIST,
        "title": "Worker nodes",
        "description": "For the tests.",
        "source": "example.org",
        "uri": f"{uri}/worker.list",
        "images": [
            {
                "identifier": IMAGE,
                "path": str(tmp_path / "worker.img"),
                "uri": f"{uri}/worker.img",
                "title": "worker",
                "description": "A worker node.",
                "format": "raw",
            }
        ],
        "certificate": str(pki.endorser.certificate_path),
        "private_key": str(pki.endorser.key_path),
        "chain": [str(pki.certificates / "example-grid-sub.pem")],
        "anchors": str(pki.certificates),
        "history_dir": str(tmp_path / "history"),
        "uploads": [{"uri_match": re.escape(uri) + "/", "uri_replace": f"{tmp_path}/web/"}],
    }


def _subscription(pki: t.Any, uri: str) -> dict[str, t.Any]:
    subscription = {
        "uri": f"{uri}/worker.list",
        "identifier": LIST,
        "endorsers": [{"dn": pki.endorser.dn, "ca": pki.endorser.ca}],
        "anchors": str(pki.certificates),
        "ca_path": str(pki.tls / "ca.pem"),
    }
    decision = {"decision": "approve", "tags": ["worker"], "reason": "Tested."}
    rule = {"name": "large", "decision": "blacklist", "match": {"size_min": "60 GiB"}}
    return {
        "hepix_vmimages_subscriptions": [subscription],
        "hepix_vmimages_decisions": [decision],
        "hepix_vmimages_rules": [rule],
    }
