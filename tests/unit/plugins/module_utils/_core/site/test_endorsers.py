# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endorsers as things of their own: by name and by pair, and gone at once when the site removes them."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.endorsers import registry
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import snapshot
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.subscription import Subscription

from .conftest import IMAGE, LIST, World


def pair(signer: t.Any) -> dict[str, str]:
    return {"dn": signer.dn, "ca": signer.ca}


def remove(world: World, name: str, **more: t.Any) -> Outcome:
    return world.register({"name": name, "state": "absent"}, **more)


@pytest.fixture
def erin(world: World) -> t.Any:
    """An endorser with two certificates, registered as erin, whose list the site has and approves of."""
    other = world.pki.issue("Erin Elsewhere")
    world.register({"name": "erin", "pairs": [pair(world.pki.endorser), pair(other)]})
    world.publish("1", [world.image()])
    world.subscribe(endorsers=[{"name": "erin"}], new_images="cache")
    world.sync()
    assert world.verdict()["code"] == "allowed"
    return other


def test_one_person_signs_with_any_of_the_pairs(world: World, erin: t.Any) -> None:
    world.publish("2", [world.image()], signer=erin)
    assert world.refresh().data["failures"] == []
    assert world.verdict()["code"] == "not_cached"


def test_removing_an_endorser_stops_the_images_offline(world: World, erin: t.Any) -> None:
    (world.web / LIST).unlink()
    assert remove(world, "erin", reason="Left the VO").changed
    found = world.verdict()
    assert (found["allowed"], found["code"]) == (False, "not_authorised")
    assert "The endorser erin was removed by sam at " in found["reasons"][0]["text"]
    assert found["reasons"][0]["text"].endswith(": Left the VO.")
    stopped = snapshot.judge(snapshot.load(StateDirectory.at(world.state)), IMAGE, world.now)
    assert stopped["verdict"]["code"] == "not_authorised"


def test_run_anyway_does_not_bring_a_removed_endorser_back(world: World, erin: t.Any) -> None:
    world.decide("run_anyway", IMAGE)
    remove(world, "erin")
    assert world.verdict()["code"] == "not_authorised"


def test_a_pair_that_was_taken_away_stops_subscriptions_that_spell_it_out(world: World, erin: t.Any) -> None:
    world.subscribe(new_images="cache")
    assert world.verdict()["code"] == "allowed"
    remove(world, "erin")
    found = world.verdict()
    assert found["code"] == "not_authorised"
    assert "The pair of the endorser erin was removed by sam at " in found["reasons"][0]["text"]
    world.publish("2", [world.image()])
    assert world.refresh().data["failures"][0]["code"] == "not_authorised"


def test_another_spelling_of_the_name_does_not_get_around_the_removal(world: World) -> None:
    signer = world.pki.issue("Zoë Endorser")
    spelled = [signer.dn, signer.dn.replace("ë", r"\xC3\xAB")]
    assert spelled[0] != spelled[1]
    world.publish("1", [world.image()], signer=signer)
    world.subscribe(endorsers=[{"dn": spelled[1], "ca": signer.ca}], new_images="cache")
    world.register({"name": "zoe", "pairs": [{"dn": spelled[0], "ca": signer.ca}]})
    world.sync()
    assert world.verdict()["code"] == "allowed"
    remove(world, "zoe")
    assert world.verdict()["code"] == "not_authorised"
    world.register({"name": "zoe", "pairs": [{"dn": spelled[1], "ca": signer.ca}]})
    assert world.verdict()["code"] == "allowed"


def test_an_endorser_who_is_added_again_is_believed_again(world: World, erin: t.Any) -> None:
    remove(world, "erin")
    world.register({"name": "erin", "pairs": [pair(world.pki.endorser)]})
    assert world.verdict()["code"] == "allowed"


def test_a_pair_that_is_dropped_from_an_endorser_is_taken_away(world: World, erin: t.Any) -> None:
    world.subscribe(endorsers=[pair(world.pki.endorser)], new_images="cache")
    world.register({"name": "erin", "pairs": [pair(erin)]})
    assert world.verdict()["code"] == "not_authorised"


def test_the_pairs_of_somebody_who_is_not_registered_are_taken_away(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.sync()
    item = {"name": "stranger", "pairs": [pair(world.pki.endorser)], "state": "absent"}
    assert world.register(item).changed
    assert not world.register(item).changed
    assert world.verdict()["code"] == "not_authorised"


def test_an_unknown_name_is_refused(world: World) -> None:
    world.publish("1", [world.image()])
    with pytest.raises(VmimagesError) as refused:
        world.subscribe(endorsers=[{"name": "nobody"}])
    assert refused.value.code == "unknown_endorser"


def test_a_pair_belongs_to_one_endorser(world: World, erin: t.Any) -> None:
    with pytest.raises(VmimagesError) as refused:
        world.register({"name": "eve", "pairs": [pair(erin)]})
    assert refused.value.code == "endorser_invalid"
    world.register(
        {"name": "eve", "pairs": [pair(erin)]},
        {"name": "erin", "pairs": [pair(world.pki.endorser)]},
    )
    with world.open() as catalogue:
        assert registry.pairs_of(catalogue, "eve") == ((erin.dn, erin.ca),)
        assert registry.barred(catalogue) == []


def test_what_is_said_twice_is_journaled_once(world: World, erin: t.Any) -> None:
    item = {"name": "erin", "pairs": [pair(erin), pair(world.pki.endorser)]}
    before = (world.state / "journal.jsonl").read_bytes()
    assert not world.register(item).changed
    assert not remove(world, "nobody").changed
    assert world.register({**item, "email": "erin@example.org"}, check=True).changed
    assert (world.state / "journal.jsonl").read_bytes() == before


def test_a_rebuild_gives_the_same_registry(world: World, erin: t.Any) -> None:
    remove(world, "erin")
    world.register({"name": "eve", "pairs": [pair(erin)], "email": "eve@example.org", "comment": "new"})
    rows = world.rows()
    assert rows["endorsers"]
    assert rows["endorser_pairs"]
    with world.open() as catalogue:
        catalogue.rebuild()
    assert world.rows() == rows


def test_a_subscription_by_name_reads_back_as_options(world: World, erin: t.Any) -> None:
    wanted = world.wanted(endorsers=[{"name": "erin"}, {"name": "eve", "endorser_list": LIST}, pair(erin)])
    assert Subscription.from_options(wanted.as_dict()) == wanted
    assert wanted.as_dict()["endorsers"] == [pair(erin), {"name": "erin"}, {"name": "eve", "endorser_list": LIST}]


def test_one_certificate_is_not_that_of_two_endorsers_in_two_spellings(world: World) -> None:
    """The tombstone of one would authorise nothing less while the other stands."""
    first = {"dn": "/DC=org/CN=Zoë/emailAddress=z@x.org", "ca": "/DC=org/CN=host\\/ca"}
    second = {"dn": "/DC=org/CN=Zo\\xC3\\xAB/E=z@x.org", "ca": "/DC=org/CN=host/ca"}
    world.register({"name": "zoe", "pairs": [first]})
    for more in ((), ({"name": "zoe", "pairs": [first]},)):
        with pytest.raises(VmimagesError) as refused:
            world.register({"name": "zoe2", "pairs": [second]}, *more)
        assert refused.value.code == "endorser_invalid"
    assert world.register({"name": "zoe", "state": "absent"}, {"name": "zoe2", "pairs": [second]}).changed


def test_removing_somebody_who_was_never_registered_is_warned_of(world: World, erin: t.Any) -> None:
    outcome = remove(world, "erinn")
    assert not outcome.changed
    assert "erinn" in outcome.warnings[0]
    remove(world, "erin")
    assert remove(world, "erin").warnings == ()


def test_who_takes_over_a_name_is_told_of_the_decisions_about_it(world: World, erin: t.Any) -> None:
    world.decide("approve", endorsers=[{"name": "erin"}])
    remove(world, "erin")
    other = world.pki.issue("Another Erin")
    item = {"name": "erin", "pairs": [pair(other)]}
    assert "approve" in world.register(item).warnings[0]
    assert world.register(item).warnings == ()
