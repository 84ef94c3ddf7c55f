# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's server answers over https, conditionally, and ends by itself."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import requests


def test_https_and_conditional_get(demo_server: t.Any, pki: t.Any, tmp_path: Path) -> None:
    web = tmp_path / "web"
    web.mkdir()
    (web / "list").write_text("content")
    certificate, key = pki.tls / "server.pem", pki.tls / "server.key"
    with demo_server.serve(web, certificate, key) as server, requests.Session() as session:
        session.trust_env = False
        session.verify = str(pki.tls / "ca.pem")
        first = session.get(f"{server.uri}/list", timeout=5)
        again = session.get(f"{server.uri}/list", headers={"If-None-Match": first.headers["ETag"]}, timeout=5)
        (web / "list").write_text("changed")
        changed = session.get(f"{server.uri}/list", headers={"If-None-Match": first.headers["ETag"]}, timeout=5)
        listing = session.get(f"{server.uri}/", timeout=5)
        # A client that never begins its handshake must not hold up the next one.
        with socket.create_connection(("127.0.0.1", server.server_port)):
            third = session.get(f"{server.uri}/list", headers={"Connection": "close"}, timeout=5)
    assert server.uri.startswith("https://")
    assert (first.text, first.status_code) == ("content", 200)
    assert again.status_code == 304
    assert (changed.text, changed.status_code) == ("changed", 200)
    assert listing.status_code == 404
    assert third.text == "changed"


def test_the_command_ends_when_its_port_file_goes(demo_server: t.Any, pki: t.Any, tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    command: list[str | Path] = [sys.executable, demo_server.__file__, tmp_path, "--port-file", port_file]
    command += ["--certificate", pki.tls / "server.pem", "--key", pki.tls / "server.key", "--lifetime", "30"]
    uri = subprocess.run(command, check=True, text=True, capture_output=True, timeout=20).stdout.strip()
    port = int(port_file.read_text())
    assert uri == f"https://localhost:{port}"
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    port_file.unlink()
    assert _ends(port)


def _ends(port: int) -> bool:
    for _attempt in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
        except ConnectionRefusedError:
            return True
        except OSError:  # not yet gone, and no longer there to answer
            pass
        time.sleep(0.1)
    return False
