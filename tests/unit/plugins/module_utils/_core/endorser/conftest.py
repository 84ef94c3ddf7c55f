# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An endorser's bench: a real key, real image files, a directory that stands for the web server's."""

from __future__ import annotations

import typing as t
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.publish import PublishSpec, publish
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.model import ImageList
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.reader import read_list
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import anchors
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.verify import verify_message

LIST_ID = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"
IMAGE_IDS = ("2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1", "3b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1")


class Bench:
    """`options` are those of the module; `run` publishes them with changes, `later` after the session's time."""

    def __init__(self, directory: Path, pki: t.Any, now: datetime) -> None:
        self.directory, self.pki, self.now = directory, pki, now
        self.web, self.build, self.history = directory / "web", directory / "build", directory / "history"
        self.web.mkdir()
        self.build.mkdir()
        self.list_file = self.web / "workers.list"
        for index, identifier in enumerate(IMAGE_IDS):
            self.source(identifier).write_bytes(b"image %d " % index * 5000)
        self.options: dict[str, t.Any] = {
            "identifier": LIST_ID,
            "title": "Workers",
            "description": "Worker nodes",
            "source": "example.org",
            "uri": "https://images.example.org/workers.list",
            "images": [self.image(identifier) for identifier in IMAGE_IDS],
            "certificate": str(pki.endorser.certificate_path),
            "private_key": str(pki.endorser.key_path),
            "history_dir": str(self.history),
            "uploads": [
                {"method": "local", "uri_match": r"https://images\.example\.org/", "uri_replace": f"{self.web}/"}
            ],
            "anchors": str(pki.certificates),
        }

    def source(self, identifier: str) -> Path:
        return self.build / f"{identifier[0]}.raw"

    def image(self, identifier: str, **changes: t.Any) -> dict[str, t.Any]:
        return {
            "identifier": identifier,
            "path": str(self.source(identifier)),
            "uri": "https://images.example.org/{identifier}/{version}.raw",
            "title": f"worker {identifier[0]}",
            "format": "raw",
            **changes,
        }

    def run(self, *, check: bool = False, later: timedelta = timedelta(), **changes: t.Any) -> Outcome:
        spec = PublishSpec.from_options({**self.options, **changes})
        return publish(spec, check=check, now=self.now + later)

    def published(self, later: timedelta = timedelta()) -> ImageList:
        """What a site reads: verified, and every image that is named is there."""
        message = self.list_file.read_bytes()
        found = read_list(verify_message(message, anchors.load(self.pki.certificates), self.now + later).content)
        for image in found.images:
            if image.uri.startswith("https://images.example.org/"):
                octets = (self.web / image.uri[len("https://images.example.org/") :]).read_bytes()
                assert (len(octets), sha512(octets)) == (image.size, image.sha512)
        return found

    def tree(self) -> dict[str, t.Any]:
        """Every file with its octets and times, apart from those that only help to avoid reading."""
        return {
            str(path.relative_to(self.directory)): (path.read_bytes(), path.stat().st_mtime_ns)
            if path.is_file()
            else None
            for path in sorted(self.directory.rglob("*"))
            if path.name not in ("lock", "files.json") and self.directory / "pki" not in path.parents
        }


def sha512(octets: bytes) -> str:
    import hashlib

    return hashlib.sha512(octets).hexdigest()


@pytest.fixture
def bench(tmp_path: Path, pki: t.Any, now: datetime) -> Bench:
    return Bench(tmp_path, pki, now)
