# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetching a message: whole, capped, conditional, and never for ever."""

from __future__ import annotations

import dataclasses
import email.utils
import gzip
import pathlib
import socket
import time
import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TransferError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.fetch import Validators, fetch_message
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.policy import Policy
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.session import Session

CAP = 1024 * 1024
MESSAGE = b"a signed message\r\n" * 100


def refusal(uri: str, policy: Policy, cap: int = CAP) -> TransferError:
    with pytest.raises(TransferError) as caught:
        fetch_message(uri, cap=cap, policy=policy)
    return caught.value


def endless(octet: bytes) -> t.Iterator[bytes]:
    while True:
        yield octet


def test_a_message_comes_whole_with_its_validators(web: t.Any, policy: Policy) -> None:
    web.answers["/file"] = (200, {"ETag": '"v1"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, MESSAGE)
    fetched = fetch_message(web.uri(), cap=CAP, policy=policy)
    assert (fetched.status, fetched.octets, fetched.uri) == ("ok", MESSAGE, web.uri())
    assert fetched.validators == Validators(etag='"v1"', last_modified="Mon, 01 Jan 2024 00:00:00 GMT")


def test_octets_are_asked_for_as_they_are(web: t.Any, policy: Policy) -> None:
    web.answers["/file"] = (200, {}, MESSAGE)
    fetch_message(web.uri(), cap=CAP, policy=policy)
    _path, headers = web.requests[0]
    assert headers["Accept-Encoding"] == "identity"
    assert headers["User-Agent"] == "hepix.vmimages"


def test_an_unchanged_message_is_not_sent_again(web: t.Any, policy: Policy) -> None:
    known = Validators(etag='"v1"', last_modified="Mon, 01 Jan 2024 00:00:00 GMT")
    web.answers["/file"] = (304, {}, b"")
    fetched = fetch_message(web.uri(), cap=CAP, policy=policy, validators=known)
    assert (fetched.status, fetched.octets, fetched.validators) == ("unchanged", b"", known)
    _path, headers = web.requests[0]
    assert headers["If-None-Match"] == known.etag
    assert headers["If-Modified-Since"] == known.last_modified


def test_unchanged_is_no_answer_to_who_did_not_ask(web: t.Any, policy: Policy) -> None:
    web.answers["/file"] = (304, {}, b"")
    assert refusal(web.uri(), policy).code == "http_status"


def test_validators_that_cannot_be_sent_back_are_forgotten(web: t.Any, policy: Policy) -> None:
    web.answers["/file"] = (200, {"ETag": "x" * 2000, "Last-Modified": "caf\u00e9"}, MESSAGE)
    assert fetch_message(web.uri(), cap=CAP, policy=policy).validators == Validators()


def test_a_date_that_no_calendar_knows_is_none(raw: t.Any, read_request: t.Any, policy: Policy) -> None:
    def script(connection: t.Any) -> None:
        read_request(connection)
        dates = (
            b"Last-Modified: Fri, 01 Jan 1999 00:00:00 GMT\r\nDate: Fri, 01 Jan 1" + b"9" * 30 + b" 00:00:00 GMT\r\n"
        )
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(MESSAGE)
        connection.sendall(head + dates + b"\r\n" + MESSAGE)

    assert fetch_message(raw(script).uri(), cap=CAP, policy=policy).octets == MESSAGE


@pytest.mark.parametrize("age, kept", [(1, False), (3600, True)])
def test_a_file_changed_just_now_is_asked_for_again(web: t.Any, policy: Policy, age: int, kept: bool) -> None:
    """nginx makes its ETag of a whole second and the size: the next version may carry the same one."""
    answered = 1_700_000_000

    def answer(handler: t.Any) -> None:
        handler.send_response_only(200)
        handler.send_header("ETag", '"v1"')
        handler.send_header("Date", email.utils.formatdate(answered, usegmt=True))
        handler.send_header("Last-Modified", email.utils.formatdate(answered - age, usegmt=True))
        handler.send_header("Content-Length", "5")
        handler.end_headers()
        handler.wfile.write(b"hello")

    web.answers["/file"] = answer
    assert bool(fetch_message(web.uri(), cap=CAP, policy=policy).validators.etag) is kept


def test_a_session_keeps_the_connection_for_the_next_message(web: t.Any, policy: Policy) -> None:
    ports = set()

    def answer(handler: t.Any) -> None:
        ports.add(handler.client_address)
        known = "If-None-Match" in handler.headers
        handler.send_response(304 if known else 200)
        if not known:
            handler.send_header("Content-Length", "5")
        handler.end_headers()
        handler.wfile.write(b"" if known else b"hello")

    web.answers["/file"] = answer
    with Session(policy) as session:
        for validators in (None, Validators(etag='"v1"'), None):
            fetch_message(web.uri(), cap=CAP, policy=policy, validators=validators, session=session)
    assert (len(web.requests), len(ports)) == (3, 1)


def test_a_session_of_another_policy_is_refused(web: t.Any, policy: Policy) -> None:
    with Session(Policy()) as session, pytest.raises(TransferError) as caught:
        fetch_message(web.uri(), cap=CAP, policy=policy, session=session)
    assert caught.value.code == "internal_error"


@pytest.mark.parametrize(
    ("status", "code"), [(404, "not_found"), (410, "not_found"), (403, "access_denied"), (500, "http_status"),
                         (206, "http_status"), (204, "http_status"), (300, "http_status")]
)  # fmt: skip
def test_any_other_answer_is_a_refusal(web: t.Any, policy: Policy, status: int, code: str) -> None:
    web.answers["/file"] = (status, {}, b"")
    error = refusal(web.uri(), policy)
    assert error.code == code
    assert str(status) in error.detail


def test_a_message_larger_than_the_cap_is_refused_before_it_is_read(web: t.Any, policy: Policy) -> None:
    web.answers["/file"] = (200, {"Content-Length": "104857600"}, b"")
    error = refusal(web.uri(), policy, cap=8 * CAP)
    assert error.code == "too_large"
    assert "104857600" in error.detail


def test_a_message_of_exactly_the_cap_is_accepted(web: t.Any, policy: Policy) -> None:
    web.answers["/file"] = (200, {}, MESSAGE)
    assert fetch_message(web.uri(), cap=len(MESSAGE), policy=policy).octets == MESSAGE
    assert refusal(web.uri(), policy, cap=len(MESSAGE) - 1).code == "too_large"


def test_a_server_that_never_ends_is_stopped_at_the_cap(raw: t.Any, read_request: t.Any, policy: Policy) -> None:
    sent = 0

    def script(connection: t.Any) -> None:
        nonlocal sent
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 100 * CAP:
            connection.sendall(b"x" * 65536)
            sent += 65536

    assert refusal(raw(script).uri(), policy).code == "too_large"
    assert sent < 20 * CAP


def test_endless_chunks_are_stopped_at_the_cap(raw: t.Any, read_request: t.Any, policy: Policy) -> None:
    def script(connection: t.Any) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _turn in range(1000):
            connection.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")

    assert refusal(raw(script).uri(), policy).code == "too_large"


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n"


@pytest.mark.parametrize(
    "before",
    [b"", b"HTTP/1.1 200 OK\r\nX-Header: ", HEAD + b"\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"],
    ids=["status", "header", "body", "chunk"],
)
def test_the_deadline_holds_against_one_octet_at_a_time(
    raw: t.Any, read_request: t.Any, drip: t.Any, policy: Policy, before: bytes
) -> None:
    def script(connection: t.Any) -> None:
        read_request(connection)
        connection.sendall(before)
        drip(connection, endless(b"x"))

    server = raw(script)
    error = refusal(server.uri(), dataclasses.replace(policy, message_timeout=0.3))
    assert error.code == "timeout"
    assert "longer than 0.3 seconds" in error.detail
    assert not server.outlived


def test_the_deadline_holds_on_a_kept_connection(raw: t.Any, read_request: t.Any, drip: t.Any, policy: Policy) -> None:
    def script(connection: t.Any) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        read_request(connection)
        drip(connection, endless(b"x"))

    server = raw(script)
    impatient = dataclasses.replace(policy, message_timeout=0.3)
    with Session(impatient) as session:
        fetch_message(server.uri(), cap=CAP, policy=impatient, session=session)
        with pytest.raises(TransferError) as caught:
            fetch_message(server.uri(), cap=CAP, policy=impatient, session=session)
    assert caught.value.code == "timeout"
    assert server.connections == 1
    assert not server.outlived


def test_endless_interim_answers_end_at_the_deadline(raw: t.Any, read_request: t.Any, policy: Policy) -> None:
    def script(connection: t.Any) -> None:
        read_request(connection)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    error = refusal(raw(script).uri(), dataclasses.replace(policy, message_timeout=0.3))
    assert error.code == "timeout"


def test_a_rate_below_the_minimum_is_too_slow(raw: t.Any, read_request: t.Any, drip: t.Any, policy: Policy) -> None:
    def script(connection: t.Any) -> None:
        read_request(connection)
        connection.sendall(HEAD + b"\r\n")
        drip(connection, endless(b"x"))

    error = refusal(raw(script).uri(), dataclasses.replace(policy, minimum_rate=1024, rate_window=0.3))
    assert error.code == "timeout"
    assert "slower than 1024 octets a second" in error.detail


def test_a_silent_server_times_out(raw: t.Any, policy: Policy) -> None:
    def script(connection: t.Any) -> None:
        time.sleep(3)

    error = refusal(raw(script).uri(), dataclasses.replace(policy, read_timeout=0.3))
    assert error.code == "timeout"


def test_a_message_cut_short_is_not_a_message(raw: t.Any, read_request: t.Any, policy: Policy) -> None:
    def script(connection: t.Any) -> None:
        read_request(connection)
        connection.sendall(HEAD + b"\r\n" + b"x" * 50)

    error = refusal(raw(script).uri(), policy)
    assert error.code == "unreachable"


def test_a_cut_chunk_is_not_the_end(raw: t.Any, read_request: t.Any, policy: Policy) -> None:
    def script(connection: t.Any) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")

    assert refusal(raw(script).uri(), policy).code == "unreachable"


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\n" + b"A" * 70000])
def test_what_is_not_http_is_a_broken_connection(
    raw: t.Any, read_request: t.Any, policy: Policy, answer: bytes
) -> None:
    def script(connection: t.Any) -> None:
        read_request(connection)
        connection.sendall(answer)

    assert refusal(raw(script).uri(), policy).code == "unreachable"


def test_a_compressed_answer_is_refused(web: t.Any, policy: Policy) -> None:
    web.answers["/file"] = (200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(10 * CAP)))
    error = refusal(web.uri(), policy)
    assert error.code == "encoding_refused"
    assert "gzip" in error.detail


def test_nobody_listens(policy: Policy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = refusal(f"http://127.0.0.1:{port}/", policy)
    assert error.code == "unreachable"
    assert "connection refused" in error.detail


def test_a_name_that_does_not_resolve(policy: Policy) -> None:
    error = refusal("http://list.invalid/x", policy)
    assert error.code == "unreachable"
    assert "list.invalid" in error.detail


def test_a_file_address_works_where_the_administrator_names_it(tmp_path: pathlib.Path, policy: Policy) -> None:
    path = tmp_path / "a list.smime"
    path.write_bytes(MESSAGE)
    allowed = dataclasses.replace(policy, allow_file=True)
    uri = path.as_uri()
    fetched = fetch_message(uri, cap=CAP, policy=allowed)
    assert fetched.octets == MESSAGE
    assert fetch_message(uri, cap=CAP, policy=allowed, validators=fetched.validators).status == "unchanged"
    path.write_bytes(MESSAGE + b"x")
    assert fetch_message(uri, cap=CAP, policy=allowed, validators=fetched.validators).status == "ok"
    assert refusal(uri, policy).code == "uri_unsupported"


def test_file_addresses_are_refused_in_plain_words(tmp_path: pathlib.Path, policy: Policy) -> None:
    allowed = dataclasses.replace(policy, allow_file=True)
    (tmp_path / "large").write_bytes(bytes(100))
    assert refusal((tmp_path / "absent").as_uri(), allowed).code == "not_found"
    assert refusal(tmp_path.as_uri(), allowed).code == "not_readable"
    assert refusal("file:///dev/zero", allowed).code == "not_readable"
    assert refusal("file:///a%00b", allowed).code == "uri_unsupported"
    assert refusal((tmp_path / "large").as_uri(), allowed, cap=99).code == "too_large"
