# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The book's use cases about endorsers (chapter 5: 1.1 to 1.4, 3.6, 3.8), each with real signed messages over a real
web server and a real cache, and what may not happen on the way."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.history import lists, verdicts
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import asked
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.subscribe import unsubscribe

from .nginx import serve
from .vo import Endorser, Site, Vo, Web

pytestmark = pytest.mark.needs("nginx")


@pytest.fixture
def web(pki: t.Any, tmp_path: Path) -> t.Iterator[Web]:
    with serve(tmp_path, pki.tls) as nginx:
        yield Web(pki, nginx, tmp_path)


@pytest.fixture
def vo(web: Web) -> Vo:
    return Vo(web)


@pytest.fixture
def erin(web: Web) -> Endorser:
    return Endorser(web, "erin")


@pytest.fixture
def site(web: Web, tmp_path: Path) -> Site:
    return Site(web, tmp_path / "site")


@pytest.fixture
def running(vo: Vo, erin: Endorser, site: Site) -> str:
    """An image of Erin's, whom the VO has elected, that may run at a site that follows the VO."""
    image = erin.image()
    erin.publish(image)
    vo.elect(erin.entry())
    site.follow(vo)
    site.sync()
    identifier = str(image["identifier"])
    assert site.code(identifier) == "allowed"
    return identifier


def test_use_case_1_1_a_new_endorser_enters_a_vo(vo: Vo, erin: Endorser, site: Site) -> None:
    vo.elect()
    site.follow(vo)
    image = erin.image()
    erin.publish(image)
    vo.elect(erin.entry())
    site.update()
    assert site.approved() == [image["identifier"]]


def test_use_case_1_1_1_the_change_is_announced_to_the_sites(vo: Vo, erin: Endorser, site: Site) -> None:
    log = site.listen()
    vo.elect()
    site.support(vo)
    site.announce()
    erin.publish(erin.image())
    vo.elect(erin.entry())
    (report,) = site.refresh().data["lists"]
    assert (report["identifier"], report["version"]) == (vo.list_id, "2")
    assert (report["new_endorsers"], report["gone_endorsers"]) == (["erin"], [])
    vo.elect(erin.entry(email="erin@example.net"))
    site.refresh()
    vo.elect()
    site.refresh()
    site.announce()
    heard = [json.loads(line) for line in log.read_text().splitlines()]
    told = [(one["event"], one["endorser"]["identifier"], one["endorser"]["email"]) for one in heard if one["endorser"]]
    assert told == [
        ("EndorserNew", "erin", "erin@example.org"),
        ("EndorserChanged", "erin", "erin@example.net"),
        ("EndorserGone", "erin", "erin@example.net"),
    ]
    assert {one["list"]["identifier"] for one in heard if one["endorser"]} == {vo.list_id}


def test_the_status_shows_endorsers_and_their_lists(vo: Vo, erin: Endorser, site: Site, running: str) -> None:
    site.register({"name": "erin", "pairs": [erin.pair]})
    done = subprocess.run(
        [Path(sys.executable).with_name("vmimages"), "status", "--state-dir", site.state],
        check=True,
        capture_output=True,
        text=True,
    )
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert f"{vo.list_id} erin yes {erin.signer.dn} {erin.signer.ca}" in lines
    assert f"erin yes {erin.signer.dn} {erin.signer.ca}" in lines
    snapshot = json.loads((site.state / "verdicts.json").read_text())
    assert snapshot["lists"][vo.list_id]["kind"] == "endorserlist"
    assert snapshot["lists"][erin.list_id]["origin"] == vo.list_id
    assert [one["name"] for one in snapshot["endorsers"]] == ["erin"]


def test_use_case_1_1_2_the_sites_decide_whom_they_accept(web: Web, vo: Vo, erin: Endorser, site: Site) -> None:
    eve = Endorser(web, "eve")
    images = {one.name: one.image() for one in (erin, eve)}
    for one in (erin, eve):
        one.publish(images[one.name])
    vo.elect(erin.entry(), eve.entry())
    site.follow(vo, new_endorsers="report", accept=["eve"])
    site.sync()
    assert site.approved() == [images["eve"]["identifier"]]
    with pytest.raises(VmimagesError):
        site.verdict(images["erin"]["identifier"])
    site.follow(vo, new_endorsers="report", accept=["erin"])
    site.update()
    assert site.approved() == [images["erin"]["identifier"]]
    assert site.code(images["eve"]["identifier"]) == "unsubscribed"


def test_use_case_1_1_3_the_local_approval_begins(vo: Vo, erin: Endorser, site: Site) -> None:
    image = erin.image()
    erin.publish(image)
    vo.elect(erin.entry())
    site.follow(vo, subscription={})
    site.sync()
    assert site.code(image["identifier"]) == "not_approved"
    assert site.cached() == 0
    site.decide("approve", image["identifier"], reason="tested")
    site.sync()
    assert site.code(image["identifier"]) == "allowed"


def test_use_case_1_2_1_the_vo_revokes_all_images_of_an_endorser(
    vo: Vo, erin: Endorser, site: Site, running: str
) -> None:
    vo.elect()
    erin.file.unlink()
    report = next(one for one in site.refresh().data["lists"] if one["identifier"] == vo.list_id)
    assert report["gone_endorsers"] == ["erin"]
    found = site.verdict(running)
    assert found["code"] == "unsubscribed"
    reasons = {reason["code"]: reason["text"] for reason in found["reasons"]}
    assert "The endorser erin was removed from the endorser list" in reasons["unsubscribed"]
    assert f"signed by {vo.signer.dn}" in reasons["not_authorised"]
    site.sync()
    assert (site.approved(), site.cached()) == ([], 0)


def test_use_case_1_2_2_a_new_endorser_keeps_the_images_running(
    web: Web, vo: Vo, erin: Endorser, site: Site, running: str
) -> None:
    octets = (web.nginx.root / f"erin-{running}-1.img").read_bytes()
    frank = Endorser(web, "frank")
    frank.publish(frank.image(running, octets=octets))
    vo.elect(frank.entry())
    erin.file.unlink()
    assert site.refresh().data["failures"] == []
    assert site.code(running) == "allowed"
    site.sync()
    assert (site.approved(), site.cached()) == ([running], 1)
    assert web.nginx.requests()[-1].count("frank-") == 0


def test_use_case_1_2_3_whoever_has_left_releases_nothing_more(
    vo: Vo, erin: Endorser, site: Site, running: str
) -> None:
    vo.elect()
    site.update()
    newer = erin.image(running)
    erin.publish(newer, erin.image())
    site.update()
    assert (site.approved(), site.cached()) == ([], 0)
    assert len(site.journal("accepted")) == 3


def test_use_case_1_3_an_endorser_is_replaced(web: Web, vo: Vo, erin: Endorser, site: Site, running: str) -> None:
    frank = Endorser(web, "frank")
    frank.publish(frank.image(running))
    vo.elect(erin.entry(), frank.entry())
    (clash,) = site.refresh().warnings
    assert f"Image {running} of list {frank.list_id} is refused" in clash
    site.sync()
    assert site.verdict(running)["reasons"][0]["code"] == "approved"
    vo.elect(frank.entry())
    site.update()
    with site.open() as catalogue:
        owner = catalogue.row("SELECT list_id FROM owners WHERE image_id = ?", running)
    assert owner is not None
    assert owner["list_id"] == frank.list_id
    assert site.approved() == [running]


def test_use_case_1_4_only_sites_that_support_the_vo_hear_of_its_endorsers(
    web: Web, vo: Vo, erin: Endorser, site: Site, tmp_path: Path
) -> None:
    other = Site(web, tmp_path / "other")
    another_vo = Vo(web, list_id="8c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90", name="another")
    vo.elect()
    another_vo.elect()
    site.follow(vo)
    other.follow(another_vo)
    erin.publish(erin.image())
    vo.elect(erin.entry())
    site.update()
    other.update()
    assert len(site.approved()) == 1
    assert other.approved() == []
    assert [line["identifier"] for line in other.journal("subscribed")] == [another_vo.list_id]


def test_use_case_3_6_a_site_stops_all_images_of_an_endorser(vo: Vo, erin: Endorser, site: Site, running: str) -> None:
    site.web.nginx.stop()
    site.register({"name": "erin", "pairs": [erin.pair], "state": "absent"}, reason="stolen laptop")
    found = site.verdict(running)
    assert found["code"] == "not_authorised"
    assert "was removed by sam at " in found["reasons"][0]["text"]
    assert found["reasons"][0]["text"].endswith(": stolen laptop.")
    site.decide("run_anyway", running)
    site.sync()
    assert (site.approved(), site.cached()) == ([], 0)
    site.web.nginx.start()
    erin.publish(erin.image(running))
    assert site.refresh().data["failures"] == []
    assert site.approved() == []
    assert "The site has taken away what erin of the endorser list" in site.verdict(running)["reasons"][0]["text"]
    site.register({"name": "erin", "pairs": [erin.pair]})
    site.decide("clear", running)
    site.update()
    assert site.approved() == [running]


def test_use_case_3_8_endorser_a_is_replaced_by_endorser_b(web: Web, site: Site, erin: Endorser) -> None:
    bert = Endorser(web, "bert")
    image = erin.image()
    erin.publish(image)
    octets = Path(image["path"]).read_bytes()
    bert.publish(bert.image(image["identifier"], octets=octets))
    site.register({"name": "A", "pairs": [erin.pair]}, {"name": "B", "pairs": [bert.pair]})
    site.subscribe(erin, endorsers=[{"name": "A"}], new_images="cache")
    (clash,) = site.subscribe(bert, endorsers=[{"name": "B"}], new_images="cache").warnings
    assert "uuid_clash" in clash
    site.sync()
    site.register({"name": "A", "state": "absent"}, reason="B takes over")
    assert site.code(image["identifier"]) == "not_authorised"
    with site.open() as catalogue:
        unsubscribe(catalogue, identifier=erin.list_id)
    assert site.code(image["identifier"]) == "allowed"
    site.update()
    assert (site.approved(), site.cached()) == ([image["identifier"]], 1)


class TestOffline:
    """What stops the images of a VO's endorsers without any network."""

    @pytest.fixture(autouse=True)
    def cut_off(self, running: str, web: Web) -> str:
        web.nginx.stop()
        return running

    def test_the_endorser_list_expires(self, site: Site, vo: Vo, running: str) -> None:
        site.ahead = timedelta(days=28, minutes=-5)
        assert site.code(running) == "allowed"
        site.ahead = timedelta(days=28, minutes=5)
        site.decide("run_anyway", running)
        found = site.verdict(running)
        assert found["code"] == "not_authorised"
        assert "(list_expired)" in found["reasons"][0]["text"]

    def test_a_verdict_ends_with_the_endorser_list(self, site: Site, vo: Vo, erin: Endorser, running: str) -> None:
        with site.open() as catalogue:
            expires = catalogue.standing_version(vo.list_id)
        assert expires is not None
        assert site.verdict(running)["good_until"] <= expires["expires"]

    def test_the_signer_of_the_endorser_list_is_revoked(self, site: Site, vo: Vo, web: Web, running: str) -> None:
        web.pki.revoke(vo.signer.certificate)
        web.pki.write_crls()
        found = site.verdict(running)
        assert found["code"] == "not_authorised"
        assert "(revoked)" in found["reasons"][0]["text"]

    def test_the_signer_of_the_endorser_list_is_removed(self, site: Site, vo: Vo, running: str) -> None:
        pair = {"dn": vo.signer.dn, "ca": vo.signer.ca}
        site.register({"name": "manager", "pairs": [pair], "state": "absent"})
        found = site.verdict(running)
        assert found["code"] == "not_authorised"
        assert "of the endorser manager was removed by sam" in found["reasons"][0]["text"]

    def test_the_site_leaves_the_vo(self, site: Site, vo: Vo, running: str) -> None:
        site.leave(vo)
        assert site.code(running) == "unsubscribed"
        site.sync()
        assert site.cached() == 0


def test_the_endorser_list_is_not_refreshed_for_too_long(vo: Vo, erin: Endorser, site: Site) -> None:
    image = erin.image()
    erin.publish(image)
    vo.elect(erin.entry())
    site.follow(vo, max_unrefreshed="2d")
    site.sync()
    site.ahead = timedelta(days=2, minutes=5)
    found = site.verdict(image["identifier"])
    assert found["code"] == "not_authorised"
    assert "(list_stale)" in found["reasons"][0]["text"]


def test_a_subscription_of_the_administrators_is_bound_and_left_alone(
    web: Web, vo: Vo, erin: Endorser, site: Site
) -> None:
    image = erin.image()
    erin.publish(image)
    vo.elect(erin.entry())
    site.support(vo)
    site.subscribe(erin, endorsers=[{"name": "erin", "endorser_list": vo.list_id}], new_images="cache")
    site.follow(vo)
    site.sync()
    assert site.code(image["identifier"]) == "allowed"
    vo.elect()
    site.refresh()
    found = site.verdict(image["identifier"])
    assert found["code"] == "not_authorised"
    assert "in version 2" in found["reasons"][0]["text"]
    assert site.journal("unsubscribed") == []


def test_what_the_administrator_has_ended_stays_ended(vo: Vo, erin: Endorser, site: Site, running: str) -> None:
    with site.open() as catalogue:
        unsubscribe(catalogue, identifier=erin.list_id)
    vo.elect(erin.entry(name="Erin"))
    site.update()
    assert site.code(running) == "unsubscribed"


def test_an_endorser_who_comes_back_is_followed_again(vo: Vo, erin: Endorser, site: Site, running: str) -> None:
    vo.elect()
    site.update()
    assert site.approved() == []
    vo.elect(erin.entry())
    site.update()
    assert site.approved() == [running]


def test_a_list_may_move_and_its_endorser_have_a_new_certificate_in_one_refresh(
    web: Web, vo: Vo, erin: Endorser, site: Site, running: str
) -> None:
    moved = Endorser(web, "moved", list_id=erin.list_id)
    moved.publish(moved.image(running), version="7")
    vo.elect({**moved.entry(), "identifier": "erin"})
    site.update()
    assert site.approved() == [running]
    again = Endorser(web, "moved", signer=web.pki.issue("Moved Again"), list_id=erin.list_id)
    moved.file.unlink()
    again.publish(again.image(running), version="8")
    vo.elect({**again.entry(), "identifier": "erin"})
    site.update()
    assert site.approved() == [running]


def test_a_list_that_two_persons_sign_outlives_one_of_them(web: Web, vo: Vo, erin: Endorser, site: Site) -> None:
    image = erin.image()
    erin.publish(image)
    eve = Endorser(web, "eve")
    both: dict[str, t.Any] = {"lists": [{"uri": erin.uri}]}
    vo.elect(erin.entry(), eve.entry(**both))
    site.follow(vo)
    vo.elect(eve.entry(**both))
    site.refresh()
    assert site.code(image["identifier"]) == "not_authorised"
    erin.file.unlink()
    Endorser(web, "erin", signer=eve.signer, list_id=erin.list_id).publish(image, version="9")
    site.update()
    assert site.approved() == [image["identifier"]]


def test_anybody_can_read_and_verify_an_endorser_list(web: Web, vo: Vo, erin: Endorser) -> None:
    vo.elect(erin.entry())
    done = subprocess.run(
        [Path(sys.executable).with_name("vmimages"), "verify", vo.file, "--anchors", web.pki.certificates],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("verified\n")
    assert done.stdout.splitlines()[-1].split()[0] == "erin"


def test_the_history_knows_who_was_an_endorser_when(vo: Vo, erin: Endorser, site: Site, running: str) -> None:
    before = site.now()
    vo.elect()
    site.ahead = timedelta(seconds=5)
    site.update()
    site.ahead = timedelta(seconds=10)
    with site.open() as catalogue:
        then = verdicts.judge(catalogue.state, running, before, now=catalogue.now(), kind=asked.IMAGE, source=catalogue)
        told = lists.history(catalogue, vo.list_id, between=("1", "2"))
    assert then["verdict"]["code"] == "allowed"
    assert site.code(running) == "unsubscribed"
    assert [version["version"] for version in told["versions"]] == ["1", "2"]
    assert told["problems"] == []
    assert "erin" in json.dumps(told["difference"])


def test_a_list_of_two_vos_goes_on_with_the_other_one(
    web: Web, vo: Vo, erin: Endorser, site: Site, running: str
) -> None:
    other = Vo(web, list_id="8c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90", name="another")
    other.elect(erin.entry())
    site.follow(other)
    assert len(site.journal("subscribed")) == 3
    vo.elect()
    site.update()
    assert site.approved() == [running]
    with site.open() as catalogue:
        row = catalogue.row("SELECT definition FROM lists WHERE list_id = ? AND active = 1", erin.list_id)
    assert row is not None
    assert json.loads(row["definition"])["origin"] == other.list_id


def test_a_rebuild_gives_the_same_index(vo: Vo, erin: Endorser, site: Site, running: str) -> None:
    gone = {"dn": "/CN=gone", "ca": "/CN=CA"}
    site.register({"name": "A", "pairs": [erin.pair]}, {"name": "B", "state": "absent", "pairs": [gone]})
    vo.elect(erin.entry(name="Erin"))
    site.refresh()
    vo.elect()
    site.refresh()
    rows = site.rows()
    assert len(rows["members"]) == 2
    with site.open() as catalogue:
        catalogue.rebuild()
    assert site.rows() == rows


class TestHostile:
    """What somebody on the way, or with a key of another person, can do with an endorser list: nothing."""

    def refused(self, site: Site, vo: Vo) -> str:
        report = next(one for one in site.refresh().data["lists"] if one["identifier"] == vo.list_id)
        return str(report["error"]["code"])

    def test_another_signer(self, web: Web, vo: Vo, erin: Endorser, site: Site, running: str) -> None:
        mallory = Endorser(web, "mallory")
        forged: dict[str, t.Any] = {
            "identifier": vo.list_id,
            "vo": "vo",
            "uri": vo.uri,
            "endorsers": [mallory.entry()],
            "history_dir": str(web.directory / "mallory"),
            "uploads": [],
        }
        web.publish(mallory.signer, kind="endorserlist", **forged)
        message = next((web.directory / "mallory" / vo.list_id / "messages").iterdir()).read_bytes()
        vo.file.write_bytes(message)
        assert self.refused(site, vo) == "not_authorised"
        assert site.code(running) == "allowed"

    def test_a_replay(self, vo: Vo, erin: Endorser, site: Site, running: str) -> None:
        older = vo.file.read_bytes()
        vo.elect()
        site.update()
        vo.file.write_bytes(older)
        assert self.refused(site, vo) == "rollback"
        assert site.approved() == []

    def test_another_list_of_the_same_signer(self, web: Web, vo: Vo, erin: Endorser, site: Site, running: str) -> None:
        other = Vo(web, signer=vo.signer, list_id="8c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90", name="another")
        other.elect()
        vo.file.write_bytes(other.file.read_bytes())
        assert self.refused(site, vo) == "identifier_mismatch"

    def test_an_image_list_in_its_place(self, web: Web, vo: Vo, erin: Endorser, site: Site, running: str) -> None:
        vo.file.write_bytes(erin.file.read_bytes())
        assert self.refused(site, vo) == "list_malformed"

    def test_a_message_without_end(self, vo: Vo, site: Site, running: str) -> None:
        vo.file.write_bytes(vo.file.read_bytes() + b"\n" * (9 * 1024 * 1024))
        assert self.refused(site, vo) == "too_large"

    def test_an_address_inside_the_site(self, web: Web, vo: Vo, erin: Endorser, site: Site) -> None:
        erin.publish(erin.image())
        vo.elect(erin.entry(), {**erin.entry(), "identifier": "eve", "pairs": [{"dn": "/CN=eve", "ca": "/CN=CA"}]})
        outcome = site.follow(vo, allow_private=False)
        assert [one["code"] for one in outcome.data["failures"]] == ["address_refused"]
