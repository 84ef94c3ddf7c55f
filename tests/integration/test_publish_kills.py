# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL at 50 random moments of a publication: no list names an image that is not there, no version has two lists."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
import typing as t
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.publish import PublishSpec, publish
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.reader import read_list
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import anchors
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.verify import verify_message

from . import farends
from .farends import FarEnd

pytestmark = pytest.mark.needs("nginx")

LIST = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"
IMAGES = ("2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1", "3b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1")
HOME = "https://images.example.org/"
KILLS = 25
SIZE = 4 * 1024 * 1024


class Endorser:
    """Publishes two images into a far end, each time with new octets, in a process that can be killed."""

    def __init__(self, directory: Path, pki: t.Any, now: datetime, far: FarEnd) -> None:
        self.directory, self.pki, self.now, self.far = directory, pki, now, far
        self.lists: dict[str, str] = {}

    def renew(self) -> None:
        for name in IMAGES:
            (self.directory / name).write_bytes(os.urandom(64) * (SIZE // 64))

    def run(self, kill_after: float | None = None) -> tuple[bool, float]:
        """Publish, or be killed after so many seconds; whether it came to its end, and the seconds."""
        started = time.monotonic()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                self._publish()
                code = 0
            finally:
                os._exit(code)
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(child, signal.SIGKILL)
        _child, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return not os.WIFSIGNALED(status), time.monotonic() - started

    def _publish(self) -> None:
        options = {
            "identifier": LIST,
            "uri": f"{HOME}workers.list",
            "images": [
                {"identifier": name, "path": str(self.directory / name), "uri": f"{HOME}{{identifier}}/{{version}}.raw"}
                for name in IMAGES
            ],
            "certificate": str(self.pki.endorser.certificate_path),
            "private_key": str(self.pki.endorser.key_path),
            "history_dir": str(self.directory / "history"),
            "uploads": [self.far.rule(r"https://images\.example\.org/")],
            "anchors": str(self.pki.certificates),
        }
        publish(PublishSpec.from_options(options), check=False, now=self.now)

    def check(self) -> str | None:
        """The version of the published list, all of whose images are there; each version has one content for ever."""
        files = self.far.files()
        if "workers.list" not in files:
            return None
        content = verify_message(files["workers.list"], anchors.load(self.pki.certificates), self.now).content
        found = read_list(content)
        for image in found.images:
            octets = files[image.uri[len(HOME) :]]
            assert (len(octets), hashlib.sha512(octets).hexdigest()) == (image.size, image.sha512)
        digest = hashlib.sha512(content).hexdigest()
        assert self.lists.setdefault(found.version, digest) == digest
        return found.version


@pytest.mark.parametrize("kind", ["local", "webdav"])
def test_a_publication_killed_at_random_moments(kind: str, tmp_path: Path, pki: t.Any, now: datetime) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    moments = random.Random(seed)
    with farends.KINDS[kind](tmp_path, pki) as far:
        endorser = Endorser(tmp_path, pki, now, far)
        endorser.renew()
        whole = endorser.run()[1]
        killed = 0
        for _attempt in range(4 * KILLS):
            endorser.now += timedelta(minutes=1)
            endorser.renew()
            ended, seconds = endorser.run(moments.uniform(0.0, whole))
            whole = min(whole, seconds) if ended else whole
            killed += not ended
            endorser.check()
            if killed == KILLS:
                break
        assert killed == KILLS
        endorser.now += timedelta(minutes=1)
        assert endorser.run()[0]
        assert endorser.check() is not None
        current = {hashlib.sha512((tmp_path / name).read_bytes()).hexdigest() for name in IMAGES}
        assert {image.sha512 for image in read_list(_content(far)).images} == current


def _content(far: FarEnd) -> bytes:
    from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message.smime import read_message

    return read_message(far.files()["workers.list"]).content
