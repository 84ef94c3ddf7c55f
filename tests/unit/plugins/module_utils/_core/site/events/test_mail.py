# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A blacklist or a refusal reaches the endorser: a ready message, sent by a real SMTP server or by sendmail."""

from __future__ import annotations

import email
import email.policy
import os
import re
import socket
import typing as t
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.events.mail.address import is_address
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.events.mail.notice import without_paths

from ..conftest import IMAGE, IMAGE_2, LIST, OTHER_LIST, World
from .conftest import Stage

SENDER = "vmimages@site.example.org"


@dataclass
class Postbox:
    """What a mail server has received; `deferred` makes it answer that it cannot now."""

    address: str = ""
    deferred: bool = False
    envelopes: list[t.Any] = field(default_factory=list)

    async def handle_DATA(self, server: t.Any, session: t.Any, envelope: t.Any) -> str:
        if self.deferred:
            return "451 4.7.1 come back later"
        self.envelopes.append(envelope)
        return "250 taken"

    def messages(self) -> list[EmailMessage]:
        return [email.message_from_bytes(item.content, policy=email.policy.SMTP) for item in self.envelopes]


@pytest.fixture
def postbox() -> Iterator[Postbox]:
    box = Postbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    box.address = f"127.0.0.1:{port}"
    try:
        yield box
    finally:
        controller.stop()


@pytest.fixture
def mailing(stage: Stage, postbox: Postbox) -> Stage:
    stage.mail = {"from": SENDER, "smtp": postbox.address}
    return stage


def _endorser(world: World, address: str) -> dict[str, t.Any]:
    names = {"dc:creator": "E", "hv:dn": world.pki.endorser.dn, "hv:ca": world.pki.endorser.ca}
    return {"hv:endorser": {"hv:x509": {**names, "hv:email": address}}}


def _subscribed(world: World, **keys: t.Any) -> None:
    world.publish("3", [world.image(title="Zwölf\nSL5"), world.image(IMAGE_2, title="SL6")], **keys)
    world.subscribe()


def _outbox(world: World) -> dict[str, EmailMessage]:
    return {
        path.name: email.message_from_bytes(path.read_bytes(), policy=email.policy.SMTP)
        for path in sorted((world.state / "outbox").glob("*"))
    }


def _sequence(world: World) -> int:
    return len((world.state / "journal.jsonl").read_bytes().splitlines())


def test_a_blacklist_reaches_the_endorser(mailing: Stage, postbox: Postbox) -> None:
    world = mailing.world
    _subscribed(world, **{"dc:title": "Zwölf Bilder"})
    world.decide("blacklist", IMAGE, reason=f"CVE-2026-1: see {world.state}/report, says /DC=org/CN=Sam")
    sequence = _sequence(world)
    outcome = mailing.dispatch()
    assert outcome.data["failures"] == []
    envelope = postbox.envelopes[0]
    assert envelope.content.isascii()
    assert (envelope.mail_from, envelope.rcpt_tos) == (SENDER, ["e@example.org"])
    message = postbox.messages()[0]
    assert (message["From"], message["To"], message["Cc"]) == (SENDER, "e@example.org", None)
    assert message["Subject"] == 'An image of your list "Zwölf Bilder" was blacklisted at example-site'
    assert message["Auto-Submitted"] == "auto-generated" and message["Date"] and message["Message-ID"]
    assert message.get_content_type() == "text/plain" and message.get_content_charset() == "utf-8"
    text = message.get_content()
    for part in ("example-site", LIST, "Zwölf Bilder", "Version:  3", IMAGE, "Title:    Zwölf SL5", "Version:  1"):
        assert part in text
    assert "CVE-2026-1: see (a file of the site), says /DC=org/CN=Sam" in text
    assert "remove the image from your list" in text and IMAGE_2 not in text
    assert str(world.state) not in text
    assert list(_outbox(world)) == [f"{sequence}.eml"]
    assert _outbox(world)[f"{sequence}.eml"].get_content() == text
    assert [(item["message"], item["recipients"]) for item in mailing.journal("mailed")] == [
        (f"{sequence}.eml", ["e@example.org"])
    ]
    assert not mailing.dispatch().changed and len(postbox.envelopes) == 1


def test_a_blacklisted_tag_reaches_every_endorser_of_it(mailing: Stage, postbox: Postbox) -> None:
    world = mailing.world
    _subscribed(world)
    other = "688dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"
    address = _endorser(world, "f@example.org")
    world.publish("1", [world.image(other, title="SL6")], identifier=OTHER_LIST, **address)
    world.subscribe(OTHER_LIST)
    world.decide("blacklist", tags=["SL6"], reason="old")
    mailing.dispatch()
    told = {message["To"]: message.get_content() for message in postbox.messages()}
    assert set(told) == {"e@example.org", "f@example.org"}
    assert IMAGE_2 in told["e@example.org"] and other not in told["e@example.org"]
    assert other in told["f@example.org"] and IMAGE_2 not in told["f@example.org"]
    assert len(_outbox(world)) == 2


def _two_lists(world: World) -> str:
    """A second list, whose endorser has another address; its image."""
    _subscribed(world)
    other = "688dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"
    signer = world.pki.issue("Other Endorser", 100)
    names = {"dc:creator": "F", "hv:dn": signer.dn, "hv:ca": signer.ca, "hv:email": "f@example.org"}
    image = {**world.image(other, title="SL6"), "sl:os": "SL6"}
    world.publish("1", [image], identifier=OTHER_LIST, signer=signer, **{"hv:endorser": {"hv:x509": names}})
    world.subscribe(OTHER_LIST, endorsers=[{"dn": signer.dn, "ca": signer.ca}])
    return other


def test_a_list_of_many_endorsers_is_no_way_to_write_to_all_of_them(mailing: Stage, postbox: Postbox) -> None:
    world = mailing.world
    signer = world.pki.endorser
    named = [{"hv:x509": {"hv:dn": signer.dn, "hv:ca": signer.ca, "hv:email": f"v{n}@example.org"}} for n in range(500)]
    _subscribed(world, **{"hv:endorser": named})
    world.decide("blacklist", IMAGE)
    mailing.dispatch()
    assert [envelope.rcpt_tos for envelope in postbox.envelopes] == [[f"v{n}@example.org" for n in range(10)]]


def test_a_blacklisted_list_reaches_its_endorser(mailing: Stage, postbox: Postbox) -> None:
    world = mailing.world
    other = _two_lists(world)
    world.decide("blacklist", lists=[OTHER_LIST], reason="agreed with the VO")
    mailing.dispatch()
    (message,) = postbox.messages()
    assert message["To"] == "f@example.org"
    assert message["Subject"] == 'Your list "Test list" was blacklisted at example-site'
    text = message.get_content()
    assert "blacklisted your whole list" in text and other in text and "Reason:   agreed with the VO" in text
    assert IMAGE not in text and "remove the image" not in text


def test_a_blacklisted_endorser_is_told_for_each_list(mailing: Stage, postbox: Postbox) -> None:
    world = mailing.world
    other = _two_lists(world)
    signer = world.pki.endorser
    world.decide("blacklist", endorsers=[{"dn": signer.dn, "ca": signer.ca}], reason="left")
    mailing.dispatch()
    (message,) = postbox.messages()
    assert message["To"] == "e@example.org"
    assert message["Subject"] == 'An endorser of your list "Test list" was blacklisted at example-site'
    text = message.get_content()
    assert f"Endorser: {signer.dn} issued by {signer.ca}" in text
    assert IMAGE in text and IMAGE_2 in text and other not in text
    fred = world.pki.issue("Fred", 9)
    world.register({"name": "fred", "pairs": [{"dn": fred.dn, "ca": fred.ca}]})
    world.decide("blacklist", endorsers=[{"name": "fred"}])
    mailing.dispatch()
    assert len(postbox.envelopes) == 1


def test_a_rule_that_forbids_reaches_the_endorsers_whose_images_it_touches(mailing: Stage, postbox: Postbox) -> None:
    world = mailing.world
    other = _two_lists(world)
    six = {"name": "six", "decision": "blacklist", "match": {"title": "SL6"}, "reason": "end of life"}
    world.declare(six, {"name": "none", "decision": "blacklist", "match": {"title": "SL4"}})
    mailing.dispatch()
    told = {message["To"]: message for message in postbox.messages()}
    assert set(told) == {"e@example.org", "f@example.org"}
    assert told["f@example.org"]["Subject"] == (
        'Images of your list "Test list" are blacklisted by a rule at example-site'
    )
    text = told["e@example.org"].get_content()
    assert IMAGE_2 in text and IMAGE not in text and other not in text
    assert "Rule:     six" in text and "Reason:   end of life" in text
    # What is said already is not said again: for another reason, by the same set, after a restart.
    world.declare({**six, "reason": "over"})
    mailing.dispatch()
    assert len(postbox.envelopes) == 2
    # A rule that grows is told to those whom it reaches now, and only to them.
    world.declare({**six, "match": {"title": ["SL6", "Zw*"]}})
    mailing.dispatch()
    assert [message["To"] for message in postbox.messages()[2:]] == ["e@example.org"]


def test_an_image_that_comes_later_under_a_rule_is_told(mailing: Stage, postbox: Postbox) -> None:
    world = mailing.world
    world.declare({"name": "six", "decision": "blacklist", "match": {"os": "SL6"}, "reason": "end of life"})
    image, harmless = world.image(), world.image(IMAGE_2)
    world.publish("1", [image, harmless])
    world.subscribe()
    mailing.dispatch()
    assert postbox.envelopes == []
    world.publish("2", [{**image, "sl:os": "SL6", "hv:version": "2"}, harmless])
    world.refresh()
    mailing.dispatch()
    world.publish("3", [{**image, "sl:os": "SL6", "hv:version": "3"}, harmless])
    world.refresh()
    mailing.dispatch()
    (message,) = postbox.messages()
    assert IMAGE in message.get_content() and IMAGE_2 not in message.get_content()


def test_an_image_that_grew_too_old_is_told_when_it_leaves_the_cache(mailing: Stage, postbox: Postbox) -> None:
    world = mailing.world
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.sync()
    world.declare({"name": "stale", "decision": "blacklist", "match": {"older_than": "2d"}, "reason": "stale"})
    mailing.dispatch()
    assert postbox.envelopes == []
    world.now += timedelta(days=2)
    world.sync()
    mailing.dispatch()
    (message,) = postbox.messages()
    assert IMAGE in message.get_content() and "Rule:     stale" in message.get_content()
    assert not mailing.dispatch().changed


def test_a_rule_that_was_taken_back_before_it_was_told_is_not_told(mailing: Stage, postbox: Postbox) -> None:
    _subscribed(mailing.world)
    mailing.world.declare({"name": "six", "decision": "blacklist", "match": {"title": "SL6"}})
    mailing.world.declare()
    mailing.dispatch()
    assert postbox.envelopes == []


def test_a_refusal_reaches_the_endorser_once(mailing: Stage, postbox: Postbox) -> None:
    world = mailing.world
    _subscribed(world)
    world.publish("2", [])
    world.refresh()
    world.refresh()
    mailing.dispatch()
    message = postbox.messages()[0]
    assert message["Subject"] == 'The signed message of your list "Test list" was refused at example-site'
    text = message.get_content()
    assert "Code:     rollback" in text and "Version:  3 (the accepted one)" in text
    detail = mailing.journal("refused")[0]["detail"]
    assert detail in text
    assert len(postbox.envelopes) == 1


def test_refusals_of_one_kind_do_not_fill_the_endorsers_mailbox(mailing: Stage, postbox: Postbox) -> None:
    world = mailing.world
    _subscribed(world)
    for number in range(4):
        world.now += timedelta(hours=2)
        if number % 2:
            world.serve(b"<html>garbage</html>")
        else:
            world.publish("1", [world.image()])
        world.refresh()
        mailing.dispatch()
    assert len(mailing.journal("refused")) == 4
    assert len(postbox.envelopes) == 2
    world.now += timedelta(hours=30)
    world.publish("2", [world.image()])
    world.refresh()
    mailing.dispatch()
    assert len(postbox.envelopes) == 3


def test_what_was_taken_back_or_mended_since_reaches_nobody(mailing: Stage, postbox: Postbox) -> None:
    world = mailing.world
    _subscribed(world)
    world.decide("blacklist", IMAGE, reason="a slip")
    world.decide("clear", IMAGE)
    world.decide("approve", IMAGE_2)
    world.publish("2", [])
    world.refresh()
    world.publish("4", [])
    world.refresh()
    assert mailing.journal("refused")
    mailing.dispatch()
    assert postbox.envelopes == [] and _outbox(world) == {}


def test_what_only_the_site_can_mend_is_not_the_endorsers(mailing: Stage, postbox: Postbox) -> None:
    world = mailing.world
    _subscribed(world)
    for path in world.pki.certificates.glob("*.r0"):
        path.unlink()
    world.publish("4", [])
    world.refresh()
    assert [item["code"] for item in mailing.journal("refused")] == ["crl_unavailable"]
    mailing.dispatch()
    assert postbox.envelopes == []


@pytest.mark.parametrize(
    "address",
    ["", "nobody", "e@example.org, f@example.org", "e@example.org\r\nBcc: f@example.org", "-oQ/tmp@example.org"],
)
def test_what_is_no_single_address_is_not_written_to(mailing: Stage, postbox: Postbox, address: str) -> None:
    world = mailing.world
    _subscribed(world, **_endorser(world, address))
    world.decide("blacklist", IMAGE, reason="CVE")
    mailing.dispatch()
    assert postbox.envelopes == []
    (message,) = _outbox(world).values()
    assert message["To"] is None and message["Bcc"] is None
    (record,) = mailing.journal("mail_written")
    assert record["recipients"] == [] and "no usable mail address" in record["output"]


def test_titles_and_reasons_cannot_write_headers_or_lines(mailing: Stage, postbox: Postbox) -> None:
    world = mailing.world
    world.publish("1", [world.image(title="SL5\nReason:   none")], **{"dc:title": "A\r\nBcc: f@example.org\r\n\r\nB"})
    world.subscribe()
    world.decide("blacklist", IMAGE, reason="bad\n.\r\nQUIT")
    mailing.dispatch()
    (message,) = postbox.messages()
    assert postbox.envelopes[0].rcpt_tos == ["e@example.org"]
    assert message["Bcc"] is None and '"A Bcc: f@example.org B"' in message["Subject"]
    lines = message.get_content().splitlines()
    assert [line for line in lines if line.startswith("Reason:")] == ["Reason:   bad . QUIT"]


def test_a_copy_goes_to_whom_the_settings_name(mailing: Stage, postbox: Postbox) -> None:
    mailing.mail = {**(mailing.mail or {}), "copy_to": ["vo@example.org"]}
    _subscribed(mailing.world)
    mailing.world.decide("blacklist", IMAGE, reason="CVE")
    mailing.dispatch()
    assert postbox.envelopes[0].rcpt_tos == ["e@example.org", "vo@example.org"]
    assert postbox.messages()[0]["Cc"] == "vo@example.org"


def test_a_message_that_the_server_does_not_take_is_sent_later(mailing: Stage, postbox: Postbox) -> None:
    world = mailing.world
    _subscribed(world)
    world.decide("blacklist", IMAGE, reason="CVE")
    postbox.deferred = True
    outcome = mailing.dispatch()
    assert [item["code"] for item in outcome.data["failures"]] == ["mail_failed"]
    assert "come back later" in outcome.data["failures"][0]["context"]["output"]
    assert len(_outbox(world)) == 1
    postbox.deferred = False
    assert not mailing.dispatch().changed
    world.now += timedelta(minutes=2)
    mailing.mail = {**(mailing.mail or {}), "copy_to": ["late@example.org"]}
    mailing.dispatch()
    assert postbox.envelopes[0].rcpt_tos == ["e@example.org"]
    assert [item["attempt"] for item in mailing.journal("mailed")] == [2]
    assert postbox.messages()[0]["Message-ID"] == next(iter(_outbox(world).values()))["Message-ID"]


def test_a_server_that_is_not_there_fails_and_handlers_work(mailing: Stage) -> None:
    world = mailing.world
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        mailing.mail = {"from": SENDER, "smtp": f"127.0.0.1:{bound.getsockname()[1]}"}
        log = mailing.logging("log")
        _subscribed(world)
        world.decide("blacklist", IMAGE, reason="CVE")
        mailing.dispatch()
    assert [item["status"] for item in mailing.journal("mail_failed")] == [1]
    assert "SubscriptionImageNew" in log.read_text()


def test_sendmail_is_given_the_message_and_an_argument_vector(stage: Stage, tmp_path: Path) -> None:
    received, arguments = tmp_path / "received", tmp_path / "arguments"
    program = tmp_path / "sendmail"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >{arguments}\ncat >{received}\nenv >{tmp_path}/env\n")
    program.chmod(0o755)
    stage.mail = {"from": SENDER, "sendmail": str(program), "copy_to": ["vo@example.org"]}
    _subscribed(stage.world)
    stage.world.decide("blacklist", IMAGE, reason="CVE")
    assert stage.dispatch().data["failures"] == []
    assert arguments.read_text().splitlines() == ["-i", "-f", SENDER, "e@example.org", "vo@example.org"]
    assert b"\r" not in received.read_bytes()
    message = email.message_from_bytes(received.read_bytes(), policy=email.policy.default)
    assert IMAGE in message.get_content()
    assert not re.search("^VMCATCHER", (tmp_path / "env").read_text(), re.MULTILINE)


def test_a_sendmail_that_fails_or_that_others_may_change_is_a_failure(stage: Stage, tmp_path: Path) -> None:
    program = tmp_path / "sendmail"
    program.write_text("#!/bin/sh\necho no route >&2\nexit 75\n")
    program.chmod(0o755)
    stage.mail = {"from": SENDER, "sendmail": str(program)}
    _subscribed(stage.world)
    stage.world.decide("blacklist", IMAGE, reason="CVE")
    stage.dispatch()
    program.chmod(0o777)
    stage.world.now += timedelta(minutes=2)
    stage.dispatch()
    first, second = stage.journal("mail_failed")
    assert (first["status"], first["output"]) == (75, "no route\n")
    assert second["status"] is None and "handlers_unsafe" in second["output"]


def test_without_mail_settings_the_message_is_ready_in_the_outbox(stage: Stage) -> None:
    _subscribed(stage.world)
    stage.world.decide("blacklist", IMAGE, reason="CVE")
    assert stage.dispatch().data["failures"] == []
    (message,) = _outbox(stage.world).values()
    assert message["To"] == "e@example.org" and is_address(message["From"])


def test_a_new_site_writes_nobody_of_old_decisions(mailing: Stage, postbox: Postbox) -> None:
    _subscribed(mailing.world)
    mailing.world.decide("blacklist", IMAGE, reason="CVE")
    mailing.world.now += timedelta(days=8)
    mailing.dispatch()
    assert postbox.envelopes == []


@pytest.mark.parametrize(
    "text", ["a@example.org", "first.last+tag@sub.example.org", "a@localhost", "o'hara@example.org"]
)
def test_an_address(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "@example.org",
        "a@",
        "a@b@c",
        "a b@example.org",
        '"a b"@example.org',
        "a@[127.0.0.1]",
        "<a@example.org>",
        "a@example.org\n",
        "a@exämple.org",
        "a@-x.org",
        "a..b@example.org",
        f"{'a' * 65}@example.org",
        f"a@{'b.' * 130}org",
    ],
)
def test_no_address(text: t.Any) -> None:
    assert not is_address(text)


def test_paths_of_the_site_are_left_out() -> None:
    text = (
        "No /etc/grid-security/certificates/ab.r0 for '/C=DE/O=Grid/CN=A B' (file:///srv/x): https://e.org/a/b and 1/2."
    )
    assert without_paths(text) == (
        "No (a file of the site) for '/C=DE/O=Grid/CN=A B' ((a file of the site)): https://e.org/a/b and 1/2."
    )


@pytest.mark.needs("root")
def test_root_acts_as_the_owner_and_its_programs_do_too(tmp_path: Path) -> None:
    import threading

    from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.events import program
    from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import as_owner

    owned = tmp_path / "state"
    owned.mkdir()
    os.chown(owned, 65534, 65534)
    script = "while read line; do case $line in Uid:*|Gid:*|Groups:*) echo $line;; esac; done </proc/self/status"
    with as_owner(owned):
        ended = program.run(
            ["/bin/sh", "-c", script], environment={}, octets=b"x" * 1000000, timeout=30, stopped=threading.Event()
        )
    told = {key: set(numbers.split()) for key, numbers in (line.split(":") for line in ended.output.splitlines())}
    assert told == {"Uid": {"65534"}, "Gid": {"65534"}, "Groups": {"65534"}}
