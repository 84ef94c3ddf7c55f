# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the endorsement policy asks of an endorser, and what some readers ask of a list."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import importlib
import json
import lzma
import typing as t
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser import published
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.declared.images import ImageSpec
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.delivery.packing import Packing
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.entries.profile import apply
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.files import FileBook
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.history import History
from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import PublishError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.checksum import Digest

ONE, TWO = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1", "3b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
DAY = timedelta(days=1)


def history(bench: t.Any) -> History:
    return History(bench.history, bench.options["identifier"])


def digest(path: Path) -> str:
    return hashlib.sha512(path.read_bytes()).hexdigest()


# Removing


def test_an_image_is_removed_without_naming_the_others_and_the_reason_is_kept(bench: t.Any) -> None:
    bench.run()
    gone = {"identifier": ONE, "state": "absent", "removal_reason": "The kernel has a hole"}
    bench.run(images=[gone], purge_images=False, later=DAY)
    assert [image.identifier for image in bench.published(DAY).images] == [TWO]
    assert history(bench).read().entries[-1].removed == {ONE: "The kernel has a hole"}
    assert b"hole" not in bench.list_file.read_bytes()
    again = bench.run(images=[gone], purge_images=False, later=DAY)
    assert again.changed is False


def test_an_image_that_is_left_out_is_removed_without_a_reason(bench: t.Any) -> None:
    bench.run()
    bench.run(images=[bench.image(TWO)], later=DAY)
    assert history(bench).read().entries[-1].removed == {ONE: ""}


def test_a_reason_to_remove_what_stays_is_refused(bench: t.Any) -> None:
    with pytest.raises(PublishError) as caught:
        bench.run(images=[bench.image(ONE, removal_reason="x")])
    assert caught.value.context["option"] == "images[0].removal_reason"


# Evidence


def report(bench: t.Any, identifier: str, **changes: t.Any) -> str:
    document = {"image": {"sha512": digest(bench.source(identifier))}, "result": "pass", **changes}
    return write(bench, f"{identifier[0]}-report.json", document)


def manifest(bench: t.Any, identifier: str, **changes: t.Any) -> str:
    document = {"spdxVersion": "SPDX-2.3", "packages": [{"name": "bash"}], **changes}
    return write(bench, f"{identifier[0]}-manifest.json", document)


def write(bench: t.Any, name: str, document: t.Any) -> str:
    path = bench.build / name
    path.write_text(json.dumps(document))
    return str(path)


def shown(bench: t.Any, identifier: str, **changes: t.Any) -> dict[str, t.Any]:
    evidence = {"audit_report": report(bench, identifier), "package_manifest": manifest(bench, identifier)}
    return t.cast("dict[str, t.Any]", bench.image(identifier, **{**evidence, **changes}))


def test_what_is_shown_is_kept_and_need_not_be_shown_again(bench: t.Any) -> None:
    images = [shown(bench, ONE), shown(bench, TWO)]
    foretold = bench.run(images=images, require_evidence=True, check=True)
    first = bench.run(images=images, require_evidence=True)
    assert first.actions == foretold.actions
    assert [action["what"] for action in first.actions if action["action"] == "record"] == [
        "audit_report",
        "package_manifest",
    ] * 2
    kept = history(bench).read().evidence[digest(bench.source(ONE))]
    for kind in ("audit_report", "package_manifest"):
        stored = history(bench).directory / "evidence" / f"{kept[kind]}.json"
        assert stored.read_bytes() == Path(images[0][kind]).read_bytes()
    assert bench.run(require_evidence=True, later=DAY).changed is False


def test_a_new_version_needs_new_evidence_and_the_old_is_kept(bench: t.Any) -> None:
    bench.run(images=[shown(bench, ONE)], require_evidence=True)
    before = digest(bench.source(ONE))
    bench.source(ONE).write_bytes(b"new octets")
    with pytest.raises(PublishError) as caught:
        bench.run(images=[bench.image(ONE)], require_evidence=True, later=DAY)
    assert (caught.value.code, caught.value.context["option"]) == ("evidence_missing", "images[0].audit_report")
    assert bench.published(DAY).images[0].sha512 == before
    bench.run(images=[shown(bench, ONE)], require_evidence=True, later=DAY)
    assert set(history(bench).read().evidence) == {before, digest(bench.source(ONE))}


def test_evidence_that_comes_later_is_recorded_without_a_new_list(bench: t.Any) -> None:
    bench.run(images=[bench.image(ONE)])
    message = bench.list_file.read_bytes()
    outcome = bench.run(images=[shown(bench, ONE)], later=DAY)
    assert [action["action"] for action in outcome.actions] == ["record", "record"]
    assert bench.list_file.read_bytes() == message
    assert bench.run(images=[shown(bench, ONE)], later=DAY).changed is False


def test_evidence_that_was_lost_is_asked_for_again_and_kept_again(bench: t.Any) -> None:
    images = [shown(bench, ONE)]
    bench.run(images=images, require_evidence=True)
    (kept,) = (history(bench).directory / "evidence").glob(f"{digest(Path(images[0]['audit_report']))}.json")
    octets = kept.read_bytes()
    kept.unlink()
    with pytest.raises(PublishError) as caught:
        bench.run(images=[bench.image(ONE)], require_evidence=True, later=DAY)
    assert caught.value.code == "evidence_missing"
    again = bench.run(images=images, require_evidence=True, later=DAY)
    assert [action["what"] for action in again.actions] == ["audit_report"]
    assert kept.read_bytes() == octets


@pytest.mark.parametrize("damage", [None, b"{}"])
def test_the_history_says_which_evidence_is_no_longer_what_was_kept(bench: t.Any, damage: bytes | None) -> None:
    images = [shown(bench, ONE)]
    bench.run(images=images)
    told = published.history(bench.history, bench.options["identifier"])
    assert told["problems"] == []
    path = Path(told["evidence"][0]["path"])
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    (problem,) = published.history(bench.history, bench.options["identifier"])["problems"]
    assert (problem["code"], str(path) in problem["detail"]) == ("history_unreadable", True)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"result": "fail"}, "audit_failed"),
        ({"result": "unknown"}, "audit_failed"),
        ({"image": {"sha512": "0" * 128}}, "evidence_invalid"),
        ({"image": {}}, "evidence_invalid"),
        ({"result": None}, "evidence_invalid"),
    ],
)
def test_a_report_that_shows_nothing_is_refused(bench: t.Any, changes: dict[str, t.Any], code: str) -> None:
    """Whether it is required or not: the endorser has named it."""
    with pytest.raises(PublishError) as caught:
        bench.run(images=[bench.image(ONE, audit_report=report(bench, ONE, **changes))])
    assert caught.value.code == code
    assert not bench.list_file.exists()


@pytest.mark.parametrize("changes", [{"packages": []}, {"spdxVersion": "CycloneDX"}, {"packages": "all"}])
def test_a_manifest_that_lists_nothing_is_refused(bench: t.Any, changes: dict[str, t.Any]) -> None:
    with pytest.raises(PublishError) as caught:
        bench.run(images=[bench.image(ONE, package_manifest=manifest(bench, ONE, **changes))])
    assert caught.value.code == "evidence_invalid"


# Compression


UNPACK: dict[str, t.Callable[[bytes], bytes]] = {
    "gz": gzip.decompress,
    "bz2": bz2.decompress,
    "xz": lzma.decompress,
    "zst": lambda octets: t.cast(bytes, importlib.import_module("backports.zstd").decompress(octets)),
}


@pytest.mark.parametrize("suffix", UNPACK)
def test_an_image_is_compressed_on_its_way(bench: t.Any, suffix: str) -> None:
    image = bench.image(ONE, format=f"raw.{suffix}")
    foretold = bench.run(images=[image], check=True)
    assert not bench.history.exists()
    first = bench.run(images=[image])
    assert first.actions == foretold.actions
    found = bench.published().images[0]
    assert found.size < bench.source(ONE).stat().st_size
    octets = (bench.web / found.uri[len("https://images.example.org/") :]).read_bytes()
    assert UNPACK[suffix](octets) == bench.source(ONE).read_bytes()
    again = bench.run(images=[image], later=DAY)
    assert (again.changed, again.data["octets_read"]) == (False, 0)


def test_what_is_compressed_already_goes_as_it_is(bench: t.Any) -> None:
    packed = gzip.compress(b"image " * 1000)
    bench.source(ONE).write_bytes(packed)
    bench.run(images=[bench.image(ONE, format="raw.gz")])
    assert bench.published().images[0].sha512 == hashlib.sha512(packed).hexdigest()


def test_packed_files_go_when_they_are_published_no_more(bench: t.Any) -> None:
    image = bench.image(ONE, format="raw.gz")
    bench.run(images=[image])
    packed = history(bench).packed
    (old,) = packed.glob("*.gz")
    bench.source(ONE).write_bytes(b"new octets " * 1000)
    bench.run(images=[image], later=DAY)
    (new,) = packed.glob("*.gz")
    assert new != old
    assert bench.published(DAY).images[0].version == "2"


@pytest.mark.parametrize("check", [True, False])
def test_a_file_that_changes_before_it_is_compressed_is_not_published_under_its_old_name(
    bench: t.Any, check: bool
) -> None:
    """What is known of it, such as its audit, is known of other octets."""
    book = FileBook(bench.directory / "files.json")
    book.remember(bench.source(ONE), Digest(bench.source(ONE).stat().st_size, "0" * 128))
    image = ImageSpec("images[0]", ONE, path=bench.source(ONE), keys={"hv:format": "raw.gz"})
    packing = Packing(bench.directory / "packed", book, check=check)
    with pytest.raises(PublishError) as caught:
        packing.prepare([image])
    assert caught.value.code == "not_readable"
    assert not list(bench.directory.glob("packed/*"))


def test_what_a_kill_left_in_the_history_goes(bench: t.Any) -> None:
    """A part of a compressed image may be as large as the image."""
    bench.run(images=[shown(bench, ONE, format="raw.gz")])
    left = [history(bench).directory / place / ".x.0123456789abcdef.part" for place in ("packed", "evidence", "")]
    for part in left:
        part.write_bytes(b"half of it")
    bench.run(images=[shown(bench, ONE, format="raw.gz")])
    assert not [part for part in left if part.exists()]


def test_a_report_about_the_file_before_its_compression_counts(bench: t.Any) -> None:
    bench.run(images=[shown(bench, ONE, format="raw.xz")], require_evidence=True)
    assert bench.published().images[0].format == "raw.xz"


# Readers of the AppDB

#: What cloudkeeper 2.0 and atrope read from a list without asking whether it is there.
LIST_KEYS = {
    *("dc:date:created", "dc:date:expires", "dc:identifier", "dc:description", "dc:title", "dc:source"),
    *("hv:endorser", "hv:images", "hv:version", "hv:uri", "ad:vo"),
}
IMAGE_KEYS = {
    *("ad:group", "ad:mpuri", "ad:base_mpuri", "ad:appid", "ad:user:fullname", "ad:user:guid", "ad:user:uri"),
    *("dc:description", "dc:identifier", "dc:title", "dc:date:expires"),
    *("hv:hypervisor", "hv:format", "hv:size", "hv:uri", "hv:version", "hv:ram_minimum", "hv:core_minimum"),
    *("sl:arch", "sl:checksum:sha512", "sl:comments", "sl:os", "sl:osname", "sl:osversion"),
}


def appdb(bench: t.Any, **changes: t.Any) -> dict[str, t.Any]:
    image = bench.image(ONE, osversion="9", expires="2030-01-01T00:00:00Z", **changes)
    return {"images": [image], "profile": "appdb", "metadata": {"ad:vo": "example"}}


def test_the_profile_writes_what_the_appdbs_readers_demand(bench: t.Any) -> None:
    bench.run(**appdb(bench))
    found = bench.published()
    assert set(found.raw) >= LIST_KEYS
    assert set(found.images[0].raw) >= IMAGE_KEYS
    assert all(value not in (None, "") for key, value in found.images[0].raw.items() if key.startswith("ad:"))
    assert bench.run(**appdb(bench), later=DAY).changed is False


def test_the_address_of_a_version_follows_the_version_unless_it_is_the_endorsers(bench: t.Any) -> None:
    def mpuri(later: timedelta) -> str:
        return str(bench.published(later).images[0].raw["ad:mpuri"])

    bench.run(**appdb(bench))
    first = mpuri(timedelta())
    bench.source(ONE).write_bytes(b"new octets")
    bench.run(**appdb(bench), purge_images=False, later=DAY)
    assert (first[-3:], mpuri(DAY)[-3:]) == (":1/", ":2/")
    own = {"ad:mpuri": "https://appdb.example.org/7/", "ad:base_mpuri": "https://appdb.example.org/"}
    bench.run(**appdb(bench, metadata=own), later=2 * DAY)
    assert mpuri(2 * DAY) == "https://appdb.example.org/7/"


@pytest.mark.parametrize("missing", ["expires", "format", "osversion"])
def test_the_profile_asks_for_what_only_people_know(bench: t.Any, missing: str) -> None:
    options = appdb(bench)
    options["images"][0][missing] = None
    with pytest.raises(PublishError) as caught:
        bench.run(**options)
    assert caught.value.context["option"] == f"images.{missing}"
    with pytest.raises(PublishError) as caught:
        bench.run(**{**appdb(bench), "metadata": {}})
    assert caught.value.context["option"] == "metadata.ad:vo"


def test_the_profile_asks_for_the_version_of_an_image_that_came_without(bench: t.Any) -> None:
    """As in a list that was taken over, whose images are merged as they are."""
    image = {"hv:format": "raw", "sl:osversion": "9", "dc:date:expires": "2030-01-01T00:00:00Z", "dc:identifier": ONE}
    with pytest.raises(PublishError) as caught:
        apply("appdb", {"ad:vo": "example", "hv:images": [{"hv:image": image}]})
    assert caught.value.context["option"] == "images.version"


# Certificates


def test_a_certificate_near_its_end_is_warned_of_with_its_date(bench: t.Any) -> None:
    issued = bench.pki.issue("Erin Endorser", days=20, directory="short")
    bench.options.update(certificate=str(issued.certificate_path), private_key=str(issued.key_path))
    outcome = bench.run(lifetime="7d")
    (warning,) = outcome.warnings
    assert f"{issued.certificate.not_valid_after_utc:%Y-%m-%d}" in warning


def test_a_certificate_that_ends_before_its_list_is_warned_of(bench: t.Any) -> None:
    """On every run: there is nothing to sign, and still something to do."""
    issued = bench.pki.issue("Erin Endorser", days=20, directory="short")
    bench.options.update(certificate=str(issued.certificate_path), private_key=str(issued.key_path))
    for later in (timedelta(), DAY):
        (warning,) = bench.run(lifetime="28d", later=later).warnings
        assert f"{issued.certificate.not_valid_after_utc:%Y-%m-%d}" in warning
        assert "before the list expires" in warning
