# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots as a site writes them, made by hand: one of a site with every kind of trouble, and its parts."""

from __future__ import annotations

import typing as t
from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import REMEDIES
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import to_text

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=timezone.utc)


class Snapshots:
    """Makes snapshot documents and their parts; every part may be given other values."""

    now = NOW
    good_list = "4e186b44-2c64-40ea-97d5-e9e5c0bce059"
    bad_list = "5e186b44-2c64-40ea-97d5-e9e5c0bce059"

    def list(self, **other: t.Any) -> dict[str, t.Any]:
        """A list without trouble."""
        return {
            "title": "Worker nodes",
            "uri": "https://example.org/list",
            "version": "7",
            "created": to_text(NOW - timedelta(days=8)),
            "expires": to_text(NOW + timedelta(days=20)),
            "refreshed": to_text(NOW - timedelta(hours=3, minutes=5)),
            "max_unrefreshed": 86400,
            "error": None,
            "rebaseline": None,
            "decisions": [],
            "path": {"code": None, "detail": "", "good_until": to_text(NOW + timedelta(days=5)), "crls": []},
            **other,
        }

    def image(self, number: int = 0, code: str = "allowed", text: str = "", **other: t.Any) -> dict[str, t.Any]:
        """An image of the good list with the verdict `code`."""
        allowed = code in ("allowed", "run_anyway")
        identifier = f"{number:08d}-9ab1-4fc8-a7ba-b7a5428ecb3d"
        path = f"/var/lib/hepix-vmimages/cache/current/{identifier}-1"
        cached = code not in ("not_cached", "not_approved", "withdrawn", "unsubscribed")
        return {
            "identifier": identifier,
            "list": self.good_list,
            "title": f"Worker {number}",
            "tag": f"Worker {number}",
            "version": "1",
            "endorsed": True,
            "dated": "2026-03-01T00:00:00Z",
            "sha512": "0" * 128,
            "stat": None,
            "verdict": {
                "allowed": allowed,
                "code": code,
                "reasons": [{"code": "approve" if allowed else code, "text": text or f"The sentence for {code}."}],
                "remedy": REMEDIES.get(code, ""),
                "path": path if cached else None,
                "good_until": to_text(NOW + timedelta(days=5)) if allowed else None,
            },
            **other,
        }

    def rule(self, **other: t.Any) -> dict[str, t.Any]:
        """A rule of the site."""
        return {
            "name": "end of life",
            "decision": "blacklist",
            "match": {"os": ["SL 5*", "CentOS 5*"], "size_min": 1024, "metadata": {"ad:group": "batch*"}},
            "except": ["00000001-9ab1-4fc8-a7ba-b7a5428ecb3d"],
            "reason": "No updates",
            "author": "sally",
            "until": to_text(NOW + timedelta(days=300)),
            **other,
        }

    def decision(self, **other: t.Any) -> dict[str, t.Any]:
        """A decision about the whole list."""
        about = {"decision": "blacklist", "target_type": "list", "target": self.good_list, "reason": "a hole."}
        return {**about, "author": "sam", "until": None, **other}

    def document(
        self, lists: t.Mapping[str, t.Any] | None = None, images: t.Iterable[t.Mapping[str, t.Any]] = (), **other: t.Any
    ) -> dict[str, t.Any]:
        """The summary of a snapshot, written now; without `lists` it has the one good list."""
        return {
            "format": 1,
            "written": to_text(NOW),
            "journal": {"sequence": 9, "size": 4711},
            "lists": {self.good_list: self.list()} if lists is None else lists,
            "images": {image["identifier"]: image for image in images},
            "others": {},
            "rules": [],
            **other,
        }

    def trouble(self) -> dict[str, t.Any]:
        """A good list, and one with every kind of trouble."""
        bad = self.list(
            title="Zoo",
            uri="http://example.org/zoo",
            version="3",
            expires=to_text(NOW - timedelta(days=1)),
            refreshed=to_text(NOW - timedelta(days=5, hours=3)),
            error={"code": "timeout", "detail": "The server did not answer in 30 seconds."},
            rebaseline={
                "digest": "0" * 128,
                "reason": "The endorser lost the history",
                "author": "sam",
                "at": "2026-03-09T12:00:00Z",
                "state": "pending",
            },
            path={"code": "crl_unavailable", "detail": "There is no CRL of /CN=Root.", "good_until": None, "crls": []},
        )
        images = [
            self.image(1),
            self.image(2, "not_approved"),
            self.image(3, "not_cached"),
            self.image(4, "file_changed", list=self.bad_list),
            self.image(5, "withdrawn", list=self.bad_list),
            self.image(6, "unsubscribed", list="6e186b44-2c64-40ea-97d5-e9e5c0bce059"),
            self.image(7, "run_anyway", title="", tag="pilot"),
        ]
        glob = f"/DC=org/DC=example-grid/OU=users/CN=Somebody With A Long Name {'and more ' * 9}issued by *"
        rules = [self.rule(), self.rule(name="old", match={"endorser": glob}, until="2026-01-01T00:00:00Z")]
        return self.document({self.bad_list: bad, self.good_list: self.list()}, images, rules=rules)


@pytest.fixture
def snapshots() -> Snapshots:
    return Snapshots()
