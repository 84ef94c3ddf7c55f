# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.declared.spec import PublishSpec
from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import PublishError

LIST_ID = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"
IMAGE_ID = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"


def image(**changes: t.Any) -> dict[str, t.Any]:
    return {"identifier": IMAGE_ID, "path": "/i", "uri": "https://example.org/{version}", **changes}


def options(**changes: t.Any) -> dict[str, t.Any]:
    return {
        "identifier": LIST_ID,
        "uri": "https://example.org/list",
        "certificate": "/c",
        "private_key": "/k",
        "history_dir": "/h",
        "images": [],
        **changes,
    }


def test_defaults() -> None:
    spec = PublishSpec.from_options(options())
    assert (spec.lifetime, spec.renew_before) == (timedelta(days=28), timedelta(days=7))
    assert (spec.anchors, spec.digest, spec.purge) == (Path("/etc/grid-security/certificates"), "sha256", True)
    assert (spec.images, spec.uploads, spec.chain, dict(spec.trust)) == ((), (), (), {})


def test_options_of_none_are_absent() -> None:
    names = [
        "title",
        "lifetime",
        "renew_before",
        "version",
        "endorser",
        "metadata",
        "purge_images",
        "passphrase",
        "passphrase_file",
        "chain",
        "digest",
        "uploads",
        "anchors",
        "allow_sha1",
        "crl_mode",
    ]
    assert PublishSpec.from_options(options(**dict.fromkeys(names))) == PublishSpec.from_options(options())


def test_identifiers_and_digests_are_lower_case() -> None:
    spec = PublishSpec.from_options(
        options(
            identifier=LIST_ID.upper(), images=[image(identifier=IMAGE_ID.upper(), path=None, size=1, sha512="AB" * 64)]
        )
    )
    assert (spec.identifier, spec.images[0].identifier, spec.images[0].sha512) == (LIST_ID, IMAGE_ID, "ab" * 64)


def test_trust_options_are_handed_on() -> None:
    given = {"allow_sha1": False, "allow_host": True, "crl_mode": "if-present", "namespaces_mode": "require"}
    assert PublishSpec.from_options(options(**given)).trust == given


DEEP: list[t.Any] = []
for _level in range(10):
    DEEP = [DEEP]

WRONG: list[tuple[dict[str, t.Any], str]] = [
    (options(identifier="x"), "identifier"),
    (options(identifier=None), "identifier"),
    (options(uri=None), "uri"),
    (options(uri=""), "uri"),
    (options(uri="example.org/list"), "uri"),
    (options(uri="https://example.org/a b"), "uri"),
    (options(uri="https://example.org/é"), "uri"),
    (options(uri="https://me:secret@example.org/list"), "uri"),
    (options(history_dir=None), "history_dir"),
    (options(lifetime="4 weeks"), "lifetime"),
    (options(lifetime="0d"), "lifetime"),
    (options(renew_before="soon"), "renew_before"),
    (options(version="1_0"), "version"),
    (options(version="v 1"), "version"),
    (options(version=""), "version"),
    (options(title="a\0b"), "title"),
    (options(title="\ud800"), "title"),
    (options(title=5), "title"),
    (options(endorser={"name": 5}), "endorser.name"),
    (options(metadata=["x"]), "metadata"),
    (options(metadata={"dc:title": "x"}), "metadata.dc:title"),
    (options(metadata={"hv:images": []}), "metadata.hv:images"),
    (options(metadata={"hv:endorser": {}}), "metadata.hv:endorser"),
    (options(metadata={"hv:version": "9"}), "metadata.hv:version"),
    (options(metadata={"x": 1.5}), "metadata.x"),
    (options(metadata={"x": {"y": [0, float("nan")]}}), "metadata.x.y[1]"),
    (options(metadata={"x": 10**18}), "metadata.x"),
    (options(metadata={"x": "\0"}), "metadata.x"),
    (options(metadata={"x": b"y"}), "metadata.x"),
    (options(metadata={5: "x"}), "metadata"),
    (options(images=None), "images"),
    (options(images=[image(), image()]), "images[1].identifier"),
    (options(images=[image(), image(identifier=IMAGE_ID.upper())]), "images[1].identifier"),
    (options(images=[image(identifier="../x")]), "images[0].identifier"),
    (options(images=[image(uri="https://example.org/{name}")]), "images[0].uri"),
    (options(images=[image(uri="https://example.org/{}")]), "images[0].uri"),
    (options(images=[image(uri="https://example.org/{version")]), "images[0].uri"),
    (options(images=[image(uri="{version}")]), "images[0].uri"),
    (options(images=[image(size=0)]), "images[0].size"),
    (options(images=[image(size=True)]), "images[0].size"),
    (options(images=[image(size=10**18)]), "images[0].size"),
    (options(images=[image(sha512="ab")]), "images[0].sha512"),
    (options(images=[image(format="qcow")]), "images[0].format"),
    (options(images=[image(format="raw.zip")]), "images[0].format"),
    (options(images=[image(expires="tomorrow")]), "images[0].expires"),
    (options(images=[image(version="1/2")]), "images[0].version"),
    (options(images=[image(metadata={"hv:size": 5})]), "images[0].metadata.hv:size"),
    (options(images=[image(metadata={"sl:checksum:sha512": "x"})]), "images[0].metadata.sl:checksum:sha512"),
    (options(images=[image(title=None), image(identifier=LIST_ID, title=7)]), "images[1].title"),
    (options(uploads=[{"uri_replace": "/w/"}]), "uploads[0].uri_match"),
    (options(uploads=[{"uri_match": "https://"}]), "uploads[0].uri_replace"),
    (options(uploads=[{"uri_match": "(", "uri_replace": "/w/"}]), "uploads[0]"),
    (options(uploads=[{"uri_match": "https://", "uri_replace": r"\1"}]), "uploads[0]"),
    (options(uploads=[{"uri_match": "https://", "uri_replace": "/", "method": "gsidcap"}]), "uploads[0]"),
]


@pytest.mark.parametrize(("given", "option"), WRONG, ids=[option for _given, option in WRONG])
def test_a_wrong_option_is_named(given: dict[str, t.Any], option: str) -> None:
    with pytest.raises(PublishError) as refusal:
        PublishSpec.from_options(given)
    assert (refusal.value.code, refusal.value.context["option"]) == ("publish_invalid", option)
    assert refusal.value.detail.startswith(f"{option}: ")
    assert refusal.value.detail.isprintable()


def test_deep_metadata_is_refused() -> None:
    with pytest.raises(PublishError) as refusal:
        PublishSpec.from_options(options(metadata={"x": DEEP}))
    assert "deeper" in refusal.value.detail


@pytest.mark.parametrize("text", ["raw", "QCOW2", "vmdk.gz", "ova.bz2", "vhd.xz", "raw.zst", "tar"])
def test_formats(text: str) -> None:
    assert PublishSpec.from_options(options(images=[image(format=text)])).images[0].keys["hv:format"] == text


@pytest.mark.parametrize(
    "rule",
    [
        {"method": "sftp", "uri_replace": "sftp://erin:s3cret@host/"},
        {"method": "webdav", "uri_replace": "https://erin:s3cret@host/dav/"},
        {"method": "s3", "uri_replace": "s3://bucket/", "endpoint": "https://key:s3cret@host"},
    ],
)
def test_a_password_in_a_target_is_refused_and_not_shown(rule: dict[str, str]) -> None:
    """Targets are in results, logs and differences."""
    with pytest.raises(PublishError) as caught:
        PublishSpec.from_options(options(uploads=[{"uri_match": "https://x/", **rule}]))
    assert caught.value.context["option"] == "uploads[0]"
    assert "s3cret" not in f"{caught.value}{caught.value.context}"


@pytest.mark.parametrize("key", ["hv:dn", "hv:ca", "dc:creator", "hv:email"])
def test_who_the_endorser_is_cannot_be_made_up(key: str) -> None:
    with pytest.raises(PublishError) as caught:
        PublishSpec.from_options(options(endorser={"metadata": {key: "x"}}))
    assert (
        caught.value.context.get("option") == "endorser.metadata" or f"endorser.metadata.{key}" in caught.value.detail
    )
