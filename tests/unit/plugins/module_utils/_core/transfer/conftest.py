# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers on the loopback interface, well-behaved and otherwise; bounded in time and in connections."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import os
import pathlib
import resource
import socket
import ssl
import subprocess
import threading
import time
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.policy import Policy

LIFE = 10.0

Answer = t.Callable[[http.server.BaseHTTPRequestHandler], None]
Script = t.Callable[[socket.socket], None]


class WebServer:
    """Answers by path: `answers[path]` is a function of the handler, or (status, headers, body)."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, Answer | tuple[int, dict[str, str], bytes]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            timeout = LIFE
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.requests.append((self.path, dict(self.headers.items())))
                answer = outer.answers.get(self.path, (404, {}, b"no such page"))
                if callable(answer):
                    answer(self)
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if status != 304:
                    self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: t.Any, client_address: t.Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.scheme = "https" if context else "http"
        threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True).start()

    def uri(self, path: str = "/file", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class RawServer:
    """Runs `script(connection)` for each of a few connections; an error of the script ends the connection only."""

    def __init__(self, script: Script) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(LIFE)
        self._script = script
        self.connections = 0
        self.outlived = False  # whether a script came to its end before its client did
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def uri(self, path: str = "/file", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            for _turn in range(20):
                connection, _peer = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        connection.settimeout(LIFE)
        with contextlib.suppress(OSError), connection:
            self._script(connection)
            self.outlived = True

    def close(self) -> None:
        self._listener.close()


def read_request(connection: socket.socket) -> bytes:
    """Read a request's head."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(4096)
        if not piece:
            break
        head += piece
    return head


def drip(connection: socket.socket, octets: t.Iterable[bytes], interval: float = 0.05) -> None:
    """Send each of `octets` after a pause, for at most the servers' life."""
    end = time.monotonic() + LIFE
    for octet in octets:
        if time.monotonic() > end:
            return
        connection.sendall(octet)
        time.sleep(interval)


@pytest.fixture(name="read_request")
def read_request_fixture() -> t.Callable[[socket.socket], bytes]:
    return read_request


@pytest.fixture(name="drip")
def drip_fixture() -> t.Callable[..., None]:
    return drip


@pytest.fixture
def web() -> t.Iterator[WebServer]:
    server = WebServer()
    yield server
    server.close()


@pytest.fixture
def raw() -> t.Iterator[t.Callable[[Script], RawServer]]:
    with contextlib.ExitStack() as stack:

        def start(script: Script) -> RawServer:
            server = RawServer(script)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def policy() -> Policy:
    """The host under test is trusted, times are short."""
    return Policy(
        trusted_hosts=frozenset({"127.0.0.1"}),
        connect_timeout=2.0,
        read_timeout=2.0,
        message_timeout=5.0,
        total_timeout=8.0,
        minimum_rate=0,
        retries=1,
        retry_pause=0.01,
    )


class Authority:
    """A CA of elliptic-curve keys, enough for a TLS server."""

    def __init__(self, folder: pathlib.Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self._name, self._key, host=None)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def server_context(self, host: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")]), key, host=host)
        path = self._folder / f"server-{host}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, host: str | None) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(True, False, False, False, False, host is None, host is None, False, False),
                critical=True,
            )
        )
        if host is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "ca")


@pytest.fixture(scope="session")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"), "other")


@pytest.fixture
def tls_web(authority: Authority) -> t.Iterator[WebServer]:
    server = WebServer(authority.server_context("localhost"))
    yield server
    server.close()


@pytest.fixture
def tls_policy(authority: Authority) -> Policy:
    return Policy(
        trusted_hosts=frozenset({"localhost"}),
        ca_path=str(authority.path),
        connect_timeout=2.0,
        read_timeout=2.0,
        message_timeout=5.0,
        total_timeout=8.0,
        minimum_rate=0,
        retries=1,
        retry_pause=0.01,
    )


SMALL = 4 * 1024 * 1024


def _mount(folder: pathlib.Path) -> bool:
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True, timeout=10).returncode == 0


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> t.Iterator[pathlib.Path]:
    """A directory that holds 4 MiB: a real small file system where this user may mount one, else a real limit."""
    folder = tmp_path / "small"
    folder.mkdir()
    if _mount(folder):
        yield folder
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True, timeout=10)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL, hard))
    yield folder
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
