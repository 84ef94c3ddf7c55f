# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A publication into each kind of far end: images first, nothing twice, and what was cut is completed."""

from __future__ import annotations

import random
import typing as t
import urllib.parse
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.publish import PublishSpec, publish
from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.reader import read_list
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import anchors
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.verify import verify_message

from . import farends
from .cut_line import cut_line
from .farends import FarEnd

pytestmark = pytest.mark.needs("/usr/sbin/sshd", "sftp", "nginx")

LIST, IMAGE = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3", "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
HOME = "https://images.example.org/"


class Endorser:
    """An endorser with one image, who publishes into `far`."""

    def __init__(self, directory: Path, pki: t.Any, now: datetime, far: FarEnd) -> None:
        self.pki, self.now, self.far = pki, now, far
        self.image = directory / "image.raw"
        self.image.write_bytes(b"first image " * 30_000)
        self.options = {
            "identifier": LIST,
            "uri": f"{HOME}worker.list",
            "images": [{"identifier": IMAGE, "path": str(self.image), "uri": f"{HOME}{{identifier}}/{{version}}.raw"}],
            "certificate": str(pki.endorser.certificate_path),
            "private_key": str(pki.endorser.key_path),
            "history_dir": str(directory / "history"),
            "uploads": [far.rule(r"https://images\.example\.org/")],
            "anchors": str(pki.certificates),
        }

    def publish(self, *, check: bool = False, **changes: t.Any) -> Outcome:
        self.now += timedelta(minutes=1)
        return publish(PublishSpec.from_options({**self.options, **changes}), check=check, now=self.now)

    def published(self) -> tuple[str, dict[str, bytes]]:
        """The list's version, and the images that it names with what is there under their names."""
        files = self.far.files()
        message = files["worker.list"]
        found = read_list(verify_message(message, anchors.load(self.pki.certificates), self.now).content)
        return found.version, {image.version: files[image.uri[len(HOME) :]] for image in found.images}


@pytest.mark.parametrize("kind", farends.KINDS)
def test_a_list_and_its_image_are_published(kind: str, tmp_path: Path, pki: t.Any, now: datetime) -> None:
    with farends.KINDS[kind](tmp_path, pki) as far:
        endorser = Endorser(tmp_path, pki, now, far)
        foretold = endorser.publish(check=True)
        assert far.files() == {}
        first = endorser.publish()
        assert first.actions == foretold.actions
        assert endorser.published() == ("1", {"1": b"first image " * 30_000})

        again = endorser.publish()
        assert (again.changed, again.data["octets_read"]) == (False, 0)

        # A loss of what we remember costs one reading back, and changes nothing.
        (tmp_path / "history" / LIST / "places.json").unlink(missing_ok=True)
        assert endorser.publish().changed is False

        endorser.image.write_bytes(b"second image" * 30_000)
        second = endorser.publish()
        assert [action["action"] for action in second.actions] == ["sign", "upload", "upload"]
        assert endorser.published() == ("2", {"2": b"second image" * 30_000})


def test_a_cut_upload_leaves_the_published_list_and_is_completed(tmp_path: Path, pki: t.Any, now: datetime) -> None:
    with farends.sftp(tmp_path) as far:
        endorser = Endorser(tmp_path, pki, now, far)
        endorser.publish()
        before = far.files()
        endorser.image.write_bytes(b"second image" * 30_000)
        # In the way of the new image's directory entry: the far end refuses it half-way.
        block = tmp_path / "far" / IMAGE / "2.raw"
        block.mkdir()
        with pytest.raises(VmimagesError) as caught:
            endorser.publish()
        assert caught.value.code == "upload_failed"
        assert {name: octets for name, octets in far.files().items() if not name.endswith(".part")} == before
        block.rmdir()
        endorser.publish()
        assert endorser.published() == ("2", {"2": b"second image" * 30_000})


@pytest.mark.parametrize("kind", ["sftp", "webdav", "s3"])
def test_a_line_that_is_cut_half_way_leaves_the_published_list(
    kind: str, tmp_path: Path, pki: t.Any, now: datetime
) -> None:
    with farends.KINDS[kind](tmp_path, pki) as far:
        endorser = Endorser(tmp_path, pki, now, far)
        endorser.publish()
        before = far.files()
        octets = random.Random(7).randbytes(4_000_000)
        endorser.image.write_bytes(octets)
        address = far.settings.endpoint or far.base
        port = urllib.parse.urlsplit(address).port
        assert port is not None
        with cut_line(port, 1_500_000) as cut:
            if far.settings.ssh_known_hosts:
                known = Path(far.settings.ssh_known_hosts)
                known.write_text(known.read_text() + known.read_text().replace(f":{port} ", f":{cut} "))
            broken = {**far.rule(r"https://images\.example\.org/")}
            for option in ("uri_replace", "endpoint"):
                if option in broken:
                    broken[option] = broken[option].replace(f":{port}", f":{cut}")
            with pytest.raises(VmimagesError):
                endorser.publish(uploads=[broken])
        assert {name: found for name, found in far.files().items() if not name.endswith(".part")} == before
        endorser.publish()
        assert endorser.published() == ("2", {"2": octets})


def test_the_appdb_is_no_place_for_an_image(tmp_path: Path, pki: t.Any, now: datetime) -> None:
    with farends.local(tmp_path) as far:
        endorser = Endorser(tmp_path, pki, now, far)
        rule = {"method": "egiappdb", "uri_match": ".*", "uri_replace": "egiappdb://erin@127.0.0.1:1/vmlist/"}
        with pytest.raises(VmimagesError) as caught:
            endorser.publish(uploads=[rule])
        assert caught.value.code == "publish_invalid"
        assert "lists only" in caught.value.detail
