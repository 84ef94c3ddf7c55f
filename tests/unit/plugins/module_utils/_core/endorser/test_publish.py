# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import shutil
import typing as t
from datetime import timedelta

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser import publish as publishing
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.publish import (
    ImageSpec,
    PublishSpec,
    publish,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import PublishError, VmimagesError

ONE, TWO = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1", "3b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
DAY = timedelta(days=1)


def versions(bench: t.Any, later: timedelta = timedelta()) -> list[str]:
    found = bench.published(later)
    return [found.version, *(image.version for image in found.images)]


def kinds(outcome: t.Any) -> list[str]:
    return [" ".join(filter(None, [action["action"], action.get("what")])) for action in outcome.actions]


def test_the_first_publication(bench: t.Any) -> None:
    outcome = bench.run()
    found = bench.published()
    assert (outcome.changed, outcome.before) == (True, {"files": dict.fromkeys(outcome.after["files"], "absent")})
    assert kinds(outcome) == ["sign", "upload image", "upload image", "upload list"]
    assert (found.identifier, found.version, found.title, found.source) == (
        bench.options["identifier"],
        "1",
        "Workers",
        "example.org",
    )
    assert (found.created, found.expires) == (bench.now, bench.now + 28 * DAY)
    (endorser,) = found.endorsers
    assert (endorser.dn, endorser.ca) == (bench.pki.endorser.dn, bench.pki.endorser.ca)
    assert (endorser.name, endorser.email) == ("Erin Endorser", "erin.endorser@example.org")
    image = found.images[0]
    assert (image.identifier, image.version, image.format, image.arch) == (ONE, "1", "raw", "x86_64")
    assert image.uri == f"https://images.example.org/{ONE}/1.raw"
    assert outcome.data["list"] == {
        "identifier": found.identifier,
        "version": "1",
        "uri": "https://images.example.org/workers.list",
        "created": found.raw["dc:date:created"],
        "expires": found.raw["dc:date:expires"],
        "sha512_of_content": outcome.data["list"]["sha512_of_content"],
    }
    assert [data["sha512"] for data in outcome.data["images"]] == [image.sha512 for image in found.images]
    with open(outcome.data["message_path"], "rb") as kept:  # noqa: PTH123
        assert kept.read() == bench.list_file.read_bytes()


def test_a_second_run_signs_nothing_and_reads_no_image(bench: t.Any) -> None:
    first = bench.run()
    tree = bench.tree()
    second = bench.run(later=DAY)
    assert (second.changed, second.actions, second.before, second.after) == (False, (), {}, {})
    assert (first.data["octets_read"], second.data["octets_read"]) == (80000, 0)
    assert second.data["list"] == first.data["list"]
    assert bench.tree() == tree


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("key", ["rsa", "p256"])
def test_check_mode_foretells_and_writes_nothing(bench: t.Any, again: bool, key: str) -> None:
    issued = bench.pki.issue("Erin Endorser", key=key, directory=key)
    bench.options.update(certificate=str(issued.certificate_path), private_key=str(issued.key_path))
    changes: dict[str, t.Any] = {}
    if again:
        bench.run()
        bench.source(ONE).write_bytes(b"new")
        changes = {"title": "New"}
    tree = bench.tree()
    foretold = bench.run(check=True, later=DAY, **changes)
    assert bench.tree() == tree
    assert again or not bench.history.exists()
    done = bench.run(later=DAY, **changes)
    assert done.changed
    assert foretold == done
    assert not bench.run(check=True, later=DAY, **changes).changed


def test_a_new_image_file_raises_its_version_alone(bench: t.Any) -> None:
    bench.run()
    bench.source(TWO).write_bytes(b"another")
    outcome = bench.run(later=DAY)
    assert kinds(outcome) == ["sign", "upload image", "upload list"]
    assert outcome.data["octets_read"] == len(b"another")
    assert versions(bench, DAY) == ["2", "1", "2"]
    assert (bench.web / TWO / "1.raw").exists()
    assert outcome.before["images"][TWO]["hv:version"] == "1"
    assert outcome.after["images"][TWO]["hv:version"] == "2"


def test_a_format_counts_as_the_image_s_content(bench: t.Any) -> None:
    bench.run()
    bench.run(images=[bench.image(ONE, format="raw.gz"), bench.image(TWO)])
    assert versions(bench) == ["2", "2", "1"]


@pytest.mark.parametrize(
    "changes",
    [{"title": "New"}, {"metadata": {"ad:swid": "1"}}, {"endorser": {"name": "E."}}, {"source": "x.example.org"}],
)
def test_metadata_raises_the_list_s_version_alone(bench: t.Any, changes: dict[str, t.Any]) -> None:
    bench.run()
    outcome = bench.run(**changes)
    assert kinds(outcome) == ["sign", "upload list"]
    assert outcome.actions[0]["reason"] == "content"
    assert versions(bench) == ["2", "1", "1"]


def test_the_order_of_images_means_nothing(bench: t.Any) -> None:
    bench.run()
    assert not bench.run(images=bench.options["images"][::-1]).changed


def test_metadata_is_published_and_a_null_removes_it(bench: t.Any) -> None:
    extra = {"ad:mpuri": "https://appdb/1", "sl:osname": "Debian", "ad:none": None, "x": {"y": [1, True, None]}}
    bench.run(metadata={"ad:vo": ["a", "b"]}, images=[bench.image(ONE, metadata=extra)])
    found = bench.published()
    assert found.raw["ad:vo"] == ["a", "b"]
    assert {key: found.images[0].raw.get(key) for key in ("ad:mpuri", "sl:osname", "x")} == {
        key: extra[key] for key in ("ad:mpuri", "sl:osname", "x")
    }
    assert "ad:none" not in found.images[0].raw


def test_what_is_said_of_the_endorser_is_published_and_a_null_removes_it(bench: t.Any) -> None:
    """As --key-set-endorser and --key-del-endorser did; who it is says the certificate."""

    def said(later: timedelta) -> dict[str, t.Any]:
        return dict(bench.published(later).endorsers[0].raw)

    bench.run()
    plain = said(timedelta())
    further = {"ad:sso": "erin", "hv:subscriber": None}
    bench.run(endorser={"metadata": further}, later=DAY)
    assert said(DAY) == {**plain, "ad:sso": "erin"}
    bench.run(images=[], purge_images=False, title="New", later=2 * DAY)
    assert said(2 * DAY) == {**plain, "ad:sso": "erin"}
    bench.run(images=[], purge_images=False, endorser={"metadata": {"ad:sso": None}}, later=3 * DAY)
    assert said(3 * DAY) == plain


def test_a_list_is_renewed_before_it_expires(bench: t.Any) -> None:
    bench.run()
    assert not bench.run(later=21 * DAY - timedelta(seconds=1)).changed
    outcome = bench.run(later=21 * DAY)
    assert (kinds(outcome), outcome.actions[0]["reason"]) == (["sign", "upload list"], "expiry")
    assert versions(bench, 21 * DAY) == ["2", "1", "1"]
    assert bench.published(21 * DAY).expires == bench.now + 49 * DAY
    assert not bench.run(later=22 * DAY).changed


def test_renewal_leaves_half_of_a_short_lifetime(bench: t.Any) -> None:
    options = {"lifetime": "2d", "renew_before": "7d"}
    bench.run(**options)
    assert not bench.run(later=DAY - timedelta(seconds=1), **options).changed
    assert bench.run(later=DAY, **options).changed


def test_a_shorter_lifetime_takes_effect(bench: t.Any) -> None:
    bench.run()
    outcome = bench.run(lifetime="7d")
    assert outcome.actions[0]["reason"] == "lifetime"
    assert bench.published().expires == bench.now + 7 * DAY
    assert not bench.run(later=DAY, lifetime="7d").changed


def test_a_new_certificate_of_the_same_name_signs_when_the_old_one_ends(bench: t.Any) -> None:
    old = bench.pki.issue("Erin Endorser", days=30, directory="old")
    new = bench.pki.issue("Erin Endorser", days=300, directory="new")
    by_old = {"certificate": str(old.certificate_path), "private_key": str(old.key_path), "lifetime": "90d"}
    by_new = {"certificate": str(new.certificate_path), "private_key": str(new.key_path), "lifetime": "90d"}
    first = bench.run(**by_old)
    assert len(first.warnings) == 1 and "before the list expires" in first.warnings[0]
    assert not bench.run(later=25 * DAY, **by_old).changed
    assert not bench.run(later=DAY, **by_new).changed
    bench.pki.write_crls(90)
    outcome = bench.run(later=25 * DAY, **by_new)
    assert (outcome.actions[0]["reason"], outcome.warnings) == ("certificate", ())
    assert not bench.run(later=26 * DAY, **by_new).changed


def renewed(bench: t.Any) -> dict[str, str]:
    """The options of the same endorser with a certificate that ends on the same day as the first one."""
    new = bench.pki.issue(directory="renewed")
    assert new.certificate.subject == bench.pki.endorser.certificate.subject
    return {"certificate": str(new.certificate_path), "private_key": str(new.key_path)}


@pytest.mark.parametrize("purge", [True, False])
@pytest.mark.parametrize("uploads", [True, False])
def test_a_list_whose_signer_was_revoked_is_signed_with_the_new_certificate(
    bench: t.Any, purge: bool, uploads: bool
) -> None:
    options = {"purge_images": purge, **({} if uploads else {"uploads": []})}
    bench.run(**options)
    bench.pki.revoke(bench.pki.endorser.certificate)
    options.update(renewed(bench))
    foretold = bench.run(check=True, **options)
    outcome = bench.run(**options)
    assert foretold == outcome
    assert (kinds(outcome)[0], outcome.actions[0]["reason"]) == ("sign", "certificate")
    if uploads:
        assert versions(bench) == ["2", "1", "1"]
    tree = bench.tree()
    assert not bench.run(**options).changed
    assert bench.tree() == tree


def test_a_new_certificate_alone_is_no_reason_to_sign(bench: t.Any) -> None:
    bench.run()
    assert not bench.run(**renewed(bench)).changed


def test_a_list_of_a_revoked_signer_is_not_signed_with_the_same_certificate_again(bench: t.Any) -> None:
    bench.run()
    bench.pki.revoke(bench.pki.endorser.certificate)
    assert not bench.run().changed


@pytest.mark.parametrize("missing", ["anchors", "crls", "fresh crls"])
def test_what_nobody_could_verify_is_no_reason_to_sign(bench: t.Any, missing: str) -> None:
    bench.run()
    changes = renewed(bench)
    if missing == "anchors":
        changes["anchors"] = str(bench.directory / "none")
    elif missing == "crls":
        for path in bench.pki.certificates.glob("*.r0"):
            path.unlink()
    else:
        bench.pki.write_crls(-1)
    assert not bench.run(**changes).changed


def test_an_explicit_version_has_to_rise_for_a_new_signature(bench: t.Any) -> None:
    bench.run(version="7")
    bench.pki.revoke(bench.pki.endorser.certificate)
    changes = renewed(bench)
    with pytest.raises(VmimagesError) as refusal:
        bench.run(version="7", **changes)
    assert refusal.value.code == "version_not_raised"
    assert "new certificate" in refusal.value.detail
    assert bench.run(version="8", **changes).changed
    assert not bench.run(version="8", **changes).changed


def test_an_image_that_is_not_named_is_withdrawn(bench: t.Any) -> None:
    bench.run()
    bench.run(images=[bench.image(TWO)])
    assert versions(bench) == ["2", "1"]
    assert (bench.web / ONE / "1.raw").exists()


def test_an_empty_list_is_published(bench: t.Any) -> None:
    bench.run()
    bench.run(images=[])
    assert bench.published().raw["hv:images"] == []
    assert not bench.run(images=[]).changed


def test_an_image_that_returns_continues_its_versions(bench: t.Any) -> None:
    bench.run()
    bench.run(images=[bench.image(TWO)])
    bench.source(ONE).write_bytes(b"after a while")
    bench.run()
    assert versions(bench) == ["3", "2", "1"]


def test_merging_updates_one_image_and_leaves_the_rest(bench: t.Any) -> None:
    bench.run(
        metadata={"ad:vo": "a"},
        images=[bench.image(ONE, description="kept", metadata={"ad:k": "1", "ad:l": "2"}), bench.image(TWO)],
    )
    bench.source(ONE).write_bytes(b"the next one")
    merge: dict[str, t.Any] = {
        "purge_images": False,
        "images": [
            {"identifier": ONE, "path": str(bench.source(ONE)), "uri": None, "title": None, "metadata": {"ad:l": None}}
        ],
        "title": None,
    }
    outcome = bench.run(**merge)
    found = bench.published()
    assert versions(bench) == ["2", "2", "1"]
    assert (found.title, found.raw["ad:vo"]) == ("Workers", "a")
    assert (found.images[0].description, found.images[0].raw["ad:k"]) == ("kept", "1")
    assert "ad:l" not in found.images[0].raw
    # The address was kept, and with it the place: said aloud, because sites may fetch in between.
    assert found.images[0].uri.endswith("/1.raw")
    assert len(outcome.warnings) == 1 and "in its place" in outcome.warnings[0]
    assert not bench.run(**merge).changed
    assert not bench.run(purge_images=False, images=[], title=None).changed


def test_merging_adds_an_image(bench: t.Any) -> None:
    bench.run(images=[bench.image(ONE)])
    bench.run(images=[bench.image(TWO)], purge_images=False)
    assert [image.identifier for image in bench.published().images] == [ONE, TWO]


def test_an_image_that_is_not_on_this_host(bench: t.Any) -> None:
    remote = {"identifier": ONE, "uri": "https://elsewhere.example.org/{sha512}", "size": 10, "sha512": "AB" * 64}
    outcome = bench.run(images=[remote])
    (image,) = bench.published().images
    assert (image.size, image.sha512, image.uri) == (10, "ab" * 64, "https://elsewhere.example.org/" + "ab" * 64)
    assert kinds(outcome) == ["sign", "upload list"]


def test_without_upload_rules_the_message_is_only_kept(bench: t.Any) -> None:
    outcome = bench.run(uploads=[])
    assert kinds(outcome) == ["sign"]
    assert not any(bench.web.iterdir())
    assert not bench.run(uploads=[]).changed
    # Rules that come later find what is published already, and need no new version.
    assert kinds(bench.run()) == ["upload image", "upload image", "upload list"]
    assert versions(bench) == ["1", "1", "1"]


def test_explicit_versions(bench: t.Any) -> None:
    bench.run(version="2026.1", images=[bench.image(ONE, version="5-rc1")])
    assert versions(bench) == ["2026.1", "5-rc1"]
    assert not bench.run(version="2026.1", images=[bench.image(ONE, version="5-rc1")]).changed
    assert bench.run(version="2026.2", images=[bench.image(ONE)]).actions[0]["reason"] == "version"
    assert bench.run(images=[bench.image(ONE, version="6")]).changed
    assert versions(bench) == ["2026.3", "6"]


def test_what_is_missing_at_the_far_end_is_put_there_again(bench: t.Any) -> None:
    bench.run()
    message = bench.list_file.read_bytes()
    (bench.web / ONE / "1.raw").unlink()
    (bench.web / TWO / "1.raw").write_bytes(b"x" * 40000)
    bench.list_file.unlink()
    outcome = bench.run()
    assert kinds(outcome) == ["upload image", "upload image", "upload list"]
    assert versions(bench) == ["1", "1", "1"]
    assert bench.list_file.read_bytes() == message
    assert not bench.run().changed


def test_a_damaged_list_is_put_right(bench: t.Any) -> None:
    bench.run()
    message = bench.list_file.read_bytes()
    bench.list_file.write_bytes(message.replace(b"Workers", b"Breakers"))
    outcome = bench.run()
    assert bench.list_file.read_bytes() == message
    assert len(outcome.warnings) == 1 and "digest_mismatch" in outcome.warnings[0]


def test_every_message_is_kept(bench: t.Any) -> None:
    messages = []
    for title in "abc":
        bench.run(title=title)
        messages.append(bench.list_file.read_bytes())
    kept = sorted((bench.history / bench.options["identifier"] / "messages").iterdir())
    assert [path.read_bytes() for path in kept] == messages


def test_a_lost_history_is_continued_from_the_published_list(bench: t.Any) -> None:
    bench.run()
    bench.run(title="second")
    shutil.rmtree(bench.history)
    outcome = bench.run(title="second")
    assert kinds(outcome) == ["adopt"]
    assert not bench.run(title="second").changed
    shutil.rmtree(bench.history)
    foretold = bench.run(check=True, title="third", images=[], purge_images=False)
    assert not bench.history.exists()
    assert bench.run(title="third", images=[], purge_images=False) == foretold
    assert versions(bench) == ["3", "1", "1"]


def test_a_list_published_from_elsewhere_is_continued(bench: t.Any) -> None:
    bench.run()
    shutil.copytree(bench.history, bench.directory / "elsewhere")
    for title in ("b", "c"):
        bench.run(title=title, history_dir=str(bench.directory / "elsewhere"))
    outcome = bench.run(title="d")
    assert kinds(outcome) == ["adopt", "sign", "upload list"]
    assert bench.published().version == "4"


@pytest.mark.parametrize("history", [True, False])
def test_another_list_is_never_overwritten(bench: t.Any, history: bool) -> None:
    bench.run(identifier="6d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3", images=[])
    message = bench.list_file.read_bytes()
    if history:
        bench.list_file.unlink()
        bench.run()
        bench.list_file.write_bytes(message)
    with pytest.raises(VmimagesError) as refusal:
        bench.run()
    assert refusal.value.code == "identifier_mismatch"
    assert bench.list_file.read_bytes() == message


def test_a_list_signed_by_somebody_else_is_neither_continued_nor_overwritten(bench: t.Any) -> None:
    other = bench.pki.issue("Mallory")
    bench.run(certificate=str(other.certificate_path), private_key=str(other.key_path))
    message = bench.list_file.read_bytes()
    shutil.rmtree(bench.history)
    with pytest.raises(VmimagesError) as refusal:
        bench.run(purge_images=False, images=[])
    assert (refusal.value.code, refusal.value.context["option"]) == ("publish_invalid", "uri")
    assert bench.list_file.read_bytes() == message


def test_a_file_that_is_no_list_is_not_overwritten(bench: t.Any) -> None:
    bench.list_file.write_bytes(b"<html>")
    with pytest.raises(VmimagesError) as refusal:
        bench.run()
    assert str(bench.list_file) in refusal.value.detail
    assert bench.list_file.read_bytes() == b"<html>"


def test_images_that_are_asked_for_are_asked_while_nobody_else_can_publish(bench: t.Any) -> None:
    spec = PublishSpec.from_options({**bench.options, "images": []})
    given = PublishSpec.from_options(bench.options).images
    refused: list[str] = []

    def images() -> tuple[ImageSpec, ...]:
        with pytest.raises(VmimagesError) as refusal:
            bench.run(title="in between")
        refused.append(refusal.value.code)
        return given

    publish(spec, check=False, now=bench.now, images=images)
    assert refused == ["state_busy"]
    assert versions(bench) == ["1", "1", "1"]


def test_of_two_workstations_at_once_the_slower_one_gives_way(bench: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one uploads images for hours, the other publishes: neither overwrites a version that sites have seen."""
    bench.run()
    carry_out = vars(publishing)["carry_out"]
    other = bench.directory / "another workstation"

    def meanwhile(uploads: t.Any, places: t.Any) -> None:
        monkeypatch.undo()
        bench.run(history_dir=str(other), title="Of the other one", later=DAY)
        carry_out(uploads, places)

    monkeypatch.setattr(publishing, "carry_out", meanwhile)
    bench.source(ONE).write_bytes(b"new octets")
    with pytest.raises(PublishError) as caught:
        bench.run(later=DAY)
    assert caught.value.code == "published_meanwhile"
    found = bench.published(DAY)
    assert (found.version, found.title) == ("2", "Of the other one")
    second = bench.run(later=2 * DAY)
    assert [action["action"] for action in second.actions if action["action"] != "upload"] == ["adopt", "sign"]
    assert bench.published(2 * DAY).version == "3"
