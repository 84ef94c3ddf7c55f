# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""For whom a decision speaks: one endorser's approval never reaches another's image."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import decisions, queries
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import snapshot
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.subscribe import unsubscribe
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory

from .conftest import IMAGE, IMAGE_2, LIST, OTHER_LIST, World


def _decide_tag(world: World, decision: str, **options: str) -> None:
    with world.open() as catalogue:
        decisions.decide(catalogue, decision=decision, tags=["SL5"], **options)  # type: ignore[arg-type]


def _two_lists(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    _decide_tag(world, "approve")
    world.publish("1", [world.image(IMAGE_2)], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST)
    world.sync()


def test_an_approved_tag_of_one_list_approves_nothing_of_another(world: World) -> None:
    _two_lists(world)
    assert world.verdict(IMAGE)["allowed"]
    assert world.verdict(IMAGE_2)["code"] == "not_approved"


def test_a_tag_of_several_lists_is_approved_for_the_one_that_is_named(world: World) -> None:
    _two_lists(world)
    with pytest.raises(VmimagesError) as found:
        _decide_tag(world, "approve")
    assert found.value.code == "decision_invalid"
    assert LIST in found.value.detail and OTHER_LIST in found.value.detail
    _decide_tag(world, "approve", of_list=OTHER_LIST)
    world.sync()
    assert world.verdict(IMAGE)["allowed"] and world.verdict(IMAGE_2)["allowed"]


def test_a_blacklisted_tag_is_that_of_every_list(world: World) -> None:
    _two_lists(world)
    _decide_tag(world, "blacklist")
    assert world.verdict(IMAGE)["code"] == world.verdict(IMAGE_2)["code"] == "blacklisted"
    _decide_tag(world, "approve", of_list=LIST)
    assert world.verdict(IMAGE)["code"] == "allowed"


def test_an_approved_uuid_is_not_approved_in_the_list_that_takes_it_over(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    world.decide("approve", IMAGE)
    with world.open() as catalogue:
        unsubscribe(catalogue, identifier=LIST)
    world.publish("1", [world.image()], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST)
    assert world.verdict(IMAGE)["code"] == "not_approved"


def test_an_empty_tag_names_nothing(world: World) -> None:
    world.publish("1", [world.image(title="")])
    world.subscribe()
    with world.open() as catalogue, pytest.raises(VmimagesError) as found:
        decisions.decide(catalogue, decision="approve", tags=[""])
    assert found.value.code == "decision_invalid"
    with pytest.raises(VmimagesError):
        world.verdict("")


def test_a_uuid_is_no_tag_and_a_tag_no_uuid(world: World) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2, title=IMAGE)])
    world.subscribe()
    with world.open() as catalogue:
        assert [item["identifier"] for item in queries.images(catalogue, images=[IMAGE])] == [IMAGE]
        assert [item["identifier"] for item in queries.images(catalogue, tags=[IMAGE])] == [IMAGE_2]
        with pytest.raises(VmimagesError):
            queries.images(catalogue, images=["SL5"])


def test_a_decision_is_planned_on_what_stands_when_it_is_written(world: World) -> None:
    """A clear that comes in between must not leave a blacklist that was reported as standing."""
    world.publish("1", [world.image()])
    world.subscribe()
    world.decide("blacklist", IMAGE)
    with world.open() as catalogue, catalogue.writing():
        thread = threading.Thread(target=world.decide, args=("blacklist", IMAGE))
        thread.start()
        catalogue.row("SELECT 1")
    thread.join()
    world.decide("clear", IMAGE)
    assert world.decide("blacklist", IMAGE).changed
    assert world.verdict()["code"] == "blacklisted"


def test_an_approved_image_that_is_not_selected_says_so(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(select=[IMAGE_2.upper()])
    world.decide("approve", IMAGE)
    assert world.verdict()["code"] == "not_selected"
    world.subscribe(select=[IMAGE.upper()])
    world.sync()
    assert world.verdict()["allowed"]


def test_a_list_that_is_withheld_stops_its_images(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache", max_unrefreshed="2d")
    world.sync()
    (world.web / LIST).unlink()
    world.now += timedelta(days=1)
    world.refresh()
    assert world.verdict()["allowed"]
    world.now += timedelta(days=1)
    world.refresh()
    assert world.verdict()["code"] == "list_stale"
    world.sync()
    assert len(world.files("current")) == 1


def test_the_snapshot_finds_the_tag_that_the_catalogue_finds(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.now += timedelta(hours=2)
    world.publish("1", [world.image(IMAGE_2)], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST)
    world.sync()
    with world.open() as catalogue:
        unsubscribe(catalogue, identifier=OTHER_LIST)
    document = snapshot.load(StateDirectory.at(world.state))
    assert snapshot.judge(document, "SL5", world.now)["identifier"] == IMAGE
    assert world.verdict("SL5")["allowed"]


def test_a_snapshot_followed_by_harmless_lines_is_believed(world: World) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2)])
    world.subscribe(new_images="cache")
    world.sync(images=[IMAGE])
    octets = (world.state / "verdicts.json").read_bytes()
    world.sync()
    (world.state / "verdicts.json").write_bytes(octets)
    document = snapshot.load(StateDirectory.at(world.state), patience=0.0)
    assert snapshot.judge(document, IMAGE, world.now)["verdict"]["allowed"]
    assert snapshot.judge(document, IMAGE_2, world.now)["verdict"]["code"] == "not_cached"


def test_a_sync_renews_a_snapshot_after_the_crls_have_changed(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.sync()
    for path in world.pki.certificates.glob("*.r0"):
        path.unlink()
    assert not world.sync().changed
    document = snapshot.load(StateDirectory.at(world.state))
    assert document.find("identifier", IMAGE)[0]["verdict"]["code"] == "crl_unavailable"


def _endorser(world: World) -> dict[str, str]:
    return {"dn": world.pki.endorser.dn, "ca": world.pki.endorser.ca}


def _target(world: World) -> str:
    return f"{world.pki.endorser.dn} issued by {world.pki.endorser.ca}"


def test_a_whole_list_is_decided_about_with_its_images_to_come(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(select=["SL5", "SL6"])
    outcome = world.decide("approve", lists=[world.uri()], reason="agreed")
    assert outcome.actions == ({"action": "approve", "list": LIST},)
    assert outcome.data["decisions"] == {
        LIST: [{"decision": "approve", "reason": "agreed", "until": None, "author": "sam", "list": None}]
    }
    assert not world.decide("approve", lists=[LIST.upper()], reason="agreed").changed
    world.publish("2", [world.image(version="2"), world.image(IMAGE_2, title="SL6")])
    world.refresh()
    world.sync()
    assert world.verdict(IMAGE)["allowed"] and world.verdict(IMAGE_2)["allowed"]
    world.decide("blacklist", lists=[LIST])
    assert world.verdict(IMAGE)["code"] == world.verdict(IMAGE_2)["code"] == "blacklisted"
    assert world.decide("clear", lists=[LIST]).changed
    assert world.verdict(IMAGE)["code"] == "not_approved"


def test_an_endorser_is_decided_about_in_every_list(world: World) -> None:
    _two_lists(world)
    _decide_tag(world, "approve", of_list=OTHER_LIST)
    world.sync()
    outcome = world.decide("blacklist", endorsers=[_endorser(world)])
    assert outcome.actions == ({"action": "blacklist", "endorser": _target(world)},)
    assert world.verdict(IMAGE)["code"] == world.verdict(IMAGE_2)["code"] == "blacklisted"
    world.decide("clear", endorsers=[_endorser(world)])
    world.decide("blacklist", endorsers=[_endorser(world)], of_list=OTHER_LIST)
    assert world.verdict(IMAGE)["allowed"] and world.verdict(IMAGE_2)["code"] == "blacklisted"


def test_a_blacklisted_endorser_is_stopped_without_any_network_and_with_the_next_list(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.sync()
    world.decide("blacklist", endorsers=[_endorser(world)], reason="no longer trusted")
    (world.web / LIST).unlink()
    assert world.verdict()["code"] == "blacklisted"
    world.sync()
    assert world.files("current") == []
    world.publish("2", [world.image(IMAGE_2)])
    world.refresh()
    assert world.verdict(IMAGE_2)["code"] == "blacklisted"


def test_another_endorser_who_steps_in_is_not_the_approved_one(world: World) -> None:
    other = world.pki.issue("Other Endorser", 100)
    image = world.image()
    world.publish("1", [image])
    world.subscribe(endorsers=[_endorser(world), {"dn": other.dn, "ca": other.ca}], select=["SL5"])
    world.decide("approve", endorsers=[_endorser(world)])
    world.sync()
    assert world.verdict()["allowed"]
    world.publish("2", [image], signer=other)
    world.refresh()
    assert world.verdict()["code"] == "not_approved"
    world.decide("blacklist", endorsers=[{"dn": other.dn, "ca": other.ca}])
    assert world.verdict()["code"] == "blacklisted"
    world.publish("3", [image])
    world.refresh()
    assert world.verdict()["allowed"]


def test_one_endorser_is_meant_by_every_spelling(world: World) -> None:
    """OpenSSL 1 and 3 write a slash inside a name differently, and tools write UTF-8 or its octets."""
    signer = world.pki.issue("Zoë/x", 100)
    octets = signer.dn.replace("ë", "\\xC3\\xAB")
    spellings = [octets, signer.dn, octets.replace("/x", "\\/x")]
    world.publish("1", [world.image()], signer=signer)
    world.subscribe(new_images="cache", endorsers=[{"dn": octets, "ca": signer.ca}])
    world.sync()
    for spelling in spellings:
        pair = {"dn": spelling, "ca": signer.ca}
        assert world.decide("blacklist", endorsers=[pair]).data["decisions"].keys() == {
            f"{octets} issued by {signer.ca}"
        }
        assert world.verdict()["code"] == "blacklisted"
        assert world.decide("clear", endorsers=[{"dn": spellings[1], "ca": signer.ca}]).changed
        assert world.verdict()["allowed"]


def test_who_was_blacklisted_in_advance_is_cleared_by_any_spelling(world: World) -> None:
    signer = world.pki.issue("Zoë", 100)
    plain = {"dn": signer.dn, "ca": signer.ca}
    world.publish("1", [world.image()], signer=signer)
    outcome = world.decide("blacklist", endorsers=[plain])
    assert "check the spelling" in outcome.warnings[0]
    world.subscribe(new_images="cache", endorsers=[{"dn": signer.dn, "ca": signer.ca}])
    assert world.verdict()["code"] == "blacklisted"
    octets = signer.dn.replace("ë", "\\xC3\\xAB")
    assert world.decide("clear", endorsers=[{"dn": octets, "ca": signer.ca}]).changed
    assert world.verdict()["code"] == "not_cached"


def test_a_registered_endorser_is_meant_with_every_pair(world: World) -> None:
    other = world.pki.issue("Other Endorser", 100)
    world.publish("1", [world.image()], signer=other)
    world.subscribe(new_images="cache", endorsers=[_endorser(world), {"dn": other.dn, "ca": other.ca}])
    world.sync()
    world.register({"name": "erin", "pairs": [_endorser(world)]})
    world.decide("blacklist", endorsers=[{"name": "erin"}])
    assert world.verdict()["allowed"]
    world.register({"name": "erin", "pairs": [_endorser(world), {"dn": other.dn, "ca": other.ca}]})
    assert world.verdict()["code"] == "blacklisted"
    assert world.decide("clear", endorsers=[{"name": "erin"}]).changed
    assert world.verdict()["allowed"]


def test_a_list_that_is_not_subscribed_can_be_blacklisted_and_cleared(world: World) -> None:
    assert "No list" in world.decide("blacklist", lists=[LIST]).warnings[0]
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    assert world.verdict()["code"] == "blacklisted"
    with world.open() as catalogue:
        unsubscribe(catalogue, identifier=LIST)
    assert world.decide("clear", lists=[LIST]).changed


@pytest.mark.parametrize(
    ("decision", "about", "code"),
    [
        ("approve", {"lists": [OTHER_LIST]}, "unknown_list"),
        ("run_anyway", {"lists": ["https://example.org/x"]}, "unknown_list"),
        ("blacklist", {"lists": ["https://example.org/x"]}, "unknown_list"),
        ("approve", {"endorsers": [{"dn": "/CN=Nobody", "ca": "/CN=CA"}]}, "unknown_endorser"),
        ("approve", {"endorsers": [{"dn": "CN=Nobody", "ca": "/CN=CA"}]}, "decision_invalid"),
        ("approve", {"endorsers": [{"name": "nobody"}]}, "unknown_endorser"),
        ("blacklist", {"endorsers": [{"name": "nobody"}]}, "unknown_endorser"),
        ("blacklist", {"endorsers": [{"name": "erin", "dn": "/CN=Erin"}]}, "decision_invalid"),
        ("blacklist", {"lists": [LIST], "of_list": LIST}, "decision_invalid"),
        ("blacklist", {}, "decision_invalid"),
    ],
)
def test_a_target_that_is_nobody_is_refused(world: World, decision: str, about: dict[str, Any], code: str) -> None:
    with pytest.raises(VmimagesError) as found:
        world.decide(decision, **about)
    assert found.value.code == code
    assert world.rows()["decisions"] == []


def test_what_was_decided_until_a_time_that_is_over_still_stands_as_decided(world: World) -> None:
    """A playbook that is run again after the end of a decision changes nothing, and does not fail."""
    world.publish("1", [world.image()])
    world.subscribe()
    until = world.now + timedelta(days=1)
    assert world.decide("approve", IMAGE, until=until).changed
    world.now += timedelta(days=2)
    assert not world.decide("approve", IMAGE, until=until).changed
    with pytest.raises(VmimagesError) as found:
        world.decide("blacklist", IMAGE, until=until)
    assert found.value.code == "decision_invalid" and found.value.context["option"] == "until"


def test_what_an_image_is_called_does_not_hide_the_list_of_that_name(world: World) -> None:
    """An endorser chooses the UUIDs of the images: one may be that of the list."""
    world.publish("1", [world.image(LIST), world.image()])
    world.subscribe(new_images="cache")
    world.sync()
    outcome = world.decide("blacklist", LIST, lists=[LIST], tags=["SL5"])
    assert [set(action) - {"action"} for action in outcome.actions] == [{"image"}, {"tag"}, {"list"}]
    assert set(outcome.after) == {LIST, f"list {LIST}", "SL5"}
    assert world.verdict()["code"] == "blacklisted"


def test_a_decision_for_one_list_that_ends_a_blacklist_for_all_is_warned_of(world: World) -> None:
    _two_lists(world)
    with world.open() as catalogue:
        decisions.decide(catalogue, decision="blacklist", tags=["SL5"])
        ended = decisions.decide(catalogue, decision="approve", tags=["SL5"], of_list=LIST)
        again = decisions.decide(catalogue, decision="approve", tags=["SL5"], of_list=LIST)
    assert "SL5" in ended.warnings[0]
    assert again.warnings == ()


def test_of_images_with_one_tag_and_one_date_root_and_others_find_the_same(world: World) -> None:
    """28 formats of one image have one title, and are of one version of the list."""
    for version, images in (("1", (IMAGE, IMAGE_2)), ("2", (IMAGE_2, IMAGE))):
        octets = b"the same"
        world.publish(version, [world.image(name, version=version, octets=octets) for name in images])
        world.subscribe(new_images="cache")
        world.sync()
        document = snapshot.load(StateDirectory.at(world.state))
        with world.open() as catalogue:
            assert queries.judge(catalogue, "SL5")["identifier"] == IMAGE
        assert snapshot.judge(document, "SL5", world.now)["identifier"] == IMAGE
