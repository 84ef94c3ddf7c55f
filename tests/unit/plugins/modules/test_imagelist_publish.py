# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publishing: what is derived, what is raised, what is repeated, and what is refused without a trace."""

from __future__ import annotations

import hashlib
import json
import typing as t
from pathlib import Path

import pytest

IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
OTHER_IMAGE = "e0f7a6f0-62c8-4b6e-8f56-7f2d6f0f7d11"


def files(*directories: Path) -> dict[str, bytes]:
    """Every file, except the notes about image files that were read (they are kept whatever comes after)."""
    found = [path for directory in directories for path in directory.rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in found if path.name != "files.json"}


def test_the_list_is_published_with_what_could_be_derived(bench: t.Any) -> None:
    octets = b"worker" * 1000
    result = bench.publish(bench.image(octets=octets))
    assert result["changed"] is True
    image = result["images"][0]
    assert (image["size"], image["sha512"]) == (len(octets), hashlib.sha512(octets).hexdigest())
    assert image["uri"] == f"{bench.server}/{IMAGE}-{image['version']}.img"
    assert (bench.www / f"{IMAGE}-{image['version']}.img").read_bytes() == octets
    assert Path(result["message_path"]).read_bytes() == bench.message.read_bytes()
    told = bench.done("imagelist_info", {"src": str(bench.message), **bench.trust})
    assert told["list"]["endorsers"][0]["dn"] == bench.pki.endorser.dn
    assert told["list"]["version"] == result["list"]["version"]
    assert told["list"]["sha512_of_content"] == result["list"]["sha512_of_content"]


def test_check_mode_writes_nothing_and_tells_the_same(bench: t.Any) -> None:
    options = bench.publishing(bench.image())
    before = files(bench.www, bench.history_dir)
    planned = bench.done("imagelist_publish", options, check=True)
    assert planned["changed"] is True
    assert files(bench.www, bench.history_dir) == before
    done = bench.done("imagelist_publish", options)
    assert [action["action"] for action in planned["actions"]] == [action["action"] for action in done["actions"]]
    assert planned["list"]["version"] == done["list"]["version"]


def test_a_second_run_changes_nothing(bench: t.Any) -> None:
    options = bench.publishing(bench.image())
    bench.done("imagelist_publish", options)
    before = files(bench.www, bench.history_dir)
    for check in (True, False):
        again = bench.done("imagelist_publish", options, check=check)
        assert again["changed"] is False
        assert again["actions"] == []
        assert again["diff"]["before"] == again["diff"]["after"]
    assert files(bench.www, bench.history_dir) == before


def test_versions_are_raised_for_what_changed_only(bench: t.Any) -> None:
    first = bench.publish(bench.image(), bench.image(OTHER_IMAGE))
    second = bench.publish(bench.image(octets=b"a newer one" * 99), bench.image(OTHER_IMAGE))
    versions = [{image["identifier"]: image["version"] for image in run["images"]} for run in (first, second)]
    assert versions[0][IMAGE] != versions[1][IMAGE]
    assert versions[0][OTHER_IMAGE] == versions[1][OTHER_IMAGE]
    assert first["list"]["version"] != second["list"]["version"]


def test_an_image_that_is_not_named_is_withdrawn(bench: t.Any) -> None:
    bench.publish(bench.image(), bench.image(OTHER_IMAGE))
    result = bench.publish(bench.image())
    assert [image["identifier"] for image in result["images"]] == [IMAGE]


def test_an_image_that_is_not_named_stays_without_purge(bench: t.Any) -> None:
    bench.publish(bench.image(), bench.image(OTHER_IMAGE))
    result = bench.publish(bench.image(octets=b"newer"), purge_images=False)
    assert {image["identifier"] for image in result["images"]} == {IMAGE, OTHER_IMAGE}


def test_nothing_secret_is_in_the_result(bench: t.Any) -> None:
    phrase = "correct horse battery staple"
    issued = bench.pki.issue("Carla Cryptic", passphrase=phrase.encode())
    identity = {"certificate": str(issued.certificate_path), "private_key": str(issued.key_path)}
    result = bench.publish(bench.image(), **identity, passphrase=phrase)
    assert phrase not in result.text
    assert "PRIVATE KEY" not in result.text
    wrong = bench.run(
        "imagelist_publish", bench.publishing(bench.image(octets=b"new"), **identity, passphrase="battery")
    )
    assert wrong["code"] == "passphrase_wrong"
    assert phrase not in wrong.text


def test_the_passphrase_may_come_from_a_file(bench: t.Any, tmp_path: Path) -> None:
    issued = bench.pki.issue("Carla Cryptic", passphrase=b"from a file")
    (tmp_path / "passphrase").write_text("from a file\n")
    (tmp_path / "passphrase").chmod(0o600)
    result = bench.publish(
        certificate=str(issued.certificate_path),
        private_key=str(issued.key_path),
        passphrase_file=str(tmp_path / "passphrase"),
    )
    assert result["changed"] is True
    assert "from a file" not in result.text


@pytest.mark.parametrize(
    ("break_it", "code"),
    [
        (lambda bench, options: options.update(private_key="/nowhere/userkey.pem"), "key_missing"),
        (lambda bench, options: options.update(certificate="/nowhere/usercert.pem"), "certificate_missing"),
        (lambda bench, options: Path(options["private_key"]).chmod(0o644), "key_permissions"),
        (
            lambda bench, options: options.update(private_key=str(bench.pki.issue("Other Person").key_path)),
            "key_mismatch",
        ),
        (
            lambda bench, options: options.update(
                certificate=str(bench.pki.issue("Late Person", days=-1, directory="late").certificate_path),
                private_key=str(bench.pki.directory / "late" / "userkey.pem"),
            ),
            "certificate_expired",
        ),
        (lambda bench, options: options.update(lifetime="a while"), "publish_invalid"),
        (lambda bench, options: options.update(identifier="no-uuid"), "publish_invalid"),
        (lambda bench, options: options.update(anchors="/nowhere/certificates"), "anchors_unreadable"),
    ],
)
def test_bad_input_is_one_sentence_with_a_code_and_leaves_no_trace(
    bench: t.Any, break_it: t.Callable[[t.Any, dict[str, t.Any]], None], code: str
) -> None:
    bench.publish()
    before = files(bench.www, bench.history_dir)
    options = bench.publishing(bench.image(octets=b"another"))
    break_it(bench, options)
    result = bench.run("imagelist_publish", options)
    assert result.failed and result["changed"] is False
    assert result["code"] == code
    assert result["msg"].endswith(result["remedy"])
    assert files(bench.www, bench.history_dir) == before


def test_an_image_needs_its_file_or_its_size_and_digest(bench: t.Any) -> None:
    image = {"identifier": IMAGE, "uri": f"{bench.server}/x.img", "title": "worker", "size": 5}
    result = bench.run("imagelist_publish", bench.publishing(image))
    assert (result["code"], "sha512" in result["msg"]) == ("publish_invalid", True)


def test_an_image_elsewhere_is_endorsed_by_size_and_digest(bench: t.Any) -> None:
    digest = hashlib.sha512(b"elsewhere").hexdigest()
    image = {"identifier": IMAGE, "uri": "https://cloud.example.org/x.img", "title": "x", "size": 9, "sha512": digest}
    result = bench.publish(image)
    assert (result["images"][0]["size"], result["images"][0]["sha512"]) == (9, digest)


def test_the_diff_is_of_meaning(bench: t.Any) -> None:
    bench.publish()
    result = bench.publish(bench.image(), title="Another title")
    text = json.dumps(result["diff"])
    assert "Another title" in text and "Worker nodes" in text
    assert "BEGIN" not in text
