# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who we are: told to the server it is meant for, over TLS, and to nobody else; and never part of any text."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import os
import pathlib
import ssl
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TransferError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.access.credentials import (
    Credentials,
    credentials_for,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.fetch import fetch_message
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.policy import Policy

SECRET = "s3cr3t.token-of~ours"
CONTENT = b"for members only"


def fetch(uri: str, policy: Policy) -> bytes:
    return fetch_message(uri, cap=1000, policy=policy).octets


def refusal(uri: str, policy: Policy) -> TransferError:
    with pytest.raises(TransferError) as caught:
        fetch(uri, policy)
    assert SECRET not in str(caught.value.as_dict())
    return caught.value


def secret_file(folder: pathlib.Path, text: str = SECRET, name: str = "secret", mode: int = 0o600) -> str:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def knowing(policy: Policy, *credentials: Credentials) -> Policy:
    return dataclasses.replace(policy, credentials=credentials)


@pytest.fixture
def server(misbehaving: t.Any, authority: t.Any) -> t.Iterator[t.Any]:
    with misbehaving.Misbehaving(CONTENT, context=authority.server_context("localhost")) as found:
        yield found


@pytest.fixture
def other(misbehaving: t.Any, authority: t.Any) -> t.Iterator[t.Any]:
    """Another server, at another port of the same host."""
    with misbehaving.Misbehaving(CONTENT, context=authority.server_context("localhost")) as found:
        yield found


def test_a_token_is_sent_to_its_host(server: t.Any, tls_policy: Policy, tmp_path: pathlib.Path) -> None:
    policy = knowing(tls_policy, Credentials("localhost", token_file=secret_file(tmp_path, f"{SECRET}\n")))
    assert fetch(server.uri(host="localhost"), policy) == CONTENT
    assert server.asked("Authorization") == [f"Bearer {SECRET}"]


def test_a_token_is_read_whenever_it_is_used(server: t.Any, tls_policy: Policy, tmp_path: pathlib.Path) -> None:
    policy = knowing(tls_policy, Credentials("localhost", token_file=secret_file(tmp_path)))
    fetch(server.uri(host="localhost"), policy)
    secret_file(tmp_path, "renewed")
    fetch(server.uri(host="localhost"), policy)
    assert server.asked("Authorization")[-1] == "Bearer renewed"


def test_a_password_is_sent_to_its_host(server: t.Any, tls_policy: Policy, tmp_path: pathlib.Path) -> None:
    policy = knowing(tls_policy, Credentials("localhost", password_file=secret_file(tmp_path, f"us\u00e9r:{SECRET}")))
    fetch(server.uri(host="localhost"), policy)
    expected = base64.b64encode(f"us\u00e9r:{SECRET}".encode()).decode()
    assert server.asked("Authorization") == [f"Basic {expected}"]


def test_another_host_and_another_port_see_nothing(
    server: t.Any, other: t.Any, tls_policy: Policy, tmp_path: pathlib.Path
) -> None:
    path = secret_file(tmp_path)
    policy = knowing(
        tls_policy, Credentials("elsewhere", token_file=path), Credentials("localhost", other.port, token_file=path)
    )
    fetch(server.uri(host="localhost"), policy)
    assert server.asked("Authorization") == [None]


def test_a_redirect_takes_no_credentials_along(
    misbehaving: t.Any, server: t.Any, other: t.Any, tls_policy: Policy, tmp_path: pathlib.Path
) -> None:
    server.fault = misbehaving.page(302, {"Location": other.uri(host="localhost")})
    policy = knowing(tls_policy, Credentials("localhost", server.port, token_file=secret_file(tmp_path)))
    assert fetch(server.uri(host="localhost"), policy) == CONTENT
    assert server.asked("Authorization") == [f"Bearer {SECRET}"]
    assert other.asked("Authorization") == [None]


def test_a_redirect_to_a_server_that_is_named_as_well_gets_its_own(
    misbehaving: t.Any, server: t.Any, other: t.Any, tls_policy: Policy, tmp_path: pathlib.Path
) -> None:
    server.fault = misbehaving.page(307, {"Location": other.uri(host="localhost")})
    policy = knowing(
        tls_policy,
        Credentials("localhost", token_file=secret_file(tmp_path)),
        Credentials("localhost", other.port, token_file=secret_file(tmp_path, "others", "other")),
    )
    fetch(server.uri(host="localhost"), policy)
    assert other.asked("Authorization") == ["Bearer others"]


def test_plain_http_gets_no_credentials(misbehaving: t.Any, policy: Policy, tmp_path: pathlib.Path) -> None:
    with misbehaving.Misbehaving(CONTENT) as plain:
        fetch(plain.uri(), knowing(policy, Credentials("127.0.0.1", token_file=secret_file(tmp_path))))
        assert plain.asked("Authorization") == [None]


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("https://a.example/x", True),
        ("https://A.EXAMPLE./x", True),
        ("https://a.example:8443/x", True),
        ("http://a.example/x", False),
        ("https://b.a.example/x", False),
        ("https://a.example.evil.example/x", False),
        ("https://xa.example/x", False),
    ],
)
def test_a_host_is_that_host(uri: str, found: bool) -> None:
    known = Credentials("a.example", token_file="/x")
    assert credentials_for(uri, [known]) == (known if found else None)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_secret_that_others_may_read_is_not_used(
    server: t.Any, tls_policy: Policy, tmp_path: pathlib.Path, mode: int
) -> None:
    policy = knowing(tls_policy, Credentials("localhost", token_file=secret_file(tmp_path, mode=mode)))
    error = refusal(server.uri(host="localhost"), policy)
    assert (error.code, error.context["mode"]) == ("secret_permissions", f"{mode:04o}")
    assert server.requests == []


@pytest.mark.parametrize("content", ["", "\n\n", f"{SECRET}\nand more", f"{SECRET} x", f"{SECRET}\r\nX: y", "\u00e9"])
def test_a_file_that_holds_no_token_is_not_sent(
    server: t.Any, tls_policy: Policy, tmp_path: pathlib.Path, content: str
) -> None:
    policy = knowing(tls_policy, Credentials("localhost", token_file=secret_file(tmp_path, content)))
    assert refusal(server.uri(host="localhost"), policy).code == "secret_unreadable"
    assert server.requests == []


@pytest.mark.parametrize("kind", ["absent", "directory", "fifo"])
def test_a_secret_that_is_no_file_is_named(
    server: t.Any, tls_policy: Policy, tmp_path: pathlib.Path, kind: str
) -> None:
    path = tmp_path / "secret"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    error = refusal(server.uri(host="localhost"), knowing(tls_policy, Credentials("localhost", token_file=str(path))))
    assert error.code == "secret_unreadable"
    assert str(path) in error.detail


def test_a_password_without_a_user_is_refused(server: t.Any, tls_policy: Policy, tmp_path: pathlib.Path) -> None:
    policy = knowing(tls_policy, Credentials("localhost", password_file=secret_file(tmp_path)))
    assert refusal(server.uri(host="localhost"), policy).code == "secret_unreadable"


@pytest.mark.parametrize("status", [401, 403])
def test_what_is_not_for_us_is_denied(
    misbehaving: t.Any, server: t.Any, tls_policy: Policy, tmp_path: pathlib.Path, status: int
) -> None:
    server.fault = misbehaving.page(status)
    policy = knowing(tls_policy, Credentials("localhost", token_file=secret_file(tmp_path)))
    assert refusal(server.uri(host="localhost"), policy).code == "access_denied"


class Grid:
    """A user's certificate, and a proxy made from it (RFC 3820)."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder
        self._now = datetime.datetime.now(datetime.timezone.utc)
        self._ca_key, self._user_key, self._proxy_key = (ec.generate_private_key(ec.SECP256R1()) for _key in range(3))
        ca_name, user = _name("Grid CA"), _name("Uwe User")
        ca = self._certificate(ca_name, ca_name, self._ca_key, self._ca_key, ca=True)
        self._user = self._certificate(user, ca_name, self._user_key, self._ca_key)
        proxy = self._certificate(_name("Uwe User", "123"), user, self._proxy_key, self._user_key, proxy=True)
        self.ca = self._write("grid-ca.pem", _pem(ca))
        self.user = self._write("usercert.pem", _pem(self._user))
        self.key = self._write("userkey.pem", _key(self._user_key))
        self.encrypted = self._write("encrypted.pem", _key(self._user_key, b"passphrase"))
        self.wrong_key = self._write("wrong.pem", _key(self._ca_key))
        self.proxy = self._write("x509up", _pem(proxy) + _key(self._proxy_key) + _pem(self._user))

    def server_context(self, authority: t.Any) -> ssl.SSLContext:
        """A server that wants to know who we are, and lets proxies in."""
        context: ssl.SSLContext = authority.server_context("localhost")
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.ca)
        context.verify_flags |= ssl.VERIFY_ALLOW_PROXY_CERTS
        return context

    def _write(self, name: str, octets: bytes) -> str:
        path = self._folder / name
        path.write_bytes(octets)
        path.chmod(0o600)
        return str(path)

    def _certificate(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        key: t.Any,
        issuer_key: t.Any,
        *,
        ca: bool = False,
        proxy: bool = False,
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(self._now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(self._now + datetime.timedelta(hours=1))
        usage = x509.KeyUsage(True, False, False, False, False, ca, ca, False, False)
        builder = builder.add_extension(usage, critical=True)
        if proxy:
            # ProxyCertInfo with the policy language id-ppl-inheritAll
            information = bytes.fromhex("300c300a06082b06010505071501")
            oid = ObjectIdentifier("1.3.6.1.5.5.7.1.14")
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, information), critical=True)
        else:
            builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        return builder.sign(issuer_key, hashes.SHA256())


def _name(*common_names: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in common_names])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key(key: t.Any, passphrase: bytes | None = None) -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    octets: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, encryption
    )
    return octets


@pytest.fixture(scope="session")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    return Grid(tmp_path_factory.mktemp("grid"))


@pytest.fixture
def door(misbehaving: t.Any, grid: Grid, authority: t.Any) -> t.Iterator[t.Any]:
    with misbehaving.Misbehaving(CONTENT, context=grid.server_context(authority)) as found:
        yield found


def test_a_client_certificate_opens_the_door(door: t.Any, grid: Grid, tls_policy: Policy) -> None:
    known = Credentials("localhost", certificate=grid.user, private_key=grid.key)
    assert fetch(door.uri(host="localhost"), knowing(tls_policy, known)) == CONTENT


def test_a_grid_proxy_opens_the_door(door: t.Any, grid: Grid, tls_policy: Policy) -> None:
    known = Credentials("localhost", certificate=grid.proxy)
    assert fetch(door.uri(host="localhost"), knowing(tls_policy, known)) == CONTENT


def test_without_a_certificate_the_door_stays_shut(door: t.Any, tls_policy: Policy) -> None:
    assert refusal(door.uri(host="localhost"), tls_policy).code in ("tls_failed", "unreachable")
    assert door.requests == []


def test_a_client_certificate_is_shown_to_its_host_only(
    misbehaving: t.Any, server: t.Any, grid: Grid, authority: t.Any, tls_policy: Policy
) -> None:
    context = grid.server_context(authority)
    context.verify_mode = ssl.CERT_OPTIONAL
    with misbehaving.Misbehaving(CONTENT, context=context) as curious:
        seen = []

        def fault(handler: t.Any) -> None:
            seen.append(bool(handler.connection.getpeercert()))
            handler.serve()

        curious.fault = fault
        server.fault = misbehaving.page(302, {"Location": curious.uri(host="localhost")})
        known = Credentials("localhost", server.port, certificate=grid.user, private_key=grid.key)
        fetch(server.uri(host="localhost"), knowing(tls_policy, known))
        fetch(curious.uri(host="localhost"), knowing(tls_policy, dataclasses.replace(known, port=curious.port)))
    assert seen == [False, True]


@pytest.mark.parametrize("which", ["encrypted", "wrong_key", "ca", "absent"])
def test_a_key_that_does_not_fit_is_told_without_asking(
    door: t.Any, grid: Grid, tls_policy: Policy, which: str
) -> None:
    """OpenSSL would ask the terminal for the password of an encrypted key."""
    key = getattr(grid, which, "/no/such/key")
    error = refusal(
        door.uri(host="localhost"),
        knowing(tls_policy, Credentials("localhost", certificate=grid.user, private_key=key)),
    )
    assert error.code == "secret_unreadable"


def test_a_key_that_others_may_read_is_not_used(
    door: t.Any, grid: Grid, tls_policy: Policy, tmp_path: pathlib.Path
) -> None:
    proxy = tmp_path / "x509up"
    proxy.write_bytes(pathlib.Path(grid.proxy).read_bytes())
    proxy.chmod(0o644)
    known = Credentials("localhost", certificate=str(proxy))
    assert refusal(door.uri(host="localhost"), knowing(tls_policy, known)).code == "secret_permissions"


@pytest.fixture
def squid(raw: t.Any, read_request: t.Any) -> t.Iterator[tuple[t.Any, list[str]]]:
    """A proxy that answers by itself, and what it was asked."""
    heads: list[str] = []

    def script(connection: t.Any) -> None:
        heads.append(read_request(connection).decode())
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    yield raw(script), heads


def test_the_proxy_of_the_option_is_asked_and_that_of_the_environment_is_not(
    squid: tuple[t.Any, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    proxy, heads = squid
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    password = secret_file(tmp_path, f"site:{SECRET}")
    policy = Policy(proxy=f"http://127.0.0.1:{proxy.port}", proxy_password_file=password)
    assert fetch("http://images.invalid/list", policy) == b"hello"
    expected = base64.b64encode(f"site:{SECRET}".encode()).decode()
    assert f"proxy-authorization: basic {expected}".lower() in heads[0].lower()


def test_without_the_option_the_environment_is_ignored(
    squid: tuple[t.Any, list[str]], web: t.Any, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, heads = squid
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    web.answers["/file"] = (200, {}, CONTENT)
    assert fetch(web.uri(), policy) == CONTENT
    assert heads == []


@pytest.mark.parametrize("exception", ["127.0.0.1", ".0.0.1"])
def test_exceptions_are_asked_directly(
    squid: tuple[t.Any, list[str]], web: t.Any, policy: Policy, exception: str
) -> None:
    proxy, heads = squid
    web.answers["/file"] = (200, {}, CONTENT)
    policy = dataclasses.replace(policy, proxy=f"http://127.0.0.1:{proxy.port}")
    assert fetch(web.uri(), policy) == b"hello"
    assert fetch(web.uri(), dataclasses.replace(policy, no_proxy=(exception,))) == CONTENT
    assert len(heads) == 1


def test_a_proxy_sees_no_credentials_of_the_server(
    squid: tuple[t.Any, list[str]], tls_policy: Policy, tmp_path: pathlib.Path
) -> None:
    """It is asked for a tunnel, and what is in there is for the server."""
    proxy, heads = squid
    policy = knowing(tls_policy, Credentials("images.invalid", token_file=secret_file(tmp_path)))
    policy = dataclasses.replace(policy, proxy=f"http://127.0.0.1:{proxy.port}")
    refusal("https://images.invalid/list", policy)
    assert heads[0].startswith("CONNECT images.invalid:443 ")
    assert SECRET not in heads[0]
