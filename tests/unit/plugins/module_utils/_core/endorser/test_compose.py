# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any sequence of declarations: versions rise when something changed, and only then."""

from __future__ import annotations

import typing as t
from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.compose import (
    Base,
    Signer,
    compose,
    decide,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.declared.spec import PublishSpec
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.entries.images import known_images
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.history import KnownImage
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.model import ImageList
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.reader import read_list
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.versions import compare
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.writer import write_list

LIST_ID = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"
UUIDS = [f"{number}b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1" for number in range(3)]
START = datetime(2026, 11, 20, tzinfo=timezone.utc)
SIGNER = Signer(dn="/CN=E", ca="/CN=C", not_after=START + timedelta(days=1000), name="E", email="")

IMAGE = st.fixed_dictionaries(
    {
        "identifier": st.sampled_from(UUIDS),
        "sha512": st.sampled_from(["aa" * 64, "bb" * 64]),
        "size": st.just(1),
        "uri": st.just("https://example.org/{identifier}/{sha512}/{version}"),
        "title": st.sampled_from(["a", "b"]),
        "format": st.sampled_from(["raw", "qcow2"]),
    }
)
DECLARATION = st.tuples(
    st.lists(IMAGE, max_size=3, unique_by=lambda image: image["identifier"]),
    st.booleans(),
    st.sampled_from(["", "title"]),
    st.integers(0, 30),
)


@given(st.lists(DECLARATION, max_size=6))
def test_versions_rise_with_changes_and_only_then(declarations: list[t.Any]) -> None:
    base: t.Optional[Base] = None
    known: dict[str, KnownImage] = {}
    seen: dict[tuple[str, str], tuple[str, t.Optional[str]]] = {}
    now = START
    for images, purge, title, days in declarations:
        now += timedelta(days=days)
        given_options = {
            "identifier": LIST_ID,
            "uri": "https://example.org/list",
            "certificate": "c",
            "private_key": "k",
            "history_dir": "h",
            "title": title,
            "images": images,
            "purge_images": purge,
        }
        spec = PublishSpec.from_options(given_options)
        decision = decide(spec, base, compose(spec, base, SIGNER, {}, known), SIGNER, now)
        if decision is None:
            assert base is not None
            assert base.content.title == title
        else:
            found = read_list(write_list(decision.raw))
            assert base is None or compare(base.content.version, found.version) < 0
            assert base is None or decision.reason == "expiry" or says(t.cast(ImageList, base.content)) != says(found)
            for image in found.images:
                octets = (image.sha512, image.format)
                # Within an image's history, a version stands for one content.
                assert seen.setdefault((image.identifier, image.version), octets) == octets
            base = Base(found, "", SIGNER.not_after)
            known.update(known_images(found.raw))
        declared = {image["identifier"]: (image["sha512"], image["format"]) for image in images}
        listed = {image.identifier: (image.sha512, image.format) for image in t.cast(ImageList, base.content).images}
        assert declared.items() <= listed.items()
        assert not purge or declared == listed
        assert base.content.expires - now > timedelta(days=7)
        assert decide(spec, base, compose(spec, base, SIGNER, {}, known), SIGNER, now) is None


def says(content: ImageList) -> tuple[str, list[dict[str, t.Any]]]:
    return content.title, sorted((dict(image.raw) for image in content.images), key=lambda raw: raw["dc:identifier"])
