# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The vmimages command: what it prints, how it ends, and that a gate can afford it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core import main as command
from ansible_collections.hepix.vmimages.plugins.module_utils._core.command.line import parser

from .conftest import Call

MODULE_UTILS = Path(command.__file__).resolve().parents[1]
IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
OTHER_IMAGE = "e0f7a6f0-62c8-4b6e-8f56-7f2d6f0f7d11"
LIST = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"
COMMANDS = ("refresh", "sync", "status", "verdict", "history", "verify", "rebaseline", "events", "rebuild")


@pytest.fixture
def site(bench: t.Any) -> t.Any:
    """Two images in one list, one of them approved, none cached."""
    bench.publish(bench.image(), bench.image(OTHER_IMAGE))
    bench.subscribe()
    bench.decide("approve")
    return bench


def test_refresh_accepts_what_is_new(site: t.Any, call: Call) -> None:
    site.publish(site.image(octets=b"newer"), site.image(OTHER_IMAGE))
    planned = call("refresh", "--check", "--json")
    assert (planned.code, planned.json["changed"]) == (0, True)
    done = call("refresh")
    assert done.code == 0
    assert done.out.splitlines()[1].split() == [LIST, "2", "new", "-"]
    again = call("refresh", LIST, "--json")
    assert (again.code, again.json["changed"]) == (0, False)
    assert again.json["lists"][0]["status"] in ("same", "unchanged")


def test_refresh_says_which_list_failed(site: t.Any, call: Call) -> None:
    site.message.write_bytes(b"<html>nothing here</html>")
    answer = call("refresh")
    assert answer.code == 3
    assert "mime_" in answer.out and site.uri in answer.err
    assert "Traceback" not in answer.err
    assert call("refresh", "--json").json["failures"][0]["list"] == LIST


def test_sync_downloads_what_is_approved(site: t.Any, call: Call) -> None:
    assert call("sync", "--check").out.splitlines()[1].split()[:3] == ["download", IMAGE, "1"]
    done = call("sync")
    assert done.code == 0
    assert str(site.state_dir) in done.out
    assert call("sync").out == "The cache is up to date.\n"
    assert call("sync", "--json").json["changed"] is False


def test_sync_says_which_image_failed(site: t.Any, call: Call) -> None:
    for path in site.www.glob("*.img"):
        path.write_bytes(b"X" + path.read_bytes()[1:])
    answer = call("sync")
    assert answer.code == 3
    assert "checksum_mismatch" in answer.err and IMAGE in answer.err
    assert call("sync", "--json").json["failures"][0]["code"] == "checksum_mismatch"


def test_verdict_prints_the_path_of_an_allowed_image(site: t.Any, call: Call) -> None:
    call("sync")
    for name in (IMAGE, IMAGE.upper(), "worker"):
        answer = call("verdict", name)
        assert answer.code == 0
        assert Path(answer.out.strip()).read_bytes() == b"an image" * 512
    assert call("verdict", IMAGE, "--json").json["verdict"]["allowed"] is True


def test_verdict_says_why_an_image_may_not_run(site: t.Any, call: Call) -> None:
    answer = call("verdict", OTHER_IMAGE)
    assert answer.code == 1
    assert "not_approved" in answer.out and "not_cached" not in answer.out.splitlines()[0]
    assert "image_decision" in answer.out
    report = call("verdict", OTHER_IMAGE, "--json")
    assert (report.code, report.json["verdict"]["code"]) == (1, "not_approved")


def test_verdict_refuses_a_file_that_was_changed(site: t.Any, call: Call) -> None:
    call("sync")
    Path(call("verdict", IMAGE).out.strip()).write_bytes(b"something else")
    answer = call("verdict", IMAGE)
    assert answer.code == 1
    assert "file_changed" in answer.out.splitlines()[0]


@pytest.fixture
def somebody_else(site: t.Any, call: Call, monkeypatch: pytest.MonkeyPatch) -> t.Any:
    """The site with its image in the cache, seen by a user who may not open the catalogue."""
    call("sync")
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    return site


def test_the_snapshot_answers_everybody_else(somebody_else: t.Any, call: Call) -> None:
    assert call("sync").err.startswith("vmimages: state_owner: ")
    path = Path(call("verdict", IMAGE).out.strip())
    assert path.read_bytes() == b"an image" * 512
    assert call("verdict", OTHER_IMAGE, "--json").json["verdict"]["code"] == "not_approved"
    path.write_bytes(b"something else")
    answer = call("verdict", IMAGE)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("vmimages: file_changed: ")


def test_a_snapshot_that_is_too_old_is_refused(somebody_else: t.Any, call: Call) -> None:
    assert call("verdict", IMAGE, "--max-age", "1h").code == 0
    answer = call("verdict", IMAGE, "--max-age", "0s")
    assert answer.code == 1
    assert answer.err.startswith("vmimages: snapshot_stale: ")


def test_a_snapshot_is_no_older_than_its_list_may_go_unrefreshed(
    site: t.Any, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.subscribe(max_unrefreshed="2s")
    call("sync")
    time.sleep(3)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert call("verdict", IMAGE, "--json").json["error"]["code"] == "snapshot_stale"


def test_an_unknown_image_may_not_run(site: t.Any, call: Call) -> None:
    answer = call("verdict", "nobody's tag")
    assert answer.code == 1
    assert answer.err.startswith("vmimages: unknown_image: ")


def test_status_shows_lists_and_images(site: t.Any, call: Call) -> None:
    call("sync")
    answer = call("status")
    assert answer.code == 0
    lines = {line.split()[0]: line for line in answer.out.splitlines() if line}
    assert "Worker nodes" in lines[LIST] and lines[LIST].endswith("good")
    assert "allowed" in lines[IMAGE]
    assert "not_approved" in lines[OTHER_IMAGE]
    report = call("status", "--json").json
    assert [item["identifier"] for item in report["lists"]] == [LIST]
    assert {item["identifier"] for item in report["images"]} == {IMAGE, OTHER_IMAGE}


def test_status_is_for_everyone(site: t.Any, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    call("sync")
    whole = call("status").out
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    answer = call("status")
    assert (answer.code, answer.out) == (0, whole)


def test_status_shows_titles_without_what_moves_a_terminal(bench: t.Any, call: Call) -> None:
    bench.publish(bench.image(title="evil\u001b[2Jtitle"))
    bench.subscribe()
    answer = call("status")
    assert "\u001b" not in answer.out and "evil" in answer.out


def test_rebuild_gives_the_same_index(site: t.Any, call: Call) -> None:
    call("sync")
    before = call("status", "--json").json
    (site.state_dir / "catalogue.sqlite").unlink()
    assert call("rebuild").code == 0
    after = call("status", "--json").json
    assert after["images"] == before["images"]


def test_verify_tells_what_a_message_proves(bench: t.Any, call: Call) -> None:
    bench.publish()
    anchors = ("--anchors", str(bench.pki.certificates))
    answer = call("verify", str(bench.message), *anchors)
    assert answer.code == 0
    assert bench.pki.endorser.dn in answer.out and IMAGE in answer.out
    endorser = ("--endorser", bench.pki.endorser.dn, bench.pki.endorser.ca)
    assert call("verify", str(bench.message), *anchors, *endorser, "--json").json["verified"] is True


def test_verify_refuses_with_a_code(bench: t.Any, call: Call) -> None:
    bench.publish()
    anchors = ("--anchors", str(bench.pki.certificates))
    other = call("verify", str(bench.message), *anchors, "--endorser", "/CN=x", "/CN=y")
    assert (other.code, other.err.split(": ")[1]) == (1, "not_authorised")
    assert call("verify", str(bench.work / "nowhere"), *anchors, "--json").json["error"]["code"] == "not_found"


def test_rebaseline_lets_one_content_in(site: t.Any, call: Call) -> None:
    first = site.message.read_bytes()
    site.publish(site.image(octets=b"newer"), site.image(OTHER_IMAGE))
    call("refresh")
    site.message.write_bytes(first)
    refused = call("refresh")
    assert "rollback" in refused.out and "vmimages rebaseline" in refused.err
    report = call("verify", str(site.message), "--anchors", str(site.pki.certificates), "--json").json
    act = (LIST, "--digest", report["list"]["sha512_of_content"], "--reason", "Erin says so")
    assert call("rebaseline", *act, "--check", "--json").json["changed"] is True
    assert call("rebaseline", *act).out.startswith("The next refresh accepts this content")
    assert call("rebaseline", *act, "--json").json["changed"] is False
    assert "Erin says so" in call("status").out
    assert call("refresh").out.splitlines()[1].split()[:3] == [LIST, "1", "new"]
    assert "Erin says so" not in call("status").out
    assert call("rebaseline", *act).out.startswith("This content was accepted after the act of ")


def test_rebaseline_refuses_a_senseless_act(site: t.Any, call: Call) -> None:
    senseless = call("rebaseline", LIST, "--digest", "0f5a", "--reason", "Erin says so")
    assert (senseless.code, senseless.err.split(": ")[1]) == (1, "option_invalid")
    stranger = call("rebaseline", IMAGE, "--digest", "0" * 128, "--reason", "Erin says so")
    assert (stranger.code, stranger.err.split(": ")[1]) == (1, "unknown_list")


MORE: t.Final = {"verdict": [IMAGE], "rebaseline": [LIST, "--digest", "0" * 128, "--reason", "x"]}


@pytest.mark.parametrize("name", ["refresh", "sync", "status", "verdict", "rebaseline", "rebuild"])
def test_a_directory_without_state_is_one_sentence(call: Call, name: str, bench: t.Any) -> None:
    answer = call(name, *MORE.get(name, []))
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("vmimages: state_missing: ") and answer.err.count("\n") == 1
    assert not bench.state_dir.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["verdict"],
        ["rebaseline", LIST, "--reason", "x"],
        ["sync", "--max-parallel", "0"],
        ["sync", "--purge-expired", "later"],
    ],
)
def test_wrong_usage_ends_with_two(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert "usage: vmimages" in capfd.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_documents_the_exit_codes(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([name, "--help"])
    assert ended.value.code == 0
    text = capfd.readouterr().out
    assert parser.EXIT_CODES.strip() in text and "--json" in text


def test_a_defect_is_four_and_says_so(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def broken(options: object) -> int:
        raise RuntimeError("broken")

    monkeypatch.setattr(command, "_command", lambda name: broken)
    assert command.main(["status", "--json"]) == 4
    out, err = capfd.readouterr()
    assert json.loads(out)["error"]["code"] == "internal_error"
    assert "Traceback" in err


def start(arguments: t.Sequence[str]) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own, cold, as a gate starts it."""
    environment = {**os.environ, "PYTHONPATH": str(MODULE_UTILS)}
    whole = [sys.executable, "-m", "_core.main", *arguments]
    return subprocess.run(whole, capture_output=True, text=True, env=environment, check=False)


def test_a_reader_that_goes_away_is_no_error(site: t.Any) -> None:
    line = f"{sys.executable} -m _core.main status --json --state-dir {site.state_dir} | true; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(MODULE_UTILS)}
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_verdict_loads_little_and_needs_no_library(site: t.Any, call: Call) -> None:
    call("sync")
    arguments = ["verdict", IMAGE, "--state-dir", str(site.state_dir)]
    assert start(arguments).returncode == 0
    code = (
        "import sys; from _core.main import main; main(sys.argv[1:]);"
        "print({'cryptography', 'requests', 'urllib3', 'ansible'} & set(sys.modules), len(sys.modules) < 300)"
    )
    environment = {**os.environ, "PYTHONPATH": str(MODULE_UTILS)}
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=True
    )
    assert ended.stdout.splitlines()[-1] == "set() True"
