# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site with one image, whose list is a local file and whose octets come from wherever a test says."""

from __future__ import annotations

import hashlib
import json
import typing as t
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import queries
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache.sync import sync
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache.work import Limits
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.subscribe import subscribe
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store import audit, index
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.subscription import Subscription
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import to_text
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message.smime import sign_message

LIST = "7d2a1c55-0e4f-4f6c-9d2b-2f9a4b6c8e11"
IMAGE = "c3b1a7e2-5d4f-4b8e-8f6a-1a2b3c4d5e6f"

#: One attempt, and a few seconds for it.
HURRIED = Limits(retries=0, timeout=3.0)


@dataclass
class Site:
    """A state directory that caches every image of one list."""

    pki: t.Any
    path: Path
    state: Path
    options: dict[str, t.Any] = field(default_factory=dict)
    endorsed: set[str] = field(default_factory=set)
    version: int = 0

    def publish(self, octets: bytes, uri: str) -> None:
        """The next version of the list, with one image; subscribed to with the `options`."""
        self.version += 1
        digest = hashlib.sha512(octets).hexdigest()
        self.endorsed.add(digest)
        now, signer = datetime.now(timezone.utc), self.pki.endorser
        image = {
            "dc:identifier": IMAGE,
            "hv:version": str(self.version),
            "hv:uri": uri,
            "hv:size": len(octets),
            "sl:checksum:sha512": digest,
        }
        document = {
            "dc:identifier": LIST,
            "dc:date:created": to_text(now - timedelta(minutes=1)),
            "dc:date:expires": to_text(now + timedelta(days=2)),
            "hv:version": str(self.version),
            "hv:uri": "https://lists.example.org/list",
            "hv:endorser": {"hv:x509": {"hv:dn": signer.dn, "hv:ca": signer.ca}},
            "hv:images": [{"hv:image": image}],
        }
        content = json.dumps({"hv:imagelist": document}).encode()
        message = sign_message(content, certificate=signer.certificate, key=signer.key)
        (self.path / "list").write_bytes(message)
        self.subscribe()

    def subscribe(self, **options: t.Any) -> None:
        """Subscribe, with further options, and read the list."""
        self.options.update(options)
        wanted = Subscription.from_options(
            {
                "uri": (self.path / "list").as_uri(),
                "identifier": LIST,
                "endorsers": [{"dn": self.pki.endorser.dn, "ca": self.pki.endorser.ca}],
                "anchors": str(self.pki.certificates),
                "new_images": "cache",
                **self.options,
            }
        )
        with Catalogue.open(self.state, create=True) as catalogue:
            subscribe(catalogue, wanted, refresh="always")

    def sync(self, limits: Limits = HURRIED) -> Outcome:
        """Bring the cache up to date."""
        with Catalogue.open(self.state) as catalogue:
            return sync(catalogue, limits=limits)

    def refused(self, limits: Limits = HURRIED) -> dict[str, t.Any]:
        """A run whose one download fails and leaves everything in order: the failure."""
        outcome = self.sync(limits)
        self.check()
        assert self.current() == []
        assert self.verdict() == "not_cached"
        [failure] = outcome.data["failures"]
        return t.cast("dict[str, t.Any]", failure)

    def completed(self, octets: bytes, limits: Limits = HURRIED) -> dict[str, t.Any]:
        """A run that brings the image: its entry."""
        outcome = self.sync(limits)
        assert outcome.data["failures"] == []
        self.check()
        assert [path.read_bytes() for path in self.current()] == [octets]
        assert self.verdict() == "allowed"
        assert [path.name for path in (self.state / "cache" / "downloading").iterdir()] == ["catalogue.json"]
        [entry] = outcome.data["downloaded"]
        return t.cast("dict[str, t.Any]", entry)

    def current(self) -> list[Path]:
        """The files in `current`."""
        return [path for path in (self.state / "cache" / "current").iterdir() if "catalogue.json" not in path.name]

    def check(self) -> None:
        """Only endorsed octets in `current`, the journal good, the index the one that a rebuild makes."""
        for path in self.current():
            assert hashlib.sha512(path.read_bytes()).hexdigest() in self.endorsed
        assert not audit.audit(StateDirectory.at(self.state)).problems
        with Catalogue.open(self.state) as catalogue:
            rows = _rows(catalogue)
            catalogue.rebuild()
            assert _rows(catalogue) == rows

    def verdict(self) -> str:
        """The code of the image's verdict."""
        with Catalogue.open(self.state) as catalogue:
            return str(queries.judge(catalogue, IMAGE)["verdict"]["code"])


def _rows(catalogue: Catalogue) -> dict[str, list[tuple[t.Any, ...]]]:
    return {table: [tuple(row) for row in catalogue.rows(f"SELECT * FROM {table}")] for table in index.DERIVED}


@pytest.fixture
def site(pki: t.Any, tmp_path: Path) -> Site:
    return Site(pki, tmp_path, tmp_path / "state", {"allow_private": True})
