# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages verify``: one signed message, without any state."""

from __future__ import annotations

import typing as t

from ..site.inspection import InspectionSpec, inspect_list
from ..site.subscription import TrustOptions
from ..times import utc_now
from .output import emit, emit_json, printable, table

if t.TYPE_CHECKING:
    import argparse


def verify(options: argparse.Namespace) -> int:
    """0 if the message proves what it must; a refusal is raised."""
    spec = InspectionSpec(
        src=options.file,
        identifier=options.identifier,
        endorsers=None if options.endorsers is None else tuple((dn, ca) for dn, ca in options.endorsers),
        trust=TrustOptions(
            anchors=options.anchors,
            crl_mode=options.crl_mode,
            namespaces_mode=options.namespaces_mode,
            allow_sha1=options.allow_sha1,
            allow_host=options.allow_host,
        ),
    )
    report = inspect_list(spec, now=utc_now())
    if options.json:
        emit_json(report)
        return 0
    found = report["list"]
    facts = {
        "list": f"{found['identifier']} version {found['version']}",
        "title": found["title"],
        "signer": report["signer"]["dn"],
        "issuer": report["signer"]["ca"],
        "created": found["created"],
        "expires": found["expires"],
        "good until": report["good_until"],
    }
    emit("verified", *(f"  {name:<10}  {printable(value)}" for name, value in facts.items()))
    images = [(image["identifier"], image["title"], image["version"], image["size"]) for image in report["images"]]
    emit(*table(("IMAGE", "TITLE", "VERSION", "SIZE"), images))
    return 0
