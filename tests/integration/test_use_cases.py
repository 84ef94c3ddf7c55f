# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The use cases of the working group's book, chapter 5: actions of endorsers (2) and of sites (3).

On real signed messages, a real web server and a real cache. An endorser's VMIC is the list that they publish; a site's
local list of approved images is the list that it signs for its worker nodes.
"""

from __future__ import annotations

import typing as t

import pytest

from .grid import Grid, make
from .region import Endorser, Site

pytestmark = pytest.mark.needs("nginx")


@pytest.fixture(scope="module")
def grid(demo_ca: t.Any, now: t.Any, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Grid]:
    with make(tmp_path_factory.mktemp("region"), demo_ca, now, {}) as found:
        yield found


@pytest.fixture
def erin(grid: Grid) -> Endorser:
    """An endorser of a VO."""
    return Endorser(grid, "Erin", grid.pki.endorser)


@pytest.fixture(scope="module")
def sally_s_certificate(grid: Grid) -> t.Any:
    return grid.pki.issue("Sally Site")


@pytest.fixture
def site(grid: Grid, sally_s_certificate: t.Any) -> Site:
    """A site, whose own endorser is Sally."""
    return Site(grid, Endorser(grid, "Sally", sally_s_certificate))


@pytest.fixture
def other_site(grid: Grid, sally_s_certificate: t.Any) -> Site:
    return Site(grid, Endorser(grid, "Sally", sally_s_certificate))


def test_2_1_a_new_image_is_released(erin: Endorser, site: Site) -> None:
    site.subscribe(erin)
    first, second = erin.build("worker"), erin.build("login")
    erin.publish(first)
    (told,) = site.poll()["lists"]
    assert told["new_images"] == [first.identifier]
    assert site.verdict(first) == "not_approved"
    site.decide("approve", first)
    site.poll()
    assert site.runs(first)
    # The VO asks for a check outside the normal intervals.
    erin.publish(first, second)
    (told,) = site.poll(erin.uri)["lists"]
    assert told["new_images"] == [second.identifier]
    assert (site.verdict(second), site.runs(first)) == ("not_approved", True)


def test_2_2_a_blessed_image_is_revoked_without_replacement(erin: Endorser, site: Site) -> None:
    site.subscribe(erin, new_images="cache")
    buggy, good = erin.build("buggy"), erin.build("good")
    erin.publish(buggy, good)
    site.poll()
    path = site.path(buggy)
    assert site.approved() == {buggy.identifier, good.identifier}
    erin.publish(good)
    (told,) = site.poll()["lists"]
    assert told["withdrawn_images"] == [buggy.identifier]
    assert site.verdict(buggy) == "withdrawn"
    assert not path.exists()
    assert site.verdict(path.parents[1] / "expired" / path.name) == "withdrawn"
    assert site.approved() == {good.identifier}
    assert site.runs(good)


def test_2_3_an_image_is_updated(erin: Endorser, site: Site) -> None:
    site.subscribe(erin)
    old = erin.build("worker")
    erin.publish(old)
    site.poll()
    site.decide("approve", old)
    site.poll()
    assert site.runs(old)
    new = old.renewed(same=False)
    erin.publish(new)
    site.poll()
    assert (site.verdict(old), site.verdict(new)) == ("withdrawn", "not_approved")
    site.decide("approve", new)
    site.poll()
    assert site.runs(new)
    # Whoever asks for the worker gets the new one.
    assert site.command("verdict", "worker")[1]["identifier"] == new.identifier
    assert site.approved() == {new.identifier}


def test_3_1_a_site_uses_an_image_of_its_own(site: Site) -> None:
    own = Endorser(site.grid, "Sally", site.local.person)
    local = own.build("local analysis")
    own.publish(local)
    site.subscribe(own)
    site.poll()
    assert site.verdict(local) == "not_approved"
    site.decide("approve", local, reason="for our own users")
    site.poll()
    assert site.runs(local)
    assert site.approved() == {local.identifier}


def test_3_2_a_site_shares_an_image_with_other_sites(site: Site, other_site: Site) -> None:
    sharing = Endorser(site.grid, "Sally", site.local.person)
    for remote in (site, other_site):
        remote.subscribe(sharing)
    useful = sharing.build("useful")
    sharing.publish(useful)
    for remote in (site, other_site):
        (told,) = remote.poll()["lists"]
        assert told["new_images"] == [useful.identifier]
    # One of them adds it to its approved images, the other one does not.
    site.decide("approve", useful)
    site.poll()
    assert (site.runs(useful), site.approved()) == (True, {useful.identifier})
    assert (other_site.verdict(useful), other_site.approved()) == ("not_approved", set())


def test_3_3_site_policies_allow_an_image(erin: Endorser, site: Site) -> None:
    site.module(
        "image_policy",
        rules=[{"name": "kvm of Erin", "decision": "approve", "match": {"hypervisor": "kvm", "endorser": "*Erin*"}}],
    )
    site.subscribe(erin)
    image = erin.build("worker", hypervisor="kvm")
    erin.publish(image)
    site.poll()
    assert site.runs(image)
    assert site.approved() == {image.identifier}


def test_3_4_site_policies_forbid_an_image(erin: Endorser, site: Site) -> None:
    site.module(
        "image_policy",
        rules=[{"name": "no Xen", "decision": "blacklist", "match": {"hypervisor": "xen*"}, "reason": "no Xen here"}],
    )
    site.subscribe(erin, new_images="cache")
    forbidden, fine = erin.build("worker", hypervisor="xen"), erin.build("worker", hypervisor="kvm")
    erin.publish(forbidden, fine)
    site.poll()
    code, answer = site.command("verdict", forbidden.identifier)
    assert (code, answer["verdict"]["code"], answer["cache"]) == (1, "blacklisted", None)
    assert "no Xen here" in answer["verdict"]["reasons"][0]["text"]
    assert site.runs(fine)
    assert site.approved() == {fine.identifier}


def test_3_5_a_site_stops_images_of_a_type(erin: Endorser, site: Site) -> None:
    site.subscribe(erin, new_images="cache")
    weak, fine = erin.build("old", osversion="SL 5.8"), erin.build("new", osversion="SL 6.2")
    erin.publish(weak, fine)
    site.poll()
    path = site.path(weak)
    assert site.approved() == {weak.identifier, fine.identifier}
    rule = {
        "name": "SL 5",
        "decision": "blacklist",
        "match": {"osversion": "SL 5*"},
        "reason": "CVE-2026-0001",
        "except": [],
    }
    site.module("image_policy", rules=[rule])
    assert (site.verdict(weak), site.verdict(path), site.runs(fine)) == ("blacklisted", "blacklisted", True)
    assert site.approved() == {fine.identifier}
    site.poll()
    assert not path.exists()
    # The VO's endorser is informed, and revokes the image as in 2.2.
    (letter,) = site.letters()
    assert "To: erin@example.org" in letter
    assert weak.identifier in letter and "CVE-2026-0001" in letter
    assert fine.identifier not in letter


def test_3_7_a_new_image_is_made_available_to_users(erin: Endorser, site: Site) -> None:
    site.subscribe(erin, new_images="report")
    known = erin.build("worker")
    erin.publish(known)
    site.poll()
    wanted, unwanted = erin.build("analysis"), erin.build("games")
    erin.publish(known, wanted, unwanted)
    (told,) = site.poll()["lists"]
    assert set(told["new_images"]) == {wanted.identifier, unwanted.identifier}
    site.decide("approve", wanted)
    site.decide("blacklist", unwanted, reason="no games")
    site.poll()
    assert site.runs(wanted)
    assert (site.verdict(known), site.verdict(unwanted)) == ("not_approved", "blacklisted")
    assert site.approved() == {wanted.identifier}
    # Who released it, and who let it in, can be told.
    (image,) = site.module("image_info", images=[wanted.identifier], history=True)["images"]
    assert image["history"]["endorsements"][0]["signer"]["dn"] == erin.person.dn
    assert [one["decision"] for one in image["history"]["decisions"]] == ["approve"]
