# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The relay: a site's own list reaches its nodes with the same code, and says at once what the site has decided."""

from __future__ import annotations

import hashlib
import json
import typing as t
from pathlib import Path

import pytest

LIST = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"
IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
OTHER_IMAGE = "e0f7a6f0-62c8-4b6e-8f56-7f2d6f0f7d11"
RELAY = "0f0a4b3c-0a3c-4d8e-9a53-51d5e0b6c1f4"
OCTETS = b"relayed" * 512
METADATA = {
    "ad:mpuri": "https://appdb.example.org/store/vm/image/1",
    "sl:checksum:sha256": hashlib.sha256(OCTETS).hexdigest(),
}


class Site:
    """A bench whose site relays, signed with a certificate of its own, and serves its cache over https."""

    def __init__(self, bench: t.Any) -> None:
        self.bench = bench
        self.signer = bench.pki.issue("Image relay of the example site")
        self.node = bench.work / "node"
        bench.publish(bench.image(octets=OCTETS, metadata=METADATA), bench.image(OTHER_IMAGE, b"another"))
        bench.subscribe(new_images="cache")
        assert not bench.cache().failed
        (bench.www / "cache").symlink_to(bench.state_dir / "cache" / "current")

    @property
    def message(self) -> Path:
        return t.cast("Path", self.bench.www / "site.list")

    def options(self, **more: t.Any) -> dict[str, t.Any]:
        server = self.bench.server
        return {
            "identifier": RELAY,
            "title": "Images of the example site",
            "source": "example.org",
            "uri": f"{server}/site.list",
            "base_uri": f"{server}/cache",
            "certificate": str(self.signer.certificate_path),
            "private_key": str(self.signer.key_path),
            "history_dir": str(self.bench.work / "relayed"),
            "uploads": [{"uri_match": f"{server}/", "uri_replace": f"{self.bench.www}/"}],
            "state_dir": str(self.bench.state_dir),
            **self.bench.trust,
            **more,
        }

    def relay(self, *, check: bool = False, **more: t.Any) -> t.Any:
        return self.bench.done("imagelist_relay", self.options(**more), check=check)

    def refuse(self, **more: t.Any) -> str:
        result = self.bench.run("imagelist_relay", self.options(**more))
        assert result.failed and result["changed"] is False
        return t.cast("str", result["code"])

    def subscribe_node(self) -> None:
        """A worker node: another state directory, the same modules, fetching from the site's cache only."""
        wanted = self.bench.subscription(
            uri=f"{self.bench.server}/site.list",
            identifier=RELAY,
            endorsers=[{"dn": self.signer.dn, "ca": self.signer.ca}],
            new_images="cache",
            state_dir=str(self.node),
        )
        self.bench.done("imagelist_subscribe", wanted)

    def refresh_node(self) -> t.Any:
        return self.bench.done("image_cache", {"state_dir": str(self.node), "refresh": True})

    def verdict_at_node(self, image: str = IMAGE) -> t.Any:
        (answer,) = self.bench.done("image_info", {"state_dir": str(self.node), "images": [image]})["images"]
        return answer["verdict"]

    def everything(self) -> dict[str, bytes]:
        """All that a run may write to; what was read of files and the index are derived."""
        return {
            str(path.relative_to(self.bench.work)): path.read_bytes()
            for path in sorted(self.bench.work.rglob("*"))
            if path.is_file() and not path.name.startswith(("catalogue.sqlite", "files.json"))
        }


@pytest.fixture
def site(bench: t.Any) -> Site:
    """Two images, endorsed, approved and cached."""
    return Site(bench)


def test_a_node_runs_what_the_site_relays_and_no_longer_what_the_site_has_blacklisted(site: Site) -> None:
    site.relay()
    for path in site.bench.www.glob("*.img"):
        path.unlink()  # the node does without the endorser
    site.subscribe_node()
    assert {item["image"] for item in site.refresh_node()["downloaded"]} == {IMAGE, OTHER_IMAGE}
    assert site.verdict_at_node()["code"] == "allowed"
    assert Path(site.verdict_at_node()["path"]).read_bytes() == OCTETS

    site.bench.decide("blacklist", reason="It broke the batch system")
    assert [item["code"] for item in site.relay()["left_out"]] == ["blacklisted"]
    site.refresh_node()
    assert site.verdict_at_node()["code"] == "withdrawn"
    assert site.verdict_at_node(OTHER_IMAGE)["code"] == "allowed"

    site.bench.decide("clear")
    site.relay()
    site.refresh_node()
    assert site.verdict_at_node()["code"] == "allowed"


def test_what_the_endorser_withdraws_leaves_the_sites_list(site: Site) -> None:
    site.relay()
    site.bench.publish(site.bench.image(OTHER_IMAGE, b"another"))
    assert not site.bench.cache(refresh=True).failed
    relayed = site.relay()
    assert [item["identifier"] for item in relayed["images"]] == [OTHER_IMAGE]
    assert relayed["list"]["version"] == "2"


def test_a_revoked_endorser_leaves_an_empty_list(site: Site) -> None:
    site.relay()
    site.bench.pki.revoke(site.bench.pki.endorser.certificate)
    relayed = site.relay()
    assert relayed["images"] == []
    assert {item["code"] for item in relayed["left_out"]} == {"revoked"}


def test_the_list_names_the_files_of_the_cache(site: Site) -> None:
    relayed = site.relay()
    names = {path.name for path in (site.bench.state_dir / "cache" / "current").iterdir()} - {"catalogue.json"}
    assert {item["uri"] for item in relayed["images"]} == {f"{site.bench.server}/cache/{name}" for name in names}
    assert [item["identifier"] for item in relayed["images"]] == sorted([IMAGE, OTHER_IMAGE])
    assert [(item["identifier"], item["list"]) for item in relayed["relayed"]] == [(IMAGE, LIST), (OTHER_IMAGE, LIST)]


def test_the_endorsers_words_about_an_image_are_kept(site: Site) -> None:
    site.relay()
    endorsed, relayed = (
        site.bench.done("imagelist_info", {"src": str(path), **site.bench.trust})["images"][0]["raw"]
        for path in (site.bench.message, site.message)
    )
    assert endorsed["ad:mpuri"] == METADATA["ad:mpuri"]
    own = {"hv:uri", "dc:date:expires"}
    assert {key: value for key, value in relayed.items() if key not in own} == {
        key: value for key, value in endorsed.items() if key not in own
    }
    assert relayed["dc:date:expires"] == site.bench.verdict()["good_until"]


def test_a_second_run_signs_nothing(site: Site) -> None:
    site.relay()
    before = site.everything()
    for check in (True, False):
        again = site.relay(check=check)
        assert again["changed"] is False and again["actions"] == []
        assert again["diff"]["before"] == again["diff"]["after"]
    assert site.everything() == before


def test_check_mode_writes_nothing_and_tells_the_same(site: Site) -> None:
    before = site.everything()
    planned = site.relay(check=True)
    assert planned["changed"] is True
    assert site.everything() == before
    done = site.relay()
    assert [action["action"] for action in planned["actions"]] == [action["action"] for action in done["actions"]]
    assert done["actions"][0]["action"] == "sign" and done["actions"][-1]["action"] == "upload"
    assert planned["images"] == done["images"] and planned["relayed"] == done["relayed"]


def test_the_difference_is_that_of_the_content(site: Site) -> None:
    site.relay()
    site.bench.decide("blacklist")
    diff = site.relay(check=True)["diff"]
    assert set(diff["before"]["images"]) - set(diff["after"]["images"]) == {IMAGE}
    assert "BEGIN" not in json.dumps(diff)


def test_an_image_version_that_goes_back_is_relayed_as_it_is(site: Site) -> None:
    publish, bench = "imagelist_publish", site.bench
    bench.publish(bench.image(version="7"))
    assert not bench.cache(refresh=True).failed
    assert [item["version"] for item in site.relay()["images"]] == ["7"]
    # The endorser begins anew, with a history that knows of no version, and the site follows.
    options = bench.publishing(bench.image(octets=b"anew"), version="100", history_dir=str(bench.work / "anew"))
    bench.message.unlink()
    bench.done(publish, options)
    assert not bench.cache(refresh=True).failed
    assert [item["version"] for item in site.relay()["images"]] == ["1"]


def test_a_restricted_relay(site: Site) -> None:
    assert [item["identifier"] for item in site.relay(images=["worker"])["images"]] == [IMAGE]
    assert len(site.relay(lists=[LIST])["images"]) == 2
    assert site.refuse(lists=[RELAY]) == "unknown_list"


@pytest.mark.parametrize("base", ["ftp//nothing", "https://cache.example.org/?file=", "https://u:secret@example.org/"])
def test_an_address_that_no_list_may_hold_is_refused(site: Site, base: str) -> None:
    before = site.everything()
    result = site.bench.run("imagelist_relay", site.options(base_uri=base))
    assert result["code"] == "publish_invalid" and result["msg"].startswith("base_uri: ")
    assert "secret" not in result["msg"]
    assert site.everything() == before


def test_a_site_without_state_relays_nothing(site: Site) -> None:
    assert site.refuse(state_dir=str(site.bench.work / "nothing")) == "state_missing"
    assert not site.message.exists()


def test_the_list_is_renewed_in_time(site: Site) -> None:
    site.relay(lifetime="2d", renew_before="1h")
    assert site.relay(lifetime="2d", renew_before="1h")["changed"] is False
    renewed = site.relay(lifetime="90d", renew_before="3d")
    assert [action.get("reason") for action in renewed["actions"]] == ["expiry", None]
