# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making context disks through the module: typed options, many disks, https, refusals, and nothing told of secrets."""

from __future__ import annotations

import hashlib
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.hepix.vmimages.plugins.modules import context_iso
from ansible_collections.hepix.vmimages.plugins.modules.context_iso import main

PROLOG = {"prolog": {"content": "#!/bin/sh\necho prolog\n"}}


@pytest.fixture
def make(run_module: t.Any) -> t.Callable[..., t.Any]:
    def run(check: bool = False, **options: t.Any) -> t.Any:
        result = run_module(main, options, check=check)
        documented = set(yaml.safe_load(context_iso.RETURN)["isos"]["contains"])
        for iso in [] if result.failed else result["isos"]:
            kept = {"dest", "state", "changed"}
            assert set(iso) == (documented if iso["state"] == "present" else kept)
        return result

    return run


def test_a_disk_is_made_and_described(make: t.Any, tmp_path: Path) -> None:
    dest = tmp_path / "a.iso"
    planned = make(check=True, dest=str(dest), scripts=PROLOG, variables={"AFS": "off"}, ttl_hours=48)
    assert planned["changed"] and not dest.exists()
    done = make(dest=str(dest), scripts=PROLOG, variables={"AFS": "off"}, ttl_hours=48)
    assert {**done.data, "invocation": 0} == {**planned.data, "invocation": 0}
    (iso,) = done["isos"]
    assert iso["sha512"] == hashlib.sha512(dest.read_bytes()).hexdigest()
    assert iso["size"] == dest.stat().st_size
    assert iso["variables"] == {"AFS": "off", "TTL": "48"}
    assert [file["path"] for file in iso["files"]] == ["context.sh", "prolog.sh"]
    assert iso["readers"]["one_context"]["accepts"] and not iso["readers"]["cloud_init_nocloud"]["accepts"]
    assert make(dest=str(dest), scripts=PROLOG, variables={"AFS": "off"}, ttl_hours=48)["changed"] is False


def test_many_disks_in_one_call_share_what_is_common(make: t.Any, tmp_path: Path) -> None:
    isos: list[dict[str, t.Any]] = [
        {"dest": str(tmp_path / "a.iso"), "instance_id": "a", "ttl_hours": "2"},
        {"dest": str(tmp_path / "b.iso"), "instance_id": "b", "variables": {"B": 1}, "flavours": "hepix"},
        {"dest": str(tmp_path / "c.iso"), "state": "absent"},
    ]
    done = make(isos=isos, variables={"COMMON": "x"}, scripts=PROLOG, ttl_hours=48)
    first, second, third = done["isos"]
    assert first["variables"]["TTL"] == "2" and second["variables"]["TTL"] == "48"
    assert first["variables"]["COMMON"] == second["variables"]["COMMON"] == "x"
    assert second["variables"]["B"] == "1" and "B" not in first["variables"]
    assert third == {"dest": str(tmp_path / "c.iso"), "state": "absent", "changed": False}
    assert [action["dest"] for action in done["actions"]] == [isos[0]["dest"], isos[1]["dest"]]
    assert make(isos=isos, variables={"COMMON": "x"}, scripts=PROLOG, ttl_hours=48)["changed"] is False


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"isos": [{"label": "X"}]}, "option_invalid"),
        ({"isos": [{"dest": "/tmp/x.iso", "no_such": 1}]}, "option_invalid"),
        ({"isos": [{"dest": "/tmp/x.iso", "isos": []}]}, "option_invalid"),
        ({"isos": [{"dest": "/tmp/x.iso", "state": "maybe"}]}, "option_invalid"),
        ({"isos": [{"dest": "/tmp/x.iso"}], "dest": "/tmp/y.iso"}, "option_invalid"),
        ({"dest": "/tmp/x.iso", "variables": {"PATH": "/tmp"}}, "variable_forbidden"),
        ({"dest": "/tmp/x.iso", "payload_user": "root"}, "payload_user_refused"),
        ({"dest": "/tmp/x.iso", "flavours": ["opennebula", "nocloud"]}, "flavours_conflict"),
        ({"dest": "/tmp/x.iso", "files": [{"name": "../x", "content": "x"}]}, "file_name_refused"),
    ],
)
def test_bad_input_is_one_sentence_with_its_code(make: t.Any, options: t.Any, code: str) -> None:
    result = make(**options)
    assert result.failed and result["changed"] is False
    assert (result["code"], result["msg"].count(result["remedy"])) == (code, 1)
    assert not Path("/tmp/x.iso").exists()


def test_an_https_address_is_fetched_and_its_checksum_compared(
    make: t.Any, pki: t.Any, demo_server: t.Any, tmp_path: Path
) -> None:
    www = tmp_path / "www"
    www.mkdir()
    (www / "ban-list").write_bytes(b"banned\n")
    digest = hashlib.sha512(b"banned\n").hexdigest()
    dest = str(tmp_path / "a.iso")
    with demo_server.serve(www, pki.tls / "server.pem", pki.tls / "server.key") as server:
        item = {"name": "ban-list", "url": f"{server.uri}/ban-list", "checksum": f"sha512:{digest}"}
        options = {"dest": dest, "ca_path": str(pki.tls / "ca.pem"), "files": [item]}
        done = make(**options)
        assert done["isos"][0]["files"][0]["sha256"] == hashlib.sha256(b"banned\n").hexdigest()
        wrong = make(**{**options, "files": [{**item, "checksum": "sha512:" + "0" * 128}]})
        assert wrong["code"] == "checksum_mismatch"
        assert make(**{**options, "dest": f"{dest}2", "ca_path": None})["code"] == "tls_failed"
    # The server is gone: what is on the disk is not fetched again.
    assert make(**options)["changed"] is False


def test_values_in_results_are_whole_and_secrets_are_not_there(make: t.Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2\n")
    done = make(
        dest=str(tmp_path / "a.iso"),
        variables={"PLAIN": "visible"},
        secret_variables={"TOKEN": str(tmp_path / "token")},
        ssh_authorized_keys=["ssh-ed25519 AAAA me"],
    )
    assert "hunter2" not in done.text and "VALUE_SPECIFIED_IN_NO_LOG" not in done.text
    assert done["isos"][0]["variables"]["PLAIN"] == "visible"
    assert done["isos"][0]["variables"]["TOKEN"] is None
    assert done["diff"]["after"][str(tmp_path / "a.iso")]["variables"]["TOKEN"] == "(secret)"
    assert done.warnings == []


def test_lint_is_a_warning(make: t.Any, tmp_path: Path) -> None:
    done = make(dest=str(tmp_path / "a.iso"), flavours=["hepix"], user_data="x")
    assert len(done.warnings) == 1 and done.warnings[0].startswith("user_data: no reader of hepix takes it.")
    off = make(dest=str(tmp_path / "a.iso"), flavours=["hepix"], user_data="x", restrict="off")
    assert off.warnings == [] and off["isos"][0]["lint"] == []
