# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Web servers to measure against, each a process of its own: nginx, and one that takes its time.

`python -m benchmarks.servers DIRECTORY DELAY` is the latter: it prints its port, answers each request DELAY seconds
after it, hangs for ever on ``/hang/``, and fails on ``/fail/``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time
import typing as t

_NGINX: t.Final = """
daemon off;
worker_processes 1;
{user}
pid {run}/nginx.pid;
error_log {run}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    keepalive_requests 100000;
    client_body_temp_path {run}/body; proxy_temp_path {run}/proxy; fastcgi_temp_path {run}/fastcgi;
    uwsgi_temp_path {run}/uwsgi; scgi_temp_path {run}/scgi;
    types {{ }}
    default_type application/octet-stream;
    sendfile on;
    root {root};
    server {{ listen 127.0.0.1:{port}; }}
    {more}
}}
"""


def ports(count: int) -> list[int]:
    """So many ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        chosen = [stack.enter_context(socket.socket()) for _number in range(count)]
        for probe in chosen:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in chosen]


@contextlib.contextmanager
def nginx(root: pathlib.Path, run: pathlib.Path, *, more: str = "") -> t.Iterator[str]:
    """The address, without a final slash, at which nginx serves `root`; `run` is a directory of its own.

    `more` are further servers of its configuration.
    """
    [port] = ports(1)
    run.mkdir(parents=True, exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""
    (run / "nginx.conf").write_text(_NGINX.format(run=run, root=root, port=port, user=user, more=more))
    with _running(["nginx", "-p", str(run), "-c", str(run / "nginx.conf"), "-e", str(run / "error.log")]) as process:
        for _attempt in range(100):
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if process.poll() is not None:
                raise SystemExit((run / "error.log").read_text())
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def slow(root: pathlib.Path, delay: float) -> t.Iterator[str]:
    """The address of the server that answers after `delay` seconds."""
    with _running([sys.executable, "-m", "benchmarks.servers", str(root), str(delay)]) as process:
        if process.stdout is None:
            raise SystemExit("A server without output")
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"


@contextlib.contextmanager
def _running(command: t.Sequence[str]) -> t.Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


async def _serve(root: pathlib.Path, delay: float) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                path = request.split(" ")[1]
                if path.startswith("/hang/"):
                    await asyncio.sleep(3600)
                await asyncio.sleep(delay)
                writer.write(_reply(root, path, request))
                await writer.drain()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _reply(root: pathlib.Path, path: str, request: str) -> bytes:
    file = root / path.lstrip("/")
    if path.startswith("/fail/") or not file.is_file():
        return b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
    found = file.stat()
    etag = f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
    if f"if-none-match: {etag}" in request.lower():
        return f"HTTP/1.1 304 Not Modified\r\nETag: {etag}\r\n\r\n".encode()
    return f"HTTP/1.1 200 OK\r\nETag: {etag}\r\nContent-Length: {found.st_size}\r\n\r\n".encode() + file.read_bytes()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(pathlib.Path(sys.argv[1]), float(sys.argv[2])))
