# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""root's playbook and root's command on the state directory of a service user: all is done as that user."""

from __future__ import annotations

import json
import os
import pwd
import re
import typing as t

import pytest

from .grid import IMAGE, Grid, make

pytestmark = pytest.mark.needs("root", "nginx", "mke2fs")


@pytest.fixture(scope="module")
def grid(
    demo_ca: t.Any, now: t.Any, ansible_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[Grid]:
    with make(tmp_path_factory.mktemp("grid"), demo_ca, now, ansible_environment) as found:
        for path in (found.directory, *found.directory.parents):
            if path.stat().st_uid == os.getuid() and str(path) != "/":
                path.chmod(path.stat().st_mode | 0o055)
        user = pwd.getpwnam("nobody")
        found.site.mkdir()
        os.chown(found.site, user.pw_uid, user.pw_gid)
        # A report that cannot be written makes a warning while the owner's identity is on.
        settings = found.site / "settings.json"
        settings.write_text(json.dumps({"reports": {"html": str(found.directory / "nowhere" / "status.html")}}))
        os.chown(settings, user.pw_uid, user.pw_gid)
        found.build("owned", size="1M")
        found.publish()
        yield found


def _good(done: dict[str, t.Any]) -> dict[str, t.Any]:
    assert done["failed"] is False, done["msg"]
    return done


def test_every_site_module_works_for_root(grid: Grid) -> None:
    _good(grid.subscribe(check=True))
    _good(grid.subscribe())
    assert _good(grid.subscribe())["changed"] is False
    _good(grid.approve(check=True))
    _good(grid.approve())
    _good(grid.cache(check=True))
    _good(grid.cache())
    found = _good(grid.module("image_info", state_dir=str(grid.site), images=[IMAGE]))
    assert found["images"][0]["verdict"]["allowed"] is True


def test_a_relay_works_for_root(grid: Grid) -> None:
    done = grid.module(
        "imagelist_relay",
        state_dir=str(grid.site),
        base_uri=f"{grid.nginx.uri}/images/",
        identifier="1b4f3a52-6f2c-4b7c-9f0e-6f3f0e0a1d11",
        title="Relayed",
        source="example.org",
        uri=f"{grid.nginx.uri}/relayed.list",
        certificate=str(grid.pki.endorser.certificate_path),
        private_key=str(grid.pki.endorser.key_path),
        anchors=str(grid.pki.certificates),
        history_dir=str(grid.directory / "relayed"),
        uploads=[{"uri_match": re.escape(grid.nginx.uri) + "/", "uri_replace": f"{grid.nginx.root}/"}],
    )
    assert [image["identifier"] for image in _good(done)["relayed"]] == [IMAGE]


def test_a_refusal_is_told_for_root_too(grid: Grid) -> None:
    done = grid.subscribe(uri=f"{grid.nginx.uri}/nothing.list", identifier=None)
    assert (done["failed"], done["code"]) == (True, "not_found")


def test_every_command_works_for_root(grid: Grid) -> None:
    (grid.site / "settings.json").unlink()
    for arguments in (["refresh"], ["sync", "--verify"], ["status"], ["verdict", IMAGE], ["events"], ["rebuild"]):
        code, answer = grid.command(*arguments)
        assert (code, "error" in answer) == (0, False), (arguments, answer)


def test_everything_belongs_to_the_owner(grid: Grid) -> None:
    user = pwd.getpwnam("nobody")
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in grid.site.rglob("*")}
    assert owners == {(user.pw_uid, user.pw_gid)}
