# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache under bad conditions: tampering, crashes, other writers, several lists, odd things where files belong."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import subprocess
import threading
import time
import typing as t
import uuid
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache import moves, verdicts
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache import sync as cache
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache.work import Limits
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import snapshot
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists import subscribe
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory, locked
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer import atomic

from .conftest import IMAGE, IMAGE_2, LIST, OTHER_LIST, World

WRONG = b"these are not the endorsed octets"


def _cached(world: World, **options: t.Any) -> dict[str, t.Any]:
    """Publish, subscribe, approve and cache one image; the image."""
    image: dict[str, t.Any] = world.image()
    world.publish("1", [image], **options)
    world.subscribe()
    world.decide("approve", IMAGE)
    world.sync()
    return image


def _name(image: t.Mapping[str, t.Any]) -> str:
    return f"{image['dc:identifier']}_{image['hv:version']}_{image['sl:checksum:sha512'][:16]}"


def _place(world: World, place: str) -> Path:
    return world.state / "cache" / place


def _names(world: World, place: str) -> list[str]:
    return sorted(path.name for path in _place(world, place).iterdir() if "catalogue.json" not in path.name)


def _done(outcome: t.Any) -> list[str]:
    return [action["action"] for action in outcome.actions]


def _told(outcome: t.Any) -> tuple[t.Any, ...]:
    """What check mode and the run must have in common."""
    actions = [(action["action"], action["name"], action["image"]) for action in outcome.actions]
    return outcome.changed, outcome.before, outcome.after, actions, outcome.warnings


def _same_in_check_mode(world: World, **options: t.Any) -> t.Any:
    """The outcome of a run, which check mode foretold."""
    planned = _told(world.sync(check=True, **options))
    outcome = world.sync(**options)
    assert planned == _told(outcome)
    return outcome


def _is_behind(world: World) -> bool:
    """Whether the journal has gone on since the snapshot was written."""
    document = json.loads((world.state / "verdicts.json").read_text())
    return bool(document["journal"]["size"] != (world.state / "journal.jsonl").stat().st_size)


@contextlib.contextmanager
def _mounted(path: Path, *arguments: str) -> t.Iterator[None]:
    """A file system of its own at `path`."""
    subprocess.run(["mount", *arguments, str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


# Wrong octets are never allowed, whichever way they go


def test_a_tampered_file_is_not_trusted_after_a_blacklist_and_a_new_approval(world: World) -> None:
    image = _cached(world)
    (_place(world, "current") / _name(image)).write_bytes(WRONG)
    world.decide("blacklist", IMAGE)
    world.sync()
    world.decide("approve", IMAGE)
    outcome = world.sync()
    assert _done(outcome) == ["read", "download"]
    assert world.files("current") == [world.octets[image["sl:checksum:sha512"]]]
    assert world.verdict()["allowed"]


def test_a_file_that_was_tampered_with_in_place_and_size_is_not_trusted(world: World) -> None:
    image = _cached(world)
    path = _place(world, "current") / _name(image)
    known = path.stat()
    path.write_bytes(b"x" * known.st_size)
    os.utime(path, ns=(known.st_atime_ns, known.st_mtime_ns))
    world.decide("blacklist", IMAGE)
    world.sync()
    world.decide("approve", IMAGE)
    assert _done(world.sync()) == ["read", "download"]


def test_a_file_that_was_tampered_with_while_it_was_expired_is_not_trusted(world: World) -> None:
    image = _cached(world)
    world.decide("blacklist", IMAGE)
    world.sync()
    (_place(world, "expired") / _name(image)).write_bytes(WRONG)
    world.decide("approve", IMAGE)
    assert _done(world.sync()) == ["read", "download"]
    assert world.files("current") == [world.octets[image["sl:checksum:sha512"]]]


def test_a_file_that_was_truncated_while_its_list_had_expired_is_not_trusted(world: World) -> None:
    image = _cached(world, days=1)
    world.now += timedelta(days=2)
    (_place(world, "current") / _name(image)).write_bytes(b"short")
    world.sync()
    world.publish("2", [image])
    world.refresh()
    assert _done(world.sync()) == ["read", "download"]
    assert world.files("current") == [world.octets[image["sl:checksum:sha512"]]]


def test_a_file_that_was_planted_before_the_approval_is_not_trusted(world: World) -> None:
    image = world.image()
    world.publish("1", [image])
    world.subscribe()
    (_place(world, "current") / _name(image)).write_bytes(WRONG)
    world.sync()
    world.decide("approve", IMAGE)
    assert world.verdict()["code"] == "not_cached"
    world.sync()
    assert world.files("current") == [world.octets[image["sl:checksum:sha512"]]]


def test_a_move_that_a_crash_left_without_its_line_proves_nothing(world: World) -> None:
    image = _cached(world)
    world.decide("blacklist", IMAGE)
    current = _place(world, "current") / _name(image)
    current.rename(_place(world, "expired") / current.name)
    assert [item["code"] for item in world.sync().data["moved"]] == ["blacklisted"]
    world.decide("approve", IMAGE)
    outcome = world.sync()
    assert _done(outcome) == ["read"]
    assert [item["name"] for item in outcome.data["restored"]] == [_name(image)]
    assert world.verdict()["allowed"]


def test_octets_that_slip_in_during_the_rename_prove_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _cached(world)
    rename = atomic.replace

    def tampered(source: Path, target: Path) -> None:
        source.write_bytes(WRONG)
        rename(source, target)

    world.decide("blacklist", IMAGE)
    with monkeypatch.context() as patch:
        patch.setattr(moves, "replace", tampered)
        world.sync()
    world.decide("approve", IMAGE)
    assert _done(world.sync()) == ["read", "download"]


def test_octets_that_slip_in_while_a_file_comes_back_are_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    image = _cached(world)
    rename = atomic.replace

    def tampered(source: Path, target: Path) -> None:
        if source.parent.name == "expired" and source.name == _name(image):
            source.write_bytes(WRONG)
        rename(source, target)

    world.decide("blacklist", IMAGE)
    world.sync()
    world.decide("approve", IMAGE)
    monkeypatch.setattr(moves, "replace", tampered)
    world.sync()
    assert world.files("current") == [world.octets[image["sl:checksum:sha512"]]]
    assert world.verdict()["allowed"]


def test_octets_that_slip_in_after_the_download_are_not_admitted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    rename = atomic.replace

    def tampered(source: Path, target: Path) -> None:
        source.write_bytes(WRONG)
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(moves, "replace", tampered)
        outcome = world.sync()
    assert [failure["code"] for failure in outcome.data["failures"]] == ["file_changed"]
    assert not world.verdict()["allowed"]
    world.sync()
    assert world.verdict()["allowed"]


def test_a_record_of_other_octets_proves_nothing(world: World) -> None:
    """Two images whose digests begin alike have one file name."""
    first = world.image()
    digest = first["sl:checksum:sha512"][:16] + hashlib.sha512(b"other").hexdigest()[16:]
    world.publish("1", [first])
    world.subscribe(new_images="cache")
    world.sync()
    world.publish("2", [{**first, "sl:checksum:sha512": digest}])
    world.refresh()
    outcome = world.sync()
    assert [failure["code"] for failure in outcome.data["failures"]] == ["checksum_mismatch"]
    assert world.files("current") == []


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_an_admitted_image_may_be_read_by_everyone(world: World, umask: int) -> None:
    former = os.umask(umask)
    try:
        image = _cached(world)
        path = _place(world, "current") / _name(image)
        assert path.stat().st_mode & 0o777 == 0o644
        path.chmod(0o600)
        world.sync()
        assert path.stat().st_mode & 0o777 == 0o644
        assert not world.sync(check=True).actions
    finally:
        os.umask(former)


# The snapshot is not behind for long


def test_the_moves_are_in_the_snapshot_before_the_downloads_begin(world: World) -> None:
    _cached(world)
    world.publish("2", [world.image(IMAGE_2)])
    world.refresh()
    world.decide("approve", IMAGE_2)
    seen: list[bool] = []

    def look(_name: str, _done: int, _total: int) -> None:
        seen.append(_is_behind(world))

    assert [item["image"] for item in world.sync(progress=look).data["moved"]] == [IMAGE]
    assert seen and not any(seen)


def test_a_sync_that_finds_another_one_downloading_has_moved_and_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = _cached(world)
    world.publish("2", [world.image(IMAGE_2)])
    world.refresh()
    world.decide("approve", IMAGE_2)
    waited: list[list[str]] = []

    @contextlib.contextmanager
    def impatient(path: Path, **_options: t.Any) -> t.Iterator[None]:
        waited.append(_names(world, "expired"))
        assert not _is_behind(world)
        with locked(path, patience=0.1):
            yield

    monkeypatch.setattr(cache, "locked", impatient)
    with locked(world.state / "cache" / "lock"), pytest.raises(VmimagesError) as found:
        world.sync()
    assert found.value.code == "state_busy"
    assert waited == [[_name(image)]]
    assert not _is_behind(world)


def test_an_idle_sync_does_not_wait_for_a_download(world: World) -> None:
    _cached(world)
    partial = _place(world, "downloading") / "somebodys-download"
    partial.write_bytes(b"half")
    started = time.monotonic()
    with locked(world.state / "cache" / "lock"):
        assert not world.sync().changed
    assert time.monotonic() - started < 5
    assert partial.read_bytes() == b"half"
    world.sync()
    assert _names(world, "downloading") == []


def test_the_snapshot_follows_while_a_long_download_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2)])
    world.subscribe(new_images="cache")
    monkeypatch.setattr(verdicts, "INTERVAL", 0.2)
    first: list[str] = []
    allowed: list[bool] = []

    def progress(name: str, _done: int, _total: int) -> None:
        """The second image waits until the snapshot allows the first, or five seconds."""
        if not first:
            first.append(name)
        if name != first[0] and not allowed:
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline and not allowed:
                (image,) = snapshot.load(StateDirectory.at(world.state)).find("identifier", first[0][:36])
                allowed.extend([True] if image["verdict"]["allowed"] else [])
                time.sleep(0.05)

    world.sync(limits=Limits(parallel=1), progress=progress)
    assert allowed == [True]


def test_an_interrupted_run_leaves_a_snapshot_that_is_not_behind(world: World) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2)])
    world.subscribe(new_images="cache")

    def interrupt(name: str, _done: int, _total: int) -> None:
        if len(_names(world, "current")) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.sync(limits=Limits(parallel=1), progress=interrupt)
    assert not _is_behind(world)
    images = snapshot.load(StateDirectory.at(world.state)).images()
    assert sum(image["verdict"]["allowed"] for image in images) == 1


def test_a_run_that_waited_does_not_download_what_the_other_one_did(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    held, outcomes = threading.Event(), []

    def hold(_name: str, _done: int, _total: int) -> None:
        if not held.is_set():
            held.set()
            time.sleep(0.5)

    first = threading.Thread(target=lambda: outcomes.append(world.sync(progress=hold)))
    first.start()
    assert held.wait(10)
    assert _done(world.sync()) == []
    first.join()
    assert _done(outcomes[0]) == ["download"]


# One file of several lists


def test_a_file_that_one_list_wants_is_not_taken_away_by_another(world: World) -> None:
    image = _cached(world)
    world.publish("1", [image], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST)
    for options in ({}, {"lists": [OTHER_LIST]}, {"images": [IMAGE]}):
        outcome = _same_in_check_mode(world, **options)
        assert (outcome.changed, _done(outcome)) == (False, [])
        assert world.verdict()["allowed"]


def test_a_file_that_another_list_still_endorses_outlives_its_first_list(world: World) -> None:
    image = _cached(world)
    with world.open() as catalogue:
        subscribe.unsubscribe(catalogue, identifier=LIST)
    world.publish("1", [image], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST, new_images="cache")
    for _turn in range(2):
        assert not world.sync().changed
        assert world.verdict()["allowed"]


def test_a_version_that_one_list_has_left_behind_stays_for_the_list_that_has_not(world: World) -> None:
    image = _cached(world)
    world.publish("1", [image], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST)
    world.publish("2", [world.image(version="2")], identifier=OTHER_LIST)
    world.refresh()
    assert not world.sync(lists=[OTHER_LIST]).changed
    assert world.verdict()["allowed"]


def test_a_list_that_names_the_image_of_another_does_not_fetch_it_for_that_list(world: World) -> None:
    image = world.image()
    world.publish("1", [image])
    world.subscribe(new_images="cache")
    world.publish("1", [image], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST, new_images="cache")
    assert _done(_same_in_check_mode(world, lists=[OTHER_LIST])) == []
    assert _done(_same_in_check_mode(world, lists=[LIST])) == ["download"]


def test_a_file_that_no_list_wants_any_more_goes_and_comes_back_once(world: World) -> None:
    image = _cached(world)
    world.publish("1", [image], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST)
    world.decide("blacklist", IMAGE)
    outcome = _same_in_check_mode(world)
    assert [(item["action"], item["code"], item["list"]) for item in outcome.actions] == [
        ("expire", "blacklisted", LIST)
    ]
    world.decide("approve", IMAGE)
    assert _done(_same_in_check_mode(world)) == ["restore"]
    assert not world.sync().changed


# Check mode is the run


def test_check_mode_reads_what_is_not_proven(world: World) -> None:
    image = _cached(world)
    path = _place(world, "current") / _name(image)
    path.touch()
    assert _done(_same_in_check_mode(world)) == ["read"]
    path.write_bytes(WRONG)
    outcome = _same_in_check_mode(world)
    assert _done(outcome) == ["read", "download"]
    assert (outcome.before, outcome.after) == ({path.name: "damaged"}, {path.name: "current"})


def test_check_mode_reads_an_expired_file_that_is_not_proven(world: World) -> None:
    image = _cached(world)
    world.decide("blacklist", IMAGE)
    world.sync()
    (_place(world, "expired") / _name(image)).touch()
    world.decide("approve", IMAGE)
    outcome = _same_in_check_mode(world)
    assert (outcome.before, outcome.after) == ({_name(image): "expired"}, {_name(image): "current"})


def test_check_mode_plans_the_purge_of_what_will_have_moved(world: World) -> None:
    image = _cached(world)
    world.decide("blacklist", IMAGE)
    outcome = _same_in_check_mode(world, purge_expired=timedelta(0))
    assert _done(outcome) == ["expire", "purge"]
    assert (outcome.before, outcome.after) == ({_name(image): "current"}, {_name(image): "absent"})


def test_check_mode_does_not_purge_what_will_be_back(world: World) -> None:
    _cached(world)
    world.decide("blacklist", IMAGE)
    world.sync()
    world.now += timedelta(days=2)
    world.decide("approve", IMAGE)
    assert _done(_same_in_check_mode(world, purge_expired=timedelta(days=1))) == ["restore"]


def test_check_mode_tells_of_a_file_that_is_gone(world: World) -> None:
    image = _cached(world)
    (_place(world, "current") / _name(image)).unlink()
    world.decide("blacklist", IMAGE)
    outcome = _same_in_check_mode(world, purge_expired=timedelta(0))
    assert outcome.after == {_name(image): "absent"}


# The purge


def test_a_purge_keeps_to_the_images_and_lists_that_are_named(world: World) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2)])
    world.subscribe(new_images="cache")
    world.publish("1", [], identifier=OTHER_LIST)
    world.subscribe(OTHER_LIST)
    world.sync()
    world.decide("blacklist", IMAGE)
    world.decide("blacklist", IMAGE_2)
    world.sync()
    world.now += timedelta(days=2)
    grace = timedelta(days=1)
    assert not _same_in_check_mode(world, lists=[OTHER_LIST], purge_expired=grace).changed
    outcome = _same_in_check_mode(world, images=[IMAGE], purge_expired=grace)
    assert [(item["action"], item["image"]) for item in outcome.actions] == [("purge", IMAGE)]
    outcome = _same_in_check_mode(world, lists=[LIST], purge_expired=grace)
    assert [(item["action"], item["image"]) for item in outcome.actions] == [("purge", IMAGE_2)]


def test_evidence_that_a_crash_left_without_its_line_is_purged_in_time(world: World) -> None:
    image = _cached(world)
    current = _place(world, "current") / _name(image)
    current.rename(_place(world, "expired") / f"{current.name}.damaged")
    (_place(world, "expired") / "notes.damaged").write_text("somebody else's")
    world.sync()
    grace = timedelta(days=1)
    assert not world.sync(purge_expired=grace).changed
    world.now += timedelta(days=2)
    assert _done(_same_in_check_mode(world, purge_expired=grace)) == ["purge"]
    assert _names(world, "expired") == ["notes.damaged"]
    assert world.verdict()["allowed"]


# Odd things where files belong


def test_a_directory_among_the_downloads_is_left_alone_and_told(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    found = _place(world, "downloading") / "lost+found"
    found.mkdir()
    outcome = _same_in_check_mode(world)
    assert [warning for warning in outcome.warnings if str(found) in warning] == list(outcome.warnings) != []
    assert found.is_dir()
    assert world.verdict()["allowed"]
    journal = (world.state / "journal.jsonl").read_bytes()
    assert not world.sync().changed
    assert (world.state / "journal.jsonl").read_bytes() == journal


def _directory(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("mine")


@pytest.mark.parametrize("make", [_directory, lambda path: path.symlink_to("/etc/passwd"), os.mkfifo])
@pytest.mark.parametrize("place", ["current", "expired"])
def test_what_is_no_file_is_put_aside_and_purged(world: World, place: str, make: t.Callable[[Path], None]) -> None:
    image = world.image()
    world.publish("1", [image])
    world.subscribe(new_images="cache")
    make(_place(world, place) / _name(image))
    outcome = _same_in_check_mode(world)
    assert _done(outcome) == ["read", "download"]
    assert outcome.data["failures"] == []
    assert world.verdict()["allowed"]
    assert _names(world, "expired") == [f"{_name(image)}.damaged"]
    assert Path("/etc/passwd").is_file()
    world.now += timedelta(days=2)
    assert _done(_same_in_check_mode(world, purge_expired=timedelta(days=1))) == ["purge"]
    assert _names(world, "expired") == []


def test_a_directory_in_place_of_an_unwanted_image_is_put_aside(world: World) -> None:
    image = _cached(world)
    path = _place(world, "current") / _name(image)
    path.unlink()
    _directory(path)
    (_place(world, "expired") / f"{path.name}.damaged").write_bytes(WRONG)
    world.decide("blacklist", IMAGE)
    outcome = _same_in_check_mode(world)
    assert [item["name"] for item in outcome.data["damaged"]] == [f"{path.name}.damaged.2"]
    assert not path.exists()


def test_a_directory_where_an_image_expires_to_gives_way(world: World) -> None:
    image = _cached(world)
    _directory(_place(world, "expired") / _name(image))
    world.decide("blacklist", IMAGE)
    outcome = _same_in_check_mode(world)
    assert outcome.data["failures"] == []
    assert _names(world, "expired") == [_name(image), f"{_name(image)}.damaged"]


@pytest.mark.needs("root", "mount")
@pytest.mark.parametrize(("place", "tmpfs"), [("current", True), ("downloading", True), ("downloading", False)])
def test_a_cache_on_several_file_systems_is_refused_before_anything_is_downloaded(
    world: World, place: str, tmpfs: bool
) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    path = _place(world, place)
    arguments = ("-t", "tmpfs", "tmpfs") if tmpfs else ("--bind", str(path))
    for image in world.web.glob("*.img"):
        image.unlink()
    with _mounted(path, *arguments):
        for check in (True, False):
            with pytest.raises(VmimagesError) as found:
                world.sync(check=check)
            assert found.value.code == "cache_split"
            assert str(path) in found.value.detail


# Many images


def _images(world: World, count: int) -> list[dict[str, t.Any]]:
    content = b"x" * 100
    (world.web / "one.img").write_bytes(content)
    digest = hashlib.sha512(content).hexdigest()
    return [
        {
            "dc:identifier": str(uuid.uuid4()),
            "dc:title": f"image {number}",
            "hv:version": "1",
            "hv:uri": f"{world.base}/one.img",
            "hv:size": len(content),
            "sl:checksum:sha512": digest,
        }
        for number in range(count)
    ]


def test_the_first_sync_takes_time_in_proportion_to_the_images(world: World) -> None:
    """Counted, since time depends on the machine: instructions of the index for each image, of fifteen and of sixty."""
    shares = []
    for number, identifier in ((15, LIST), (60, OTHER_LIST)):
        images = _images(world, number)
        world.publish("1", images, identifier=identifier)
        world.subscribe(identifier)
        world.decide("approve", *(image["dc:identifier"] for image in images))
        with world.open() as catalogue:
            ticks: list[None] = []
            catalogue.connection.set_progress_handler(functools.partial(ticks.append, None), 100)
            assert len(cache.sync(catalogue, lists=[identifier]).data["downloaded"]) == number
        shares.append(len(ticks) / number)
    assert shares[1] <= shares[0] * 1.5


def test_the_anchors_are_looked_at_a_few_times_and_not_for_every_image(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import anchors

    world.publish("1", _images(world, 20))
    world.subscribe(new_images="cache")
    real, asked = anchors.fingerprint, []

    def counted(path: str) -> str:
        asked.append(path)
        return real(path)

    monkeypatch.setattr(anchors, "fingerprint", counted)
    assert len(world.sync().data["downloaded"]) == 20
    assert len(asked) < 10


def test_a_revocation_during_a_long_run_is_heeded(world: World) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2)])
    world.subscribe(new_images="cache")

    def revoke(_name: str, _done: int, _total: int) -> None:
        if not revoked:
            revoked.append(True)
            world.pki.revoke(world.pki.endorser.certificate)
            world.now += timedelta(seconds=6)

    revoked: list[bool] = []
    outcome = world.sync(limits=Limits(parallel=1), progress=revoke)
    assert {item["code"] for item in outcome.data["unwanted"]} == {"revoked"}
    assert world.files("current") == []


def test_the_end_of_a_subscription_during_a_long_run_is_heeded(world: World) -> None:
    world.publish("1", [world.image(), world.image(IMAGE_2)])
    world.subscribe(new_images="cache")

    def unsubscribe(_name: str, _done: int, _total: int) -> None:
        if not ended:
            ended.append(True)
            with world.open() as catalogue:
                subscribe.unsubscribe(catalogue, identifier=LIST)

    ended: list[bool] = []
    outcome = world.sync(limits=Limits(parallel=1), progress=unsubscribe)
    assert [item["code"] for item in outcome.data["unwanted"]] == ["unsubscribed", "unsubscribed"]
    assert world.files("current") == []
