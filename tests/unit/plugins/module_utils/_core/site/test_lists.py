# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subscribing and refreshing: what is accepted, what is refused, and that a refusal changes nothing."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import typing as t
from datetime import timedelta

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import snapshot
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists import offer, refresh
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.subscription import Subscription

from .conftest import IMAGE, IMAGE_2, LIST, OTHER_LIST, World


def test_subscribing_fetches_verifies_and_accepts(world: World) -> None:
    world.publish("1", [world.image()])
    outcome = world.subscribe()
    assert outcome.changed
    assert [action["action"] for action in outcome.actions] == ["subscribe", "accept"]
    assert world.verdict()["code"] == "not_approved"


def test_the_identifier_is_pinned_from_the_first_message(world: World) -> None:
    world.publish("1", [world.image()])
    outcome = world.subscribe(None)
    assert outcome.data["subscription"]["identifier"] == LIST
    assert not world.subscribe(None).changed


def test_check_mode_tells_and_writes_nothing(world: World) -> None:
    world.publish("1", [world.image()])
    outcome = world.subscribe(check=True)
    assert outcome.changed
    assert outcome.after["version"] == "1"
    assert not world.state.exists()


def test_the_same_again_changes_nothing(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    journal = (world.state / "journal.jsonl").read_bytes()
    assert not world.subscribe().changed
    assert not world.refresh().changed
    assert (world.state / "journal.jsonl").read_bytes() == journal


@pytest.mark.parametrize("when", ["0001-01-01T00:00:00Z", "0999-12-31"])
def test_a_date_long_ago_stops_nothing(world: World, when: str) -> None:
    """Written with fewer than four digits, the year of one list was never read again, and no gate was answered."""
    world.publish("1", [{**world.image(), "dc:date:expires": when}, world.image(IMAGE_2)], **{"dc:date:created": when})
    world.subscribe(new_images="cache", allow_private=True)
    assert [item["image"] for item in world.sync().data["downloaded"]] == [IMAGE_2]
    assert world.verdict(IMAGE_2)["allowed"]
    assert world.verdict()["code"] == "image_expired"
    assert not world.refresh().data["failures"]


def test_a_line_that_would_make_a_list_one_of_another_kind_stops_nothing(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    options = world.wanted().as_dict()
    options = {**options, "kind": "endorserlist", "authorities": options["endorsers"], "identifier": LIST}
    with world.open() as catalogue, catalogue.writing() as writer:
        writer.commit(("subscribed", Subscription.from_options(options).as_dict()))
    assert world.verdict()["code"] == "not_approved"
    assert not world.refresh().changed


@pytest.mark.parametrize("option", ["max_list_age", "max_unrefreshed"])
@pytest.mark.parametrize("length", ["9999999d", 10**15])
def test_a_length_that_no_date_can_bear_is_refused(world: World, option: str, length: t.Any) -> None:
    with pytest.raises(VmimagesError) as caught:
        world.wanted(**{option: length})
    assert (caught.value.code, caught.value.context["option"]) == ("subscription_invalid", option)


def test_a_new_version_is_accepted_and_a_withdrawn_image_told(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    world.publish("2", [world.image(IMAGE_2)])
    report = world.refresh().data["lists"][0]
    assert (report["status"], report["version"], report["previous_version"]) == ("new", "2", "1")
    assert (report["new_images"], report["withdrawn_images"]) == ([IMAGE_2], [IMAGE])
    assert world.verdict(IMAGE)["code"] == "withdrawn"


def _refused(world: World) -> str:
    """Refresh, see that it was refused and changed nothing but the journal, and return the code."""
    rows = world.rows()
    outcome = world.refresh()
    assert not outcome.changed
    after = world.rows()
    after["refusals"] = rows["refusals"]
    assert after == rows
    return str(outcome.data["lists"][0]["error"]["code"])


def test_an_older_version_is_a_rollback(world: World) -> None:
    older = world.publish("9", [world.image()])
    world.subscribe()
    world.publish("10", [world.image(version="2")])
    world.refresh()
    world.serve(older)
    assert _refused(world) == "rollback"


def test_another_content_under_the_same_version_is_refused(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    world.publish("1", [world.image()])
    assert _refused(world) == "version_reused"


def test_one_flipped_bit_is_refused(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    octets = world.message("2", [world.image()])
    world.serve(octets.replace(b'"hv:version": "2"', b'"hv:version": "3"'))
    assert _refused(world) == "digest_mismatch"


def test_the_step_of_a_refusal_is_told(world: World) -> None:
    older = world.publish("1", [world.image()])
    world.subscribe()
    world.publish("2", [world.image()])
    world.refresh()
    for octets, number in ((older, 16), (b"<html></html>", 2), (world.message("3", [], days=-0.01), 15)):
        world.serve(octets)
        error = world.refresh().data["lists"][0]["error"]
        assert error["context"]["step"]["number"] == number


def test_a_web_page_is_not_a_list(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    world.serve(b"<html><body>Welcome</body></html>\n")
    assert _refused(world).startswith("mime_")


def test_a_list_of_another_identifier_is_refused(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    world.serve(world.message("2", [], identifier=OTHER_LIST))
    assert _refused(world) == "identifier_mismatch"


def test_another_signer_is_refused(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    world.publish("2", [], signer=world.pki.issue("Mallory"))
    assert _refused(world) == "not_authorised"


def test_an_expired_list_is_refused(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    world.publish("2", [], days=-0.01)
    assert _refused(world) == "list_expired"


def test_a_list_that_is_gone_changes_nothing(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    (world.web / LIST).unlink()
    assert _refused(world) == "not_found"


def test_a_refusal_is_journaled_once(world: World) -> None:
    older = world.publish("1", [world.image()])
    world.subscribe()
    world.publish("2", [world.image()])
    world.refresh()
    world.serve(older)
    world.refresh()
    journal = (world.state / "journal.jsonl").read_bytes()
    assert journal.count(b'"event":"refused"') == 1
    world.refresh()
    assert (world.state / "journal.jsonl").read_bytes() == journal


@pytest.mark.parametrize("served", [None, b"<html></html>"])
def test_a_subscription_without_an_acceptable_list_is_not_made(world: World, served: bytes | None) -> None:
    if served is not None:
        world.serve(served)
    with pytest.raises(VmimagesError):
        world.subscribe()
    assert world.rows()["lists"] == []


def test_a_second_address_for_a_subscribed_list_is_a_clash(world: World) -> None:
    octets = world.publish("1", [world.image()])
    world.subscribe()
    (world.web / "mirror").write_bytes(octets)
    for identifier in (LIST, None):
        with pytest.raises(VmimagesError) as found:
            world.subscribe(identifier, uri=f"{world.base}/mirror")
        assert found.value.code == "subscription_clash"
    moved = world.subscribe(LIST, uri=f"{world.base}/mirror", move=True)
    assert moved.before["uri"] != moved.after["uri"]


def test_an_endorser_can_be_removed_while_the_server_is_down(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.sync()
    assert world.verdict()["allowed"]
    (world.web / LIST).unlink()
    successor = world.pki.issue("Sue Successor")
    outcome = world.subscribe(new_images="cache", endorsers=[{"dn": successor.dn, "ca": successor.ca}])
    assert outcome.changed
    assert "not_found" in outcome.warnings[0]
    assert world.verdict()["code"] == "not_authorised"


def test_an_image_uuid_belongs_to_the_list_that_had_it_first(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.publish("1", [world.image(), world.image(IMAGE_2)], identifier=OTHER_LIST)
    outcome = world.subscribe(OTHER_LIST, new_images="cache")
    assert IMAGE in outcome.warnings[0]
    world.sync()
    assert world.verdict(IMAGE)["allowed"]
    assert world.verdict(IMAGE_2)["allowed"]
    assert len(world.files("current")) == 2


def test_unsubscribing_ends_the_images_and_remembers_the_version(world: World) -> None:
    older = world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.publish("2", [world.image()])
    world.refresh()
    with world.open() as catalogue:
        from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.subscribe import unsubscribe

        assert unsubscribe(catalogue, identifier=LIST).changed
        assert not unsubscribe(catalogue, identifier=LIST).changed
    assert world.verdict()["code"] == "unsubscribed"
    world.serve(older)
    with pytest.raises(VmimagesError) as found:
        world.subscribe()
    assert found.value.code == "rollback"


def test_a_longer_lasting_signature_of_the_same_content_replaces_the_message(world: World) -> None:
    short = world.pki.issue("Erin Endorser", 10)
    image = world.image()
    world.publish("1", [image], signer=short)
    world.subscribe(new_images="cache")
    world.publish("1", [image])
    assert world.refresh().data["lists"][0]["status"] == "renewed"
    world.now += timedelta(days=11)
    world.sync()
    assert world.verdict()["allowed"]


BAD: dict[str, dict[str, t.Any]] = {
    "uri": {"uri": "gopher://example.org/list"},
    "identifier": {"identifier": "not-a-uuid"},
    "endorsers": {"endorsers": []},
    "endorsers[0].dn": {"endorsers": [{"dn": "CN=x", "ca": "/CN=y"}]},
    "new_images": {"new_images": "maybe"},
    "max_list_age": {"max_list_age": "soon"},
}


@pytest.mark.parametrize("option", BAD)
def test_a_senseless_option_is_named(world: World, option: str) -> None:
    with pytest.raises(VmimagesError) as found:
        world.wanted(**{"identifier": LIST, **BAD[option]})
    assert found.value.code == "subscription_invalid"
    assert found.value.detail.startswith(f"{option}:")


def test_a_silent_server_delays_no_other_list(world: World) -> None:
    """While one server keeps its connection open and says nothing, what the other offers is accepted."""
    world.publish("1", [world.image()], identifier=OTHER_LIST)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        world.publish("1", [world.image(IMAGE_2)])
        world.subscribe()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}/list"
        world.subscribe(OTHER_LIST)
        world.subscribe(OTHER_LIST, uri=uri, move=True, refresh="never")
        world.publish("2", [world.image(IMAGE_2)])
        refreshing = threading.Thread(target=world.refresh)
        refreshing.start()
        connection, _address = silent.accept()
        deadline = time.monotonic() + 20
        while world.rows()["versions"][-1][2] != "2" and time.monotonic() < deadline:
            time.sleep(0.1)
        # Nor are the gates left without verdicts: `load` refuses a snapshot that the journal has overtaken.
        assert snapshot.load(StateDirectory.at(world.state), patience=10).lists[LIST]["version"] == "2"
        assert refreshing.is_alive()
        connection.close()
        refreshing.join(30)
    assert [row[2] for row in world.rows()["versions"]] == ["1", "1", "2"]


def test_a_catalogue_from_a_backup_asks_for_what_it_does_not_know(world: World) -> None:
    """The validators belong to the message that they came with, not to the list."""
    world.publish("1", [world.image()])
    world.subscribe()
    backup = {path: path.read_bytes() for path in world.state.iterdir() if path.is_file()}
    world.publish("2", [])
    os.utime(world.web / LIST, (1, 1))
    world.refresh()
    polls = _polls(world)
    assert polls[0]["etag"]
    for path in world.state.iterdir():
        if path.is_file():
            path.unlink()
    for path, octets in backup.items():
        path.write_bytes(octets)
    with world.open() as catalogue:
        columns = polls[0].keys()
        marks = ", ".join("?" for _column in columns)
        catalogue.note(f"INSERT OR REPLACE INTO polls ({', '.join(columns)}) VALUES ({marks})", *tuple(polls[0]))
    assert world.refresh().data["lists"][0]["version"] == "2"


def _polls(world: World) -> list[t.Any]:
    with world.open() as catalogue:
        return catalogue.rows("SELECT * FROM polls")


def test_a_subscription_and_its_message_are_one_commit(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe()
    events = [json.loads(line)["event"] for line in (world.state / "journal.jsonl").read_text().splitlines()]
    assert events == ["subscribed", "accepted"]


def test_a_defect_with_one_list_leaves_the_others_attended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for identifier in (LIST, OTHER_LIST):
        world.publish("1", [], identifier=identifier)
        world.subscribe(identifier)
        world.publish("2", [], identifier=identifier)
    judge = offer.fetch_offer

    def defective(subscription: t.Any, *arguments: t.Any, **options: t.Any) -> t.Any:
        if subscription.identifier == LIST:
            raise RuntimeError("out of luck")
        return judge(subscription, *arguments, **options)

    monkeypatch.setattr(refresh, "fetch_offer", defective)
    reports = {item["identifier"]: item for item in world.refresh().data["lists"]}
    assert reports[LIST]["error"]["code"] == "internal_error"
    assert reports[OTHER_LIST]["version"] == "2"


def test_other_octets_are_told_and_under_the_same_version_warned_of(world: World) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2)])
    world.subscribe()
    world.publish("2", [world.image(), world.image(IMAGE_2, version="2")])
    outcome = world.refresh()
    assert outcome.data["lists"][0]["changed_images"] == [IMAGE, IMAGE_2]
    assert [IMAGE in warning for warning in outcome.warnings] == [True]


def test_garbage_of_ever_another_kind_does_not_fill_the_journal(world: World) -> None:
    world.publish("1", [])
    world.subscribe()
    for number in range(5):
        world.serve(f"<html>{number}</html>\n".encode())
        world.refresh()
    assert (world.state / "journal.jsonl").read_bytes().count(b'"event":"refused"') == 1
    world.now += timedelta(days=1)
    world.refresh()
    assert (world.state / "journal.jsonl").read_bytes().count(b'"event":"refused"') == 2


def test_a_password_in_an_address_is_refused_and_not_shown(world: World) -> None:
    with pytest.raises(VmimagesError) as found:
        world.wanted(LIST, uri="https://sam:hunter2@example.org/list")
    assert found.value.code == "subscription_invalid"
    assert "hunter2" not in str(found.value)


def test_gates_hear_of_new_terms_before_the_lists_server_answers(world: World) -> None:
    """An endorser is removed from a subscription whose server is silent: no gate waits for it, or is left without."""
    stranger = {"dn": "/DC=org/CN=Somebody", "ca": "/DC=org/CN=CA"}
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.sync()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}/list"
        world.subscribe(uri=uri, new_images="cache", move=True, refresh="never")
        terms: dict[str, t.Any] = {"uri": uri, "new_images": "cache", "endorsers": [stranger]}
        changing = threading.Thread(target=world.subscribe, kwargs=terms)
        changing.start()
        connection, _address = silent.accept()
        found = snapshot.load(StateDirectory.at(world.state), patience=0.0)
        assert snapshot.judge(found, IMAGE, world.now)["verdict"]["code"] == "not_authorised"
        assert changing.is_alive()
        connection.close()
        changing.join(30)
