# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A web server for one file that does what it is told, however wrong; bounded in time."""

from __future__ import annotations

import contextlib
import http.server
import re
import socket
import ssl
import threading
import time
import typing as t

#: No answer takes longer.
LIFE = 10.0


class Misbehaving:
    """Serves `octets` under every path, with ranges; a context manager.

    `ranges`: whether it knows them. `etag`, `last_modified`: its validators, None for none. `cut`: after how many
    octets of a body the connection breaks. `pace`: seconds after each 64 KiB. `fault`: answers in place of all that,
    given the handler. `requests`: (path, headers) of those that came.
    """

    def __init__(self, octets: bytes = b"", *, context: ssl.SSLContext | None = None) -> None:
        self.octets = octets
        self.ranges = True
        self.etag: str | None = '"one"'
        self.last_modified: str | None = None
        self.cut: t.Callable[[], int] | None = None
        self.pace = 0.0
        self.fault: t.Callable[[Handler], None] | None = None
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.told = self
        self.scheme = "http"
        if context is not None:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self.scheme = "https"
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self) -> Misbehaving:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def uri(self, path: str = "/image", host: str = "127.0.0.1") -> str:
        """The address of the file."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    def asked(self, header: str) -> list[str | None]:
        """What the requests had in this header."""
        return [headers.get(header) for _path, headers in self.requests]


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    told: Misbehaving

    def server_bind(self) -> None:
        """Bind without the look-up of our own name."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def handle_error(self, request: t.Any, client_address: t.Any) -> None:
        """A client that hangs up is no news."""


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    timeout = LIFE
    protocol_version = "HTTP/1.1"
    server: _Server

    @property
    def told(self) -> Misbehaving:
        """What to do."""
        return self.server.told

    def do_GET(self) -> None:
        self.told.requests.append((self.path, dict(self.headers.items())))
        if self.told.fault is not None:
            self.told.fault(self)
        else:
            self.serve()

    def serve(self) -> None:
        """The file, or the part of it that is asked for."""
        octets, start = self.told.octets, self.asked_from()
        if start and start >= len(octets):
            self.answer(416, b"", {"Content-Range": f"bytes */{len(octets)}"})
        elif start:
            self.answer(206, octets[start:], {"Content-Range": f"bytes {start}-{len(octets) - 1}/{len(octets)}"})
        else:
            self.answer(200, octets)

    def asked_from(self) -> int:
        """From where on the file is asked for, as far as a server of ranges has to heed it."""
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        valid = self.headers.get("If-Range") in (None, self.told.etag, self.told.last_modified)
        return int(match[1]) if match and valid and self.told.ranges else 0

    def answer(self, status: int, body: bytes, headers: t.Mapping[str, str | None] | None = None) -> None:
        """Send an answer; a header that is None is left out."""
        self.send_response(status)
        stated = {"Content-Length": str(len(body)), "ETag": self.told.etag, "Last-Modified": self.told.last_modified}
        for name, value in {**stated, **(headers or {})}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        cut = self.told.cut() if self.told.cut is not None else None
        with contextlib.suppress(OSError):
            self._write(body if cut is None else body[:cut])
        if cut is not None and cut < len(body):
            self.close_connection = True

    def _write(self, body: bytes) -> None:
        if not self.told.pace:
            self.wfile.write(body)
            return
        for start in range(0, len(body), 65536):
            self.wfile.write(body[start : start + 65536])
            time.sleep(self.told.pace)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def unreachable_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def page(
    status: int, headers: t.Mapping[str, str | None] | None = None, body: bytes = b""
) -> t.Callable[[Handler], None]:
    """A fault: this answer to everything."""
    return lambda handler: handler.answer(status, body, headers)


def drip(handler: Handler) -> None:
    """A fault: the right length, and then one octet now and then."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(handler.told.octets)))
    handler.end_headers()
    end = time.monotonic() + LIFE
    with contextlib.suppress(OSError):
        for octet in handler.told.octets:
            handler.wfile.write(bytes([octet]))
            time.sleep(0.05)
            if time.monotonic() > end:
                return


def endless(handler: Handler) -> None:
    """A fault: the octets, and then zeros without end."""
    handler.send_response(200)
    handler.end_headers()
    handler.close_connection = True
    end = time.monotonic() + LIFE
    with contextlib.suppress(OSError):
        handler.wfile.write(handler.told.octets)
        while time.monotonic() < end:
            handler.wfile.write(bytes(65536))


def silent(handler: Handler) -> None:
    """A fault: the connection ends without an answer."""
    handler.close_connection = True


def no_http(handler: Handler) -> None:
    """A fault: an answer in another protocol."""
    handler.close_connection = True
    handler.wfile.write(b"\x16\x03\x01" * 50)


def chunked_cut(handler: Handler) -> None:
    """A fault: a chunked body that breaks off."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    half = handler.told.octets[: len(handler.told.octets) // 2]
    handler.wfile.write(b"%x\r\n" % len(half) + half + b"\r\n")
    handler.close_connection = True
