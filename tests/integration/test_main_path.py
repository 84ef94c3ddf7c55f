# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main path on a real nginx over https and a real ext4 image of 256 MiB: one story, told test by test.

The tests of this file build on one another, in their order: each is a chapter of the life of one image.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest

from .nginx import Nginx, serve

pytestmark = pytest.mark.needs("nginx", "mke2fs", "openssl")

LIST = "0b4f3a52-6f2c-4b7c-9f0e-6f3f0e0a1d11"
IMAGE = "d0a5b1e4-9c52-4e55-8a3c-15b4d2c6a777"
SIZE = 256 * 1024 * 1024


@dataclass
class Grid:
    """An endorser and a site, with a web server between them."""

    pki: t.Any
    nginx: Nginx
    directory: Path
    environment: dict[str, str]

    @property
    def site(self) -> Path:
        return self.directory / "site"

    @property
    def image(self) -> Path:
        return self.directory / "build" / "worker.img"

    @property
    def list_file(self) -> Path:
        return self.nginx.root / "worker.list"

    def build(self, label: str) -> str:
        """Make the image anew with mke2fs; returns the sha512 of the file."""
        self.image.parent.mkdir(exist_ok=True)
        self.image.unlink(missing_ok=True)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-L", label, self.image, "256M"], check=True)
        return _sha512(self.image)

    def module(self, name: str, *, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """Run one module through Ansible's own command, and return its result."""
        command = [Path(sys.executable).with_name("ansible"), "localhost", "-m", f"hepix.vmimages.{name}", "--diff"]
        done = subprocess.run(
            [*command, "-a", json.dumps(options), *(["--check"] if check else [])],
            capture_output=True,
            text=True,
            timeout=120,
            env=self.environment,
            stdin=subprocess.DEVNULL,
        )
        found = re.search(r"^localhost \| (SUCCESS|CHANGED|FAILED!).*?(\{.*\})\s*\Z", done.stdout, re.DOTALL | re.M)
        assert found is not None, done.stdout + done.stderr
        return {"failed": found.group(1) == "FAILED!", **json.loads(found.group(2))}

    def publish(self, *, images: bool = True, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """The endorser's task."""
        image = {"identifier": IMAGE, "path": str(self.image), "title": "worker", "format": "raw"}
        return self.module(
            "imagelist_publish",
            check=check,
            identifier=LIST,
            title="Worker nodes",
            source="example.org",
            uri=f"{self.nginx.uri}/worker.list",
            images=[{**image, "uri": f"{self.nginx.uri}/worker-{{version}}.img"}] if images else [],
            certificate=str(self.pki.endorser.certificate_path),
            private_key=str(self.pki.endorser.key_path),
            anchors=str(self.pki.certificates),
            history_dir=str(self.directory / "history"),
            uploads=[{"uri_match": re.escape(self.nginx.uri) + "/", "uri_replace": f"{self.nginx.root}/"}],
            **options,
        )

    def subscribe(self, *, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """The site's subscription, its list asked for now."""
        return self.module(
            "imagelist_subscribe",
            check=check,
            **{
                "state_dir": str(self.site),
                "uri": f"{self.nginx.uri}/worker.list",
                "identifier": LIST,
                "endorsers": [{"dn": self.pki.endorser.dn, "ca": self.pki.endorser.ca}],
                "anchors": str(self.pki.certificates),
                "ca_path": str(self.pki.tls / "ca.pem"),
                "refresh": "always",
                **options,
            },
        )

    def approve(self, *, check: bool = False) -> dict[str, t.Any]:
        """The site's decision."""
        return self.module(
            "image_decision",
            check=check,
            state_dir=str(self.site),
            decision="approve",
            images=[IMAGE],
            reason="tested",
        )

    def cache(self, *, check: bool = False) -> dict[str, t.Any]:
        """The site's cache, brought up to date."""
        return self.module("image_cache", check=check, state_dir=str(self.site))

    def verdict(self) -> dict[str, t.Any]:
        """As the module says and, the same, as the command says."""
        answer = self.module("image_info", state_dir=str(self.site), images=[IMAGE])
        assert answer["changed"] is False
        found = t.cast("dict[str, t.Any]", answer["images"][0]["verdict"])
        code, spoken = self.command("verdict", IMAGE)
        assert (code == 0, spoken["verdict"]["code"]) == (found["allowed"], found["code"])
        return found

    def command(self, *arguments: str) -> tuple[int, t.Any]:
        """The `vmimages` command with --json: exit code and answer."""
        done = subprocess.run(
            [
                Path(sys.executable).with_name("vmimages"),
                arguments[0],
                "--state-dir",
                self.site,
                "--json",
                *arguments[1:],
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout)

    def state(self) -> dict[str, bytes]:
        """What makes up the site's state: all files but the index, and how often the server was asked."""
        kept = {}
        for path in sorted(self.site.rglob("*")):
            if path.is_file() and not path.name.startswith("catalogue.sqlite"):
                kept[str(path.relative_to(self.site))] = hashlib.sha256(path.read_bytes()).digest()
        return kept

    def files(self, place: str) -> list[str]:
        """The sha512 of the images in one of the cache's directories."""
        directory = self.site / "cache" / place
        return [_sha512(path) for path in sorted(directory.iterdir()) if path.name != "catalogue.json"]


def _sha512(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha512").hexdigest()


@pytest.fixture(scope="module")
def grid(
    demo_ca: t.Any, now: t.Any, ansible_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[Grid]:
    directory = tmp_path_factory.mktemp("grid")
    pki = demo_ca.DemoCA(directory / "pki", now)
    pki.make()
    with serve(directory, pki.tls) as nginx:
        environment = {**ansible_environment, "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
        yield Grid(pki, nginx, directory, environment)


@pytest.fixture(scope="module")
def digests() -> dict[str, str]:
    """The sha512 of the image's versions, as the endorser built them."""
    return {}


def _quartet(step: t.Callable[..., dict[str, t.Any]]) -> dict[str, t.Any]:
    """Check, run, check again, run again: the plan is what is done, and the second time there is nothing to do."""
    planned, done = step(check=True), step()
    assert (planned["changed"], done["changed"]) == (True, True), done
    assert [action["action"] for action in planned["actions"]] == [action["action"] for action in done["actions"]]
    assert step(check=True)["changed"] is False
    assert step()["changed"] is False
    return done


def test_an_endorser_publishes(grid: Grid, digests: dict[str, str]) -> None:
    digests["1"] = grid.build("first")
    assert grid.image.stat().st_size == SIZE
    done = _quartet(grid.publish)
    assert done["list"]["version"] == "1"
    assert _sha512(grid.nginx.root / "worker-1.img") == digests["1"]


def test_openssl_accepts_what_we_publish(grid: Grid) -> None:
    bundle = grid.directory / "ca.pem"
    anchors = sorted(grid.pki.certificates.glob("*.0"))
    bundle.write_bytes(b"".join(path.read_bytes() for path in anchors))
    done = subprocess.run(
        ["openssl", "cms", "-verify", "-in", grid.list_file, "-CAfile", bundle, "-no-CApath", "-no-CAstore"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hv:imagelist"]["dc:identifier"] == LIST


def test_the_site_subscribes(grid: Grid) -> None:
    done = _quartet(grid.subscribe)
    assert done["list"]["version"] == "1"
    assert grid.verdict()["code"] == "not_approved"


def test_the_site_approves(grid: Grid) -> None:
    _quartet(grid.approve)
    assert grid.verdict()["code"] == "not_cached"


def test_the_site_caches_and_may_run(grid: Grid, digests: dict[str, str]) -> None:
    _quartet(grid.cache)
    found = grid.verdict()
    assert found["allowed"] is True
    assert _sha512(Path(found["path"])) == digests["1"]


def test_a_repeated_refresh_asks_and_changes_nothing(grid: Grid) -> None:
    state = grid.state()
    code, answer = grid.command("refresh")
    assert (code, answer["lists"][0]["status"]) == (0, "unchanged")
    assert " 304 " in grid.nginx.requests()[-1]
    assert grid.command("sync")[0] == 0
    assert {**grid.state(), "verdicts.json": b""} == {**state, "verdicts.json": b""}


def test_a_new_version_replaces_the_old(grid: Grid, digests: dict[str, str]) -> None:
    grid.list_file.rename(grid.list_file.with_suffix(".old"))
    digests["2"] = grid.build("second")
    done = grid.publish()
    assert (done["list"]["version"], done["images"][0]["version"]) == ("2", "2")
    assert grid.subscribe()["changed"] is True
    grid.cache()
    assert (grid.files("current"), grid.files("expired")) == ([digests["2"]], [digests["1"]])
    assert grid.verdict()["allowed"] is True


def _refused(grid: Grid, code: str) -> None:
    """Subscribing again fails with `code`; the journal tells of it, and everything else is as it was."""
    state = grid.state()
    done = grid.subscribe()
    assert (done["failed"], done["changed"], done["code"]) == (True, False, code)
    assert done["msg"].count(".") >= 2
    different = {name for name, digest in grid.state().items() if state.get(name) != digest}
    assert different <= {"journal.jsonl", "verdicts.json"}
    assert grid.verdict()["allowed"] is True


def test_a_replay_of_the_older_list_is_refused(grid: Grid) -> None:
    current = grid.list_file.read_bytes()
    grid.list_file.with_suffix(".old").replace(grid.list_file)
    _refused(grid, "rollback")
    grid.list_file.write_bytes(current)


def test_one_flipped_bit_in_the_list_is_refused(grid: Grid) -> None:
    current = grid.list_file.read_bytes()
    at = current.index(b'"hv:size"') + 12
    grid.list_file.write_bytes(current[:at] + bytes([current[at] ^ 1]) + current[at + 1 :])
    _refused(grid, "digest_mismatch")
    grid.list_file.write_bytes(current)


def test_one_flipped_bit_in_the_image_is_refused(grid: Grid, digests: dict[str, str]) -> None:
    digests["3"] = grid.build("third")
    grid.publish()
    served = grid.nginx.root / "worker-3.img"
    with served.open("r+b") as stream:
        stream.seek(SIZE // 2)
        octet = stream.read(1)
        stream.seek(SIZE // 2)
        stream.write(bytes([octet[0] ^ 1]))
    grid.subscribe()
    done = grid.cache()
    assert (done["failed"], done["code"]) == (True, "checksum_mismatch")
    assert grid.files("current") == []
    assert grid.files("downloading") == []
    assert grid.verdict()["code"] == "not_cached"
    served.write_bytes(grid.image.read_bytes())
    grid.cache()
    assert grid.files("current") == [digests["3"]]


def test_withdrawal_stops_the_image(grid: Grid, digests: dict[str, str]) -> None:
    assert grid.publish(images=False)["changed"] is True
    grid.subscribe()
    assert grid.verdict()["code"] == "withdrawn"
    assert grid.cache()["changed"] is True
    assert grid.files("current") == []
    assert digests["3"] in grid.files("expired")
    assert grid.verdict()["code"] == "withdrawn"


def test_a_list_past_its_expiry_stops_the_image_without_network(grid: Grid, digests: dict[str, str]) -> None:
    lifetime = 15
    published = time.monotonic()
    grid.publish(lifetime=f"{lifetime}s", renew_before="1s")
    grid.subscribe()
    grid.cache()
    assert grid.files("current") == [digests["3"]]
    grid.nginx.stop()
    time.sleep(max(0.0, published + lifetime + 3 - time.monotonic()))
    assert grid.verdict()["code"] == "list_expired"
    code, _ = grid.command("sync")
    assert code == 0
    assert grid.files("current") == []
    assert grid.verdict()["code"] == "list_expired"


def test_no_secret_is_in_any_file_or_argument(grid: Grid) -> None:
    key = grid.pki.endorser.key_path.read_text().splitlines()[1].encode()
    for path in grid.directory.rglob("*"):
        if path.is_file() and path.stat().st_size < SIZE and path != grid.pki.endorser.key_path:
            assert key not in path.read_bytes(), path
    assert os.environ.get("X509_USER_KEY") is None
