# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL at random moments of a refresh and of a download: nothing half done, and the next run completes."""

from __future__ import annotations

import hashlib
import json
import random
import re
import signal
import subprocess
import sys
import time
import typing as t
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import decisions
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.subscribe import subscribe
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store import index
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.subscription import Subscription
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import to_text
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message.smime import sign_message

from .nginx import Nginx, serve

pytestmark = pytest.mark.needs("nginx")

LIST = "0b4f3a52-6f2c-4b7c-9f0e-6f3f0e0a1d11"
IMAGE = "d0a5b1e4-9c52-4e55-8a3c-15b4d2c6a777"
KILLS = 20
SIZE = 48 * 1024 * 1024


@dataclass
class Site:
    """One subscribed list on an nginx that sends images slowly enough to be interrupted."""

    pki: t.Any
    nginx: Nginx
    state: Path
    size: int = SIZE
    endorsed: set[str] = field(default_factory=set)

    def publish(self, version: int) -> None:
        """A list with one image of that version, whose octets are new."""
        octets = random.Random(version).randbytes(self.size)
        name = f"slow/worker-{version}.img"
        (self.nginx.root / name).write_bytes(octets)
        digest = hashlib.sha512(octets).hexdigest()
        self.endorsed.add(digest)
        image = {
            "dc:identifier": IMAGE,
            "hv:version": str(version),
            "hv:uri": f"{self.nginx.uri}/{name}",
            "hv:size": self.size,
            "sl:checksum:sha512": digest,
        }
        now = datetime.now(timezone.utc)
        signer = self.pki.endorser
        document = {
            "dc:identifier": LIST,
            "dc:date:created": to_text(now - timedelta(minutes=1)),
            "dc:date:expires": to_text(now + timedelta(days=2)),
            "hv:version": str(version),
            "hv:uri": f"{self.nginx.uri}/list",
            "hv:endorser": {"hv:x509": {"hv:dn": signer.dn, "hv:ca": signer.ca}},
            "hv:images": [{"hv:image": image}],
        }
        content = json.dumps({"hv:imagelist": document}).encode()
        message = sign_message(content, certificate=signer.certificate, key=signer.key)
        (self.nginx.root / "list").write_bytes(message)

    def run(self, *arguments: str, kill_after: float | None = None) -> tuple[int, float]:
        """Run the command, or kill it after so many seconds; exit code and seconds."""
        started = time.monotonic()
        program = Path(sys.executable).with_name("vmimages")
        process = subprocess.Popen(
            [program, arguments[0], "--state-dir", self.state, "--json", *arguments[1:]],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if kill_after is not None:
            time.sleep(kill_after)
            process.send_signal(signal.SIGKILL)
        return process.wait(60), time.monotonic() - started

    def check(self) -> None:
        """Whole and endorsed files only, the decision kept, the index the one that a rebuild makes."""
        for path in (self.state / "cache" / "current").iterdir():
            if "catalogue.json" not in path.name:
                assert hashlib.sha512(path.read_bytes()).hexdigest() in self.endorsed
        with Catalogue.open(self.state) as catalogue:
            rows = _rows(catalogue)
            assert [row[4] for row in rows["decisions"]] == ["tested"]
            catalogue.rebuild()
            assert _rows(catalogue) == rows

    def version(self) -> int:
        """The list's accepted version."""
        with Catalogue.open(self.state) as catalogue:
            return max(int(row["version"]) for row in catalogue.rows("SELECT version FROM versions"))


def _rows(catalogue: Catalogue) -> dict[str, list[tuple[t.Any, ...]]]:
    return {table: [tuple(row) for row in catalogue.rows(f"SELECT * FROM {table}")] for table in index.DERIVED}


@pytest.fixture
def site(pki: t.Any, tmp_path: Path) -> t.Iterator[Site]:
    (tmp_path / "web" / "slow").mkdir(parents=True)
    with serve(tmp_path, pki.tls) as nginx:
        found = Site(pki, nginx, tmp_path / "state")
        found.publish(1)
        options = {
            "uri": f"{nginx.uri}/list",
            "identifier": LIST,
            "endorsers": [{"dn": pki.endorser.dn, "ca": pki.endorser.ca}],
            "anchors": str(pki.certificates),
            "ca_path": str(pki.tls / "ca.pem"),
        }
        with Catalogue.open(found.state, create=True) as catalogue:
            subscribe(catalogue, Subscription.from_options(options))
            decisions.decide(catalogue, decision="approve", images=[IMAGE], reason="tested")
        yield found


class Moments:
    """Random moments within the time of a whole run, until `KILLS` of them have hit one."""

    def __init__(self, seconds: float) -> None:
        seed = random.randrange(10**6)
        print(f"seed {seed}")
        self._random = random.Random(seed)
        self._seconds = seconds
        self.killed = 0

    def __iter__(self) -> t.Iterator[float]:
        for _attempt in range(4 * KILLS):
            if self.killed == KILLS:
                return
            yield self._random.uniform(0.0, self._seconds)
        raise AssertionError(f"only {self.killed} runs were hit")

    def ended(self, code: int, seconds: float) -> None:
        """Count a hit, or learn that a whole run takes less time than it was thought to."""
        if code == -signal.SIGKILL:
            self.killed += 1
        else:
            assert code == 0
            self._seconds = min(self._seconds, seconds)


def test_a_refresh_killed_at_random_moments(site: Site) -> None:
    site.size = 1000
    site.publish(2)
    moments = Moments(site.run("refresh")[1])
    for version, moment in enumerate(moments, start=3):
        site.publish(version)
        moments.ended(*site.run("refresh", kill_after=moment))
        site.check()
        assert site.version() in (version - 1, version)
        assert site.run("refresh")[0] == 0
        assert site.version() == version


def test_a_download_killed_at_random_moments(site: Site) -> None:
    moments = Moments(site.run("sync")[1])
    for version, moment in enumerate(moments, start=2):
        site.publish(version)
        assert site.run("refresh")[0] == 0
        moments.ended(*site.run("sync", kill_after=moment))
        site.check()
    assert site.run("sync")[0] == 0
    site.check()
    current = [path for path in (site.state / "cache" / "current").iterdir() if path.name.startswith(IMAGE)]
    assert [re.sub(r".*_(\d+)_.*", r"\1", path.name) for path in current] == [str(version)]
    assert [path.name for path in (site.state / "cache" / "downloading").iterdir()] == ["catalogue.json"]
    assert site.run("verdict", IMAGE)[0] == 0
