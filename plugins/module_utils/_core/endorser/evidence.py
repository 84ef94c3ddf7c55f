# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an endorser can show for an image: the report of its audit and the list of all its packages.

The endorsement policy (clause 5) asks for an auditable history with the full list of packages. Both files are kept
beside the published messages under their own digest, for the octets of the image that they speak of.
"""

from __future__ import annotations

import hashlib
import json
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ..errors import PublishError
from ..transfer.atomic import storage_errors
from .declared.images import EVIDENCE, FORMAT, ImageSpec
from .declared.options import invalid

AUDIT, MANIFEST = EVIDENCE

_LARGEST: t.Final = 64 * 1024 * 1024
_COMPRESSED: t.Final = (".gz", ".bz2", ".xz", ".zst")
_CLEAN: t.Final = frozenset({"pass", "waived"})


@dataclass(frozen=True)
class Evidence:
    """One file about the image with the octets `image_sha512`."""

    identifier: str
    image_sha512: str
    kind: str
    sha512: str
    octets: bytes


def plan_evidence(
    images: t.Sequence[ImageSpec],
    composed: t.Mapping[str, t.Mapping[str, t.Any]],
    sources: t.Mapping[str, str],
    known: t.Mapping[str, t.Mapping[str, str]],
    *,
    required: bool,
) -> tuple[Evidence, ...]:
    """The files that the history does not hold yet, read and checked.

    `composed` are the list's images by identifier, `sources` the SHA-512 of the file that an image was made of, `known`
    the evidence that is kept: image's SHA-512 -> kind -> SHA-512. With `required` every image of the list needs both.
    Raises PublishError: ``evidence_missing``, ``evidence_invalid``, ``audit_failed``; TransferError.
    """
    found: list[Evidence] = []
    for image in images:
        if image.identifier not in composed:
            continue
        raw = composed[image.identifier]
        for kind, path in image.evidence.items():
            evidence = _read(image, kind, path, raw, sources.get(image.identifier))
            if known.get(evidence.image_sha512, {}).get(kind) != evidence.sha512:
                found.append(evidence)
    if required:
        _require(composed, known, found, {image.identifier: image.option for image in images})
    return tuple(found)


def _require(
    composed: t.Mapping[str, t.Mapping[str, t.Any]],
    known: t.Mapping[str, t.Mapping[str, str]],
    found: t.Sequence[Evidence],
    options: t.Mapping[str, str],
) -> None:
    given = {(evidence.identifier, evidence.kind) for evidence in found}
    for name, raw in composed.items():
        kept = known.get(raw["sl:checksum:sha512"].lower(), {})
        for kind in EVIDENCE:
            if kind not in kept and (name, kind) not in given:
                where = options.get(name, f"image {name}")
                raise PublishError(
                    "evidence_missing", f"{where}.{kind}: there is none for the image {name}.", option=f"{where}.{kind}"
                )


def _read(image: ImageSpec, kind: str, path: Path, raw: t.Mapping[str, t.Any], source: t.Optional[str]) -> Evidence:
    option = f"{image.option}.{kind}"
    with storage_errors(path, reading=True), path.open("rb") as stream:
        octets = stream.read(_LARGEST + 1)
    if len(octets) > _LARGEST:
        raise invalid(option, f"{path} has more than {_LARGEST} octets")
    try:
        document = json.loads(octets)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise _unusable(option, f"{path} is not a JSON object")
    sha512 = raw["sl:checksum:sha512"].lower()
    if kind == AUDIT:
        _check_audit(document, option, path, {sha512, source}, packed=_is_packed_elsewhere(raw, source, sha512))
    else:
        _check_manifest(document, option, path)
    return Evidence(image.identifier, sha512, kind, hashlib.sha512(octets).hexdigest(), octets)


def _is_packed_elsewhere(raw: t.Mapping[str, t.Any], source: t.Optional[str], sha512: str) -> bool:
    """Whether the octets inside were never seen here: the image came compressed."""
    return str(raw.get(FORMAT, "")).lower().endswith(_COMPRESSED) and source in (None, sha512)


def _check_audit(
    report: t.Mapping[str, t.Any], option: str, path: Path, digests: t.Container[t.Optional[str]], *, packed: bool
) -> None:
    subject, result = report.get("image"), report.get("result")
    digest = subject.get("sha512") if isinstance(subject, dict) else None
    if not isinstance(digest, str) or not isinstance(result, str):
        raise _unusable(option, f"{path} does not say which image it is about (image.sha512), or its result")
    if digest.lower() not in digests and not packed:
        raise _unusable(option, f"{path} is about an image with other octets ({digest[:16]}...)")
    if result not in _CLEAN:
        raise PublishError(
            "audit_failed", f"{option}: the result of {path} is {result[:40]!a}.", option=option, result=result[:40]
        )


def _check_manifest(manifest: t.Mapping[str, t.Any], option: str, path: Path) -> None:
    version, packages = manifest.get("spdxVersion"), manifest.get("packages")
    if not isinstance(version, str) or not version.startswith("SPDX-2") or not isinstance(packages, list):
        raise _unusable(option, f"{path} is no SPDX document (version 2, as JSON)")
    if not packages:
        raise _unusable(option, f"{path} lists no package")


def _unusable(option: str, what: str) -> PublishError:
    return PublishError("evidence_invalid", f"{option}: {what}.", option=option)
