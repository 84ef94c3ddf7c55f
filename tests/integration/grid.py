# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An endorser, a web server and a site, driven by Ansible's own command and by `vmimages`, as people drive them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

from .nginx import Nginx, serve

LIST = "0b4f3a52-6f2c-4b7c-9f0e-6f3f0e0a1d11"
IMAGE = "d0a5b1e4-9c52-4e55-8a3c-15b4d2c6a777"


@dataclass
class Grid:
    """An endorser and a site, with a web server between them."""

    pki: t.Any
    nginx: Nginx
    directory: Path
    environment: dict[str, str]
    ahead: str = ""  # by how much the clock of all that is run is ahead, such as 2h

    @property
    def site(self) -> Path:
        return self.directory / "site"

    @property
    def image(self) -> Path:
        return self.directory / "build" / "worker.img"

    @property
    def list_file(self) -> Path:
        return self.nginx.root / "worker.list"

    def build(self, label: str, *, size: str) -> str:
        """Make the image anew with mke2fs, of a size such as 256M; returns the sha512 of the file."""
        self.image.parent.mkdir(exist_ok=True)
        self.image.unlink(missing_ok=True)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-L", label, self.image, size], check=True)
        return sha512(self.image)

    def module(self, name: str, *, check: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """Run one module through Ansible's own command, and return its result."""
        command = [*self._program("ansible"), "localhost", "-m", f"hepix.vmimages.{name}", "--diff"]
        done = subprocess.run(
            [*command, "-a", json.dumps(options), *(["--check"] if check else [])],
            check=False,
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
            **{
                "identifier": LIST,
                "title": "Worker nodes",
                "source": "example.org",
                "uri": f"{self.nginx.uri}/worker.list",
                "images": [{**image, "uri": f"{self.nginx.uri}/worker-{{version}}.img"}] if images else [],
                "certificate": str(self.pki.endorser.certificate_path),
                "private_key": str(self.pki.endorser.key_path),
                "anchors": str(self.pki.certificates),
                "history_dir": str(self.directory / "history"),
                "uploads": [{"uri_match": re.escape(self.nginx.uri) + "/", "uri_replace": f"{self.nginx.root}/"}],
                **options,
            },
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
            [*self._program("vmimages"), arguments[0], "--state-dir", str(self.site), "--json", *arguments[1:]],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout)

    def _program(self, name: str) -> list[str]:
        """A command of this environment, by its own clock."""
        clock = ["faketime", "-f", f"+{self.ahead}"] if self.ahead else []
        return [*clock, str(Path(sys.executable).with_name(name))]

    def state(self) -> dict[str, bytes]:
        """What makes up the site's state: all files but what is derived from them, or empty."""
        kept = {}
        for path in sorted(self.site.rglob("*")):
            if path.is_file() and not path.name.startswith("catalogue.") and path.name != "lock":
                kept[str(path.relative_to(self.site))] = hashlib.sha256(path.read_bytes()).digest()
        return kept

    def files(self, place: str) -> list[str]:
        """The sha512 of the images in one of the cache's directories."""
        directory = self.site / "cache" / place
        return [sha512(path) for path in sorted(directory.iterdir()) if path.name != "catalogue.json"]


def sha512(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha512").hexdigest()


@contextlib.contextmanager
def make(directory: Path, demo_ca: t.Any, now: t.Any, environment: t.Mapping[str, str]) -> t.Iterator[Grid]:
    """A grid in `directory`, its web server running."""
    pki = demo_ca.DemoCA(directory / "pki", now)
    pki.make()
    with serve(directory, pki.tls) as nginx:
        yield Grid(pki, nginx, directory, {**environment, "ANSIBLE_PYTHON_INTERPRETER": sys.executable})
