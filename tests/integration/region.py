# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endorsers and sites that share one PKI and one web server, each with the modules and the command that it would use.

The modules run through their real main(); that Ansible's own command runs them the same way, their quartets show.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import secrets
import subprocess
import sys
import typing as t
import uuid
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.testing import patch_module_args

from .grid import Grid

MODULES = "ansible_collections.hepix.vmimages.plugins.modules"


@dataclass(frozen=True)
class Image:
    """An image that somebody built: its UUID, its file, and what its list says of it."""

    identifier: str
    path: Path
    said: t.Mapping[str, t.Any]

    @property
    def octets(self) -> bytes:
        return self.path.read_bytes()

    def renewed(self, *, same: bool = True) -> Image:
        """Built anew, with other octets, under its own UUID or a new one."""
        path = self.path.with_name(secrets.token_hex(8))
        path.write_bytes(secrets.token_bytes(50_000))
        return Image(self.identifier if same else str(uuid.uuid4()), path, self.said)


@dataclass
class Endorser:
    """Somebody with a certificate and a signed list on the web server."""

    grid: Grid
    name: str
    person: t.Any

    def __post_init__(self) -> None:
        self.identifier = str(uuid.uuid4())
        self.directory = self.grid.directory / self.identifier
        self.directory.mkdir()
        self.uri = f"{self.grid.nginx.uri}/{self.identifier}.list"

    def build(self, title: str, **said: t.Any) -> Image:
        """A new image."""
        return Image("", self.directory / "none", {"title": title, "format": "raw", **said}).renewed(same=False)

    def publish(self, *images: Image) -> None:
        """Bless these images, and no others."""
        self.signing(
            "imagelist_publish",
            images=[
                {
                    **image.said,
                    "identifier": image.identifier,
                    "path": str(image.path),
                    "uri": f"{self.grid.nginx.uri}/{{identifier}}-{{version}}.img",
                }
                for image in images
            ],
            endorser={"name": self.name, "email": f"{self.name.lower()}@example.org"},
        )

    def signing(self, module: str, **options: t.Any) -> dict[str, t.Any]:
        """A module that signs in this person's name."""
        return run(
            module,
            identifier=self.identifier,
            title=f"Images of {self.name}",
            uri=self.uri,
            certificate=str(self.person.certificate_path),
            private_key=str(self.person.key_path),
            anchors=str(self.grid.pki.certificates),
            history_dir=str(self.directory / "history"),
            uploads=[{"uri_match": re.escape(self.grid.nginx.uri) + "/", "uri_replace": f"{self.grid.nginx.root}/"}],
            **options,
        )


@dataclass
class Site:
    """A site with its state and its cache; as an endorser it signs its list of approved images."""

    grid: Grid
    local: Endorser

    def __post_init__(self) -> None:
        self.state = self.local.directory / "site"

    def subscribe(self, endorser: Endorser, **options: t.Any) -> None:
        """Support an endorser; the list is asked for by the next refresh."""
        self.module(
            "imagelist_subscribe",
            uri=endorser.uri,
            identifier=endorser.identifier,
            endorsers=[{"dn": endorser.person.dn, "ca": endorser.person.ca}],
            anchors=str(self.grid.pki.certificates),
            ca_path=str(self.grid.pki.tls / "ca.pem"),
            allow_private=True,
            refresh="never",
            **options,
        )

    def module(self, name: str, **options: t.Any) -> dict[str, t.Any]:
        """One of the site's modules."""
        return run(name, state_dir=str(self.state), **options)

    def decide(self, decision: str, image: Image, reason: str = "tested") -> None:
        """The end of the local approval procedure."""
        self.module("image_decision", decision=decision, images=[image.identifier], reason=reason)

    def poll(self, *lists: str) -> dict[str, t.Any]:
        """What the timer does, or somebody on request: ask the endorsers, and bring the cache up to date."""
        code, refreshed = self.command("refresh", *lists)
        assert code == 0, refreshed
        code, synced = self.command("sync")
        assert code == 0, synced
        return t.cast("dict[str, t.Any]", refreshed)

    def verdict(self, name: str | Path | Image) -> str:
        """The code of the gate's answer; its exit status agrees with it."""
        text = name.identifier if isinstance(name, Image) else str(name)
        code, answer = self.command("verdict", text)
        judged = answer["verdict"]
        assert (code == 0) is judged["allowed"]
        return t.cast(str, judged["code"])

    def runs(self, image: Image) -> bool:
        """Whether the gate lets the image start, with the octets that the endorser built."""
        code, answer = self.command("verdict", image.identifier)
        return code == 0 and Path(answer["verdict"]["path"]).read_bytes() == image.octets

    def path(self, image: Image) -> Path:
        """Where the image lies in the cache."""
        return Path(self.command("verdict", image.identifier)[1]["verdict"]["path"])

    def approved(self) -> set[str]:
        """The site's signed list of approved images, published anew and read as its worker nodes read it."""
        self.local.signing("imagelist_relay", state_dir=str(self.state), base_uri=f"{self.grid.nginx.uri}/")
        read = run(
            "imagelist_info",
            uri=self.local.uri,
            ca_path=str(self.grid.pki.tls / "ca.pem"),
            anchors=str(self.grid.pki.certificates),
        )
        return {image["identifier"] for image in read["images"]}

    def letters(self) -> list[str]:
        """The messages to endorsers that lie in the outbox."""
        return [path.read_text() for path in sorted((self.state / "outbox").glob("*.eml"))]

    def command(self, *arguments: str) -> tuple[int, t.Any]:
        """The `vmimages` command with --json: exit code and answer."""
        program = Path(sys.executable).with_name("vmimages")
        done = subprocess.run(
            [program, arguments[0], "--state-dir", self.state, "--json", *arguments[1:]],
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, json.loads(done.stdout)


def run(name: str, **options: t.Any) -> dict[str, t.Any]:
    """The result of a module that must succeed."""
    module = importlib.import_module(f"{MODULES}.{name}")
    said = io.StringIO()
    with patch_module_args(options), contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        module.main()
    result = json.loads(said.getvalue())
    assert not result.get("failed"), result
    return t.cast("dict[str, t.Any]", result)
