# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a transfer is led: redirects, private addresses, TLS, proxies."""

from __future__ import annotations

import base64
import dataclasses
import pathlib
import socket
import ssl
import subprocess
import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TransferError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.connections import connect
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.fetch import fetch_message
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.policy import Policy
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.watchdog import Watchdog

MESSAGE = b"a signed message"


def fetch(uri: str, policy: Policy) -> bytes:
    return fetch_message(uri, cap=65536, policy=policy).octets


def refusal(uri: str, policy: Policy) -> TransferError:
    with pytest.raises(TransferError) as caught:
        fetch(uri, policy)
    return caught.value


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme.upper()}_PROXY", raising=False)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(web: t.Any, policy: Policy, status: int) -> None:
    web.answers["/old"] = (status, {"Location": "new%20place?x=1#y"}, b"moved")
    web.answers["/new%20place?x=1"] = (200, {}, MESSAGE)
    assert fetch(web.uri("/old"), policy) == MESSAGE


def test_a_redirect_with_characters_that_an_address_must_not_hold_is_mended(web: t.Any, policy: Policy) -> None:
    web.answers["/old"] = (302, {"Location": "/new place/\u00e9"}, b"")
    web.answers["/new%20place/%C3%83%C2%A9"] = (200, {}, MESSAGE)
    web.answers["/new%20place/%C3%A9"] = (200, {}, MESSAGE)
    assert fetch(web.uri("/old"), policy) == MESSAGE


def test_five_redirects_are_followed_and_no_more(web: t.Any, policy: Policy) -> None:
    for hop in range(6):
        web.answers[f"/{hop}"] = (302, {"Location": f"/{hop + 1}"}, b"")
    web.answers["/6"] = (200, {}, MESSAGE)
    assert fetch(web.uri("/1"), policy) == MESSAGE
    assert refusal(web.uri("/0"), policy).code == "redirect_refused"


def test_a_redirect_loop_ends(web: t.Any, policy: Policy) -> None:
    web.answers["/loop"] = (302, {"Location": "/loop"}, b"")
    assert refusal(web.uri("/loop"), policy).code == "redirect_refused"
    assert len(web.requests) == 6


def test_the_body_of_a_redirect_is_not_read(raw: t.Any, web: t.Any, read_request: t.Any, policy: Policy) -> None:
    web.answers["/file"] = (200, {}, MESSAGE)

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: {web.uri()}\r\n\r\n".encode())
        for _turn in range(10000):
            connection.sendall(bytes(65536))

    assert fetch(raw(script).uri(), policy) == MESSAGE


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://example.org/x",
        "data:text/plain,x",
        "https://user:secret@example.org/",
        "http://[::1/",
        "http://example.org:99999/",
        "https:///nowhere",
    ],
)
@pytest.mark.parametrize("allow_file", [False, True])
def test_a_redirect_to_anything_but_a_plain_web_address_is_refused(
    web: t.Any, policy: Policy, location: str, allow_file: bool
) -> None:
    web.answers["/file"] = (302, {"Location": location}, b"")
    error = refusal(web.uri(), dataclasses.replace(policy, allow_file=allow_file))
    assert error.code == "redirect_refused"
    assert "secret" not in str(error)


def test_a_redirect_without_an_address_is_no_answer(web: t.Any, policy: Policy) -> None:
    web.answers["/file"] = (302, {}, b"")
    assert refusal(web.uri(), policy).code == "http_status"


def test_a_redirect_from_https_to_http_is_refused(tls_web: t.Any, web: t.Any, tls_policy: Policy) -> None:
    tls_web.answers["/file"] = (302, {"Location": web.uri(host="localhost")}, b"")
    error = refusal(tls_web.uri(host="localhost"), tls_policy)
    assert error.code == "redirect_refused"
    assert "not encrypted" in error.detail
    assert web.requests == []


def test_a_redirect_from_http_to_https_is_followed(tls_web: t.Any, web: t.Any, tls_policy: Policy) -> None:
    web.answers["/file"] = (302, {"Location": tls_web.uri(host="localhost")}, b"")
    tls_web.answers["/file"] = (200, {}, MESSAGE)
    assert fetch(web.uri(host="localhost"), tls_policy) == MESSAGE


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.2", "2130706433", "0177.0.0.1", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "0.0.0.0", "0"],
)
def test_a_redirect_to_a_private_address_is_refused_in_any_notation(web: t.Any, policy: Policy, host: str) -> None:
    web.answers["/file"] = (302, {"Location": web.uri("/inner", host=host)}, b"")
    web.answers["/inner"] = (200, {}, MESSAGE)
    assert refusal(web.uri(), policy).code == "address_refused"
    assert [path for path, _headers in web.requests] == ["/file"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433"])
def test_a_private_address_is_refused_for_an_untrusted_host(web: t.Any, host: str) -> None:
    web.answers["/file"] = (200, {}, MESSAGE)
    assert refusal(web.uri(host=host), Policy()).code == "address_refused"
    assert web.requests == []


def test_a_private_address_is_reached_where_allowed(web: t.Any) -> None:
    web.answers["/file"] = (200, {}, MESSAGE)
    assert fetch(web.uri(host="localhost"), Policy(allow_private=True)) == MESSAGE
    assert fetch(web.uri(host="LOCALHOST"), Policy().trusting("https://localhost/list")) == MESSAGE


def test_the_address_checked_is_the_address_connected_to(web: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that answers differently the second time (DNS rebinding) gets one question only."""
    answers = iter(["127.0.0.1", "127.0.0.2"])
    checked = []

    def rebinding(_host: str, port: int, *_args: t.Any, **_kwargs: t.Any) -> t.Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with (
        Watchdog(5, what="The test") as watchdog,
        connect(
            "images.example.org", web.port, check=lambda *seen: checked.append(seen), timeout=2, watchdog=watchdog
        ) as connection,
    ):
        assert checked == [("images.example.org", connection.getpeername()[0])]
    assert next(answers) == "127.0.0.2"


def test_one_private_address_among_public_ones_refuses_the_host(web: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def mixed(_host: str, port: int, *_args: t.Any, **_kwargs: t.Any) -> t.Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("8.8.8.8", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", mixed)
    assert refusal(web.uri(host="images.example.org"), Policy()).code == "address_refused"


def test_a_library_that_bypasses_the_check_is_noticed(web: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should urllib3 one day make its sockets elsewhere, nothing is fetched."""
    import urllib3.connection

    def elsewhere(self: t.Any) -> None:
        self.sock = socket.create_connection((self.host, self.port), timeout=2)

    monkeypatch.setattr(urllib3.connection.HTTPConnection, "connect", elsewhere)
    web.answers["/file"] = (200, {}, MESSAGE)
    assert refusal(web.uri(), Policy()).code == "internal_error"
    assert web.requests == []


def test_tls_is_verified_with_the_given_ca(tls_web: t.Any, tls_policy: Policy) -> None:
    tls_web.answers["/file"] = (200, {}, MESSAGE)
    assert fetch(tls_web.uri(host="localhost"), tls_policy) == MESSAGE


def test_the_ca_may_be_a_hashed_directory(
    tls_web: t.Any, tls_policy: Policy, authority: t.Any, tmp_path: pathlib.Path
) -> None:
    command = ["openssl", "x509", "-noout", "-hash", "-in", str(authority.path)]
    name = subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()
    (tmp_path / f"{name}.0").write_bytes(authority.path.read_bytes())
    tls_web.answers["/file"] = (200, {}, MESSAGE)
    assert fetch(tls_web.uri(host="localhost"), dataclasses.replace(tls_policy, ca_path=str(tmp_path))) == MESSAGE


@pytest.mark.parametrize("which", ["system", "other"])
def test_an_unknown_ca_is_refused(tls_web: t.Any, tls_policy: Policy, other_authority: t.Any, which: str) -> None:
    tls_web.answers["/file"] = (200, {}, MESSAGE)
    ca_path = str(other_authority.path) if which == "other" else None
    error = refusal(tls_web.uri(host="localhost"), dataclasses.replace(tls_policy, ca_path=ca_path))
    assert error.code == "tls_failed"
    assert "certificate" in error.detail
    assert tls_web.requests == []


def test_a_certificate_of_another_host_is_refused(tls_web: t.Any, tls_policy: Policy) -> None:
    tls_web.answers["/file"] = (200, {}, MESSAGE)
    error = refusal(tls_web.uri(host="127.0.0.1"), tls_policy.trusting("https://127.0.0.1/"))
    assert error.code == "tls_failed"
    assert tls_web.requests == []


def test_https_to_a_server_without_tls_fails_clearly(web: t.Any, tls_policy: Policy) -> None:
    assert refusal(f"https://localhost:{web.port}/", tls_policy).code in ("tls_failed", "unreachable")


def test_the_deadline_holds_in_the_tls_handshake(raw: t.Any, drip: t.Any, tls_policy: Policy) -> None:
    def script(connection: socket.socket) -> None:
        drip(connection, [b"\x16\x03\x03\x40\x00"] + [b"\x02"] * 1000)

    policy = dataclasses.replace(tls_policy.trusting("https://127.0.0.1/"), message_timeout=0.3)
    error = refusal(raw(script).uri(scheme="https"), policy)
    assert error.code == "timeout"
    assert "longer than 0.3 seconds" in error.detail


def test_a_cut_under_tls_is_a_timeout_not_an_end(
    raw: t.Any, read_request: t.Any, drip: t.Any, authority: t.Any, tls_policy: Policy
) -> None:
    context: ssl.SSLContext = authority.server_context("localhost")

    def script(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            read_request(tls)
            tls.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            drip(tls, [b"x"] * 1000)

    uri = f"https://localhost:{raw(script).port}/file"
    assert refusal(uri, dataclasses.replace(tls_policy, message_timeout=0.5)).code == "timeout"


@pytest.mark.parametrize(("content", "code"), [(None, "not_found"), (b"no certificate", "tls_failed")])
def test_a_useless_ca_path_is_named(
    tls_web: t.Any, tls_policy: Policy, tmp_path: pathlib.Path, content: bytes | None, code: str
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    error = refusal(tls_web.uri(host="localhost"), dataclasses.replace(tls_policy, ca_path=str(path)))
    assert error.code == code
    assert str(path) in error.detail


ENVIRONMENT = Policy(proxy="environment")


def test_the_proxy_of_the_environment_is_asked(
    raw: t.Any, read_request: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads = []

    def script(connection: socket.socket) -> None:
        heads.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    proxy = raw(script)
    monkeypatch.setenv("http_proxy", f"http://squid:pass%20word@127.0.0.1:{proxy.port}")
    assert fetch("http://images.invalid/list", ENVIRONMENT) == b"hello"
    assert heads[0].startswith(b"GET http://images.invalid/list HTTP/1.1\r\n")
    credentials = base64.b64encode(b"squid:pass word").decode()
    assert f"proxy-authorization: basic {credentials}".lower() in heads[0].decode().lower()
    monkeypatch.setenv("no_proxy", "images.invalid")
    assert refusal("http://images.invalid/list", ENVIRONMENT).code == "unreachable"
    assert proxy.connections == 1


def test_https_goes_through_a_tunnel(
    raw: t.Any, read_request: t.Any, authority: t.Any, tls_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    context: ssl.SSLContext = authority.server_context("images.invalid")
    heads = []

    def script(connection: socket.socket) -> None:
        heads.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with context.wrap_socket(connection, server_side=True) as tls:
            heads.append(read_request(tls))
            tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{raw(script).port}")
    assert fetch("https://images.invalid/list", dataclasses.replace(tls_policy, proxy="environment")) == b"hello"
    assert heads[0].startswith(b"CONNECT images.invalid:443 ")
    assert heads[1].startswith(b"GET /list ")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_is_not_asked_for_a_private_address(
    raw: t.Any, policy: Policy, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    proxy = raw(lambda connection: None)
    monkeypatch.setenv("all_proxy", f"http://127.0.0.1:{proxy.port}")
    policy = dataclasses.replace(policy, proxy="environment")
    assert refusal(f"{scheme}://2130706434/x", policy).code == "address_refused"
    assert refusal(f"{scheme}://localhost/x", policy).code == "address_refused"
    assert proxy.connections == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_fails_is_a_refusal_without_its_password(
    raw: t.Any, read_request: t.Any, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

    monkeypatch.setenv("all_proxy", f"http://squid:secret@127.0.0.1:{raw(script).port}")
    error = refusal(f"{scheme}://images.invalid/x", ENVIRONMENT)
    assert error.code == ("http_status" if scheme == "http" else "unreachable")
    assert "secret" not in str(error.as_dict())


def test_a_socks_proxy_is_refused_rather_than_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://user:secret@127.0.0.1:1080")
    error = refusal("http://images.invalid/x", ENVIRONMENT)
    assert error.code == "unreachable"
    assert "socks5" in error.detail
    assert "secret" not in str(error.as_dict())
