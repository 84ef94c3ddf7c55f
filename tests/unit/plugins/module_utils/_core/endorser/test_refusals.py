# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input: one sentence, one code, and everything as it was."""

from __future__ import annotations

import contextlib
import fcntl
import resource
import typing as t
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.publish import PublishSpec
from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError

ONE, TWO = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1", "3b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
DAY = timedelta(days=1)


def refuse(bench: t.Any, **changes: t.Any) -> VmimagesError:
    """Publish in check mode and for good: the same refusal, and every file as it was."""
    tree = bench.tree()
    with pytest.raises(VmimagesError) as foretold:
        bench.run(check=True, **changes)
    with pytest.raises(VmimagesError) as refusal:
        bench.run(**changes)
    assert (foretold.value.code, foretold.value.detail) == (refusal.value.code, refusal.value.detail)
    assert files(bench.tree()) == files(tree)
    detail = refusal.value.detail
    assert detail.count("\n") == 0 and len(detail) < 400
    return refusal.value


def files(tree: dict[str, t.Any]) -> dict[str, t.Any]:
    return {name: content for name, content in tree.items() if content is not None}


@pytest.fixture(params=["nothing published", "something published"])
def prepared(request: pytest.FixtureRequest, bench: t.Any) -> t.Any:
    if request.param == "something published":
        bench.run()
    return bench


def signing_as(issued: t.Any) -> dict[str, str]:
    return {"certificate": str(issued.certificate_path), "private_key": str(issued.key_path)}


def test_missing_key(prepared: t.Any) -> None:
    assert refuse(prepared, private_key=str(prepared.directory / "none.pem"), title="x").code == "key_missing"


def test_missing_certificate(prepared: t.Any) -> None:
    assert refuse(prepared, certificate=str(prepared.directory / "none.pem")).code == "certificate_missing"


def test_key_that_others_can_read(prepared: t.Any) -> None:
    prepared.pki.endorser.key_path.chmod(0o644)
    assert refuse(prepared).code == "key_permissions"


def test_passphrases(prepared: t.Any) -> None:
    signing = signing_as(prepared.pki.issue("Erin Endorser", passphrase=b"correct horse", directory="encrypted"))
    assert refuse(prepared, **signing).code == "passphrase_missing"
    assert refuse(prepared, **signing, passphrase="wrong horse").code == "passphrase_wrong"
    file = prepared.directory / "passphrase"
    assert refuse(prepared, **signing, passphrase_file=str(file)).code == "passphrase_missing"
    file.write_text("correct horse\n")
    file.chmod(0o600)
    assert prepared.run(**signing, passphrase_file=str(file), title="x").changed
    assert prepared.run(**signing, passphrase="correct horse", title="y").changed


def test_a_passphrase_is_never_shown(bench: t.Any) -> None:
    signing = signing_as(bench.pki.issue("Erin Endorser", passphrase=b"correct horse", directory="encrypted"))
    outcome = bench.run(**signing, passphrase="correct horse")
    shown = repr(outcome) + repr(PublishSpec.from_options({**bench.options, "passphrase": "correct horse"}))
    assert "correct horse" not in shown
    for path in [*bench.history.rglob("*"), *bench.web.rglob("*")]:
        assert path.is_dir() or b"correct horse" not in path.read_bytes()
    assert "correct horse" not in str(
        refuse(bench, **signing_as(bench.pki.endorser), anchors="/nowhere", title="x", passphrase="correct horse")
    )


def test_key_of_another_certificate(prepared: t.Any) -> None:
    other = prepared.pki.issue("Other")
    assert refuse(prepared, private_key=str(other.key_path)).code == "key_mismatch"


def test_expired_certificate(prepared: t.Any) -> None:
    assert refuse(prepared, **signing_as(prepared.pki.issue("Late", days=-1))).code == "certificate_expired"


def test_certificate_of_an_unknown_ca(prepared: t.Any, demo_ca: t.Any, now: t.Any, tmp_path: Path) -> None:
    other = demo_ca.DemoCA(tmp_path / "other", now)
    other.make()
    caught = refuse(prepared, **signing_as(other.endorser), title="x")
    assert caught.code in ("no_trust_anchor", "no_valid_path")
    assert "would refuse" in caught.detail


def test_revoked_certificate(prepared: t.Any) -> None:
    prepared.pki.revoke(prepared.pki.endorser.certificate)
    assert refuse(prepared, title="x").code == "revoked"


def test_unreadable_anchors(prepared: t.Any) -> None:
    assert refuse(prepared, anchors=str(prepared.directory / "none"), title="x").code == "anchors_unreadable"


def test_missing_image(prepared: t.Any) -> None:
    prepared.source(ONE).unlink()
    caught = refuse(prepared)
    assert caught.code == "not_found"
    assert str(prepared.source(ONE)) in caught.detail


def test_an_image_that_is_a_directory(prepared: t.Any) -> None:
    assert refuse(prepared, images=[prepared.image(ONE, path=str(prepared.build))]).code == "not_readable"


def test_empty_image(prepared: t.Any) -> None:
    prepared.source(ONE).write_bytes(b"")
    caught = refuse(prepared)
    assert (caught.code, caught.context["option"]) == ("publish_invalid", "images[0].path")


def test_stated_size_and_digest_are_compared_with_the_file(prepared: t.Any) -> None:
    for change in ({"size": 5}, {"sha512": "00" * 64}):
        caught = refuse(prepared, images=[prepared.image(TWO), prepared.image(ONE, **change)])
        assert (caught.code, caught.context["option"]) == ("publish_invalid", f"images[1].{next(iter(change))}")


@pytest.mark.parametrize("size", [None, 5])
def test_an_image_needs_a_file_or_its_size_and_digest(prepared: t.Any, size: t.Optional[int]) -> None:
    caught = refuse(prepared, images=[prepared.image(ONE, path=None, size=size)])
    assert (caught.code, caught.context["option"]) == ("publish_invalid", "images[0].sha512")


def test_an_image_needs_an_address(prepared: t.Any) -> None:
    caught = refuse(prepared, images=[prepared.image(ONE), prepared.image(TWO, uri=None)])
    assert (caught.code, caught.context["option"]) == ("publish_invalid", "images[1].uri")


def test_two_files_cannot_have_one_address(prepared: t.Any) -> None:
    address = "https://images.example.org/one.raw"
    caught = refuse(prepared, images=[prepared.image(ONE, uri=address), prepared.image(TWO, uri=address)])
    assert caught.context["option"] == "images[1].uri"
    caught = refuse(prepared, images=[prepared.image(ONE, uri=prepared.options["uri"])])
    assert caught.context["option"] == "images[0].uri"


def test_two_files_cannot_have_one_place(prepared: t.Any) -> None:
    rules = [{"uri_match": r"https://images\.example\.org/.*", "uri_replace": f"{prepared.web}/all"}]
    caught = refuse(prepared, uploads=rules)
    assert (caught.code, caught.context["option"]) == ("publish_invalid", "uploads")


def test_an_address_without_a_rule(prepared: t.Any) -> None:
    assert refuse(prepared, uri="https://other.example.org/list").code == "no_upload_rule"
    assert refuse(prepared, images=[prepared.image(ONE, uri="https://other.example.org/i")]).code == "no_upload_rule"


def test_versions_that_do_not_rise(bench: t.Any) -> None:
    bench.run(version="5", images=[bench.image(ONE, version="5")])
    assert refuse(bench, version="4", images=[bench.image(ONE)]).code == "version_not_raised"
    assert refuse(bench, version="5", images=[bench.image(ONE)], title="x").code == "version_not_raised"
    caught = refuse(bench, images=[bench.image(ONE, version="4")])
    assert (caught.code, caught.context["option"]) == ("version_not_raised", "images[0].version")
    bench.source(ONE).write_bytes(b"changed")
    caught = refuse(bench, images=[bench.image(ONE, version="5")])
    assert (caught.code, caught.context["published"]) == ("version_not_raised", "5")


def test_an_explicit_version_cannot_be_renewed(bench: t.Any) -> None:
    bench.run(version="5")
    caught = refuse(bench, version="5", later=27 * DAY)
    assert caught.code == "version_not_raised"
    assert "expires" in caught.detail


def test_a_history_that_cannot_be_made(bench: t.Any) -> None:
    for place, codes in ((bench.source(ONE) / "history", {"not_found"}), (Path("/sys/history"), {"not_writable"})):
        with pytest.raises(VmimagesError) as refusal:
            bench.run(history_dir=str(place))
        assert refusal.value.code in codes
    assert not any(bench.web.iterdir())


def test_an_upload_directory_that_cannot_be_written(bench: t.Any) -> None:
    rules = [{"uri_match": "https://images.example.org/", "uri_replace": "/sys/images/"}]
    with pytest.raises(VmimagesError) as refusal:
        bench.run(uploads=rules)
    assert refusal.value.code == "not_writable"
    # The version that nobody has seen is not used up.
    bench.run()
    assert bench.published().version == "1"


@contextlib.contextmanager
def files_end_at(size: int) -> t.Iterator[None]:
    """The kernel refuses to write beyond this size: what a full disk does, for real."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 1000, 30000])
def test_full_disk(prepared: t.Any, size: int) -> None:
    """Full for the message itself, for its record, for an image."""
    prepared.source(TWO).write_bytes(b"larger" * 10000)
    tree = prepared.tree()
    published = prepared.list_file.exists()
    with files_end_at(size), pytest.raises(VmimagesError) as refusal:
        prepared.run()
    assert refusal.value.code == "disk_full"
    assert size or files(prepared.tree()) == files(tree)
    assert prepared.list_file.exists() == published
    if published:
        assert prepared.published().version == "1"
    prepared.run()
    assert prepared.published().version == ("2" if published else "1")
    assert not prepared.run().changed


def test_a_second_writer_waits(bench: t.Any) -> None:
    bench.run()
    with (bench.history / bench.options["identifier"] / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tree = bench.tree()
        with pytest.raises(VmimagesError) as refusal:
            bench.run(title="x")
    assert refusal.value.code == "state_busy"
    assert bench.tree() == tree


@pytest.mark.parametrize(
    "damage",
    [b"", b"{}", b'{"format": 2, "entries": [], "images": {}}', b'{"format": 1, "entries": [{}], "images": {}}'],
)
def test_a_damaged_record(bench: t.Any, damage: bytes) -> None:
    bench.run()
    (bench.history / bench.options["identifier"] / "record.json").write_bytes(damage)
    assert refuse(bench).code == "history_unreadable"


def test_a_damaged_message_in_the_history(bench: t.Any) -> None:
    path = Path(bench.run().data["message_path"])
    message = path.read_bytes()
    path.write_bytes(message[:-1])
    assert refuse(bench).code == "history_unreadable"
    path.unlink()
    assert refuse(bench).code == "history_unreadable"


def test_damaged_digests_are_only_read_again(bench: t.Any) -> None:
    bench.run()
    for damage in (b"", b"[]", b'{"x": 1}', b'{"x": [1, "y"]}'):
        (bench.history / bench.options["identifier"] / "files.json").write_bytes(damage)
        assert not bench.run().changed
        assert bench.run().data["octets_read"] == 0
