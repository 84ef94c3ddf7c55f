# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache: what is endorsed and approved is there, what is not is not, and a failure stops nothing else."""

from __future__ import annotations

import hashlib
import typing as t
from pathlib import Path

import pytest

IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
OTHER_IMAGE = "e0f7a6f0-62c8-4b6e-8f56-7f2d6f0f7d11"
LIST = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"


@pytest.fixture
def site(bench: t.Any) -> t.Any:
    """One image, approved and not yet cached."""
    bench.publish()
    bench.subscribe()
    bench.decide("approve")
    return bench


def images_in(bench: t.Any, place: str) -> list[Path]:
    found = (bench.state_dir / "cache" / place).iterdir()
    return sorted(path for path in found if path.name != "catalogue.json" and not path.name.startswith("."))


def published(bench: t.Any, identifier: str) -> Path:
    (path,) = bench.www.glob(f"{identifier}-*.img")
    return t.cast("Path", path)


def test_an_approved_image_is_downloaded_and_may_run(site: t.Any) -> None:
    result = site.cache()
    assert not result.failed and result["changed"] is True
    assert [item["image"] for item in result["downloaded"]] == [IMAGE]
    assert result["failures"] == []
    (path,) = images_in(site, "current")
    assert path.read_bytes() == published(site, IMAGE).read_bytes()
    assert site.verdict() == {**site.verdict(), "allowed": True, "path": str(path)}


def test_check_mode_downloads_nothing_and_tells_the_plan(site: t.Any) -> None:
    planned = site.done("image_cache", check=True)
    assert planned["changed"] is True
    assert [(item["action"], item["image"]) for item in planned["actions"]] == [("download", IMAGE)]
    assert images_in(site, "current") == []
    done = site.cache()
    assert done["diff"] == planned["diff"]


def test_a_second_run_changes_nothing(site: t.Any) -> None:
    site.cache()
    before = site.everything()
    for check in (True, False):
        again = site.done("image_cache", check=check)
        assert again["changed"] is False and again["actions"] == []
    assert site.everything() == before


def test_a_new_version_replaces_the_old_one(site: t.Any) -> None:
    site.cache()
    site.publish(site.image(octets=b"newer" * 100))
    result = site.cache(refresh=True)
    assert not result.failed
    assert [item["status"] for item in result["lists"]] == ["new"]
    assert {action["action"] for action in result["actions"]} == {"accept", "expire", "download"}
    assert images_in(site, "current")[0].read_bytes() == b"newer" * 100
    assert len(images_in(site, "expired")) == 1


def test_a_withdrawn_image_moves_out_and_is_purged_in_time(site: t.Any) -> None:
    site.cache()
    site.publish(site.image(OTHER_IMAGE))
    result = site.cache(refresh=True)
    assert [(item["image"], item["code"]) for item in result["moved"]] == [(IMAGE, "withdrawn")]
    assert images_in(site, "current") == []
    assert site.verdict()["code"] == "withdrawn"
    assert site.cache(purge_expired="1d")["purged"] == []
    assert [item["image"] for item in site.cache(purge_expired="0s")["purged"]] == [IMAGE]
    assert images_in(site, "expired") == []


def test_an_image_comes_back_without_a_download(site: t.Any) -> None:
    site.cache()
    site.decide("blacklist")
    assert [item["code"] for item in site.cache()["moved"]] == ["blacklisted"]
    site.decide("approve")
    published(site, IMAGE).unlink()
    result = site.cache()
    assert not result.failed
    assert [item["image"] for item in result["restored"]] == [IMAGE]


def test_a_changed_file_is_found_and_replaced(site: t.Any) -> None:
    site.cache()
    (path,) = images_in(site, "current")
    good = path.read_bytes()
    path.write_bytes(b"X" + good[1:])
    assert site.verdict()["code"] == "file_changed"
    result = site.cache(verify=True)
    assert not result.failed
    assert [item["image"] for item in result["damaged"]] == [IMAGE]
    assert path.read_bytes() == good
    assert [item["image"] for item in site.cache(verify=True)["verified"]] == [IMAGE]


def test_a_wrong_image_fails_with_its_code_and_the_others_are_done(bench: t.Any) -> None:
    bench.publish(bench.image(), bench.image(OTHER_IMAGE))
    bench.subscribe(new_images="cache")
    wrong = published(bench, IMAGE)
    wrong.write_bytes(b"X" + wrong.read_bytes()[1:])
    result = bench.cache()
    assert result.failed and result["changed"] is True
    assert result["code"] == "checksum_mismatch"
    assert [(item["image"], item["code"]) for item in result["failures"]] == [(IMAGE, "checksum_mismatch")]
    assert [item["image"] for item in result["downloaded"]] == [OTHER_IMAGE]
    assert [path.name[:36] for path in images_in(bench, "current")] == [OTHER_IMAGE]


def test_a_list_that_fails_is_told_and_its_images_stay(site: t.Any) -> None:
    site.cache()
    site.message.unlink()
    result = site.cache(refresh=True)
    assert result.failed and result["changed"] is False
    assert (result["code"], result["failures"][0]["list"], result["failures"][0]["image"]) == ("not_found", LIST, None)
    assert len(images_in(site, "current")) == 1
    assert site.verdict()["allowed"] is True


def test_only_what_is_named_is_handled(bench: t.Any) -> None:
    bench.publish(bench.image(), bench.image(OTHER_IMAGE))
    bench.subscribe(new_images="cache")
    assert [item["image"] for item in bench.cache(images=[IMAGE])["downloaded"]] == [IMAGE]
    assert [item["image"] for item in bench.cache(lists=[LIST])["downloaded"]] == [OTHER_IMAGE]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"lists": [IMAGE]}, "unknown_list"),
        ({"images": [LIST]}, "unknown_image"),
        ({"purge_expired": "later"}, "option_invalid"),
        ({"timeout": "later"}, "option_invalid"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(site: t.Any, options: dict[str, t.Any], code: str) -> None:
    before = site.everything()
    result = site.cache(**options)
    assert result.failed and result["changed"] is False
    assert result["code"] == code
    assert site.everything() == before


def test_a_cache_without_state_is_said_to_have_none(bench: t.Any) -> None:
    assert bench.cache()["code"] == "state_missing"


@pytest.fixture
def elsewhere(bench: t.Any, misbehaving: t.Any) -> t.Iterator[t.Any]:
    """A server of its own for the one image, which does what it is told."""
    octets = b"an image" * 50_000
    with misbehaving.Misbehaving(octets) as server:
        digest = hashlib.sha512(octets).hexdigest()
        image = {"identifier": IMAGE, "uri": server.uri(), "size": len(octets), "sha512": digest, "title": "worker"}
        bench.publish(image)
        bench.subscribe(allow_private=True)
        bench.decide("approve")
        yield server


def test_an_image_goes_on_where_it_broke_off_and_the_result_tells(bench: t.Any, elsewhere: t.Any) -> None:
    elsewhere.cut = lambda: 150_000
    assert bench.cache(retries=0)["code"] == "unreachable"
    elsewhere.cut = None
    [done] = bench.cache(retries=0)["downloaded"]
    assert (done["resumed_from"], done["octets"], done["source"]) == (150_000, 250_000, elsewhere.uri())
    assert done["seconds"] > 0


def test_limits_are_those_of_the_options(bench: t.Any, misbehaving: t.Any, elsewhere: t.Any) -> None:
    elsewhere.fault = misbehaving.page(503)
    assert bench.cache(retries=0)["code"] == "http_status"
    assert len(elsewhere.requests) == 1
    assert bench.cache(retries=1)["code"] == "http_status"
    assert len(elsewhere.requests) == 3
    elsewhere.fault = misbehaving.drip
    assert bench.cache(retries=0, timeout="1s")["code"] == "timeout"
