# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk is written whole, once, readable by its owner only; and its secrets are told to nobody but the guest."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context import disks
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context.iso.image import read_image

SCRIPTS = {"prolog": {"content": "#!/bin/sh\necho prolog\n"}}
SECRET = "correct horse battery staple"


def shown(outcome: t.Any) -> str:
    return json.dumps([outcome.before, outcome.after, outcome.data, outcome.actions, outcome.warnings], default=str)


def test_a_disk_is_made_once(workshop: t.Any) -> None:
    planned = workshop.make(scripts=SCRIPTS, check=True)
    assert planned.changed and not workshop.dest.exists()
    made = workshop.make(scripts=SCRIPTS)
    assert (made.before, made.after, made.actions) == (planned.before, planned.after, planned.actions)
    assert made.actions == ({"action": "create", "dest": str(workshop.dest)},)
    before = workshop.dest.stat()
    for check in (True, False):
        again = workshop.make(scripts=SCRIPTS, check=check)
        assert not again.changed and again.before == again.after == {} and again.actions == ()
    assert workshop.dest.stat() == before


def test_only_its_owner_reads_it_whatever_the_umask(workshop: t.Any) -> None:
    old = os.umask(0)
    try:
        workshop.make(scripts=SCRIPTS)
    finally:
        os.umask(old)
    assert workshop.dest.stat().st_mode & 0o7777 == 0o600
    assert [path.name for path in workshop.directory.iterdir()] == ["context.iso"]


def test_a_changed_mode_is_mended_and_the_octets_stay(workshop: t.Any) -> None:
    workshop.make(scripts=SCRIPTS)
    before = workshop.dest.stat()
    workshop.dest.chmod(0o644)
    outcome = workshop.make(scripts=SCRIPTS)
    assert outcome.changed and outcome.actions[0]["action"] == "permit"
    after = workshop.dest.stat()
    assert (after.st_mode & 0o7777, after.st_ino) == (0o600, before.st_ino)
    assert workshop.make(scripts=SCRIPTS, mode="0640").after[str(workshop.dest)]["mode"] == "0640"


@pytest.mark.needs("root")
def test_the_hypervisors_user_gets_it(workshop: t.Any) -> None:
    assert workshop.make(scripts=SCRIPTS, owner="nobody", group="12345").changed
    status = workshop.dest.stat()
    assert (status.st_uid, status.st_gid) == (65534, 12345)
    assert not workshop.make(scripts=SCRIPTS, owner="nobody", group="12345").changed
    assert workshop.refused(scripts=SCRIPTS, owner="nobody-knows-me").code == "option_invalid"


def test_the_difference_is_of_meaning(workshop: t.Any) -> None:
    workshop.make(scripts=SCRIPTS, variables={"AFS": "off"})
    outcome = workshop.make(scripts=SCRIPTS, variables={"AFS": "on"}, files=[{"content": "x\n", "name": "x.conf"}])
    before, after = outcome.before[str(workshop.dest)], outcome.after[str(workshop.dest)]
    assert (before["variables"], after["variables"]) == ({"AFS": "off"}, {"AFS": "on"})
    assert set(after["files"]) - set(before["files"]) == {"x.conf"}
    assert after["files"]["x.conf"] == "0400\nx\n"
    assert outcome.actions[0]["action"] == "replace"


def test_secrets_are_told_to_nobody(workshop: t.Any) -> None:
    token, key = workshop.file("token", f"{SECRET}\n".encode()), workshop.file("key", b"very private")
    pem = workshop.file("host.pem", b"-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n")
    options: dict[str, t.Any] = {
        "secret_variables": {"token": token},
        "files": [{"src": key, "secret": True, "target": "/etc/site.key"}, {"src": pem}],
        "user_data_src": workshop.file("user-data", b"#cloud-config\npassword: hunter2\n"),
        "scripts": SCRIPTS,
    }
    outcomes = [workshop.make(**options)]
    workshop.file("token", f"{SECRET} more\n".encode())
    outcomes.append(workshop.make(**options))
    outcomes.append(workshop.make(scripts=SCRIPTS))
    assert all(outcome.changed for outcome in outcomes)
    read = json.dumps(disks.look_at(str(workshop.dest)))
    text = read + "".join(shown(outcome) for outcome in outcomes)
    for secret in (SECRET, "very private", "MIIabc", "hunter2", base64.b64encode(SECRET.encode()).decode()[:20]):
        assert secret not in text
    first = outcomes[0].data["isos"][0]
    assert first["variables"]["TOKEN"] is None and first["variables"]["USER_DATA"] is None
    hidden = {file["path"]: file["sha256"] for file in first["files"] if file["secret"]}
    assert hidden == {"context.sh": None, "host.pem": None, "key": None}
    image = read_image(workshop.dest.read_bytes(), "it")
    assert "secrets.list" not in image.entries


def test_the_disk_lists_its_secrets_for_the_guest_to_wipe(workshop: t.Any) -> None:
    key = workshop.file("key", b"very private")
    workshop.make(
        files=[{"src": key, "secret": True, "target": "/etc/site.key"}],
        secret_variables={"TOKEN": workshop.file("token", SECRET.encode())},
    )
    found = read_image(workshop.dest.read_bytes(), "it").entries
    assert found["secrets.list"].octets == b"file key\nvariable TOKEN\n"
    assert found["files.map"].octets.splitlines()[1:] == [b"key 0600 root root /etc/site.key"]
    assert f"TOKEN='{SECRET}'\n".encode() in found["context.sh"].octets
    told = disks.look_at(str(workshop.dest))
    assert told["variables"]["TOKEN"] is None and SECRET not in json.dumps(told)


def test_a_secret_in_the_task_itself_is_told(workshop: t.Any) -> None:
    files = [{"name": "x", "content": "password=hunter2\n"}]
    outcome = workshop.make(files=files)
    assert [finding["code"] for finding in outcome.data["isos"][0]["lint"]] == ["secret_in_clear"]
    assert "hunter2" not in shown(outcome)


def test_a_disk_goes_away(workshop: t.Any) -> None:
    workshop.make(scripts=SCRIPTS)
    planned = workshop.make(state="absent", check=True)
    assert planned.changed and workshop.dest.exists()
    assert workshop.make(state="absent").actions == ({"action": "remove", "dest": str(workshop.dest)},)
    assert not workshop.dest.exists()
    assert not workshop.make(state="absent").changed


def test_a_link_is_replaced_and_not_followed(workshop: t.Any) -> None:
    victim = workshop.directory / "victim"
    victim.write_text("untouched")
    workshop.dest.symlink_to(victim)
    assert workshop.make(scripts=SCRIPTS).changed
    assert victim.read_text() == "untouched" and not workshop.dest.is_symlink()


@pytest.mark.parametrize("dest", ["relative.iso", "/"])
def test_a_dest_is_the_path_of_a_file(workshop: t.Any, dest: str) -> None:
    assert workshop.refused(dest=dest).code == "option_invalid"


def test_what_is_no_file_is_left_alone(workshop: t.Any) -> None:
    workshop.dest.mkdir()
    assert workshop.refused(scripts=SCRIPTS).code == "option_invalid"
    assert workshop.refused(state="absent").code == "option_invalid"


def test_a_missing_directory_is_told(workshop: t.Any) -> None:
    """The others of the call are not made either; check mode may run before what makes the directory."""
    none = workshop.directory / "none"
    refusal = workshop.refused(dest=str(none / "x.iso"), also=[{"dest": str(workshop.dest), "flavours": ["nocloud"]}])
    assert refusal.code == "not_found" and f"There is no directory {none} for a disk" in str(refusal)
    assert workshop.make(dest=str(none / "x.iso"), check=True).changed is True


def test_two_disks_need_two_places(workshop: t.Any) -> None:
    also = [{"dest": str(workshop.dest), "flavours": ["nocloud"]}]
    assert workshop.refused(also=also).code == "option_invalid"


def test_a_file_that_is_no_disk_is_replaced_and_told(workshop: t.Any) -> None:
    workshop.dest.write_bytes(b"something else")
    outcome = workshop.make(scripts=SCRIPTS)
    assert outcome.before[str(workshop.dest)]["content"] == "no ISO 9660 image"
    assert disks.look_at(str(workshop.dest))["label"] == "CONTEXT"


def test_a_whole_disk_device_or_garbage_is_refused_when_read(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(os.urandom(100_000))
    with pytest.raises(Exception, match="ISO 9660") as refusal:
        disks.look_at(str(tmp_path / "garbage"))
    assert t.cast("t.Any", refusal.value).code == "context_unreadable"
    with pytest.raises(Exception, match="There is no"):
        disks.look_at(str(tmp_path / "none"))


def test_more_images_than_memory_should_hold_are_composed_again(
    workshop: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [{"dest": str(workshop.directory / f"{name}.iso"), "instance_id": name} for name in "abc"]
    workshop.make(*items, scripts=SCRIPTS)
    expected = {path.name: path.read_bytes() for path in workshop.directory.glob("*.iso")}
    for path in workshop.directory.glob("*.iso"):
        path.unlink()
    monkeypatch.setattr(disks, "HELD", len(expected["a.iso"]))
    workshop.make(*items, scripts=SCRIPTS)
    assert {path.name: path.read_bytes() for path in workshop.directory.glob("*.iso")} == expected


def test_a_source_that_changes_meanwhile_is_refused(workshop: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = workshop.file("x.conf", b"planned")

    def change(dests: t.Sequence[Path]) -> None:
        workshop.file("x.conf", b"changed")
        assert not dests

    monkeypatch.setattr(disks, "HELD", 0)
    monkeypatch.setattr(disks, "remove", change)
    with pytest.raises(Exception, match="a source changed"):
        workshop.make(files=[{"src": source}])
    assert list(workshop.directory.glob("*.iso")) == [] and list(workshop.directory.glob(".*")) == []


@pytest.mark.needs("root", "mount")
def test_a_full_disk_leaves_the_old_file_and_nothing_else(workshop: t.Any, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", small], check=True, timeout=10)
    try:
        dest = small / "a.iso"
        workshop.make(dest=str(dest), scripts=SCRIPTS)
        before = dest.read_bytes()
        big = workshop.file("big", os.urandom(300_000))
        assert workshop.refused(dest=str(dest), files=[{"src": big}]).code == "disk_full"
        assert [path.name for path in small.iterdir()] == ["a.iso"] and dest.read_bytes() == before
    finally:
        subprocess.run(["umount", small], check=True, timeout=10)
