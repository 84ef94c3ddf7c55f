# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small world for the site's tests: a PKI, an endorser, a real web server, a state directory and a clock."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import typing as t
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import decisions, queries
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache import sync as cache
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.endorsers.declare import Declaration, declare
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists import rebaseline, refresh, subscribe
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.rules import declare as rules
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.subscription import Subscription
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import to_text
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message.smime import (
    read_message,
    sign_message,
)

LIST = "4e186b44-2c64-40ea-97d5-e9e5c0bce059"
OTHER_LIST = "5e186b44-2c64-40ea-97d5-e9e5c0bce059"
IMAGE = "488dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"
IMAGE_2 = "588dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"


def content_of(octets: bytes) -> str:
    """The SHA-512 of a message's signed content."""
    return hashlib.sha512(read_message(octets).content).hexdigest()


@dataclass
class World:
    """Everything a test of the site needs; `now` is the site's clock and may be moved."""

    pki: t.Any
    web: Path
    base: str
    state: Path
    now: datetime
    octets: dict[str, bytes] = field(default_factory=dict)

    def image(self, identifier: str = IMAGE, *, version: str = "1", octets: bytes = b"", title: str = "SL5") -> t.Any:
        """An ``hv:image`` whose file is on the web server; other octets for each call unless given."""
        octets = octets or secrets.token_bytes(3000)
        name = f"{identifier}-{hashlib.sha256(octets).hexdigest()[:8]}.img"
        (self.web / name).write_bytes(octets)
        digest = hashlib.sha512(octets).hexdigest()
        self.octets[digest] = octets
        return {
            "dc:identifier": identifier,
            "dc:title": title,
            "hv:version": version,
            "hv:uri": f"{self.base}/{name}",
            "hv:size": len(octets),
            "sl:checksum:sha512": digest,
        }

    def message(
        self,
        version: str,
        images: t.Sequence[t.Any],
        *,
        identifier: str = LIST,
        signer: t.Any = None,
        days: float = 20,
        **keys: t.Any,
    ) -> bytes:
        """A signed list, created an hour ago by the site's clock."""
        signer = signer or self.pki.endorser
        document = {
            "dc:identifier": identifier,
            "dc:title": "Test list",
            "dc:description": "",
            "dc:source": "example.org",
            "dc:date:created": to_text(self.now - timedelta(hours=1)),
            "dc:date:expires": to_text(self.now + timedelta(days=days)),
            "hv:uri": self.uri(identifier),
            "hv:version": version,
            "hv:endorser": {
                "hv:x509": {"dc:creator": "E", "hv:email": "e@example.org", "hv:dn": signer.dn, "hv:ca": signer.ca}
            },
            "hv:images": [{"hv:image": image} for image in images],
            **keys,
        }
        content = json.dumps({"hv:imagelist": document}, sort_keys=True, indent=4).encode() + b"\n"
        return sign_message(content, certificate=signer.certificate, key=signer.key)

    def uri(self, identifier: str = LIST) -> str:
        """Where a list is published."""
        return f"{self.base}/{identifier}"

    def publish(self, version: str, images: t.Sequence[t.Any], *, identifier: str = LIST, **options: t.Any) -> bytes:
        """Sign a list and put it on the web server."""
        octets = self.message(version, images, identifier=identifier, **options)
        self.serve(octets, identifier=identifier)
        return octets

    def serve(self, octets: bytes, *, identifier: str = LIST) -> None:
        """Put any octets where a list is expected."""
        target = self.web / identifier
        target.with_suffix(".new").write_bytes(octets)
        target.with_suffix(".new").replace(target)

    def wanted(self, identifier: str | None = LIST, *, uri: str | None = None, **options: t.Any) -> Subscription:
        """A subscription to a list of this world."""
        return Subscription.from_options(
            {
                "uri": uri or self.uri(identifier or LIST),
                "identifier": identifier,
                "endorsers": [{"dn": self.pki.endorser.dn, "ca": self.pki.endorser.ca}],
                "anchors": str(self.pki.certificates),
                **options,
            }
        )

    @contextlib.contextmanager
    def open(self, **options: t.Any) -> t.Iterator[Catalogue]:
        """The site's catalogue."""
        with Catalogue.open(self.state, create=True, clock=lambda: self.now, actor="sam", **options) as catalogue:
            yield catalogue

    def subscribe(self, identifier: str | None = LIST, *, refresh: str = "always", **options: t.Any) -> Outcome:
        """Subscribe (a clock that stands still needs ``always``)."""
        check, move, act = options.pop("check", False), options.pop("move", False), options.pop("act", None)
        wanted = self.wanted(identifier, **options)
        with self.open(dry=check) as catalogue:
            return subscribe.subscribe(catalogue, wanted, refresh=refresh, check=check, move=move, act=act)

    def refresh(self, **options: t.Any) -> Outcome:
        """Refresh."""
        with self.open() as catalogue:
            return refresh.refresh(catalogue, **options)

    def rebaseline(self, octets: bytes, reason: str = "a slip", **options: t.Any) -> Outcome:
        """Let the content of this message in, whatever its version."""
        with self.open() as catalogue:
            return rebaseline.rebaseline(catalogue, LIST, rebaseline.Act(content_of(octets), reason), **options)

    def decide(self, decision: str, *images: str, **options: t.Any) -> Outcome:
        """Decide about images."""
        with self.open() as catalogue:
            return decisions.decide(catalogue, decision=decision, images=images, **options)

    def register(self, *items: t.Mapping[str, t.Any], check: bool = False, **more: t.Any) -> Outcome:
        """Declare endorsers."""
        with self.open() as catalogue:
            return declare(catalogue, Declaration.from_options({"endorsers": items, **more}), check=check)

    def declare(self, *given: t.Mapping[str, t.Any], **options: t.Any) -> Outcome:
        """Declare the rules of the site."""
        with self.open() as catalogue:
            return rules.declare(catalogue, given, **options)

    def sync(self, **options: t.Any) -> Outcome:
        """Bring the cache up to date."""
        with self.open() as catalogue:
            return cache.sync(catalogue, **options)

    def verdict(self, name: str = IMAGE) -> t.Any:
        """The verdict on an image, as the catalogue gives it."""
        with self.open() as catalogue:
            return queries.judge(catalogue, name)["verdict"]

    def files(self, place: str) -> list[bytes]:
        """What lies in one of the cache's directories."""
        directory = self.state / "cache" / place
        return [path.read_bytes() for path in sorted(directory.iterdir()) if "catalogue.json" not in path.name]

    def rows(self) -> dict[str, list[tuple[t.Any, ...]]]:
        """The derived tables of the index, row for row."""
        from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store import index

        with self.open() as catalogue:
            return {table: [tuple(row) for row in catalogue.rows(f"SELECT * FROM {table}")] for table in index.DERIVED}


@pytest.fixture
def world(pki: t.Any, demo_server: t.Any, now: datetime, tmp_path: Path) -> t.Iterator[World]:
    web = tmp_path / "web"
    web.mkdir()
    with demo_server.serve(web) as server:
        yield World(pki, web, server.uri, tmp_path / "state", now)
