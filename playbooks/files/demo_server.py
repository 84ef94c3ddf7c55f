#!/usr/bin/env python
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small https server for one directory, for the demo playbook and the tests; standard library only.

It serves until its lifetime is over or its port file is gone, whichever comes first: nobody needs to find and kill it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.server
import os
import socket
import ssl
import sys
import threading
import time
import typing as t
from pathlib import Path


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files with an ETag; quiet."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, format: str, *args: t.Any) -> None:
        """Say nothing: the requests are the reader's own."""

    def list_directory(self, path: str | os.PathLike[str]) -> None:
        """Refuse: what is published is named in a list."""
        self.send_error(404, "Not Found")

    def send_head(self) -> t.Any:
        """Answer a conditional request by its ETag, everything else as the standard library does."""
        tag = self._tag()
        if tag is not None and tag in self.headers.get("If-None-Match", ""):
            self.send_response(304)
            self.end_headers()
            return None
        return super().send_head()

    def end_headers(self) -> None:
        """Add the ETag to answers that carry a file."""
        tag = self._tag()
        if tag is not None:
            self.send_header("ETag", tag)
        super().end_headers()

    def _tag(self) -> str | None:
        try:
            status = Path(self.translate_path(self.path)).stat()
        except OSError:
            return None
        return f'"{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"'


class Server(http.server.ThreadingHTTPServer):
    """Serves on 127.0.0.1, on a free port if none is named; the TLS handshake runs in the connection's own thread."""

    daemon_threads = True

    def __init__(self, directory: Path, certificate: Path | None, key: Path | None, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), functools.partial(Handler, directory=str(directory)))
        self.scheme = "http"
        if certificate is not None and key is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, key)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
            self.scheme = "https"

    def server_bind(self) -> None:
        """Bind without the look-up of our own name, which can take seconds."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: t.Any) -> None:
        """A client that hangs up is no news."""

    @property
    def uri(self) -> str:
        """The address of the directory, without a slash at the end."""
        return f"{self.scheme}://localhost:{self.server_port}"


@contextlib.contextmanager
def serve(directory: Path, certificate: Path | None = None, key: Path | None = None) -> t.Iterator[Server]:
    """Serve `directory` in a thread of this process; http where no certificate is given."""
    with Server(directory, certificate, key) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _watch(server: Server, port_file: Path, lifetime: float) -> None:
    end = time.monotonic() + lifetime
    while time.monotonic() < end and port_file.exists():
        time.sleep(0.2)
    server.shutdown()


def _detach() -> bool:
    """Go on in a process of our own without terminal and pipes; true in that process, false in the caller's."""
    if os.fork():
        return False
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    return True


def _parse(arguments: t.Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Serve a directory over https on a free port of this machine.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0, help="default: one that is free")
    parser.add_argument("--port-file", type=Path, required=True, help="gets the port; remove it to end the server")
    parser.add_argument("--lifetime", type=float, default=600, help="seconds (default: %(default)s)")
    parser.add_argument("--foreground", action="store_true", help="stay attached to the terminal")
    return parser.parse_args(arguments)


def main(arguments: t.Sequence[str] | None = None) -> int:
    """The command: prints the address, and returns while the server goes on in the background."""
    options = _parse(arguments)
    server = Server(options.directory.resolve(), options.certificate, options.key, options.port)
    port_file = options.port_file.resolve()
    port_file.write_text(f"{server.server_port}\n")
    sys.stdout.write(f"{server.uri}\n")
    sys.stdout.flush()
    if not options.foreground and not _detach():
        return 0
    threading.Thread(target=_watch, args=(server, port_file, options.lifetime), daemon=True).start()
    try:
        server.serve_forever(0.1)
    except KeyboardInterrupt:
        return 0
    finally:
        port_file.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
