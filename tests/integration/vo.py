# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VO, its endorsers and the sites that support it, with a real nginx between them: everybody uses the collection."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import typing as t
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.publish import (
    ENDORSER_LIST,
    PublishSpec,
    publish,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import decisions, queries, settings
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache import sync
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.endorsers.declare import Declaration, declare
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.events.dispatch import dispatch
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.elect import (
    subscribe_endorsers,
    unsubscribe_endorsers,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.refresh import refresh
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.subscribe import subscribe
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store import index
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.subscription import Subscription
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import utc_now

from .nginx import Nginx

VO_LIST = "7c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90"


@dataclass
class Web:
    """The grid's PKI, and the web server on which everybody publishes."""

    pki: t.Any
    nginx: Nginx
    directory: Path

    def publish(self, signer: t.Any, *, kind: str = "imagelist", lifetime: str = "28d", **options: t.Any) -> Outcome:
        """Publish a list of some kind, as its module does."""
        given = {
            "certificate": str(signer.certificate_path),
            "private_key": str(signer.key_path),
            "history_dir": str(self.directory / "history"),
            "anchors": str(self.pki.certificates),
            "uploads": [{"uri_match": re.escape(self.nginx.uri) + "/", "uri_replace": f"{self.nginx.root}/"}],
            "lifetime": lifetime,
            **options,
        }
        return publish(PublishSpec.from_options(given, kind=kind), check=False, now=utc_now())


@dataclass
class Endorser:
    """A person with a VMIC: a list of images under an address of its own."""

    web: Web
    name: str
    signer: t.Any = None
    list_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __post_init__(self) -> None:
        self.signer = self.signer or self.web.pki.issue(f"{self.name.title()} Endorser")

    @property
    def uri(self) -> str:
        return f"{self.web.nginx.uri}/{self.name}.list"

    @property
    def file(self) -> Path:
        """The published message."""
        return self.web.nginx.root / f"{self.name}.list"

    @property
    def pair(self) -> dict[str, str]:
        return {"dn": self.signer.dn, "ca": self.signer.ca}

    def image(self, identifier: str | None = None, *, title: str = "worker", octets: bytes = b"") -> dict[str, t.Any]:
        """The options of an image whose file is made now."""
        path = self.web.directory / f"{secrets.token_hex(8)}.img"
        path.write_bytes(octets or secrets.token_bytes(5000))
        uri = f"{self.web.nginx.uri}/{self.name}-{{identifier}}-{{version}}.img"
        return {"identifier": identifier or str(uuid.uuid4()), "path": str(path), "uri": uri, "title": title}

    def publish(self, *images: t.Mapping[str, t.Any], **options: t.Any) -> Outcome:
        """Endorse exactly these images."""
        given: dict[str, t.Any] = {
            "identifier": self.list_id,
            "title": f"Images of {self.name}",
            "uri": self.uri,
            "images": list(images),
        }
        return self.web.publish(self.signer, **{**given, **options})

    def entry(self, *, pinned: bool = True, **more: t.Any) -> dict[str, t.Any]:
        """How the VO names this person."""
        address = {"uri": self.uri, **({"identifier": self.list_id} if pinned else {})}
        return {
            "identifier": self.name,
            "email": f"{self.name}@example.org",
            "pairs": [self.pair],
            "lists": [address],
            **more,
        }


@dataclass
class Vo:
    """A VO that publishes whom it has elected."""

    web: Web
    signer: t.Any = None
    list_id: str = VO_LIST
    name: str = "vo"

    def __post_init__(self) -> None:
        self.signer = self.signer or self.web.pki.issue(f"{self.name} Manager")

    @property
    def file(self) -> Path:
        """The published message."""
        return self.web.nginx.root / f"{self.name}-endorsers.list"

    @property
    def uri(self) -> str:
        return f"{self.web.nginx.uri}/{self.file.name}"

    def elect(self, *endorsers: t.Mapping[str, t.Any], **options: t.Any) -> Outcome:
        """Publish that these, and nobody else, endorse images for the VO."""
        given: dict[str, t.Any] = {
            "identifier": self.list_id,
            "vo": self.name,
            "uri": self.uri,
            "endorsers": list(endorsers),
        }
        return self.web.publish(self.signer, kind=ENDORSER_LIST, **{**given, **options})


@dataclass
class Site:
    """A site; its clock may be ahead."""

    web: Web
    state: Path
    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        return utc_now() + self.ahead

    @contextlib.contextmanager
    def open(self) -> t.Iterator[Catalogue]:
        with Catalogue.open(self.state, create=True, clock=self.now, actor="sam") as catalogue:
            yield catalogue

    def support(self, vo: Vo, **options: t.Any) -> Outcome:
        """Subscribe to a VO's list of endorsers."""
        given = {
            "kind": ENDORSER_LIST,
            "uri": vo.uri,
            "identifier": vo.list_id,
            "authorities": [{"dn": vo.signer.dn, "ca": vo.signer.ca}],
            **self.trust,
            **options,
        }
        with self.open() as catalogue:
            return subscribe_endorsers(catalogue, Subscription.from_options(given), refresh="always")

    def follow(self, vo: Vo, **options: t.Any) -> Outcome:
        """Support a VO, accept all of its endorsers, and cache what they endorse."""
        given = {"new_endorsers": "accept", "lists": "subscribe", "subscription": {"new_images": "cache"}}
        return self.support(vo, **{**given, **options})

    def leave(self, vo: Vo) -> Outcome:
        with self.open() as catalogue:
            return unsubscribe_endorsers(catalogue, identifier=vo.list_id)

    def subscribe(self, endorser: Endorser, **options: t.Any) -> Outcome:
        """Subscribe to one endorser's list."""
        given = {"uri": endorser.uri, "identifier": endorser.list_id, "endorsers": [endorser.pair], **self.trust}
        with self.open() as catalogue:
            return subscribe(catalogue, Subscription.from_options({**given, **options}), refresh="always")

    @property
    def trust(self) -> dict[str, t.Any]:
        return {
            "anchors": str(self.web.pki.certificates),
            "ca_path": str(self.web.pki.tls / "ca.pem"),
            "allow_private": True,
        }

    def register(self, *items: t.Mapping[str, t.Any], **options: t.Any) -> Outcome:
        with self.open() as catalogue:
            return declare(catalogue, Declaration.from_options({"endorsers": items, **options}))

    def refresh(self) -> Outcome:
        with self.open() as catalogue:
            return refresh(catalogue)

    def decide(self, decision: str, *images: str, **options: t.Any) -> Outcome:
        with self.open() as catalogue:
            return decisions.decide(catalogue, decision=decision, images=images, **options)

    def sync(self) -> Outcome:
        with self.open() as catalogue:
            return sync.sync(catalogue)

    def update(self) -> None:
        """What the timer does: refresh, then sync; both must succeed."""
        assert self.refresh().data["failures"] == []
        assert self.sync().data["failures"] == []

    def verdict(self, image: str) -> t.Any:
        with self.open() as catalogue:
            return queries.judge(catalogue, image)["verdict"]

    def code(self, image: str) -> str:
        return str(self.verdict(image)["code"])

    def approved(self) -> list[str]:
        """The site's list of approved images: those that may run now, and are in the cache."""
        with self.open() as catalogue:
            found = [image["identifier"] for image in queries.images(catalogue, state="allowed")]
        return sorted(found)

    def cached(self) -> int:
        """How many image files are in the cache."""
        return sum(1 for path in (self.state / "cache" / "current").iterdir() if "catalogue.json" not in path.name)

    def listen(self) -> Path:
        """Install a handler that writes down each event that it is told on standard input; its log."""
        directory = self.state.parent / "handlers"
        directory.mkdir(mode=0o755)
        log, handler = directory.parent / "heard.jsonl", directory / "listener"
        handler.write_text(f"#!/bin/sh\ncat >>{log}\n")
        handler.chmod(0o755)
        self.state.mkdir(exist_ok=True)
        (self.state / "settings.json").write_text(json.dumps({"events": {"directory": str(directory)}}))
        return log

    def announce(self) -> Outcome:
        """Tell the handlers what they have not heard of yet."""
        with self.open() as catalogue:
            return dispatch(catalogue, settings.load(catalogue.state.path))

    def journal(self, event: str) -> list[dict[str, t.Any]]:
        """The data of all journal lines of one event."""
        lines = [json.loads(line) for line in (self.state / "journal.jsonl").read_text().splitlines()]
        return [line["data"] for line in lines if line["event"] == event]

    def rows(self) -> dict[str, list[tuple[t.Any, ...]]]:
        """The derived tables of the index, row for row."""
        with self.open() as catalogue:
            return {table: [tuple(row) for row in catalogue.rows(f"SELECT * FROM {table}")] for table in index.DERIVED}
