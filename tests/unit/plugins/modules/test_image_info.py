# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking: by UUID, tag, list and state, and answered with every reason."""

from __future__ import annotations

import time
import typing as t
from datetime import datetime, timezone
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import to_text

IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
OTHER_IMAGE = "e0f7a6f0-62c8-4b6e-8f56-7f2d6f0f7d11"
LIST = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"


@pytest.fixture
def site(bench: t.Any) -> t.Any:
    """Two images, one of them approved and cached."""
    bench.publish(bench.image(), bench.image(OTHER_IMAGE, octets=b"another image"))
    bench.subscribe()
    bench.decide("approve", reason="Tested.")
    assert not bench.cache().failed
    return bench


def ask(site: t.Any, **options: t.Any) -> list[dict[str, t.Any]]:
    answer = site.done("image_info", {"state_dir": str(site.state_dir), **options})
    assert answer["changed"] is False
    return t.cast("list[dict[str, t.Any]]", answer["images"])


def test_an_image_is_told_with_its_verdict(site: t.Any) -> None:
    (image,) = ask(site, images=[IMAGE.upper()])
    assert (image["identifier"], image["list"], image["tag"]) == (IMAGE, LIST, "worker")
    assert image["verdict"]["allowed"] is True
    assert image["verdict"]["path"] == image["cache"]["path"]
    assert image["decisions"][0]["reason"] == "Tested."
    assert image["metadata"]["dc:title"] == "worker"


def test_a_refusal_has_its_reasons_and_remedy(site: t.Any) -> None:
    (image,) = ask(site, images=[OTHER_IMAGE])
    assert image["verdict"]["allowed"] is False
    assert image["verdict"]["code"] == "not_approved"
    assert {reason["code"] for reason in image["verdict"]["reasons"]} == {"not_approved", "not_cached"}
    assert image["verdict"]["remedy"]
    assert image["cache"] is None


def test_images_are_found_by_tag_list_and_state(site: t.Any) -> None:
    found = {
        "tag": ask(site, tags=["worker"]),
        "list": ask(site, lists=[LIST]),
        "allowed": ask(site, state="allowed"),
        "refused": ask(site, state="refused"),
        "any": ask(site),
    }
    assert {name: {image["identifier"] for image in images} for name, images in found.items()} == {
        "tag": {IMAGE},
        "list": {IMAGE, OTHER_IMAGE},
        "allowed": {IMAGE},
        "refused": {OTHER_IMAGE},
        "any": {IMAGE, OTHER_IMAGE},
    }


def test_asking_changes_nothing(site: t.Any) -> None:
    before = site.everything()
    ask(site)
    assert site.everything() == before


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"images": ["aaaaaaaa-0000-4000-8000-000000000000"]}, "unknown_image"),
        ({"tags": ["nobody's tag"]}, "unknown_image"),
        ({"lists": [IMAGE]}, "unknown_list"),
    ],
)
def test_what_is_unknown_is_a_failure(site: t.Any, options: dict[str, t.Any], code: str) -> None:
    assert site.run("image_info", {"state_dir": str(site.state_dir), **options})["code"] == code


def test_a_site_without_state_is_said_to_have_none(bench: t.Any) -> None:
    assert bench.run("image_info")["code"] == "state_missing"


def test_a_file_and_a_digest_are_asked_about(site: t.Any) -> None:
    (image,) = ask(site, images=[IMAGE])
    path = image["verdict"]["path"]
    link = site.work / "disk.img"
    link.symlink_to(path)
    for options in ({"paths": [str(link)]}, {"sha512": [image["sha512"]]}):
        (found,) = ask(site, **options)
        assert (found["identifier"], found["verdict"]["allowed"], found["verdict"]["path"]) == (IMAGE, True, path)
        assert [(one["list"], one["identifier"]) for one in found["holders"]] == [(LIST, IMAGE)]


def test_a_copy_is_asked_about_by_its_octets_alone(site: t.Any) -> None:
    (image,) = ask(site, images=[IMAGE])
    copy = site.work / "copy.img"
    copy.write_bytes(Path(image["verdict"]["path"]).read_bytes())
    refused = site.run("image_info", {"state_dir": str(site.state_dir), "paths": [str(copy)]})
    assert (refused.failed, refused["code"]) == (True, "file_unknown")
    (found,) = ask(site, paths=[str(copy)], hash=True)
    assert (found["verdict"]["allowed"], found["verdict"]["path"]) == (True, str(copy))


def test_an_answer_of_another_time_authorises_nothing(site: t.Any) -> None:
    answer = site.done("image_info", {"state_dir": str(site.state_dir), "images": [IMAGE]})
    assert (answer["audit"], answer["authorises"], answer["as_of"], answer["basis"]) == (False, True, None, None)
    when = to_text(datetime.now(timezone.utc))
    # The journal's times are whole seconds.
    time.sleep(1.1)
    site.decide("blacklist", reason="CVE")
    asked = {"state_dir": str(site.state_dir), "as_of": when}
    for options in ({"images": [IMAGE]}, {"tags": ["worker"]}, {"lists": [LIST], "state": "allowed"}):
        answer = site.done("image_info", {**asked, **options})
        (image,) = answer["images"]
        assert (answer["audit"], answer["authorises"], answer["as_of"]) == (True, False, when)
        assert image["verdict"]["allowed"] is False
        assert image["verdict"]["would_have_been_allowed"] is True
    assert ask(site, images=[IMAGE])[0]["verdict"]["code"] == "blacklisted"
    refused = site.run("image_info", {**asked, "as_of": "yesterday"})
    assert (refused.failed, refused["code"]) == (True, "option_invalid")


def test_the_history_of_an_image_is_told(site: t.Any) -> None:
    site.publish(site.image(octets=b"newer"), site.image(OTHER_IMAGE))
    site.subscribe(refresh="always")
    site.decide("blacklist", reason="CVE")
    site.cache()
    (image,) = ask(site, images=[IMAGE], history=True)
    history = image["history"]
    assert [one["list_version"] for one in history["endorsements"]] == ["1", "2"]
    assert {one["signer"]["dn"] for one in history["endorsements"]} == {site.pki.endorser.dn}
    assert [one["until"] and one["until"]["list_version"] for one in history["appearances"]] == ["2", None]
    assert [(one["decision"], one["reason"]) for one in history["decisions"]] == [
        ("approve", "Tested."),
        ("blacklist", "CVE"),
    ]
    assert [one["event"] for one in history["events"]] == ["cached", "expired"]
    assert [one["identifier"] for one in history["holders"]] == [IMAGE]
