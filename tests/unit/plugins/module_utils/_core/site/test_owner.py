# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""root works on a service user's state directory as that user, who may not be able to read Python's own files."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import as_owner

from .conftest import IMAGE, LIST, World, content_of

pytestmark = pytest.mark.needs("root")

_CORE = "ansible_collections.hepix.vmimages.plugins.module_utils._core"

#: Runs the command, or the site's own `subscribe` or `decide`, and tells what was imported under the owner's identity.
_WATCHED = f"""
import json, os, sys
late = []
def watch(event, arguments):
    if event == "import" and os.geteuid() != os.getuid():
        late.append(arguments[0])
sys.addaudithook(watch)
task = json.loads(sys.argv[1])
if isinstance(task, list):
    from {_CORE}.main import main
    main(task)
else:
    from {_CORE}.site import decisions
    from {_CORE}.site.lists.subscribe import subscribe
    from {_CORE}.site.store.catalogue import Catalogue
    from {_CORE}.site.subscription import Subscription
    with Catalogue.open(task["state"], create=True) as catalogue:
        if "decide" in task:
            decisions.decide(catalogue, **task["decide"])
        else:
            subscribe(catalogue, Subscription.from_options(task["subscribe"]), refresh="always")
sys.stderr.write("\\n" + json.dumps(late))
"""


@pytest.fixture
def owned(world: World, tmp_path: Path) -> World:
    """A world whose state directory belongs to a user that may go there."""
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.getuid() and str(path) != "/":
            path.chmod(path.stat().st_mode | 0o055)
    nobody = pwd.getpwnam("nobody")
    world.state.mkdir()
    os.chown(world.state, nobody.pw_uid, nobody.pw_gid)
    return world


def _imported_late(task: t.Any) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED, json.dumps(task)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return t.cast("list[str]", json.loads(done.stderr.splitlines()[-1]))


def test_nothing_is_imported_as_the_owner(owned: World) -> None:
    state = ["--state-dir", str(owned.state)]
    image = owned.image()
    older = owned.publish("1", [image])
    terms = {
        "uri": owned.uri(),
        "identifier": LIST,
        "endorsers": [{"dn": owned.pki.endorser.dn, "ca": owned.pki.endorser.ca}],
        "anchors": str(owned.pki.certificates),
        "allow_private": True,
    }
    late = {"subscribe": _imported_late({"state": str(owned.state), "subscribe": terms})}
    owned.declare({"name": "old", "decision": "blacklist", "match": {"older_than": "900d"}})
    late["decide"] = _imported_late({"state": str(owned.state), "decide": {"decision": "approve", "images": [IMAGE]}})
    late["sync"] = _imported_late(["sync", *state])
    assert owned.verdict()["code"] == "allowed"
    late["verdict"] = _imported_late(["verdict", *state, IMAGE])
    late["status"] = _imported_late(["status", *state])
    owned.publish("2", [owned.image(version="2")])
    late["refresh"] = _imported_late(["refresh", *state])
    late["sync --verify"] = _imported_late(["sync", *state, "--verify", "--json"])
    (owned.web / LIST).unlink()
    late["refresh without a server"] = _imported_late(["refresh", *state])
    owned.serve(older)
    late["refresh refused"] = _imported_late(["refresh", *state])
    act = ["--digest", content_of(older), "--reason", "a slip"]
    late["rebaseline"] = _imported_late(["rebaseline", *state, LIST, *act])
    late["events"] = _imported_late(["events", *state])
    late["rebuild"] = _imported_late(["rebuild", *state])
    next(owned.pki.certificates.glob("*.r0")).touch()
    late["verdict, the path judged anew"] = _imported_late(["verdict", *state, IMAGE])
    assert {task: names for task, names in late.items() if names} == {}
    assert {path.stat().st_uid for path in owned.state.rglob("*")} == {pwd.getpwnam("nobody").pw_uid}


def test_root_has_the_groups_of_the_owner_and_no_others(tmp_path: Path) -> None:
    before = os.getegid(), os.getgroups()
    os.setgroups([0, 4])
    try:
        os.chown(tmp_path, pwd.getpwnam("nobody").pw_uid, 4)
        with as_owner(tmp_path):
            known = os.getegid(), os.getgroups()
        os.chown(tmp_path, 54321, 54322)
        with as_owner(tmp_path):
            unknown = os.geteuid(), os.getegid(), os.getgroups()
        assert (os.getegid(), os.getgroups()) == (before[0], [0, 4])
    finally:
        os.setgroups(before[1])
    group = pwd.getpwnam("nobody").pw_gid
    assert known == (group, [group])
    assert unknown == (54321, 54322, [])
