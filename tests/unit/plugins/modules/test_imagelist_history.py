# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of a list, of a site and of its endorser."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

LIST = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"
IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
OTHER_IMAGE = "e0f7a6f0-62c8-4b6e-8f56-7f2d6f0f7d11"


@pytest.fixture
def site(bench: t.Any) -> t.Any:
    """Three versions: one image; other octets and a second image; the first image alone is gone."""
    bench.publish(bench.image())
    bench.subscribe()
    bench.publish(bench.image(octets=b"newer"), bench.image(OTHER_IMAGE))
    bench.subscribe(refresh="always")
    bench.publish(bench.image(OTHER_IMAGE))
    bench.subscribe(refresh="always")
    return bench


def tell(site: t.Any, *, endorser: bool = False, **options: t.Any) -> t.Any:
    place = {"history_dir": str(site.history_dir)} if endorser else {"state_dir": str(site.state_dir)}
    answer = site.run("imagelist_history", {"list": LIST, **place, **options})
    assert answer["changed"] is False
    return answer


@pytest.mark.parametrize("endorser", [False, True], ids=["site", "endorser"])
def test_every_version_is_told_with_what_it_changed(site: t.Any, endorser: bool) -> None:
    answer = tell(site, endorser=endorser)
    versions = answer["versions"]
    assert [one["version"] for one in versions] == ["1", "2", "3"]
    assert [one["standing"] for one in versions] == [False, False, True]
    assert {one["signer"]["dn"] for one in versions} == {site.pki.endorser.dn}
    assert [one["changes"] for one in versions] == [
        {"added": [IMAGE], "removed": [], "changed": []},
        {"added": [OTHER_IMAGE], "removed": [], "changed": [IMAGE]},
        {"added": [], "removed": [IMAGE], "changed": []},
    ]
    assert [one["images"] for one in versions] == [1, 2, 1]
    assert (answer["difference"], answer["problems"], answer.warnings) == (None, [], [])


@pytest.mark.parametrize("endorser", [False, True], ids=["site", "endorser"])
def test_the_difference_between_two_versions_is_told_by_key(site: t.Any, endorser: bool) -> None:
    found = tell(site, endorser=endorser, between=["1", "2"])["difference"]
    assert (found["from"], found["to"]) == ("1", "2")
    assert [one["identifier"] for one in found["images"]["added"]] == [OTHER_IMAGE]
    (changed,) = found["images"]["changed"]
    assert (changed["identifier"], changed["octets"]) == (IMAGE, True)
    keys = {one["key"]: (one["before"], one["after"]) for one in changed["changed_keys"]}
    assert keys["hv:version"] == ("1", "2")
    assert keys["hv:size"] == (4096, 5)
    assert {one["key"] for one in found["changed_keys"]} >= {"hv:version"}


@pytest.mark.parametrize("endorser", [False, True], ids=["site", "endorser"])
@pytest.mark.parametrize("versions", [["1", "17"], ["1"]])
def test_a_version_that_was_not_kept_is_refused(site: t.Any, endorser: bool, versions: list[str]) -> None:
    answer = tell(site, endorser=endorser, between=versions)
    assert (answer.failed, answer["code"]) == (True, "option_invalid")


@pytest.mark.parametrize("endorser", [False, True], ids=["site", "endorser"])
def test_a_message_that_was_changed_is_told(site: t.Any, endorser: bool) -> None:
    message = Path(tell(site, endorser=endorser)["versions"][1]["message"])
    message.chmod(0o644)
    message.write_bytes(message.read_bytes().replace(b"worker", b"walker"))
    answer = tell(site, endorser=endorser)
    assert [one["intact"] for one in answer["versions"]] == [True, False, True]
    assert [one["changes"] is None for one in answer["versions"]] == [False, True, True]
    assert [one["code"] for one in answer["problems"]] == ["history_unreadable" if endorser else "archive_damaged"]
    assert len(answer.warnings) == 1
    refused = tell(site, endorser=endorser, between=["1", "2"])
    assert (refused.failed, refused["code"]) == (True, answer["problems"][0]["code"])


def test_refusals_rebaselines_and_subscriptions_of_a_site_are_told(site: t.Any) -> None:
    good = site.message.read_bytes()
    site.message.write_bytes(good.replace(b"worker", b"walker").replace(b"image e0f7", b"image e0f8"))
    assert site.run("imagelist_subscribe", site.subscription(refresh="always")).failed
    site.message.write_bytes(good)
    site.subscribe(tag_key="hv:uri", refresh="never")
    site.done("imagelist_subscribe", {**site.subscription(), "state": "absent"})
    answer = tell(site)
    assert [one["code"] for one in answer["refusals"]] == ["digest_mismatch"]
    assert [one["event"] for one in answer["subscriptions"]] == ["subscribed", "subscribed", "unsubscribed"]
    assert answer["list"]["subscribed"] is False
    assert answer["rebaselines"] == []


def test_a_list_that_nobody_knows_is_refused(site: t.Any) -> None:
    answer = tell(site, list=IMAGE)
    assert (answer.failed, answer["code"]) == (True, "unknown_list")
    answer = tell(site, endorser=True, list=IMAGE)
    assert (answer.failed, answer["code"]) == (True, "history_unreadable")


def test_a_changed_journal_is_refused(site: t.Any) -> None:
    journal = site.state_dir / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"version":"1"', b'"version":"9"', 1))
    answer = tell(site)
    assert (answer.failed, answer["code"]) == (True, "journal_damaged")


def test_an_endorser_is_told_why_an_image_went_and_what_is_kept_about_one(bench: t.Any) -> None:
    manifest = bench.work / "manifest.json"
    manifest.write_text('{"spdxVersion": "SPDX-2.3", "packages": [{"name": "bash"}]}')
    bench.publish(bench.image(package_manifest=str(manifest)), bench.image(OTHER_IMAGE))
    gone = {"identifier": OTHER_IMAGE, "state": "absent", "removal_reason": "The kernel has a hole"}
    bench.publish(gone, purge_images=False)
    answer = tell(bench, endorser=True)
    assert [one["removed"] for one in answer["versions"]] == [
        [],
        [{"identifier": OTHER_IMAGE, "reason": "The kernel has a hole"}],
    ]
    (kept,) = answer["evidence"]
    assert (kept["kind"], Path(kept["path"]).read_bytes()) == ("package_manifest", manifest.read_bytes())


def test_a_list_of_endorsers_has_a_history_as_well(bench: t.Any) -> None:
    signer, vo_list = bench.pki.issue("Vera Voms"), "7c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90"
    uri = f"{bench.server}/endorsers.list"
    erin = {"identifier": "erin", "pairs": [{"dn": bench.pki.endorser.dn, "ca": bench.pki.endorser.ca}]}
    for endorsers in ([erin], []):
        bench.done(
            "endorserlist_publish",
            {
                "identifier": vo_list,
                "vo": "example",
                "uri": uri,
                "endorsers": endorsers,
                "certificate": str(signer.certificate_path),
                "private_key": str(signer.key_path),
                "history_dir": str(bench.history_dir),
                "uploads": [{"uri_match": f"{bench.server}/", "uri_replace": f"{bench.www}/"}],
                **bench.trust,
            },
        )
        bench.done(
            "endorserlist_subscribe",
            {
                "uri": uri,
                "authorities": [{"dn": signer.dn, "ca": signer.ca}],
                "ca_path": str(bench.pki.tls / "ca.pem"),
                "allow_private": True,
                "state_dir": str(bench.state_dir),
                "refresh": "always",
                **bench.trust,
            },
        )
    for endorser in (False, True):
        answer = tell(bench, list=vo_list, endorser=endorser, between=["1", "2"])
        assert not answer.failed, answer["msg"]
        assert [one["intact"] for one in answer["versions"]] == [True, True]
        (changed,) = [one for one in answer["difference"]["changed_keys"] if one["key"] == "hv:endorsers"]
        assert (len(changed["before"]), changed["after"]) == (1, [])
