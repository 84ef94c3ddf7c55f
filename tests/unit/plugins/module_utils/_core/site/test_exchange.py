# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people have said about a site, taken from one state directory to another."""

from __future__ import annotations

import copy
import json
import typing as t
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import SiteError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.main import main
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import exchange

from .conftest import IMAGE, IMAGE_2, OTHER_LIST, World

ERIN = {"dn": "/DC=org/CN=Erin", "ca": "/DC=org/CN=CA"}
ERINS_OLD = {"dn": "/DC=org/CN=Erin Old", "ca": "/DC=org/CN=CA"}
EVE = {"dn": "/DC=org/CN=Eve", "ca": "/DC=org/CN=CA"}


@pytest.fixture
def lived_in(world: World) -> World:
    """A site about which something of every kind has been said, with images in its cache."""
    own = {"dn": world.pki.endorser.dn, "ca": world.pki.endorser.ca}
    world.register({"name": "own", "pairs": [own]}, {"name": "erin", "pairs": [ERIN, ERINS_OLD], "email": "e@x.org"})
    world.register({"name": "erin", "pairs": [ERIN], "email": "e@x.org"}, {"name": "eve", "pairs": [EVE]})
    world.register({"name": "eve", "state": "absent"}, reason="left", author="ada")
    world.publish("1", [world.image(), world.image(IMAGE_2, title="SL6")])
    world.publish("1", [world.image("688dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d", title="Ö")], identifier=OTHER_LIST)
    world.subscribe(endorsers=[{"name": "own"}], select=[IMAGE, {"os": "Linux*"}], max_unrefreshed="3d")
    world.subscribe(OTHER_LIST)
    world.decide("approve", IMAGE, reason="good", author="ada")
    world.decide("blacklist", IMAGE_2, until=world.now + timedelta(days=9))
    world.decide("approve", tags=["Ö"])
    world.decide("blacklist", lists=[OTHER_LIST], reason="no: # 'yet\"\n")
    world.decide("approve", endorsers=[{"name": "own"}])
    world.declare({"name": "old", "decision": "blacklist", "match": {"osversion": "5*"}, "except": [IMAGE]})
    world.sync()
    return world


def exported(world: World) -> dict[str, t.Any]:
    with world.open() as catalogue:
        return exchange.export(catalogue)


def restore(world: World, document: t.Any, *, check: bool = False) -> Outcome:
    with world.open(dry=check) as catalogue:
        return exchange.restore(catalogue, document, check=check)


def empty(world: World) -> World:
    return replace(world, state=world.state.with_name("another"))


def test_a_new_state_begins_as_the_old_one_was(lived_in: World) -> None:
    document, new = exported(lived_in), empty(lived_in)
    outcome = restore(new, document)
    assert exported(new) == document
    assert {action["what"] for action in outcome.actions} == {"endorser", "subscription", "decision", "rules"}
    new.refresh()
    new.sync()
    for image in (IMAGE, IMAGE_2):
        old, begun = lived_in.verdict(image), new.verdict(image)
        assert (begun["allowed"], begun["code"]) == (old["allowed"], old["code"])
    assert lived_in.verdict()["allowed"] is True


def test_what_stands_already_is_not_said_again(lived_in: World) -> None:
    document, new = exported(lived_in), empty(lived_in)
    assert restore(lived_in, document).changed is False
    assert restore(new, document).changed is True
    lines = (new.state / "journal.jsonl").read_bytes()
    assert restore(new, document).changed is False
    assert (new.state / "journal.jsonl").read_bytes() == lines


def test_a_removed_endorser_stays_removed(lived_in: World) -> None:
    new = empty(lived_in)
    restore(new, exported(lived_in))
    removed = next(item for item in exported(new)["endorsers"] if item["name"] == "eve")
    assert (removed["registered"], removed["barred"], removed["author"]) == (False, [EVE], "ada")
    new.subscribe(OTHER_LIST, endorsers=[EVE], refresh="never")
    from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.endorsers import registry

    with new.open() as catalogue:
        assert [row["dn"] for row in registry.barred(catalogue)] == [ERINS_OLD["dn"], EVE["dn"]]


def test_what_the_document_does_not_name_stays(lived_in: World) -> None:
    document = exported(lived_in)
    document["subscriptions"] = document["decisions"] = document["endorsers"] = []
    del document["rules"]
    before = exported(lived_in)
    assert restore(lived_in, document).changed is False
    assert exported(lived_in) == before
    assert restore(lived_in, {**document, "rules": []}).changed is True
    assert exported(lived_in)["rules"] == []


def test_check_mode_writes_nothing(lived_in: World) -> None:
    new = empty(lived_in)
    foretold = restore(new, exported(lived_in), check=True)
    assert not new.state.exists()
    assert foretold.actions == restore(new, exported(lived_in)).actions


def broken(path: tuple[t.Any, ...], value: t.Any) -> t.Callable[[dict[str, t.Any]], None]:
    def change(document: dict[str, t.Any]) -> None:
        place: t.Any = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (broken(("format",), 99), "format"),
        (broken(("surprise",), 1), "surprise"),
        (broken(("subscriptions",), {}), "subscriptions"),
        (broken(("subscriptions", 0, "uri"), "gopher://x"), "subscriptions[0]"),
        (broken(("subscriptions", 1, "identifier"), None), "subscriptions[1].identifier"),
        (broken(("decisions", 0, "decision"), "maybe"), "decisions[0].decision"),
        (broken(("decisions", 0, "tag"), "also"), "decisions[0]"),
        (broken(("decisions", 0, "until"), "soon"), "decisions[0].until"),
        (broken(("decisions", 0, "of_list"), "x"), "decisions[0].of_list"),
        (broken(("rules", 0, "match"), {"colour": "red"}), "rules"),
        (broken(("endorsers", 0, "pairs"), []), "endorsers[0]"),
        (broken(("endorsers", 1, "pairs"), [ERIN]), "endorsers"),
    ],
)
def test_a_document_with_a_mistake_changes_nothing(
    lived_in: World, change: t.Callable[[dict[str, t.Any]], None], place: str
) -> None:
    document, new = copy.deepcopy(exported(lived_in)), empty(lived_in)
    # The registered ones first, so that the cases can name them by number.
    document["endorsers"].sort(key=lambda item: (not item["registered"], item["name"]))
    change(document)
    with pytest.raises(SiteError) as caught:
        restore(new, document)
    assert (caught.value.code, caught.value.context["place"]) == ("import_invalid", place)
    assert not (new.state / "journal.jsonl").exists()


def test_the_command_writes_yaml_and_reads_it(
    lived_in: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "--state-dir", str(lived_in.state)]) == 0
    text = capsys.readouterr().out
    document = yaml.safe_load(text)
    assert {**document, "exported": ""} == {**exported(lived_in), "exported": ""}
    new = empty(lived_in)
    (tmp_path / "site.yml").write_text(text)
    for options, words in ((["--check"], "WOULD BE IMPORTED"), ([], "IMPORTED"), ([], "Nothing is new.")):
        assert main(["import", str(tmp_path / "site.yml"), "--state-dir", str(new.state), *options]) == 0
        assert words in capsys.readouterr().out
    assert main(["export", "--json", "--state-dir", str(new.state)]) == 0
    assert {**json.loads(capsys.readouterr().out), "exported": ""} == {**document, "exported": ""}
    (tmp_path / "site.yml").write_text("a: [")
    assert main(["import", str(tmp_path / "site.yml"), "--state-dir", str(new.state)]) == 1
    assert "import_invalid" in capsys.readouterr().err


def test_a_bare_date_is_journaled_as_a_time(world: World) -> None:
    """Whatever the journal says is read for ever: a time that cannot be read would stop every verdict."""
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.sync()
    document = {"format": 1, "decisions": [{"image": IMAGE, "decision": "blacklist", "until": "2099-01-31"}]}
    assert restore(world, document).changed
    assert world.verdict()["code"] == "blacklisted"
    assert exported(world)["decisions"][0]["until"] == "2099-01-31T00:00:00Z"
    assert not restore(world, document).changed


def test_a_blacklist_for_all_lists_is_not_taken_back_by_an_approval_in_one(world: World) -> None:
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.decide("blacklist", tags=["SL5"])
    document = {"format": 1, "decisions": [{"tag": "SL5", "of_list": OTHER_LIST, "decision": "approve"}]}
    with pytest.raises(SiteError) as caught:
        restore(world, document)
    assert caught.value.code == "import_invalid"
    assert world.verdict()["code"] == "blacklisted"


def test_what_was_taken_away_here_stays_taken_away_and_is_said_once(world: World) -> None:
    world.register({"name": "erin", "pairs": [ERIN, ERINS_OLD]})
    world.register({"name": "erin", "pairs": [ERIN]})
    document = {"format": 1, "endorsers": [{"name": "erin", "pairs": [ERIN], "email": "e@x.org", "author": "ada"}]}
    assert restore(world, document).changed
    assert not restore(world, document).changed
    assert exported(world)["endorsers"][0]["barred"] == [ERINS_OLD]


@pytest.mark.parametrize(
    "document",
    [
        {"endorsers": [{"name": "erin", "pairs": [ERIN]}, {"name": "erin", "registered": False}]},
        {"decisions": [{"tag": "a", "decision": "blacklist"}, {"tag": "a", "decision": "approve"}]},
        {
            "decisions": [
                {"tag": "a", "decision": "blacklist"},
                {"tag": "a", "decision": "approve", "of_list": OTHER_LIST},
            ]
        },
    ],
)
def test_a_document_that_says_two_things_about_one_is_refused(world: World, document: dict[str, t.Any]) -> None:
    """Each import would make it the one and the other in turns."""
    with pytest.raises(SiteError) as caught:
        restore(world, {"format": 1, **document})
    assert caught.value.code == "import_invalid"
