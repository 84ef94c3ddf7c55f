# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Audits: the catalogue and its verdicts as of an earlier time."""

from __future__ import annotations

import typing as t
from datetime import datetime, timedelta

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import decisions
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.history import images, verdicts
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import asked
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store import index, past
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory

from .conftest import IMAGE, IMAGE_2, LIST, OTHER_LIST, World

DAY = timedelta(days=1)


def _audit(world: World, when: datetime, name: str = IMAGE, *, kind: str | None = None, **options: t.Any) -> t.Any:
    """The answer as of `when`, the same with the present index and from the messages alone."""
    state = StateDirectory.at(world.state)
    options = {"now": world.now, "kind": kind or asked.kind_of(name), **options}
    with world.open() as catalogue:
        fast = verdicts.judge(state, name, when, source=catalogue, **options)
    assert verdicts.judge(state, name, when, **options) == fast
    return fast


def _code(world: World, when: datetime, name: str = IMAGE) -> tuple[bool, str]:
    found = _audit(world, when, name)["verdict"]
    assert found["allowed"] is False
    return found["would_have_been_allowed"], found["code"]


def _tables(catalogue: past.Past) -> dict[str, list[tuple[t.Any, ...]]]:
    return {name: [tuple(row) for row in catalogue.rows(f"SELECT * FROM {name}")] for name in index.DERIVED}


@pytest.fixture
def days(world: World) -> list[datetime]:
    """A site's life, a change each day; the evening of each of them."""
    evenings = []

    def evening() -> None:
        evenings.append(world.now + timedelta(hours=1))
        world.now += DAY

    image = world.image()
    older = world.publish("1", [image, world.image(IMAGE_2, title="other")])
    world.subscribe()
    evening()
    world.decide("approve", IMAGE)
    world.sync()
    evening()
    world.decide("blacklist", IMAGE, reason="CVE")
    evening()
    world.decide("clear", IMAGE)
    world.publish("2", [world.image(version="2")], days=3)
    world.refresh()
    evening()
    world.publish("1", [world.image(IMAGE_2, title="theirs")], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST, tag_key="hv:version")
    world.subscribe(tag_key="hv:uri")
    evening()
    world.serve(older)
    world.refresh()
    world.rebaseline(older)
    world.refresh()
    world.decide("approve", IMAGE)
    world.sync()
    evening()
    return evenings


def test_each_evening_has_the_rows_that_it_had(world: World, days: list[datetime]) -> None:
    state = StateDirectory.at(world.state)
    seen = []
    for evening in days:
        with world.open() as present:
            with past.opened(state, evening, source=present) as one:
                fast = _tables(one)
            with past.opened(state, evening) as other:
                assert _tables(other) == fast
        seen.append(fast)
    assert seen[-1] == world.rows()
    assert all(one != other for one, other in zip(seen, seen[1:]))


def test_what_was_decided_then_counts(world: World, days: list[datetime]) -> None:
    assert _code(world, days[0]) == (False, "not_approved")
    assert _code(world, days[1]) == (True, "allowed")
    assert _code(world, days[2]) == (False, "blacklisted")
    assert _code(world, days[3]) == (False, "not_approved")


def test_then_approved_is_blacklisted_now_and_the_other_way_round(world: World, days: list[datetime]) -> None:
    assert world.verdict()["allowed"] is True
    assert _code(world, days[2]) == (False, "blacklisted")
    world.decide("blacklist", IMAGE)
    assert world.verdict()["code"] == "blacklisted"
    assert _code(world, days[1]) == (True, "allowed")


def test_an_audit_never_authorises(world: World, days: list[datetime]) -> None:
    answer = _audit(world, days[1])
    assert (answer["authorises"], answer["audit"]) == (False, True)
    assert answer["verdict"]["allowed"] is False
    assert answer["verdict"]["path"] is None
    assert answer["verdict"]["would_have_been_allowed"] is True
    assert "anchors and CRLs" in answer["basis"]["notes"][0]


def test_what_was_endorsed_then_counts(world: World, days: list[datetime]) -> None:
    assert _audit(world, days[2], IMAGE_2)["endorsed"] is True
    assert _code(world, days[3], IMAGE_2) == (False, "withdrawn")


def test_a_list_expired_as_of_a_time_may_have_been_renewed_since(world: World, days: list[datetime]) -> None:
    world.now += 30 * DAY
    world.pki.now = world.now
    world.pki.write_crls()
    world.publish("3", [world.image(version="3")])
    # Version 1, let in again on the sixth day, was to last for twenty days.
    assert _code(world, days[5] + DAY) == (True, "allowed")
    assert _code(world, world.now - DAY) == (False, "list_expired")
    world.refresh()
    assert _code(world, world.now) == (False, "not_cached")


def test_before_the_first_line_no_image_was_known(world: World, days: list[datetime]) -> None:
    with pytest.raises(VmimagesError) as caught:
        _audit(world, days[0] - DAY)
    assert caught.value.code == "unknown_image"
    assert "As of" in caught.value.detail


def test_the_future_cannot_be_audited(world: World, days: list[datetime]) -> None:
    with pytest.raises(VmimagesError) as caught:
        _audit(world, world.now + DAY)
    assert caught.value.code == "option_invalid"


def test_a_tag_meant_then_what_it_meant_then(world: World, days: list[datetime]) -> None:
    assert _audit(world, days[2], "SL5")["identifier"] == IMAGE
    # Since the fifth day the tags are the images' addresses.
    with pytest.raises(VmimagesError):
        _audit(world, days[4], "SL5")
    uri = _audit(world, days[3])["uri"]
    assert _audit(world, days[4], uri, kind=asked.TAG)["identifier"] == IMAGE


def test_of_several_images_of_a_tag_the_latest_dated_of_then_is_meant(world: World) -> None:
    image = world.image()
    world.publish("1", [image])
    world.subscribe()
    before = world.now
    world.now += DAY
    world.publish("2", [world.image(IMAGE_2), image])
    world.refresh()
    then = world.now
    world.now += DAY
    world.publish("3", [world.image(version="3")])
    world.refresh()
    assert _audit(world, before, "SL5")["identifier"] == IMAGE
    assert _audit(world, then, "SL5")["identifier"] == IMAGE_2
    assert _audit(world, world.now, "SL5")["identifier"] == IMAGE


def test_a_file_and_its_digest_are_found_as_of_then(world: World, days: list[datetime]) -> None:
    (file,) = [path for path in (world.state / "cache" / "current").iterdir() if path.name.startswith(IMAGE)]
    digest = _audit(world, days[1])["sha512"]
    answer = _audit(world, days[1], digest)
    assert (answer["verdict"]["would_have_been_allowed"], answer["identifier"]) == (True, IMAGE)
    with world.open() as source, asked.candidate(str(file), read=False) as one:
        found = verdicts.judge(
            source.state, str(file), days[1], now=world.now, kind=asked.PATH, file=one, source=source
        )
    assert found["verdict"]["would_have_been_allowed"] is True


def test_an_audit_leaves_nothing_behind(world: World, days: list[datetime]) -> None:
    before = {path: path.stat().st_mtime_ns for path in world.state.rglob("*")}
    _audit(world, days[1])
    after = {path: path.stat().st_mtime_ns for path in world.state.rglob("*")}
    # Beside what SQLite does with the present index while it is open.
    for found in (before, after):
        for path in [path for path in found if path.name.startswith("catalogue.sqlite") or path == world.state]:
            del found[path]
    assert after == before


def test_nobody_writes_the_past(world: World, days: list[datetime]) -> None:
    with past.opened(StateDirectory.at(world.state), days[1]) as catalogue:
        with pytest.raises(VmimagesError), catalogue.writing():
            pass
        with pytest.raises(VmimagesError):
            decisions.decide(catalogue, decision="approve", images=[IMAGE])


def test_crls_that_were_renewed_since_do_for_an_audit(world: World, days: list[datetime], pki: t.Any) -> None:
    pki.now = world.now + DAY
    world.now += 2 * DAY
    pki.write_crls()
    assert _code(world, days[1]) == (True, "allowed")


def test_a_crl_says_from_when_on_the_signer_is_revoked(world: World, days: list[datetime], pki: t.Any) -> None:
    pki.now = world.now + DAY
    world.now += 2 * DAY
    pki.revoke(pki.endorser.certificate)
    assert world.verdict()["code"] == "revoked"
    assert _code(world, days[1]) == (True, "allowed")
    assert _code(world, pki.now - timedelta(seconds=1)) == (True, "allowed")
    assert _code(world, pki.now) == (False, "revoked")


def test_without_a_crl_of_now_nothing_is_said_to_have_been_allowed(
    world: World, days: list[datetime], pki: t.Any
) -> None:
    for path in pki.certificates.glob("*.r0"):
        path.unlink()
    assert _code(world, days[1]) == (False, "crl_unavailable")


def test_a_message_that_was_changed_is_told(world: World, days: list[datetime]) -> None:
    for path in (world.state / "messages" / LIST).iterdir():
        path.write_bytes(path.read_bytes().replace(b"SL5", b"SL6"))
    state = StateDirectory.at(world.state)
    with world.open() as source:
        found = verdicts.judge(state, IMAGE, days[1], now=world.now, kind=asked.IMAGE, source=source)
    assert (found["verdict"]["would_have_been_allowed"], found["verdict"]["code"]) == (False, "archive_damaged")
    with pytest.raises(VmimagesError) as caught:
        verdicts.judge(state, IMAGE, days[1], now=world.now, kind=asked.IMAGE)
    assert caught.value.code == "archive_damaged"


def test_a_clock_that_went_back_is_told(world: World, days: list[datetime]) -> None:
    assert _audit(world, days[1])["basis"]["doubt"] is None
    present, world.now = world.now, days[0]
    world.decide("blacklist", IMAGE)
    world.now = present
    answer = _audit(world, days[1])
    # Nobody knows whether the second day's lines or the blacklist came first.
    assert "clock went back" in answer["basis"]["doubt"]
    assert answer["verdict"]["would_have_been_allowed"] is True
    assert _code(world, present) == (False, "blacklisted")


def test_lines_that_others_write_meanwhile_do_not_disturb(world: World, days: list[datetime]) -> None:
    # A front-end of its own, which has not seen them yet.
    with world.open(index_path=world.state.with_name("another.sqlite")) as source:
        world.publish("4", [world.image(version="4")])
        world.refresh()
        found = verdicts.judge(source.state, IMAGE, world.now, now=world.now, kind=asked.IMAGE, source=source)
    assert found["version"] == "1"


def test_the_rules_and_endorsers_of_then_count(world: World, days: list[datetime]) -> None:
    then, world.now = world.now, world.now + DAY
    world.declare({"name": "no-sl", "decision": "blacklist", "match": {"title": "SL*"}})
    ruled, world.now = world.now, world.now + DAY
    world.declare()
    assert _code(world, then) == (True, "allowed")
    assert _code(world, ruled) == (False, "blacklisted")
    assert _code(world, world.now) == (True, "allowed")
    with world.open() as catalogue:
        told = images.history(catalogue, [IMAGE])[IMAGE]
    rules = [(one["decision"], one["target"]) for one in told["decisions"] if one["target_type"] == "rule"]
    assert rules == [("blacklist", "no-sl"), ("clear", "no-sl")]
