# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real doors: an nginx that wants a certificate, a token or a password, and a squid between us and the world."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import tempfile
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..nginx import Nginx, serve
from .conftest import Site

OCTETS = random.Random(10).randbytes(2_000_000)
TOKEN = "eyJhbGciOi.J0b2tlbg.c2VjcmV0"
PASSWORD = "s3cr3t"

DOORS = """
ssl_client_certificate {ca};
ssl_verify_client optional;
ssl_verify_depth 3;
location /certificate/ {{ if ($ssl_client_verify != SUCCESS) {{ return 403; }} alias {root}/; }}
location /token/ {{ if ($http_authorization != "Bearer {token}") {{ return 401; }} alias {root}/; }}
location /password/ {{ auth_basic "members"; auth_basic_user_file {passwords}; alias {root}/; }}
"""


def secret(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def hashed(password: str) -> str:
    command = ["openssl", "passwd", "-apr1", password]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout.strip()


@pytest.fixture
def nginx(pki: t.Any, site: Site, tmp_path: Path) -> t.Iterator[Nginx]:
    (tmp_path / "passwords").write_text(f"member:{hashed(PASSWORD)}\n")
    authority = tmp_path / "grid.pem"
    authority.write_bytes(b"".join(path.read_bytes() for path in sorted(pki.certificates.glob("*.0"))))
    doors = DOORS.format(ca=authority, root=tmp_path / "web", token=TOKEN, passwords=tmp_path / "passwords")
    with serve(tmp_path, pki.tls, locations=doors) as found:
        (tmp_path / "web" / "image").write_bytes(OCTETS)
        site.options["ca_path"] = str(pki.tls / "ca.pem")
        yield found


@pytest.mark.needs("nginx", "openssl")
@pytest.mark.parametrize("door", ["certificate", "token", "password"])
def test_a_door_opens_for_those_it_knows_and_the_next_run_goes_on(
    nginx: Nginx, site: Site, tmp_path: Path, door: str
) -> None:
    site.publish(OCTETS, f"{nginx.uri}/{door}/image")
    failure = site.refused()
    assert failure["code"] == "access_denied"
    known: dict[str, str] = {"host": nginx.uri.rpartition("/")[2]}
    if door == "certificate":
        known["certificate"] = str(site.pki.endorser.certificate_path)
        known["private_key"] = str(site.pki.endorser.key_path)
    elif door == "token":
        known["token_file"] = secret(tmp_path / "token", f"{TOKEN}\n")
    else:
        known["password_file"] = secret(tmp_path / "password", f"member:{PASSWORD}\n")
    site.subscribe(credentials=[known])
    site.completed(OCTETS)
    written = b"".join(path.read_bytes() for path in site.state.rglob("*") if path.is_file())
    assert TOKEN.encode() not in written
    assert PASSWORD.encode() not in written


@pytest.mark.needs("nginx")
def test_a_file_that_others_may_read_is_named(nginx: Nginx, site: Site, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o644)
    site.options["credentials"] = [{"host": "localhost", "token_file": str(path)}]
    site.publish(OCTETS, f"{nginx.uri}/token/image")
    failure = site.refused()
    assert failure["code"] == "secret_permissions"
    assert TOKEN not in str(failure)
    path.chmod(0o600)
    site.completed(OCTETS)


@dataclass
class Squid:
    """A running squid; `password` is the file with who may use it."""

    uri: str
    log: Path

    def requests(self, expected: int) -> list[str]:
        """The lines of its log, as soon as there are so many."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            lines = self.log.read_text().splitlines() if self.log.exists() else []
            if len(lines) >= expected:
                break
            time.sleep(0.1)
        return lines


_SQUID = """
http_port 127.0.0.1:{port}
visible_hostname localhost
pid_filename none
cache_log {run}/cache.log
access_log stdio:{run}/access.log
cache_mem 8 MB
maximum_object_size_in_memory 1 MB
shutdown_lifetime 0 seconds
auth_param basic program {helper} {run}/passwords
auth_param basic children 1
acl members proxy_auth REQUIRED
http_access allow members
http_access deny all
"""
HELPER = "/usr/lib/squid/basic_ncsa_auth"


@pytest.fixture
def squid() -> t.Iterator[Squid]:
    with tempfile.TemporaryDirectory() as name, socket.socket() as probe:
        run = Path(name)
        run.chmod(0o777)  # squid gives root's rights away
        (run / "passwords").write_text(f"site:{hashed(PASSWORD)}\n")
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        (run / "squid.conf").write_text(_SQUID.format(port=port, run=run, helper=HELPER))
        process = subprocess.Popen(["squid", "-N", "-f", run / "squid.conf"], stdin=subprocess.DEVNULL)
        try:
            _wait_for(port, process)
            yield Squid(f"http://127.0.0.1:{port}", run / "access.log")
        finally:
            process.terminate()
            process.wait(20)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _attempt in range(200):
        assert process.poll() is None
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    raise AssertionError("squid does not answer")


@pytest.mark.needs("nginx", "squid", HELPER)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_site_s_squid_is_asked_for_everything(
    misbehaving: t.Any, nginx: Nginx, squid: Squid, site: Site, tmp_path: Path, scheme: str
) -> None:
    with misbehaving.Misbehaving(OCTETS) as plain:
        uri = f"{nginx.uri}/image" if scheme == "https" else plain.uri()
        site.options["proxy"] = squid.uri
        site.publish(OCTETS, uri)
        assert site.refused()["code"] == "access_denied"
        site.subscribe(proxy_password_file=secret(tmp_path / "squid", f"site:{PASSWORD}\n"))
        plain.cut = lambda: 700_000
        first = site.sync()
        plain.cut = None
        if scheme == "http":
            assert [failure["code"] for failure in first.data["failures"]] == ["unreachable"]
            assert site.completed(OCTETS)["resumed_from"] == 700_000
        else:
            assert first.data["failures"] == []
        lines = squid.requests(2)
        assert any(" site " in line for line in lines)
        assert any(("CONNECT localhost:" in line) == (scheme == "https") for line in lines)


@pytest.mark.needs("nginx", "squid", HELPER)
def test_a_squid_that_cannot_connect_is_told(squid: Squid, site: Site, tmp_path: Path) -> None:
    site.options.update(proxy=squid.uri, proxy_password_file=secret(tmp_path / "squid", f"site:{PASSWORD}\n"))
    site.publish(OCTETS, "https://images.invalid/image")
    failure = site.refused()
    assert failure["code"] == "unreachable"
    assert PASSWORD not in str(failure)


def test_nothing_of_the_environment_is_used(
    misbehaving: t.Any, site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    secret(home / ".netrc", f"machine 127.0.0.1 login member password {PASSWORD}\n")
    monkeypatch.setenv("X509_USER_PROXY", os.fspath(home / "x509up"))
    with misbehaving.Misbehaving(OCTETS) as server:
        site.publish(OCTETS, server.uri())
        site.completed(OCTETS)
        assert server.asked("Authorization") == [None]
