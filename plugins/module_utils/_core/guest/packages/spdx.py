# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of packages as an SPDX 2.3 document in JSON; the same packages give the same document."""

from __future__ import annotations

import hashlib
import json
import re
import typing as t
import uuid
from datetime import datetime, timezone
from urllib.parse import quote

from ...times import to_text
from ..root.names import shown
from .content.unowned import Tree
from .model import Package

_CREATOR: t.Final = "Tool: hepix.vmimages"
_NOTHING: t.Final = "NOASSERTION"
_NAMESPACE: t.Final = uuid.UUID("7c0c9f62-6a0a-5a0c-9d7b-3f3b9b1f2f54")
_DOCUMENT: t.Final = "SPDXRef-DOCUMENT"
_SYSTEM: t.Final = "SPDXRef-System"


def document(
    installed: t.Iterable[Package],
    trees: t.Sequence[Tree],
    *,
    name: str,
    system: t.Mapping[str, t.Any],
    created: datetime,
) -> dict[str, t.Any]:
    """The document. `system` has name, id and version; the namespace is a name of all the content but `created`."""
    packages = sorted(set(installed), key=_order)
    entries: list[dict[str, t.Any]] = [_system(name, system)]
    texts: dict[str, str] = {}
    for package in packages:
        reference = None if package.licence is None else f"LicenseRef-{_digest(package.licence)}"
        if reference is not None and package.licence is not None:
            texts[reference] = package.licence
        entries.append(_entry(package, reference, system.get("id")))
    entries += [_tree(tree) for tree in trees]
    made: dict[str, t.Any] = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": _DOCUMENT,
        "name": name,
        "creationInfo": {"creators": [_CREATOR]},
        "packages": entries,
        "hasExtractedLicensingInfos": [
            {"licenseId": key, "extractedText": text, "name": text} for key, text in sorted(texts.items())
        ],
        "relationships": [
            _relation(_DOCUMENT, "DESCRIBES", _SYSTEM),
            *(_relation(_SYSTEM, "CONTAINS", entry["SPDXID"]) for entry in entries[1:]),
        ],
    }
    made["documentNamespace"] = f"urn:uuid:{uuid.uuid5(_NAMESPACE, json.dumps(made, sort_keys=True))}"
    made["creationInfo"]["created"] = to_text(created)
    return made


def octets_of(made: t.Mapping[str, t.Any], existing: bytes | None) -> bytes:
    """The document as it is written: `existing` itself, if that is it but for the time of its creation."""
    try:
        old = json.loads(existing or b"")
        same = {**old, "creationInfo": {**old["creationInfo"], "created": made["creationInfo"]["created"]}} == made
    except (ValueError, TypeError, KeyError):
        same = False
    if same and existing is not None:
        return existing
    return (json.dumps(made, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _order(package: Package) -> tuple[str, ...]:
    return (package.kind, package.name, package.full_version, package.arch or "", repr(package))


def _system(name: str, system: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {
        "SPDXID": _SYSTEM,
        "name": system.get("name") or name,
        **({"versionInfo": system["version"]} if system.get("version") else {}),
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "downloadLocation": _NOTHING,
        "filesAnalyzed": False,
    }


def _entry(package: Package, licence: str | None, distribution: str | None) -> dict[str, t.Any]:
    vendor = package.vendor or package.maintainer
    return {
        "SPDXID": _identifier(package),
        "name": package.name,
        "versionInfo": package.full_version,
        "supplier": _NOTHING if vendor is None else f"Organization: {vendor}",
        "downloadLocation": _NOTHING,
        "filesAnalyzed": False,
        "licenseConcluded": _NOTHING,
        "licenseDeclared": licence or _NOTHING,
        "copyrightText": _NOTHING,
        **({"sourceInfo": _sources(package)} if package.source or package.path or package.key else {}),
        **({"builtDate": _time(package.built)} if package.built is not None else {}),
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": _purl(package, distribution),
            }
        ],
    }


def _sources(package: Package) -> str:
    found = [f"built from {package.source}"] if package.source else []
    found += [f"signed by {package.key}"] if package.key else []
    found += [f"found at {package.path}"] if package.path else []
    return ", ".join(found)


def _time(seconds: int) -> str:
    return to_text(datetime.fromtimestamp(seconds, timezone.utc))


def _tree(tree: Tree) -> dict[str, t.Any]:
    """Files that no package brought: another content has another digest."""
    return {
        "SPDXID": f"SPDXRef-tree-{_digest(tree.path)}",
        "name": shown(tree.path),
        "comment": f"{tree.files} files, {tree.size} octets, that no package brought",
        **({"checksums": [{"algorithm": "SHA256", "checksumValue": tree.sha256}]} if tree.sha256 else {}),
        "downloadLocation": _NOTHING,
        "filesAnalyzed": False,
        "primaryPackagePurpose": "OTHER",
        "licenseConcluded": _NOTHING,
        "licenseDeclared": _NOTHING,
        "copyrightText": _NOTHING,
    }


def _identifier(package: Package) -> str:
    readable = re.sub(r"[^A-Za-z0-9.-]", "-", f"{package.kind}-{package.name}")[:80]
    return f"SPDXRef-{readable}-{_digest(repr(package))}"


def _purl(package: Package, distribution: str | None) -> str:
    version = package.version if package.release is None else f"{package.version}-{package.release}"
    if package.kind == "deb" and package.epoch is not None:
        version = f"{package.epoch}:{version}"
    qualifiers = [] if package.arch is None else [f"arch={quote(package.arch, safe='')}"]
    if package.kind == "rpm" and package.epoch is not None:
        qualifiers.append(f"epoch={package.epoch}")
    if package.kind == "pypi":
        return f"pkg:pypi/{quote(re.sub('[-_.]+', '-', package.name.lower()), safe='')}@{quote(version, safe='')}"
    if package.kind == "conda":
        return f"pkg:conda/{quote(package.name.lower(), safe='')}@{quote(version, safe='')}"
    space = quote((distribution or "unknown").lower(), safe="")
    tail = f"?{'&'.join(qualifiers)}" if qualifiers else ""
    return f"pkg:{package.kind}/{space}/{quote(package.name.lower(), safe='')}@{quote(version, safe='')}{tail}"


def _relation(subject: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": subject, "relationshipType": kind, "relatedSpdxElement": other}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
