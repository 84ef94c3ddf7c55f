# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A refresh that replaces a VO's endorser, killed at its steps: nobody who has gone is believed, and the next run ends
what was begun."""

from __future__ import annotations

import itertools
import json
import typing as t
from datetime import timedelta

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.elect import subscribe_endorsers
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.subscription import Subscription
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import to_text
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.smime import sign_message

from .conftest import IMAGE, LIST, OTHER_LIST, World
from .test_crash import _killed, _lay_out, _snapshot

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
    with world.open() as catalogue:
        subscribe_endorsers(catalogue, Subscription.from_options(wanted))
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
        killed = _killed(step, world.refresh)
        found = state(world)
        if ("erin", True) not in found["members"] and found["owners"] == before["owners"]:
            assert world.verdict()["code"] == "not_authorised"
            between += 1
        world.refresh()
        assert state(world) == after
        if not killed:
            break
    assert between > 0
