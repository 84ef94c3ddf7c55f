# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every message of the corpus gets its verdict: the whole way from the octets to the accepted list."""

from __future__ import annotations

import json
import pathlib
import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.check import check_list
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.verify import verify_message

MANIFEST: list[dict[str, t.Any]] = json.loads(
    (pathlib.Path(__file__).parent / "corpus" / "manifest.json").read_text(encoding="utf-8")
)


def verdict(corpus: t.Any, entry: dict[str, t.Any]) -> str:
    options = dict(entry["options"])
    state = options.pop("state", None)
    if "ns_mode" in options:
        options["namespaces_mode"] = options.pop("ns_mode")
    accepted = corpus.config["state"].get(state) if state else None
    if state and not isinstance(accepted, dict):
        accepted = {"version": state, "sha512_of_signed_content": "0" * 128}
    try:
        octets = corpus.message(entry["file"][: -len(".eml")])
        verified = verify_message(octets, corpus.anchors(entry["trust"]), corpus.when, **options)
        check_list(
            verified.content,
            verified.certificate,
            corpus.when,
            identifier=corpus.config["identifier"],
            endorsers=[tuple(pair) for pair in corpus.config["authorised_endorsers"]],
            last_accepted=accepted,
        )
    except TrustError as refusal:
        return refusal.code
    return "accept"


@pytest.mark.parametrize("entry", MANIFEST, ids=[entry["file"] for entry in MANIFEST])
def test_verdict(corpus: t.Any, entry: dict[str, t.Any]) -> None:
    found = verdict(corpus, entry)
    assert found != "internal_error"
    if entry["expect"] == "accept":
        assert found == "accept"
    elif entry["expect"] == "reject":
        assert found != "accept"
        if entry["codes"]:
            assert found in entry["codes"].split()
