# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot keeps what it said where nothing has changed: it must say what judging each image by itself says."""

from __future__ import annotations

import hashlib
import json
import tempfile
import typing as t
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import composition, snapshot
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement.assess import Assessor, latest
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement.records import stat_record
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.rules.rule import Rule
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import from_text, to_text
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message.smime import read_message

from .conftest import IMAGE, IMAGE_2, LIST, OTHER_LIST, World

LISTS = (LIST, OTHER_LIST)
IMAGES = tuple(f"{number}88dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d" for number in range(4))
TAGS = ("SL5", "SL6", "", IMAGES[0], "Ubuntu \u201e\u00e9\u201c")


@dataclass
class Site:
    """A catalogue to which anything may happen, without a network and without the rules of the modules."""

    world: World
    catalogue: Catalogue
    now: datetime
    versions: Counter[str] = field(default_factory=Counter)

    def commit(self, *events: tuple[str, t.Mapping[str, t.Any]]) -> None:
        with self.catalogue.writing() as writer:
            writer.commit(*events)

    def subscribe(self, of: str, new_images: str, select: t.Sequence[str], limits: tuple[int, int]) -> None:
        """Other terms for a list, or the first ones."""
        days, hours = limits
        options: dict[str, t.Any] = {"new_images": new_images, "select": list(select)}
        options["max_list_age"] = days * 86400 or None
        options["max_unrefreshed"] = hours * 3600 or None
        self.commit(("subscribed", self.world.wanted(of, **options).as_dict()))

    def unsubscribe(self, of: str) -> None:
        self.commit(("unsubscribed", {"identifier": of}))

    def accept(self, of: str, images: t.Sequence[tuple[int, int, int]], days: int) -> None:
        """A new version with some images, each with a tag and a number of hours that it ends after (0: never)."""
        self.versions[of] += 1
        version = str(self.versions[of])
        named = [self._image(*image, version=version) for image in images]
        self.world.now = self.now
        octets = self.world.message(version, named, identifier=of, days=days)
        with self.catalogue.writing() as writer:
            name, digest = writer.archive(of, octets)
            record = {"identifier": of, "version": version, "message": name, "message_sha256": digest}
            record["content_sha512"] = hashlib.sha512(read_message(octets).content).hexdigest()
            signer = {"not_after": "2030-01-01T00:00:00Z"}
            writer.commit(("accepted", {**record, "signer": signer}))

    def _image(self, number: int, tag: int, hours: int, *, version: str) -> dict[str, t.Any]:
        sha512 = hashlib.sha512(f"{number} {tag}".encode()).hexdigest()
        image = {"dc:identifier": IMAGES[number], "dc:title": TAGS[tag], "hv:version": "1", "hv:size": 5}
        image.update({"hv:uri": "https://example.org/x", "sl:checksum:sha512": sha512})
        if hours:
            image["dc:date:expires"] = to_text(self.now + timedelta(hours=hours))
        return image

    def rules(self, decision: str, match: t.Mapping[str, t.Any]) -> None:
        """One rule in place of all others."""
        rule: dict[str, t.Any] = {
            "name": "r",
            "decision": decision,
            "match": match,
            "except": [],
            "reason": "",
            "until": None,
        }
        rules = [Rule.from_dict({**rule, "author": "sam"}).as_dict()]
        self.commit(("rules", {"rules": rules, "author": "sam"}))

    def decide(self, decision: str, target: tuple[str, str], of: str, hours: int) -> None:
        kind, name = target
        until = to_text(self.now + timedelta(hours=hours)) if hours else None
        record = {"decision": decision, "target_type": kind, "target": name, "list": of, "until": until}
        self.commit(("decided", {**record, "reason": "", "author": "sam"}))

    def cache(self, number: int) -> None:
        """The file of an image arrives."""
        for row in latest(self.catalogue, image_id=IMAGES[number])[:1]:
            name = f"{row['image_id']}-{row['sha512'][:4]}"
            path = self.catalogue.state.current / name
            path.write_bytes(b"12345")
            keys = {"image": row["image_id"], "list": row["list_id"], "version": row["version"]}
            record = {**keys, "name": name, "sha512": row["sha512"], "stat": stat_record(path)}
            self.commit(("cached", record))

    def uncache(self, number: int) -> None:
        """The site takes notice that a file has gone."""
        row = self.catalogue.row("SELECT name FROM files WHERE image_id = ?", IMAGES[number])
        if row is not None:
            self.commit(("lost", {"name": row["name"]}))

    def tamper(self, number: int, how: str) -> None:
        """Somebody has changed or removed files, which no journal line tells."""
        for path in self.catalogue.state.current.glob(f"{IMAGES[number]}*"):
            path.write_bytes(b"other octets") if how == "changed" else path.unlink()

    def poll(self, of: str, code: str | None) -> None:
        """A list's server has answered, or not."""
        self.catalogue.note(
            "INSERT INTO polls VALUES (?, ?, NULL, NULL, NULL, ?, ?, ?) ON CONFLICT (list_id) DO UPDATE SET "
            "refreshed = coalesce(excluded.refreshed, refreshed), code = excluded.code",
            *(of, None if code else to_text(self.now), to_text(self.now), code, code and "Nobody answers."),
        )

    def wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    def anchors(self, crls: bool) -> None:
        """The CRLs are taken away, or come back."""
        for path in sorted(self.world.pki.certificates.glob("*.r0*")):
            path.rename(path.with_suffix(".r0" if crls else ".r0-away"))

    def by_one(self) -> dict[str, t.Any]:
        """What the snapshot has to say: every image is judged by itself, with nothing kept from before."""
        found: dict[str, t.Any] = {}
        for row in latest(self.catalogue):
            known = Assessor(self.catalogue).assess(row)
            if known.image_id not in found or known.facts.owner == known.list_id:
                found[known.image_id] = {**composition._image(known), "verdict": known.verdict.as_dict()}
        return found

    def check(self) -> None:
        """Write the snapshot as it goes on from the former one, and compare."""
        snapshot.write(self.catalogue)
        written = snapshot.load(StateDirectory.at(self.catalogue.state.path), patience=0.0)
        expected = self.by_one()
        assert {image["identifier"]: image for image in written.images()} == expected
        for by in ("identifier", "tag", "sha512"):
            for name in {image[by] for image in expected.values()}:
                same = [image for key, image in sorted(expected.items()) if image[by] == name]
                assert sorted(written.find(by, name), key=lambda image: str(image["identifier"])) == same
        summary = written.summary()
        counts = Counter(image["verdict"]["code"] for image in summary["images"].values())
        for others in summary["others"].values():
            counts.update(others)
        assert counts == Counter(image["verdict"]["code"] for image in expected.values())
        assert all(summary["images"][name] == expected[name] for name in summary["images"])
        names = [row["list_id"] for row in self.catalogue.rows("SELECT list_id FROM lists WHERE active = 1")]
        assert written.lists == {name: composition.describe_list(Assessor(self.catalogue), name) for name in names}
        self._check_until(written.document["until"], expected)

    def _check_until(self, until: str | None, expected: t.Mapping[str, t.Any]) -> None:
        """By the clock alone nothing is otherwise before the time that the snapshot names."""
        if until is None:
            return
        present = self.now
        assert present < from_text(until)
        self.now = from_text(until) - timedelta(seconds=1)
        assert self.by_one() == expected
        self.now = present


_of = st.sampled_from(LISTS)
_number = st.integers(0, len(IMAGES) - 1)
_hours = st.sampled_from((0, 0, 1, 5, 30))
_targets = st.one_of(
    st.tuples(st.just("image"), st.sampled_from(IMAGES)),
    st.tuples(st.just("tag"), st.sampled_from(TAGS[:2])),
    st.tuples(st.just("list"), _of),
)
_match = st.sampled_from(({"title": "sl*"}, {"newer_than": "3h", "list": "*"}, {"older_than": "2h", "list": LIST}))
_accept = st.tuples(
    st.just("accept"),
    _of,
    st.lists(st.tuples(_number, st.integers(0, len(TAGS) - 1), _hours), max_size=3, unique_by=lambda image: image[0]),
    st.sampled_from((1, 20)),
)
_subscribe = st.tuples(
    st.just("subscribe"),
    _of,
    st.sampled_from(("report", "approve", "cache", "refuse")),
    st.sampled_from(((), ("SL5",), (IMAGES[1],), ({"tag": "SL*", "newer_than": "4h"},))),
    st.sampled_from(((0, 0), (3, 0), (0, 2), (1, 1))),
)
_decide = st.tuples(
    st.just("decide"),
    st.sampled_from(("approve", "blacklist", "run_anyway", "clear")),
    _targets,
    st.sampled_from(("", *LISTS)),
    _hours,
)
_others = st.one_of(
    st.tuples(st.just("unsubscribe"), _of),
    st.tuples(st.just("uncache"), _number),
    st.tuples(st.just("rules"), st.sampled_from(("approve", "blacklist")), _match),
    st.tuples(st.just("tamper"), _number, st.sampled_from(("changed", "gone"))),
    st.tuples(st.just("poll"), _of, st.sampled_from((None, None, "timeout"))),
    st.tuples(st.just("wait"), st.sampled_from((1, 5, 48))),
    st.tuples(st.just("anchors"), st.booleans()),
)
_anything = st.lists(
    st.one_of(_accept, _decide, _decide, _subscribe, st.tuples(st.just("cache"), _number), _others), max_size=12
)
#: A run in which an image is approved, cached, clashes, is tampered with, and lists come and go.
_LIFE = [
    ("accept", OTHER_LIST, [(0, 0, 0), (1, 1, 5)], 20),
    ("decide", "approve", ("tag", "SL5"), "", 5),
    ("cache", 0),
    ("tamper", 0, "changed"),
    ("unsubscribe", LIST),
    ("wait", 1),
    ("unsubscribe", OTHER_LIST),
    ("subscribe", LIST, "cache", (), (0, 2)),
    ("tamper", 0, "gone"),
    ("cache", 0),
    ("poll", LIST, None),
    ("wait", 5),
    ("uncache", 0),
]


#: The first list to hold an image speaks of it, until the other one is subscribed again and owns it.
_RETURN = [
    ("accept", OTHER_LIST, [(0, 0, 0)], 20),
    ("unsubscribe", LIST),
    ("unsubscribe", OTHER_LIST),
    ("subscribe", OTHER_LIST, "cache", (), (0, 0)),
]
#: What a match selects, and what a rule approves, changes by the clock alone.
_AGE = [
    ("subscribe", LIST, "approve", ({"tag": "SL*", "newer_than": "4h"},), (0, 0)),
    ("wait", 2),
    ("rules", "blacklist", {"older_than": "5h", "list": LIST}),
    ("wait", 5),
    ("rules", "approve", {"title": "none"}),
    ("wait", 1),
]


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(happens=_anything)
@example(happens=_LIFE)
@example(happens=_RETURN)
@example(happens=_AGE)
@example(happens=_AGE[:1] + _AGE[4:])
@example(happens=_AGE[1:4])
def test_the_snapshot_says_what_judging_each_image_by_itself_says(world: World, happens: t.Sequence[t.Any]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        site: t.Any = None
        with Catalogue.open(
            Path(directory) / "state", create=True, clock=lambda: site.now if site else world.now, actor="sam"
        ) as catalogue:
            site = Site(world, catalogue, world.now)
            begun = world.now
            for of in LISTS:
                site.subscribe(of, "report", (), (0, 0))
            site.accept(LIST, [(0, 0, 0), (1, 0, 1), (2, 1, 0)], 20)
            site.check()
            for name, *arguments in happens:
                getattr(site, name)(*arguments)
                site.check()
            site.anchors(True)
            world.now = begun


def _sheets(world: World) -> dict[str, bytes]:
    document = json.loads((world.state / "verdicts.json").read_text())
    return {
        name: (world.state / "verdicts" / sheet["file"]).read_bytes()
        for name, sheet in document["sheets"].items()
        if sheet["file"]
    }


def _two_lists(world: World) -> None:
    world.publish("1", [world.image()])
    world.publish("1", [world.image(IMAGE_2)], identifier=OTHER_LIST)
    for identifier in (LIST, OTHER_LIST):
        world.subscribe(identifier, new_images="cache", max_unrefreshed="1d")


def test_a_decision_judges_only_the_lists_that_it_touches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _two_lists(world)
    before, judged = _sheets(world), []
    really = composition._judge

    def spy(assessor: Assessor, name: str) -> t.Any:
        judged.append(name)
        return really(assessor, name)

    monkeypatch.setattr(composition, "_judge", spy)
    world.decide("blacklist", IMAGE)
    after = _sheets(world)
    assert judged == [LIST]
    assert after[OTHER_LIST] == before[OTHER_LIST] and after[LIST] != before[LIST]
    world.now += timedelta(hours=1)
    world.refresh()
    assert judged == [LIST]
    assert snapshot.load(StateDirectory.at(world.state)).lists[LIST]["refreshed"] == to_text(world.now)


def test_a_refresh_moves_the_end_of_what_is_allowed_without_judging_it_again(world: World) -> None:
    _two_lists(world)
    world.sync()
    before = _sheets(world)
    for _hour in range(3):
        world.now += timedelta(hours=1)
        world.refresh()
        (image,) = snapshot.load(StateDirectory.at(world.state)).find("identifier", IMAGE)
        assert image["verdict"]["good_until"] == to_text(world.now + timedelta(days=1))
    assert _sheets(world) == before


def test_no_sheet_stands_for_more_than_a_day(world: World) -> None:
    _two_lists(world)
    world.now += timedelta(hours=23)
    world.refresh()
    judged = {sheet.judged for sheet in snapshot.load(StateDirectory.at(world.state)).by_list().values()}
    assert judged == {to_text(world.now - timedelta(hours=23))}
    world.now += timedelta(hours=1)
    world.refresh()
    judged = {sheet.judged for sheet in snapshot.load(StateDirectory.at(world.state)).by_list().values()}
    assert judged == {to_text(world.now)}


def test_a_sheet_that_is_gone_or_damaged_is_noticed(world: World) -> None:
    _two_lists(world)
    state = StateDirectory.at(world.state)
    (file,) = [sheet.file for name, sheet in snapshot.load(state).by_list().items() if name == LIST]
    octets = (state.sheets / file).read_bytes()
    (state.sheets / file).write_bytes(octets.replace(b"not_cached", b"allowed  "))
    with pytest.raises(VmimagesError) as damaged:
        snapshot.judge(snapshot.load(state), IMAGE, world.now)
    assert damaged.value.code == "snapshot_missing"
    (state.sheets / file).unlink()
    with pytest.raises(VmimagesError) as gone:
        snapshot.judge(snapshot.load(state), IMAGE, world.now)
    assert gone.value.code == "snapshot_stale"
    assert snapshot.judge(snapshot.load(state), IMAGE_2, world.now)["verdict"]["code"] == "not_cached"
    world.sync(lists=[OTHER_LIST])
    assert snapshot.judge(snapshot.load(state), IMAGE, world.now)["verdict"]["code"] == "not_cached"


def test_sheets_that_nobody_names_are_removed(world: World) -> None:
    _two_lists(world)
    for number in range(4):
        world.decide("blacklist", IMAGE, reason=f"the {number}. time")
    files = {path.name for path in (world.state / "verdicts").iterdir()}
    assert len(files) == 3, "those of the present and of the former snapshot"


def test_a_tag_that_looks_like_a_uuid_is_no_uuid_to_a_gate(world: World) -> None:
    world.publish("1", [world.image()])
    world.publish("1", [world.image(IMAGE_2, title=IMAGE)], identifier=OTHER_LIST)
    for identifier in (LIST, OTHER_LIST):
        world.subscribe(identifier)
    found = snapshot.judge(snapshot.load(StateDirectory.at(world.state)), IMAGE, world.now)
    assert (found["identifier"], found["list"]) == (IMAGE, LIST)
