# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages history`` and ``vmimages verdict`` by digest, by file and as of an earlier time."""

from __future__ import annotations

import json
import time
import typing as t
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import to_text

from .conftest import Call

IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
OTHER_IMAGE = "e0f7a6f0-62c8-4b6e-8f56-7f2d6f0f7d11"
LIST = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"


def test_a_file_that_may_run_is_answered_with_its_path(site: t.Any, call: Call) -> None:
    path = call("verdict", IMAGE)[1].strip()
    assert call("verdict", path) == (0, f"{path}\n", "")
    copy = site.work / "copy.img"
    copy.write_bytes(Path(path).read_bytes())
    code, out, err = call("verdict", str(copy))
    assert (code, out) == (1, "")
    assert "file_unknown" in err and "--hash" in err
    assert call("verdict", "--hash", str(copy))[:2] == (0, f"{copy}\n")


def test_a_tag_may_look_like_a_path(site: t.Any, call: Call) -> None:
    assert "not_found" in call("verdict", "no/tag")[2]
    assert "unknown_image" in call("verdict", "--tag", "no/tag")[2]
    assert call("verdict", "--tag", "worker")[0] == 0


def test_who_else_holds_the_octets_is_said_beside_the_answer(site: t.Any, call: Call) -> None:
    site.publish(site.image(), site.image(OTHER_IMAGE))
    site.subscribe(refresh="always")
    digest = json.loads(call("verdict", "--json", IMAGE)[1])["sha512"]
    _code, _out, err = call("verdict", digest)
    assert IMAGE in err and OTHER_IMAGE in err and "2 images" in err


def test_an_audit_never_ends_with_0(site: t.Any, call: Call) -> None:
    when = to_text(datetime.now(timezone.utc))
    time.sleep(1.1)
    site.decide("blacklist", reason="CVE")
    code, out, _err = call("verdict", "--at", when, IMAGE)
    assert code == 1
    assert out.startswith(f"{IMAGE} would have been allowed at {when}")
    assert "authorises nothing" in out
    assert str(site.state_dir) not in out
    code, out, _err = call("verdict", "--json", "--at", when, IMAGE)
    answer = json.loads(out)
    assert (code, answer["authorises"], answer["verdict"]["allowed"]) == (1, False, False)
    assert answer["verdict"]["would_have_been_allowed"] is True
    for text in ("yesterday", to_text(datetime.now(timezone.utc) + timedelta(days=1))):
        code, _out, err = call("verdict", "--at", text, IMAGE)
        assert code == 1 and "option_invalid" in err


def test_whoever_may_not_open_the_catalogue_gets_the_same_answers(site: t.Any, call: Call) -> None:
    path, when = call("verdict", IMAGE)[1].strip(), to_text(datetime.now(timezone.utc))
    closed = ("--index", "/proc/no/such/index.sqlite", "--json")
    for arguments in ((path,), (IMAGE, "--at", when), ("worker", "--at", when)):
        code, out, _err = call("verdict", "--json", *arguments)
        other, said, _err = call("verdict", *closed, *arguments)
        assert (other, json.loads(said)["verdict"]) == (code, json.loads(out)["verdict"])
    digest = json.loads(call("verdict", "--json", IMAGE)[1])["sha512"]
    copy = site.work / "copy.img"
    copy.write_bytes(Path(path).read_bytes())
    assert call("verdict", *closed[:2], digest)[:2] == (0, f"{path}\n")
    assert "file_unknown" in call("verdict", *closed[:2], str(copy))[2]
    assert call("verdict", *closed[:2], "--hash", str(copy))[:2] == (0, f"{copy}\n")
    code, _out, err = call("verdict", *closed[:2], "--at", when, str(copy))
    assert code == 1 and "file_unknown" in err


def test_the_history_of_a_list_is_a_table(site: t.Any, call: Call) -> None:
    site.publish(site.image(octets=b"newer"), site.image(OTHER_IMAGE))
    site.subscribe(refresh="always")
    for name in (LIST, site.uri):
        code, out, err = call("history", name)
        lines = out.splitlines()
        assert (code, err) == (0, "")
        assert lines[1].split()[:2] == ["1", "accepted"] and "+1 -0 ~0" in lines[1]
        assert lines[2].split()[:3] == ["2", "accepted,", "standing"] and "+1 -0 ~1" in lines[2]
        assert "subscribed" in out
    code, out, _err = call("history", "--between", "1", "2", LIST)
    assert code == 0
    assert f"+ {OTHER_IMAGE}" in out and 'hv:version: "1" -> "2"' in out
    told = json.loads(call("history", "--json", "--between", "1", "2", LIST)[1])
    assert [one["identifier"] for one in told["difference"]["images"]["added"]] == [OTHER_IMAGE]


def test_the_history_of_an_image_is_told(site: t.Any, call: Call) -> None:
    path = call("verdict", IMAGE)[1].strip()
    for name in (IMAGE, "worker", path):
        code, out, _err = call("history", name)
        assert code == 0
        assert site.pki.endorser.dn in out and "Tested." in out and "cached" in out and "good" in out
    assert json.loads(call("history", "--json", IMAGE)[1])["identifier"] == IMAGE
    assert "unknown_image" in call("history", "nothing")[2]


def test_the_history_of_an_endorser_needs_no_site(site: t.Any, call: Call) -> None:
    code, out, _err = call("history", "--history-dir", str(site.history_dir), LIST)
    assert (code, out.splitlines()[1].split()[:2]) == (0, ["1", "published,"])


def test_a_changed_message_is_told_by_history_and_audit(site: t.Any, call: Call) -> None:
    (message,) = (site.state_dir / "messages" / LIST).iterdir()
    message.write_bytes(message.read_bytes().replace(b"worker", b"walker"))
    for arguments in (("history", LIST), ("history", IMAGE), ("audit",)):
        code, out, err = call(*arguments)
        assert code == 1
        assert "archive_damaged" in err or "changed or lost" in out
