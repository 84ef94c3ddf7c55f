# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A refresh that replaces a VO's endorser, killed at its steps: nobody who has gone is believed, and the next run ends
what was begun."""

from __future__ import annotations

import itertools
import json
import typing as t
from datetime import timedelta

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.history import verdicts
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import asked, snapshot
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.elect import subscribe_endorsers
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.subscribe import subscribe
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.subscription import Subscription
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import to_text
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message.smime import sign_message

from ..killing import killed_before
from .conftest import IMAGE, LIST, OTHER_LIST, World
from .test_crash import STEPS, _lay_out, _snapshot

VO_LIST = "7c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90"
#: Every step is a test of its own in `test_crash`; here every other one is enough.
STRIDE = 2


def elect(world: World, version: str, person: str, signer: t.Any, list_id: str) -> None:
    """Publish the endorser list with one person, who has one list."""
    member = {
        "dc:identifier": person,
        "hv:x509": {"hv:dn": signer.dn, "hv:ca": signer.ca},
        "hv:imagelists": [{"hv:uri": world.uri(list_id), "dc:identifier": list_id}],
    }
    vo = world.pki.issue("Vera Voms")
    document = {
        "dc:identifier": VO_LIST,
        "dc:date:created": to_text(world.now - timedelta(hours=1)),
        "dc:date:expires": to_text(world.now + timedelta(days=20)),
        "hv:version": version,
        "hv:endorser": {"hv:x509": {"hv:dn": vo.dn, "hv:ca": vo.ca}},
        "hv:endorsers": [{"hv:endorser": member}],
    }
    content = json.dumps({"hv:endorserlist": document}).encode()
    world.serve(sign_message(content, certificate=vo.certificate, key=vo.key), identifier=VO_LIST)


def following(world: World, **options: t.Any) -> Subscription:
    """The subscription to the endorser list."""
    vo = world.pki.issue("Vera Voms")
    wanted = {
        "kind": "endorserlist",
        "uri": world.uri(VO_LIST),
        "identifier": VO_LIST,
        "authorities": [{"dn": vo.dn, "ca": vo.ca}],
        "anchors": str(world.pki.certificates),
        "allow_private": True,
        "new_endorsers": "accept",
        "lists": "subscribe",
        "subscription": {"new_images": "cache"},
    }
    return Subscription.from_options({**wanted, **options})


def state(world: World) -> dict[str, list[tuple[t.Any, ...]]]:
    """What matters of the index: subscriptions, accepted versions, owners of images and persons."""
    rows = world.rows()
    return {
        "lists": [(row[0], row[4], row[6]) for row in rows["lists"]],
        "versions": [row[1:3] for row in rows["versions"]],
        "owners": rows["owners"],
        "members": [(row[2], row[5] is None) for row in rows["members"]],
    }


def test_a_replacement_that_is_killed_is_completed(world: World) -> None:
    erin, frank = world.pki.endorser, world.pki.issue("Frank Follower")
    image = world.image()
    world.publish("1", [image])
    world.publish("1", [image], identifier=OTHER_LIST, signer=frank)
    elect(world, "1", "erin", erin, LIST)
    with world.open() as catalogue:
        subscribe_endorsers(catalogue, following(world))
    world.sync()
    assert world.verdict()["code"] == "allowed"
    elect(world, "2", "frank", frank, OTHER_LIST)
    start = _snapshot(world)
    _lay_out(world, start)
    before = state(world)
    world.refresh()
    after = state(world)
    assert after["owners"] == [(IMAGE, OTHER_LIST)]
    assert before["owners"] == [(IMAGE, LIST)]
    between = 0
    for step in itertools.count(1, STRIDE):
        _lay_out(world, start)
        killed = killed_before(step, world.refresh, *STEPS)
        found = state(world)
        if ("erin", True) not in found["members"] and found["owners"] == before["owners"]:
            assert world.verdict()["code"] == "not_authorised"
            between += 1
        world.refresh()
        assert state(world) == after
        if not killed:
            break
    assert between > 0


def test_who_is_no_longer_accepted_authorises_nobody_before_the_lists_are_followed(world: World) -> None:
    """A run that dies behind the new terms, and before it ends the subscriptions that they no longer allow."""
    world.publish("1", [world.image()])
    elect(world, "1", "erin", world.pki.endorser, LIST)
    with world.open() as catalogue:
        subscribe_endorsers(catalogue, following(world))
    world.sync()
    assert world.verdict()["code"] == "allowed"
    with world.open() as catalogue:
        subscribe(catalogue, following(world, new_endorsers="report"), refresh="never")
    found = world.verdict()
    assert found["code"] == "not_authorised"
    assert "does not accept erin" in found["reasons"][0]["text"]
    recorded = snapshot.judge(snapshot.load(StateDirectory.at(world.state)), IMAGE, world.now)
    assert recorded["verdict"]["code"] == "not_authorised"
    world.refresh()
    assert world.verdict()["code"] == "unsubscribed"


def test_an_audit_does_not_hold_against_an_endorser_list_that_nothing_was_new(world: World) -> None:
    world.publish("1", [world.image()])
    elect(world, "1", "erin", world.pki.endorser, LIST)
    with world.open() as catalogue:
        subscribe_endorsers(catalogue, following(world, max_unrefreshed="2d"))
    world.sync()
    world.now += timedelta(days=3)
    assert world.verdict()["code"] == "not_authorised"
    world.refresh()
    assert world.verdict()["code"] == "allowed"
    with world.open() as catalogue:
        told = verdicts.judge(catalogue.state, IMAGE, world.now, now=world.now, kind=asked.IMAGE, source=catalogue)
    audited = told["verdict"]
    assert (audited["allowed"], audited["would_have_been_allowed"]) == (False, True)


def test_check_mode_foretells_what_new_terms_end_and_change(world: World) -> None:
    world.publish("1", [world.image()])
    elect(world, "1", "erin", world.pki.endorser, LIST)
    with world.open() as catalogue:
        subscribe_endorsers(catalogue, following(world))
    terms: tuple[dict[str, t.Any], ...] = ({"subscription": {"new_images": "report"}}, {"new_endorsers": "report"})
    for options, action in zip(terms, ("subscribe", "unsubscribe")):
        before = world.rows()
        with world.open() as catalogue:
            foretold = subscribe_endorsers(catalogue, following(world, **options), check=True)
        assert world.rows() == before
        with world.open() as catalogue:
            done = subscribe_endorsers(catalogue, following(world, **options))
        assert foretold.actions == done.actions
        assert (done.actions[-1]["action"], done.actions[-1]["list"]) == (action, LIST)
