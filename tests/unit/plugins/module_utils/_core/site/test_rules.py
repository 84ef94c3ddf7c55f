# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of a site: one set, what each touches, and what the clock does to them."""

from __future__ import annotations

import json
import typing as t
from datetime import timedelta

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import SiteError, VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import snapshot
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.relay import relay
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.rules.rule import read_rules
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import to_text

from .conftest import IMAGE, IMAGE_2, LIST, OTHER_LIST, World

OLD = {"name": "old", "decision": "blacklist", "match": {"os": "SL5*"}, "reason": "end of life"}
ALL = {"name": "everything", "decision": "approve", "match": {"all": True}}


def _two_images(world: World, **options: t.Any) -> None:
    world.publish(
        "1",
        [{**world.image(), "sl:os": "SL5.5"}, {**world.image(IMAGE_2, title="SL6"), "sl:os": "SL6", "ad:vo": "cms"}],
    )
    world.subscribe(**options)


def _codes(world: World) -> tuple[str, str]:
    return world.verdict(IMAGE)["code"], world.verdict(IMAGE_2)["code"]


def _gate(world: World, name: str = IMAGE) -> t.Any:
    """The verdict of a gate, which knows the snapshot only."""
    document = snapshot.load(StateDirectory.at(world.state), patience=0.0)
    return snapshot.judge(document, name, world.now)["verdict"]


def test_a_rule_speaks_of_what_is_like_it(world: World) -> None:
    _two_images(world, new_images="cache")
    world.sync()
    outcome = world.declare(OLD)
    assert outcome.changed and outcome.actions == ({"action": "add", "rule": "old"},)
    assert outcome.before == {} and outcome.after["old"]["match"] == {"os": "SL5*"}
    (told,) = outcome.data["rules"]
    assert (told["count"], told["images"], told["author"]) == (1, [IMAGE], "sam")
    assert _codes(world) == ("blacklisted", "allowed")
    assert world.verdict()["reasons"][0]["text"] == (
        "By the rule old the image is blacklisted, as written by sam: end of life."
    )
    assert _gate(world)["code"] == "blacklisted"
    world.sync()
    assert len(world.files("current")) == 1


def test_a_rule_holds_for_images_to_come(world: World) -> None:
    world.declare(OLD)
    _two_images(world, new_images="cache")
    world.sync()
    assert _codes(world) == ("blacklisted", "allowed")


def test_a_rule_approves_and_chooses_for_the_cache(world: World) -> None:
    _two_images(world)
    world.declare({"name": "cms", "decision": "approve", "match": {"vo": "CMS", "list": LIST}})
    world.sync()
    assert _codes(world) == ("not_approved", "allowed")
    assert len(world.files("current")) == 1


def test_the_set_is_replaced_as_a_whole(world: World) -> None:
    _two_images(world, new_images="approve", select=["SL5", "SL6"])
    world.sync()
    world.declare(OLD, {"name": "six", "decision": "blacklist", "match": {"os": "SL6"}})
    assert _codes(world) == ("blacklisted", "blacklisted")
    outcome = world.declare({**OLD, "except": [IMAGE.upper()]})
    assert outcome.actions == ({"action": "change", "rule": "old"}, {"action": "remove", "rule": "six"})
    assert outcome.data["rules"][0]["count"] == 0
    assert _codes(world) == ("not_cached", "not_cached") or _codes(world) == ("allowed", "allowed")
    assert world.declare().changed
    assert not world.declare().changed


def test_the_same_rules_are_not_recorded_again_and_keep_their_author(world: World) -> None:
    _two_images(world)
    rules = ({"name": "big", "decision": "blacklist", "match": {"size_min": "1 KiB", "older_than": "14d"}}, OLD)
    world.declare(*rules, author="sally")
    journal = (world.state / "journal.jsonl").read_bytes()
    again = ({**OLD, "until": None}, {**rules[0], "match": {"older_than": "2w", "size_min": 1024}, "reason": ""})
    assert not world.declare(*again, author="sue").changed
    assert (world.state / "journal.jsonl").read_bytes() == journal
    told = world.declare(rules[0], {**OLD, "reason": "other"}, author="sue").data["rules"]
    assert {rule["name"]: rule["author"] for rule in told} == {"big": "sally", "old": "sue"}


def test_check_mode_tells_and_writes_nothing(world: World) -> None:
    _two_images(world)
    before = (world.state / "journal.jsonl").read_bytes()
    planned = world.declare(OLD, check=True)
    assert planned.changed and planned.data["rules"][0]["images"] == [IMAGE]
    assert (world.state / "journal.jsonl").read_bytes() == before
    assert world.declare(OLD) == planned


@pytest.mark.parametrize(
    ("rule", "where"),
    [
        ("a rule", ""),
        ({}, ".name"),
        ({"name": "x" * 65}, ".name"),
        ({"name": "a\nb"}, ".name"),
        (OLD, ".name"),
        ({"name": "x"}, ".decision"),
        ({"name": "x", "decision": "clear"}, ".decision"),
        ({"name": "x", "decision": "blacklist"}, ".match"),
        ({"name": "x", "decision": "blacklist", "match": {}}, ".match"),
        ({"name": "x", "decision": "blacklist", "match": {"size_min": "huge"}}, ".match.size_min"),
        ({"name": "x", "decision": "blacklist", "match": {"sl:os": "x"}}, ".match.sl:os"),
        ({"name": "x", "decision": "approve", "match": {"os": "SL6"}}, ".match"),
        ({"name": "x", "decision": "run_anyway", "match": {"title": "*"}}, ".match"),
        ({"name": "x", "decision": "approve", "match": {"all": True}, "except": "SL5"}, ".except"),
        ({"name": "x", "decision": "approve", "match": {"all": True}, "except": [""]}, ".except[0]"),
        ({"name": "x", "decision": "approve", "match": {"all": True}, "reason": 5}, ".reason"),
        ({"name": "x", "decision": "approve", "match": {"all": True}, "until": "soon"}, ".until"),
        ({"name": "x", "decision": "approve", "match": {"all": True}, "unless": []}, ".unless"),
    ],
)
def test_a_rule_that_makes_no_sense_says_where(rule: t.Any, where: str) -> None:
    with pytest.raises(SiteError) as found:
        read_rules([OLD, ALL, rule], author="sam")
    assert found.value.code == "rule_invalid"
    assert found.value.context["option"] == f"rules[2]{where}"
    assert found.value.detail.startswith(f"rules[2]{where}: ")


def test_a_rule_of_a_newer_version_is_not_passed_over(world: World) -> None:
    """What cannot be understood might forbid: nothing is judged without it."""
    _two_images(world)
    newer = {**OLD, "match": {"kernel_older_than": "6.1"}, "except": [], "until": None, "author": "sam"}
    with world.open() as catalogue, catalogue.writing() as writer:
        writer.commit(("rules", {"rules": [newer], "author": "sam"}))
    with pytest.raises(SiteError) as found:
        world.verdict()
    assert found.value.code == "state_newer" and "kernel_older_than" in found.value.detail


def test_a_set_has_an_end() -> None:
    with pytest.raises(SiteError) as found:
        read_rules([OLD] * 1001, author="sam")
    assert found.value.context["option"] == "rules"


def test_a_set_that_makes_no_sense_changes_nothing(world: World) -> None:
    world.declare(OLD)
    journal = (world.state / "journal.jsonl").read_bytes()
    with pytest.raises(SiteError):
        world.declare(ALL, {"name": "x"})
    assert (world.state / "journal.jsonl").read_bytes() == journal


def test_an_approval_by_what_an_endorser_writes_must_say_whose(world: World) -> None:
    """Another endorser cannot step into an approval by describing an image like this."""
    _two_images(world)
    world.publish("1", [{**world.image("688dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"), "sl:os": "SL6"}], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST)
    six = {"name": "six", "decision": "approve"}
    assert world.declare({**six, "match": {"os": "SL6", "list": LIST}}).data["rules"][0]["images"] == [IMAGE_2]
    assert world.declare({**six, "match": {"os": "SL6", "list": "*"}}).data["rules"][0]["count"] == 2


def test_an_approved_endorser_is_the_one_who_signed(world: World) -> None:
    other = world.pki.issue("Other Endorser", 100)
    both = [{"dn": who.dn, "ca": who.ca} for who in (world.pki.endorser, other)]
    image = world.image()
    world.publish("1", [image])
    world.subscribe(endorsers=both)
    erin = f"{world.pki.endorser.dn} issued by {world.pki.endorser.ca}"
    world.declare({"name": "erin", "decision": "approve", "match": {"endorser": erin.upper()}})
    world.sync()
    assert world.verdict()["allowed"]
    world.publish("2", [image], signer=other)
    world.refresh()
    assert world.verdict()["code"] == "not_approved"


def test_a_rule_may_name_a_registered_endorser(world: World) -> None:
    _two_images(world)
    world.register({"name": "erin", "pairs": [{"dn": world.pki.endorser.dn, "ca": world.pki.endorser.ca}]})
    assert (
        world.declare({"name": "e", "decision": "approve", "match": {"endorser": "Erin"}}).data["rules"][0]["count"]
        == 2
    )


def test_an_image_that_grows_too_old_is_not_allowed_by_the_snapshot_past_that_moment(world: World) -> None:
    _two_images(world, new_images="cache")
    world.sync()
    world.declare({"name": "stale", "decision": "blacklist", "match": {"older_than": "2d"}})
    end = world.now - timedelta(hours=1) + timedelta(days=2)
    assert _gate(world)["allowed"] and _gate(world)["good_until"] == to_text(end)
    world.now = end - timedelta(seconds=1)
    assert _gate(world)["allowed"] and world.verdict()["allowed"]
    world.now = end
    with pytest.raises(VmimagesError) as found:
        _gate(world)
    assert found.value.code == "snapshot_stale"
    assert world.verdict()["code"] == "blacklisted"
    world.sync()
    assert _gate(world)["code"] == "blacklisted" and world.files("current") == []


def test_an_approval_of_new_images_ends_by_the_clock(world: World) -> None:
    _two_images(world)
    world.declare({"name": "fresh", "decision": "approve", "match": {"newer_than": "3d", "list": "*"}})
    world.sync()
    end = world.now - timedelta(hours=1) + timedelta(days=3)
    assert _gate(world)["good_until"] == to_text(end)
    with world.open() as catalogue:
        relayed = relay(catalogue, base_uri="https://cache.example.org/").images
    assert {image.metadata["dc:date:expires"] for image in relayed} == {to_text(end)}
    world.now = end
    assert world.verdict()["code"] == "not_approved"


def test_an_approval_of_ripe_images_begins_by_the_clock(world: World) -> None:
    _two_images(world)
    world.declare({"name": "ripe", "decision": "approve", "match": {"older_than": "3d", "list": LIST}})
    world.sync()
    assert world.verdict()["code"] == "not_approved" and world.files("current") == []
    world.now += timedelta(days=3)
    world.sync()
    assert world.verdict()["allowed"] and _gate(world)["allowed"]


def test_a_new_version_is_young_again(world: World) -> None:
    _two_images(world, new_images="cache")
    world.declare({"name": "stale", "decision": "blacklist", "match": {"older_than": "2d"}})
    world.now += timedelta(days=3)
    assert world.verdict()["code"] == "blacklisted"
    world.publish("2", [world.image(version="2")])
    world.refresh()
    world.sync()
    assert world.verdict()["allowed"]


def test_a_rule_that_has_ended_says_nothing_and_is_told(world: World) -> None:
    _two_images(world, new_images="cache")
    world.sync()
    ending = {**OLD, "until": to_text(world.now + timedelta(days=1))}
    world.declare(ending)
    assert world.verdict()["code"] == "blacklisted"
    world.now += timedelta(days=1)
    again = world.declare(ending)
    assert not again.changed and "rule old ended" in again.warnings[0]
    world.sync()
    assert world.verdict()["allowed"] and again.data["rules"][0]["count"] == 0


def test_a_rule_shows_among_the_decisions_about_an_image(world: World) -> None:
    from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import queries

    _two_images(world)
    world.declare(OLD, {"name": "stale", "decision": "blacklist", "match": {"older_than": "2d"}})
    with world.open() as catalogue:
        (found,) = queries.images(catalogue, images=[IMAGE])
    begins = to_text(world.now - timedelta(hours=1) + timedelta(days=2))
    assert [(item["target_type"], item["target"], item["begins"]) for item in found["decisions"]] == [
        ("rule", "old", None),
        ("rule", "stale", begins),
    ]


def _formats(world: World) -> list[dict[str, t.Any]]:
    """One image in 28 forms, as CernVM publishes it: formats, architectures, hypervisors, one tag."""
    forms = [
        (form, arch, size)
        for form in ("qcow2", "raw", "vmdk", "vdi", "ova", "vhd", "tar")
        for arch in ("i386", "x86_64")
        for size in (1, 2)
    ]
    return [
        {
            **world.image(
                f"{number:08d}-9ab1-4fc8-a7ba-b7a5428ecb3d", title="CernVM", octets=bytes([number]) * 1000 * size
            ),
            "hv:format": form,
            "sl:arch": arch,
            "hv:hypervisor": "kvm" if form in ("qcow2", "raw") else "other",
        }
        for number, (form, arch, size) in enumerate(forms)
    ]


def test_28_formats_of_one_image_do_not_fill_a_disk(world: World) -> None:
    images = _formats(world)
    assert len(images) == 28
    world.publish("1", images)
    world.subscribe(new_images="cache", select=[{"format": "QCOW2", "arch": "x86_64", "size_max": "1 kB"}])
    world.sync()
    assert len(world.files("current")) == 1
    wanted = [
        image["dc:identifier"] for image in images if (image["hv:format"], image["sl:arch"]) == ("qcow2", "x86_64")
    ]
    assert world.verdict(wanted[0])["allowed"]
    assert world.verdict(wanted[1])["code"] == "not_selected"
    # A UUID beside the match; what the list withdraws or changes is no longer selected.
    world.subscribe(
        new_images="cache", select=[{"format": "raw", "arch": "i386", "size_max": 1000}, images[27]["dc:identifier"]]
    )
    world.sync()
    assert len(world.files("current")) == 2
    world.publish("2", [{**image, "hv:format": "img"} if image["hv:format"] == "raw" else image for image in images])
    world.refresh()
    world.sync()
    assert len(world.files("current")) == 1


@pytest.mark.parametrize("decided", [{"lists": [LIST]}, {"endorsers": "the signer"}])
def test_an_approval_of_a_whole_list_or_endorser_does_not_fill_a_disk(world: World, decided: t.Any) -> None:
    world.publish("1", _formats(world))
    world.subscribe()
    if "endorsers" in decided:
        decided = {"endorsers": [{"dn": world.pki.endorser.dn, "ca": world.pki.endorser.ca}]}
    world.decide("approve", **decided)
    world.sync()
    assert world.files("current") == []
    name = "00000001-9ab1-4fc8-a7ba-b7a5428ecb3d"
    assert world.verdict(name)["code"] == "not_selected"
    world.subscribe(select=[{"format": "qcow2", "arch": "i386", "size_max": "2 kB", "size_min": "2 kB"}])
    world.sync()
    assert world.verdict(name)["allowed"] and len(world.files("current")) == 1


def test_a_selection_is_kept_and_compared_by_its_meaning(world: World) -> None:
    _two_images(world)
    first = world.subscribe(select=["SL6", {"os": "SL5*", "size_max": "4 KiB"}]).data["subscription"]
    assert first["select"] == ["SL6", {"os": "SL5*", "size_max": 4096}]
    again = world.subscribe(select=[{"size_max": 4096, "os": ["SL5*"]}, "SL6", "SL6"])
    assert not again.changed and again.data["subscription"] == first
    lines = [json.loads(line) for line in (world.state / "journal.jsonl").read_text().splitlines()]
    assert [line["data"]["select"] for line in lines if line["event"] == "subscribed"][-1] == first["select"]


@pytest.mark.parametrize(
    ("item", "where"),
    [
        ({}, "select[1]"),
        ({"format": 5}, "select[1].format"),
        ({"metadata": {"a": []}}, "select[1].metadata.a"),
        (5, "select[1]"),
    ],
)
def test_a_selection_that_makes_no_sense_says_where(world: World, item: t.Any, where: str) -> None:
    with pytest.raises(SiteError) as found:
        world.wanted(select=["SL5", item])
    assert found.value.code == "subscription_invalid"
    assert found.value.context["option"] == where
