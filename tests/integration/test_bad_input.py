# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input, met by Ansible's user: one clear sentence with a stable code, and nothing has changed."""

from __future__ import annotations

import contextlib
import re
import subprocess
import typing as t
from pathlib import Path

import pytest

from .grid import IMAGE, LIST, Grid, make

pytestmark = pytest.mark.needs("nginx", "mke2fs")

OTHER_IMAGE = "e0a5b1e4-9c52-4e55-8a3c-15b4d2c6a777"


@pytest.fixture(scope="module")
def grid(
    demo_ca: t.Any, now: t.Any, ansible_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[Grid]:
    with make(tmp_path_factory.mktemp("grid"), demo_ca, now, ansible_environment) as found:
        found.build("first", size="16M")
        assert not found.publish()["failed"]
        assert not found.subscribe()["failed"]
        assert not found.approve()["failed"]
        huge = found.nginx.root / "huge"
        with huge.open("wb") as stream:
            stream.truncate(100 * 1024 * 1024)
        yield found


def _refused(result: t.Mapping[str, t.Any], code: str) -> None:
    assert (result["failed"], result["changed"], result.get("code")) == (True, False, code), result
    # What was found, and what to do: no traceback, no bare exception text.
    assert re.fullmatch(r"[A-Z/\w].*\.( [A-Z].*\.)+", result["msg"]), result["msg"]
    assert "Traceback" not in str(result)


LISTS = {
    "nothing at this address": ("{base}/nothing", "not_found"),
    "the server fails": ("{base}/broken", "http_status"),
    "a web page": ("{base}/page", "mime_malformed"),
    "100 MB": ("{base}/huge", "too_large"),
    "an image": ("{base}/worker-1.img", "too_large"),
    "nobody listens": ("https://localhost:9/list", "unreachable"),
    "no such host": ("https://host.invalid/list", "unreachable"),
    "a scheme of old": ("gsidcap://example.org/list", "subscription_invalid"),
}


@pytest.mark.parametrize("case", LISTS)
def test_a_list_that_is_none(grid: Grid, case: str) -> None:
    state = grid.state()
    uri, code = LISTS[case]
    _refused(grid.subscribe(uri=uri.format(base=grid.nginx.uri), identifier=None), code)
    assert grid.state() == state


def test_a_web_server_of_an_unknown_ca(grid: Grid) -> None:
    state = grid.state()
    _refused(grid.subscribe(uri=f"{grid.nginx.uri}/other.list", identifier=None, ca_path=None), "tls_failed")
    assert grid.state() == state


def test_two_subscriptions_to_one_identifier(grid: Grid) -> None:
    (grid.nginx.root / "mirror.list").write_bytes(grid.list_file.read_bytes())
    state = grid.state()
    for identifier in (LIST, None):
        _refused(grid.subscribe(uri=f"{grid.nginx.uri}/mirror.list", identifier=identifier), "subscription_clash")
    assert grid.state() == state


@pytest.mark.parametrize("options", [{"images": [OTHER_IMAGE]}, {"tags": ["no such tag"]}])
@pytest.mark.parametrize("module, more", [("image_info", {}), ("image_decision", {"decision": "approve"})])
def test_an_unknown_image(grid: Grid, module: str, more: dict[str, t.Any], options: dict[str, t.Any]) -> None:
    state = grid.state()
    _refused(grid.module(module, state_dir=str(grid.site), **more, **options), "unknown_image")
    assert grid.state() == state


def test_an_unknown_image_asked_of_the_command(grid: Grid) -> None:
    for name in (OTHER_IMAGE, "no such tag"):
        code, answer = grid.command("verdict", name)
        assert (code, answer["error"]["code"]) == (1, "unknown_image")


@pytest.mark.parametrize("change", [-1, 1])
def test_an_image_of_another_size_than_stated(grid: Grid, change: int) -> None:
    served = grid.nginx.root / "worker-1.img"
    size = served.stat().st_size
    state = grid.state()
    with served.open("r+b") as stream:
        stream.truncate(size + change)
    _refused(grid.cache(), "size_mismatch")
    served.write_bytes(grid.image.read_bytes())
    assert grid.state() == state


@contextlib.contextmanager
def _tiny_disk(path: Path) -> t.Iterator[Path]:
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.needs("root", "mount")
def test_a_disk_too_small_for_the_image(grid: Grid) -> None:
    with _tiny_disk(grid.directory / "tiny") as disk:
        site: dict[str, t.Any] = {"state_dir": str(disk / "site")}
        assert not grid.subscribe(**site, new_images="cache")["failed"]
        _refused(grid.module("image_cache", **site), "disk_full")
        assert [path.name for path in (disk / "site" / "cache" / "current").iterdir()] == ["catalogue.json"]
        assert [path.name for path in (disk / "site" / "cache" / "downloading").iterdir()] == ["catalogue.json"]
        answer = grid.module("image_info", **site, images=[IMAGE])
        assert answer["images"][0]["verdict"]["code"] == "not_cached"


@pytest.mark.needs("root", "mount")
def test_a_disk_too_small_for_the_upload(grid: Grid) -> None:
    published = grid.list_file.read_bytes()
    grid.build("another", size="16M")
    with _tiny_disk(grid.directory / "small") as disk:
        uploads = [{"uri_match": re.escape(grid.nginx.uri) + "/", "uri_replace": f"{disk}/"}]
        _refused(grid.publish(uploads=uploads), "disk_full")
        assert list(disk.iterdir()) == []
    assert grid.list_file.read_bytes() == published


def test_a_key_that_cannot_sign(grid: Grid) -> None:
    published = grid.list_file.read_bytes()
    expired = grid.pki.issue("Erin Endorser", -1, directory="expired")
    locked = grid.pki.issue("Erin Endorser", passphrase=b"open sesame", directory="locked")
    own = grid.pki.endorser
    cases: list[tuple[str, Path, Path, dict[str, t.Any]]] = [
        ("key_missing", own.certificate_path, own.key_path.with_name("nothing.pem"), {}),
        ("key_mismatch", own.certificate_path, expired.key_path, {}),
        ("certificate_expired", expired.certificate_path, expired.key_path, {}),
        ("passphrase_missing", locked.certificate_path, locked.key_path, {}),
        ("passphrase_wrong", locked.certificate_path, locked.key_path, {"passphrase": "open, please"}),
    ]
    for code, certificate, key, more in cases:
        result = grid.publish(certificate=str(certificate), private_key=str(key), **more)
        _refused(result, code)
        assert "open, please" not in str({**result, "invocation": None})
    assert grid.list_file.read_bytes() == published


@pytest.mark.needs("root", "mount")
@pytest.mark.parametrize("part", ["history", "site", "web"])
def test_a_directory_that_cannot_be_written(grid: Grid, part: str) -> None:
    with _tiny_disk(grid.directory / part.upper()) as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        rule = {"uri_match": re.escape(grid.nginx.uri) + "/", "uri_replace": f"{disk}/"}
        run: dict[str, t.Callable[[], dict[str, t.Any]]] = {
            "history": lambda: grid.publish(history_dir=str(disk / "history")),
            "site": lambda: grid.subscribe(state_dir=str(disk / "site")),
            "web": lambda: grid.publish(uploads=[rule]),
        }
        _refused(run[part](), "not_writable")
