# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real nginx, started by the test that needs it, on a free port, with nothing of the machine's own configuration."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

_CONFIGURATION = """
daemon off;
{user}
worker_processes 2;
pid {run}/nginx.pid;
error_log {run}/error.log info;
events {{ worker_connections 128; }}
http {{
    access_log {run}/access.log;
    client_body_temp_path {run}/body; proxy_temp_path {run}/proxy; fastcgi_temp_path {run}/fastcgi;
    uwsgi_temp_path {run}/uwsgi; scgi_temp_path {run}/scgi;
    types {{ }}
    default_type application/octet-stream;
    sendfile on;
    server {{
        listen {address}:{port} ssl;
        server_name {name};
        ssl_certificate {tls}/server.pem;
        ssl_certificate_key {tls}/server.key;
        root {root};
        location /slow/ {{ limit_rate_after 1m; limit_rate 64m; }}
        location = /broken {{ return 500; }}
        location = /page {{ default_type text/html; return 200 "<html><body>Welcome</body></html>"; }}
        {locations}
    }}
}}
"""


@dataclass
class Nginx:
    """A running (or stopped) nginx; `uri` is its https address without a final slash."""

    uri: str
    root: Path
    run: Path
    address: str = "127.0.0.1"
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return when it answers."""
        self.process = subprocess.Popen(
            ["nginx", "-p", self.run, "-c", self.run / "nginx.conf", "-e", self.run / "error.log"],
            stdin=subprocess.DEVNULL,
        )
        port = int(self.uri.rpartition(":")[2])
        for _attempt in range(100):
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                socket.create_connection((self.address, port), timeout=1).close()
                return
            time.sleep(0.05)
        raise RuntimeError((self.run / "error.log").read_text())

    def stop(self) -> None:
        """Stop, and wait for its end."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def requests(self) -> list[str]:
        """The lines of the access log so far."""
        return (self.run / "access.log").read_text().splitlines()


@contextlib.contextmanager
def serve(
    directory: Path, tls: Path, *, locations: str = "", address: str = "127.0.0.1", name: str = "localhost"
) -> t.Iterator[Nginx]:
    """An https server for ``directory/web``; `tls` holds server.pem and server.key, `locations` adds to its server.

    It listens at `address`, of which it is known by `name`.
    """
    run, root = directory / "nginx", directory / "web"
    run.mkdir()
    root.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""
    settings = {
        "run": run,
        "root": root,
        "tls": tls,
        "port": port,
        "user": user,
        "locations": locations,
        "address": address,
        "name": name,
    }
    (run / "nginx.conf").write_text(_CONFIGURATION.format(**settings))
    server = Nginx(f"https://{name}:{port}", root, run, address)
    server.start()
    try:
        yield server
    finally:
        server.stop()
