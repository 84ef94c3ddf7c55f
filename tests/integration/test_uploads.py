# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way of publishing a file, on the real server: OpenSSH, nginx with WebDAV over https, an S3 store."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import json
import os
import ssl
import threading
import typing as t
import urllib.parse
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TransferError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.checksum import Digest
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.upload.appdb import AppdbUploader
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.upload.base import Settings
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.upload.s3 import S3Uploader
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.upload.sftp import (
    Far,
    SftpUploader,
    _failure,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.upload.webdav import WebdavUploader

from . import farends, sshd
from .farends import FarEnd

pytestmark = pytest.mark.needs("/usr/sbin/sshd", "sftp", "nginx")

CONTENT = bytes(range(256)) * 1200
SHA512 = hashlib.sha512(CONTENT).hexdigest()


def put(far: FarEnd, name: str, payload: bytes | Path = CONTENT, *, content: bytes = CONTENT) -> None:
    far.uploader.put(payload, far.base + name, size=len(content), sha512=hashlib.sha512(content).hexdigest())


@pytest.fixture(params=farends.KINDS)
def far(request: pytest.FixtureRequest, tmp_path: Path, pki: t.Any) -> t.Iterator[FarEnd]:
    with farends.KINDS[request.param](tmp_path, pki) as end:
        yield end


def test_a_back_end_keeps_its_promises(far: FarEnd, tmp_path: Path) -> None:
    """One test for all of them, since a server is slow to start: each step says which promise it is about."""
    source = tmp_path / "my image*.raw"
    source.write_bytes(CONTENT)
    source.chmod(0o600)
    target = f"{far.base}a/b/image.raw"

    # What is not there is None, and not an error.
    assert far.uploader.stat(target) is None
    assert far.uploader.read(target, 10) is None

    # A file appears whole, in directories that were missing, and nothing else does.
    put(far, "a/b/image.raw", source)
    assert far.files() == {"a/b/image.raw": CONTENT}
    stored = far.uploader.stat(target)
    assert stored is not None
    assert stored.size == len(CONTENT)
    assert far.uploader.digest(target) == Digest(len(CONTENT), SHA512)

    # A message replaces it, and can be read back up to a limit.
    put(far, "a/b/image.raw", b"message", content=b"message")
    assert far.files() == {"a/b/image.raw": b"message"}
    assert far.uploader.read(target, 100) == b"message"

    # What is not what was announced is not published, and the old file stays.
    for wrong in (CONTENT[:-1], CONTENT + b"x", b"\xff" + CONTENT[1:]):
        source.write_bytes(wrong)
        with pytest.raises(TransferError) as caught:
            put(far, "a/b/image.raw", source)
        assert caught.value.code == "upload_failed"
        assert far.files() == {"a/b/image.raw": b"message"}

    # Odd names are names.
    put(far, "a/b/image.raw", b"", content=b"")
    assert far.files() == {"a/b/image.raw": b""}


def test_a_file_that_others_may_fetch(tmp_path: Path) -> None:
    source = tmp_path / "image"
    source.write_bytes(CONTENT)
    source.chmod(0o600)
    with farends.sftp(tmp_path) as far:
        put(far, "odd name[1]*.raw", source)
        found = next((tmp_path / "far").iterdir())
        assert found.name == "odd name[1]*.raw"
        assert found.stat().st_mode & 0o777 == 0o644


def test_sftp_continues_what_a_cut_has_left(tmp_path: Path) -> None:
    with farends.sftp(tmp_path) as far:
        part = tmp_path / "far" / f".image.{SHA512[:16]}.part"
        (tmp_path / "image").write_bytes(CONTENT)
        for left in (CONTENT[:100_000], CONTENT, CONTENT + b"longer"):
            part.write_bytes(left)
            put(far, "image", tmp_path / "image")
            assert far.files() == {"image": CONTENT}


@pytest.mark.parametrize("name", ["image", 'odd "na[m]e* ü.raw'])
def test_sftp_removes_what_a_cut_has_left_of_other_content(tmp_path: Path, name: str) -> None:
    """Else a far disk that is full is full of parts that nobody continues."""
    with farends.sftp(tmp_path) as far:
        for left in (f".{name}.{'a' * 16}.part", f".{name}.{'b' * 16}.part", f".{name}2.{'a' * 16}.part"):
            (tmp_path / "far" / left).write_bytes(b"half of it")
        (tmp_path / "far" / f".{name}.{SHA512[:16]}.part").write_bytes(CONTENT[:100_000])
        put(far, name)
        assert far.files() == {name: CONTENT, f".{name}2.{'a' * 16}.part": b"half of it"}


@pytest.mark.parametrize("method", ["sftp", "local"])
def test_of_files_with_long_names_one_does_not_remove_what_is_sent_of_another(tmp_path: Path, method: str) -> None:
    with {"sftp": farends.sftp, "local": farends.local}[method](tmp_path) as far:
        other = tmp_path / "far" / f".{'x' * 128}.{'a' * 16}.part"
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(b"on its way")
        far.uploader.sweep(f"{far.base}{'x' * 130}")
        put(far, "x" * 130)
        assert other.read_bytes() == b"on its way"


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ('write remote "/far/.x.0123456789abcdef.part": Failure', "quota"),
        ('Couldn\'t write to remote file "/far/.x.part": Failure', "quota"),
        ('write local "/tmp/vmimages-1/file": No space left on device', "TMPDIR"),
    ],
)
def test_sftp_tells_a_full_disk_there_from_one_here(said: str, where: str) -> None:
    """As OpenSSH 9 and 8 say it; the far end's own words are lost on the way."""
    refusal = _failure(Far(None, "far", None, "/far/x"), f"Connecting\n{said}\n")
    assert (refusal.code, where in refusal.detail) == ("disk_full", True)


def test_sftp_sends_a_file_whose_name_is_no_text(tmp_path: Path) -> None:
    source = tmp_path / os.fsdecode(b"name \xff")
    source.write_bytes(CONTENT)
    with farends.sftp(tmp_path) as far:
        put(far, "image", source)
        assert far.files() == {"image": CONTENT}


def test_sftp_does_not_publish_a_part_that_was_damaged(tmp_path: Path) -> None:
    with farends.sftp(tmp_path) as far:
        (tmp_path / "far" / f".image.{SHA512[:16]}.part").write_bytes(bytes(100_000))
        (tmp_path / "image").write_bytes(CONTENT)
        with pytest.raises(TransferError) as caught:
            put(far, "image", tmp_path / "image")
        assert caught.value.code == "upload_failed"
        assert far.files() == {}
        put(far, "image", tmp_path / "image")
        assert far.files() == {"image": CONTENT}


def test_sftp_says_why_it_is_not_let_in(tmp_path: Path) -> None:
    with sshd.serve(tmp_path) as server:
        known = {"ssh_known_hosts": str(server.known_hosts)}
        stranger = tmp_path / "stranger"
        sshd._make_key(stranger)
        (tmp_path / "nobody").touch()
        cases = {
            "login_refused": Settings(ssh_key=str(stranger), **known),
            "host_key_unknown": Settings(ssh_key=str(server.key), ssh_known_hosts=str(tmp_path / "nobody")),
        }
        for code, settings in cases.items():
            with pytest.raises(TransferError) as caught:
                SftpUploader(settings).stat(f"{server.target}/x")
            assert caught.value.code == code
    with pytest.raises(TransferError) as caught:
        SftpUploader(Settings(ssh_key=str(server.key), **known)).stat(f"{server.target}/x")
    assert caught.value.code == "unreachable"


@pytest.mark.parametrize(
    "target",
    [
        "sftp://-oProxyCommand=touch/x",
        "-oProxyCommand=touch:x",
        "sftp://host/../x",
        "sftp://host/x/",
        "host:a\nrm b",
        "host",
        "https://host/x",
    ],
)
def test_sftp_refuses_a_target_that_would_be_something_else(target: str) -> None:
    with pytest.raises(TransferError) as caught:
        SftpUploader(Settings()).stat(target)
    assert caught.value.code == "upload_failed"


def test_webdav_says_why_it_is_not_let_in(tmp_path: Path, pki: t.Any) -> None:
    with farends.webdav(tmp_path, pki) as far:
        ca = str(pki.tls / "ca.pem")
        with pytest.raises(TransferError) as caught:
            put(dataclasses.replace(far, settings=Settings(ca_path=ca)), "x")
        assert caught.value.code == "login_refused"
        with pytest.raises(TransferError) as caught:
            put(dataclasses.replace(far, settings=Settings()), "x")
        assert caught.value.code == "tls_failed"
        pki.endorser.key_path.chmod(0o644)
        with pytest.raises(TransferError) as caught:
            put(far, "x")
        assert caught.value.code == "secret_permissions"
        assert far.files() == {}


class _Recorder(http.server.BaseHTTPRequestHandler):
    """Answers as told, and remembers what it was asked: (verb, path, headers, body)."""

    asked: t.ClassVar[list[tuple[str, str, dict[str, str], bytes]]] = []
    answer: t.ClassVar[tuple[int, dict[str, str], bytes]] = (200, {}, b"")

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append((self.command, self.path, dict(self.headers), body))
        status, headers, octets = self.answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(octets)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(octets)

    do_PUT = do_POST = do_HEAD = do_GET = do_DELETE = do_MOVE = do_MKCOL = _serve

    def log_message(self, *_arguments: t.Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def _server(pki: t.Any) -> t.Iterator[tuple[type[_Recorder], str]]:
    """A handler class of its own, the host and port of its https server."""
    handler = type("Handler", (_Recorder,), {"asked": [], "answer": (200, {}, b"")})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.tls / "server.pem", pki.tls / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield handler, f"localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _serve_by(handler: type[_Recorder], **verbs: t.Callable[[t.Any], None]) -> None:
    """Let these verbs be answered so."""
    for verb, answer in verbs.items():
        setattr(handler, f"do_{verb}", answer)


@pytest.fixture
def recorder(pki: t.Any) -> t.Iterator[tuple[type[_Recorder], str, str]]:
    """What `_server` gives, and the server's CA."""
    with _server(pki) as (handler, host):
        yield handler, host, str(pki.tls / "ca.pem")


def _secret(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def test_a_token_goes_to_its_server_and_nowhere_else(
    tmp_path: Path, recorder: tuple[type[_Recorder], str, str]
) -> None:
    handler, host, ca = recorder
    settings = Settings(token_file=_secret(tmp_path / "token", "s3cret\n"), ca_path=ca)
    handler.answer = (200, {"Content-Length": "7"}, b"")
    WebdavUploader(settings).stat(f"https://{host}/x")
    assert handler.asked[-1][2]["Authorization"] == "Bearer s3cret"
    handler.answer = (307, {"Location": f"https://127.0.0.1:{host.rpartition(':')[2]}/elsewhere"}, b"")
    with pytest.raises(TransferError):
        WebdavUploader(settings).stat(f"https://{host}/x")
    led = [headers for _verb, path, headers, _body in handler.asked if path == "/elsewhere"]
    assert led
    assert not any("Authorization" in headers for headers in led)
    with pytest.raises(TransferError) as caught:
        WebdavUploader(settings).stat(f"http://{host}/x")
    assert caught.value.code == "login_refused"


def test_a_client_certificate_goes_to_its_server_and_nowhere_else(tmp_path: Path, pki: t.Any) -> None:
    """Else whoever is uploaded to could have the endorser delete or move what another server holds."""
    with farends.webdav(tmp_path, pki) as far:
        put(far, "ours")
        port = urllib.parse.urlsplit(far.base).port
        with _server(pki) as (handler, host):
            handler.answer = (307, {"Location": f"https://127.0.0.1:{port}/dav/ours"}, b"")
            # 127.0.0.1 and localhost are two hosts here, and the certificate is good for both.
            with pytest.raises(TransferError) as caught:
                put(dataclasses.replace(far, base=f"https://{host}/"), "x")
            assert caught.value.code == "login_refused"
            assert {verb for verb, _path, _headers, _body in handler.asked} >= {"PUT", "DELETE"}
        assert far.files() == {"ours": CONTENT}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_reader_is_led_on_as_dcache_leads_to_its_pools(
    recorder: tuple[type[_Recorder], str, str], tmp_path: Path, pki: t.Any, status: int
) -> None:
    handler, host, ca = recorder
    with _server(pki) as (pool, pool_host):
        pool.answer = (200, {}, b"message")
        handler.answer = (status, {"Location": f"https://{pool_host}/pool/x?uuid=1"}, b"")
        assert WebdavUploader(Settings(ca_path=ca)).read(f"https://{host}/x", 100) == b"message"
        assert [path for _verb, path, _headers, _body in pool.asked] == ["/pool/x?uuid=1"]


def test_a_move_that_was_not_done_is_none(recorder: tuple[type[_Recorder], str, str]) -> None:
    """A file of the same size may be in the target, so that its size would tell nothing."""
    handler, host, ca = recorder

    def do_move(self: t.Any) -> None:
        self.send_response(207)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_head(self: t.Any) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()

    _serve_by(handler, MOVE=do_move, HEAD=do_head)
    with pytest.raises(TransferError) as caught:
        WebdavUploader(Settings(ca_path=ca)).put(CONTENT, f"https://{host}/x", size=len(CONTENT), sha512=SHA512)
    assert caught.value.code == "upload_failed"
    assert "207" in caught.value.detail


def test_without_a_move_it_is_the_target_that_is_read_back(recorder: tuple[type[_Recorder], str, str]) -> None:
    handler, host, ca = recorder
    kept: dict[str, bytes] = {}

    def answer(self: t.Any, status: int, octets: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(octets)))
        self.end_headers()
        self.wfile.write(octets if self.command == "GET" else b"")

    def do_put(self: t.Any) -> None:
        octets = self.rfile.read(int(self.headers["Content-Length"]))
        # What is put in the target is spoilt.
        kept[self.path] = octets if self.path.endswith(".part") else bytes(len(octets))
        answer(self, 201)

    def do_get(self: t.Any) -> None:
        answer(self, 200, kept[self.path])

    _serve_by(handler, PUT=do_put, GET=do_get, HEAD=do_get, MOVE=lambda self: answer(self, 405))
    with pytest.raises(TransferError) as caught:
        WebdavUploader(Settings(ca_path=ca, verify="sha512")).put(
            CONTENT, f"https://{host}/x", size=len(CONTENT), sha512=SHA512
        )
    assert caught.value.code == "upload_failed"
    assert "read back" in caught.value.detail


def test_a_store_that_lists_no_uploads_is_written_to_all_the_same(pki: t.Any, tmp_path: Path) -> None:
    """A key that may put and get need not be one that may clean up."""
    pair = _secret(tmp_path / "pair", "[default]\naws_access_key_id = key\naws_secret_access_key = secret\n")
    with _server(pki) as (handler, host):
        handler.answer = (403, {}, b"<Error><Code>AccessDenied</Code></Error>")
        settings = Settings(
            endpoint=f"https://{host}", region="x", credentials_file=pair, ca_path=str(pki.tls / "ca.pem")
        )
        S3Uploader(settings).sweep("s3://bucket/image")
        assert handler.asked
        with pytest.raises(TransferError) as caught:
            S3Uploader(settings).put(b"x", "s3://bucket/image", size=1, sha512=hashlib.sha512(b"x").hexdigest())
        assert caught.value.code == "login_refused"


def test_what_does_not_end_is_not_read_back_for_ever(recorder: tuple[type[_Recorder], str, str]) -> None:
    handler, host, ca = recorder

    def endless(self: t.Any) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            for _piece in range(1000):
                self.wfile.write(bytes(64 * 1024))

    handler.answer = (200, {"Content-Length": "7"}, b"")
    _serve_by(handler, GET=endless)
    assert 7 < WebdavUploader(Settings(ca_path=ca)).digest(f"https://{host}/x").size < 1024 * 1024


def test_the_appdb_gets_the_message_as_vmcaster_sent_it(
    tmp_path: Path, recorder: tuple[type[_Recorder], str, str]
) -> None:
    """Against a stand-in written from what vmcaster sends: the AppDB itself cannot be had."""
    import base64
    import xml.etree.ElementTree

    handler, host, ca = recorder
    handler.answer = (
        200,
        {},
        json.dumps({"egiappdb": {"status": "success", "details": "", "submission_id": 7}}).encode(),
    )
    settings = Settings(credentials_file=_secret(tmp_path / "pair", "erin:pa ss:word\n"), ca_path=ca)
    AppdbUploader(settings).put(CONTENT, f"egiappdb://erin@{host}/vmlist/submit/sso/", size=len(CONTENT), sha512=SHA512)
    verb, path, headers, body = handler.asked[-1]
    assert (verb, path) == ("POST", "/vmlist/submit/sso/")
    assert base64.b64decode(headers["Authorization"].split()[1]) == b"erin:pa ss:word"
    document = xml.etree.ElementTree.fromstring(urllib.parse.parse_qs(body.decode())["data"][0])
    assert [each.text for each in document.findall("action")] == ["insert", "enable"]
    assert (document.findtext("entity"), document.findtext("response")) == ("imagelist", "json")
    assert document.findtext("user") == "erin"
    assert base64.b64decode(document.findtext("imagelist") or "") == CONTENT
    for answer in (b"<html>", b"[]", b'{"egiappdb": {"status": "error", "details": "no such appliance"}}'):
        handler.answer = (200, {}, answer)
        with pytest.raises(TransferError) as caught:
            AppdbUploader(settings).put(
                b"x", f"egiappdb://e@{host}/v/", size=1, sha512=hashlib.sha512(b"x").hexdigest()
            )
        assert caught.value.code == "upload_failed"
