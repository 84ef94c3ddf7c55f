# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trust at use: what was accepted is judged again with the present time, anchors and CRLs, and without any network."""

from __future__ import annotations

import json
import os
import typing as t
from datetime import timedelta

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import path_status
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement.assess import subscription_of
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer import fetch

from .conftest import IMAGE, IMAGE_2, LIST, World


@pytest.fixture
def site(world: World) -> World:
    """A site whose image runs."""
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.sync()
    assert world.verdict()["allowed"]
    return world


def _endorsers(*people: t.Any) -> dict[str, t.Any]:
    return {"new_images": "cache", "endorsers": [{"dn": one.dn, "ca": one.ca} for one in people]}


def _code(world: World) -> str:
    return str(world.verdict()["code"])


def _status(world: World) -> str:
    report = world.refresh().data["lists"][0]
    return str(report["error"]["code"] if "error" in report else report["status"])


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> t.Callable[[], None]:
    """Call it, and whoever asks for a connection fails the test."""

    def refuse(*arguments: t.Any, **options: t.Any) -> t.NoReturn:
        raise AssertionError("somebody asked the network")

    def cut() -> None:
        monkeypatch.setattr("socket.socket.connect", refuse)
        monkeypatch.setattr("socket.getaddrinfo", refuse)
        monkeypatch.setattr(fetch, "fetch_message", refuse)

    return cut


class TestLoss:
    """Each way to lose trust ends the images at the next check, offline, and takes their files out of `current`."""

    def _ends(self, world: World, code: str) -> None:
        assert _code(world) == code
        world.sync()
        assert world.files("current") == []
        assert len(world.files("expired")) == 1

    def test_a_revoked_signer(self, site: World, offline: t.Any) -> None:
        offline()
        site.pki.revoke(site.pki.endorser.certificate)
        self._ends(site, "revoked")

    def test_a_sub_ca_that_its_root_revoked(self, site: World, offline: t.Any) -> None:
        offline()
        site.pki.revoke(site.pki.sub.certificate)
        self._ends(site, "revoked")

    @pytest.mark.parametrize("which", ["root", "sub"])
    def test_a_ca_that_was_removed(self, site: World, offline: t.Any, which: str) -> None:
        offline()
        site.pki.remove_anchor(which)
        self._ends(site, "no_trust_anchor")

    def test_a_signer_that_expires(self, world: World, offline: t.Any) -> None:
        world.publish("1", [world.image()], signer=world.pki.issue("Erin Endorser", 5), days=20)
        world.subscribe(new_images="cache")
        world.sync()
        assert world.verdict()["good_until"] == f"{world.now + timedelta(days=5):%Y-%m-%dT%H:%M:%SZ}"
        offline()
        world.now += timedelta(days=5, seconds=1)
        self._ends(world, "no_valid_path")

    def test_a_namespace_that_is_narrowed(self, site: World, offline: t.Any) -> None:
        offline()
        for path in site.pki.certificates.glob("*.namespaces"):
            path.write_text(
                path.read_text().replace("/DC=org/DC=example-grid/.*", "/DC=org/DC=example-grid/OU=hosts/.*")
            )
        self._ends(site, "namespace_violation")

    @pytest.mark.parametrize("loss", ["missing", "expired"])
    def test_without_a_current_crl_nothing_starts_and_nothing_moves(
        self, site: World, offline: t.Any, loss: str
    ) -> None:
        """The CRL may come back by itself: the file stays where it is."""
        offline()
        octets = {path: path.read_bytes() for path in site.pki.certificates.glob("*-sub.r0")}
        if loss == "missing":
            for path in octets:
                path.unlink()
        else:
            site.now += timedelta(days=30)
            site.pki.now += timedelta(days=30)
        expected = {"missing": "crl_unavailable", "expired": "list_expired"}[loss]
        assert _code(site) == expected
        if loss == "missing":
            site.sync()
            assert len(site.files("current")) == 1
            for path, content in octets.items():
                path.write_bytes(content)
            assert site.verdict()["allowed"]

    def test_before_a_download_too(self, world: World) -> None:
        world.publish("1", [world.image()])
        world.subscribe(new_images="cache")
        world.pki.revoke(world.pki.endorser.certificate)
        outcome = world.sync()
        assert not outcome.changed
        assert world.files("current") == [] and world.files("downloading") == []


class TestHandOver:
    """Another endorser takes a list over: side by side, then alone."""

    def test_old_and_new_side_by_side_then_only_the_new(self, site: World, offline: t.Any) -> None:
        old, new = site.pki.endorser, site.pki.issue("Sue Successor")
        site.subscribe(**_endorsers(old, new))
        site.publish("2", [site.image(version="2")], signer=new)
        assert _status(site) == "new"
        site.publish("3", [site.image(version="3")], signer=old)
        assert _status(site) == "new"
        site.sync()
        assert site.verdict()["allowed"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("socket.socket.connect", lambda *_arguments: pytest.fail("somebody asked the network"))
            site.subscribe(refresh="never", **_endorsers(new))
            assert _code(site) == "not_authorised"
        assert _status(site) == "not_authorised"
        site.publish("4", [site.image(version="4")], signer=new)
        assert _status(site) == "new"
        site.sync()
        assert site.verdict()["allowed"]
        site.publish("5", [site.image(version="5")], signer=old)
        assert _status(site) == "not_authorised"

    @pytest.mark.parametrize("seen_before", [False, True])
    def test_the_same_content_signed_by_the_new_one_resumes(self, world: World, seen_before: bool) -> None:
        """Although the certificate of the new one ends earlier, and the server may say that nothing has changed."""
        image = world.image()
        old, new = world.pki.endorser, world.pki.issue("Sue Successor", 30)
        named = [
            {"dc:creator": "x", "hv:email": "x@example.org", "hv:dn": one.dn, "hv:ca": one.ca} for one in (old, new)
        ]
        both: dict[str, t.Any] = {"hv:endorser": [{"hv:x509": one} for one in named]}
        world.publish("1", [image], signer=old, **both)
        world.subscribe(**_endorsers(old, new))
        world.sync()
        world.publish("1", [image], signer=new, **both)
        if seen_before:
            assert _status(world) == "same"
        world.subscribe(refresh="never", **_endorsers(new))
        assert _code(world) == "not_authorised"
        assert _status(world) == "renewed"
        world.sync()
        assert world.verdict()["allowed"]


class TestRenewal:
    """The signer's certificate is renewed under the same name."""

    def test_messages_of_either_certificate_are_accepted(self, site: World) -> None:
        renewed = site.pki.issue("Erin Endorser", 700, directory="renewed")
        assert (renewed.dn, renewed.ca) == (site.pki.endorser.dn, site.pki.endorser.ca)
        site.publish("2", [site.image(version="2")], signer=renewed)
        assert _status(site) == "new"
        site.publish("3", [site.image(version="3")])
        assert _status(site) == "new"

    def test_revoking_the_old_one_ends_its_message_and_not_the_name(self, world: World) -> None:
        image = world.image()
        renewed = world.pki.issue("Erin Endorser", 30, directory="renewed")
        world.publish("1", [image])
        world.subscribe(new_images="cache")
        world.sync()
        world.pki.revoke(world.pki.endorser.certificate)
        assert _code(world) == "revoked"
        assert _status(world) == "revoked"
        world.publish("1", [image], signer=renewed)
        assert _status(world) == "renewed"
        world.sync()
        assert world.verdict()["allowed"]


class TestRollOver:
    """A CA gets a new key under its old name: both certificates and both CRLs lie in the directory."""

    @pytest.mark.parametrize("which", ["root", "sub"])
    def test_messages_of_either_are_good_until_the_old_one_is_removed(
        self, world: World, offline: t.Any, which: str
    ) -> None:
        pki = world.pki
        old = pki.issue("Erin Endorser", issuer=which, directory="old")
        world.publish("1", [world.image()], signer=old)
        world.subscribe(**_endorsers(old))
        world.sync()
        pki.roll_over(which)
        stems = {path.name.split(".")[0] for path in pki.certificates.glob("*.1")} - {f"example-grid-{which}"}
        assert len(stems) == 2
        assert all((pki.certificates / f"{stem}.{suffix}").exists() for stem in stems for suffix in ("0", "r0", "r1"))
        new = pki.issue("Erin Endorser", issuer=which, directory="new")
        assert (new.dn, new.ca) == (old.dn, old.ca)
        assert _code(world) == "allowed"
        world.publish("2", [world.image(version="2")], signer=new)
        assert _status(world) == "new"
        world.publish("3", [world.image(version="3")], signer=old)
        assert _status(world) == "new"
        world.sync()
        assert _code(world) == "allowed"
        pki.remove_anchor(which, 0)
        assert _code(world) in ("no_valid_path", "no_trust_anchor")
        world.publish("4", [world.image(version="4")], signer=new)
        assert _status(world) == "new"
        world.sync()
        offline()
        assert _code(world) == "allowed"

    @pytest.mark.parametrize("which", ["root", "sub"])
    def test_each_crl_speaks_for_its_own_key(self, world: World, which: str) -> None:
        """Without the CRL of the new key its certificates are refused, although one of the same name is there."""
        world.pki.roll_over(which)
        world.publish("1", [world.image()], signer=world.pki.issue("Erin Endorser", issuer=which, directory="new"))
        for path in world.pki.certificates.glob("*.r1"):
            path.unlink()
        world.subscribe(refresh="never", **_endorsers(world.pki.issue("Erin Endorser", issuer=which)))
        assert _status(world) == "crl_unavailable"
        world.pki.write_crls()
        assert _status(world) == "new"


class TestReuse:
    """A judgement stands while what it rests on does; otherwise the message is judged again."""

    @pytest.fixture
    def judged(self, site: World, monkeypatch: pytest.MonkeyPatch) -> t.Callable[[], int]:
        """How often a verification takes place while the verdict is asked for once."""
        calls: list[int] = []
        real = path_status.verify

        def counted(*arguments: t.Any, **options: t.Any) -> t.Any:
            calls.append(1)
            return real(*arguments, **options)

        monkeypatch.setattr(path_status, "verify", counted)

        def ask() -> int:
            calls.clear()
            site.verdict()
            return len(calls)

        ask()
        return ask

    def test_nothing_is_judged_twice(self, judged: t.Callable[[], int]) -> None:
        assert judged() == 0

    def test_until_something_ends(self, site: World, judged: t.Callable[[], int]) -> None:
        site.now += timedelta(days=30) - timedelta(seconds=1)
        assert judged() == 0
        site.now += timedelta(seconds=1)
        assert judged() == 1

    def test_not_after_the_clock_was_set_back(self, site: World, judged: t.Callable[[], int]) -> None:
        site.now += timedelta(days=1)
        assert judged() == 0
        site.now -= timedelta(days=1, seconds=1)
        assert judged() == 1
        site.now -= timedelta(days=3)
        assert _code(site) == "no_valid_path"

    @pytest.mark.parametrize("suffix", ["0", "r0", "namespaces", "signing_policy"])
    def test_not_after_a_file_of_the_anchors_changed(
        self, site: World, judged: t.Callable[[], int], suffix: str
    ) -> None:
        path = next(path for path in site.pki.certificates.glob(f"*.{suffix}") if path.is_symlink())
        target = path.resolve()
        target.write_bytes(target.read_bytes() + b"\n")
        assert judged() == 1

    def test_not_after_a_file_was_replaced_that_looks_the_same(self, site: World, judged: t.Callable[[], int]) -> None:
        """Size and time of modification are what a copying tool may keep; an exchange shows nevertheless."""
        target = next(path for path in site.pki.certificates.glob("*.r0") if path.is_symlink()).resolve()
        status = target.stat()
        target.with_suffix(".new").write_bytes(target.read_bytes())
        os.utime(target.with_suffix(".new"), ns=(status.st_atime_ns, status.st_mtime_ns))
        target.with_suffix(".new").replace(target)
        assert target.stat().st_mtime_ns == status.st_mtime_ns
        assert judged() == 1

    def test_not_after_the_anchors_became_unsafe(self, site: World, judged: t.Callable[[], int]) -> None:
        site.pki.certificates.chmod(0o777)
        assert _code(site) == "anchors_unsafe"
        site.pki.certificates.chmod(0o755)
        assert _code(site) == "allowed"

    def test_not_under_other_terms(self, site: World, judged: t.Callable[[], int]) -> None:
        site.subscribe(refresh="never", new_images="cache", crl_mode="if-present")
        assert judged() == 0  # the subscription itself has judged it for the snapshot
        with site.open() as catalogue:
            assert json.loads(catalogue.rows("SELECT status FROM paths")[0]["status"])["crls"]
            catalogue.note("UPDATE paths SET basis = 'another'")
        assert judged() == 1

    def test_not_by_older_rules(self, judged: t.Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(path_status, "RULES", path_status.RULES + 1)
        assert judged() == 1

    def test_what_cannot_be_noted_is_judged_all_the_same(self, site: World, judged: t.Callable[[], int]) -> None:
        """As on a disk that is full."""
        site.pki.write_crls()
        with site.open() as catalogue:
            catalogue.connection.execute("PRAGMA query_only = ON")
            for _again in range(2):
                judge = path_status.Judge(catalogue)
                assert judge.status(LIST, subscription_of(catalogue, LIST), site.now).code is None
        assert judged() == 1

    def test_a_refusal_is_judged_anew_each_time(self, site: World, judged: t.Callable[[], int]) -> None:
        site.pki.revoke(site.pki.endorser.certificate)
        assert (judged(), judged()) == (1, 1)

    def test_the_archived_message_is_what_is_judged(self, site: World, judged: t.Callable[[], int]) -> None:
        (message,) = (site.state / "messages" / LIST).iterdir()
        message.write_bytes(message.read_bytes().replace(b"Test list", b"Best list"))
        site.pki.write_crls()
        assert _code(site) == "archive_damaged"
        site.sync()
        assert len(site.files("current")) == 1


def test_one_damaged_message_leaves_the_other_lists_alone(world: World) -> None:
    other = LIST.replace("4e", "6e")
    world.publish("1", [world.image()])
    world.publish("1", [world.image(IMAGE_2)], identifier=other)
    world.subscribe(new_images="cache")
    world.subscribe(other, new_images="cache")
    world.sync()
    (message,) = (world.state / "messages" / LIST).iterdir()
    message.write_bytes(b"nothing")
    world.pki.write_crls()
    assert world.verdict(IMAGE)["code"] == "archive_damaged"
    assert world.verdict(IMAGE_2)["allowed"]
    assert world.refresh().data["lists"][0]["status"] in ("renewed", "same")


def test_what_a_judgement_rests_on_is_in_the_snapshot(site: World) -> None:
    with site.open() as catalogue:
        judge = path_status.Judge(catalogue)
        digests = list(judge.status(LIST, subscription_of(catalogue, LIST), site.now).crls)
    assert len(digests) == 2
    site.decide("approve", IMAGE)
    written = json.loads((site.state / "verdicts.json").read_bytes())["lists"][LIST]["path"]
    assert (written["code"], written["crls"]) == (None, digests)
