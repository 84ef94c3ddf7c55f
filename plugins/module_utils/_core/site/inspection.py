# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at one message, without any state: read it, verify it, and say what it holds."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import SiteError, TransferError
from ..imagelist.check import check_list, content_digest
from ..imagelist.model import IMAGES, Image, ImageList
from ..imagelist.reader import read_list
from ..times import to_text
from ..trust import anchors
from ..trust.smime import read_message
from .judgement.path_status import verify
from .subscription import TrustOptions

if t.TYPE_CHECKING:
    from datetime import datetime

    from ..trust.verify import Verified

#: Octets a message may have (trust.md, section 6).
MESSAGE_CAP: t.Final = 8 * 1024 * 1024


@dataclass(frozen=True)
class InspectionSpec:
    """What to look at, `src` (a file) or `uri`, and what it must prove; `endorsers` None: anyone with a good path."""

    src: str | None = None
    uri: str | None = None
    verify: bool = True
    identifier: str | None = None
    endorsers: tuple[tuple[str, str], ...] | None = None
    ca_path: str | None = None
    allow_private: bool = False
    trust: TrustOptions = field(default_factory=TrustOptions)

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> InspectionSpec:
        """Read module options; ``option_invalid`` names an option that makes no sense."""
        endorsers = options.get("endorsers")
        verify = options.get("verify", True)
        if not verify and endorsers is not None:
            raise SiteError("option_invalid", "endorsers: who signed an unverified list is not known.")
        names = ("anchors", "crl_mode", "namespaces_mode", "allow_sha1", "allow_host")
        return cls(
            src=options.get("src"),
            uri=options.get("uri"),
            verify=verify,
            identifier=options.get("identifier"),
            endorsers=None if endorsers is None else tuple((item["dn"], item["ca"]) for item in endorsers),
            ca_path=options.get("ca_path"),
            allow_private=bool(options.get("allow_private")),
            trust=TrustOptions(**{name: options[name] for name in names if options.get(name) is not None}),
        )


def inspect_list(spec: InspectionSpec, *, now: datetime) -> dict[str, t.Any]:
    """The message as data: ``verified``, ``list``, ``images``, ``signer``, ``crls``, ``good_until``; times as text.

    Raises TransferError when the message cannot be had, TrustError when it does not prove what it must.
    """
    octets = _fetch(spec) if spec.uri else _read(Path(spec.src or ""))
    if not spec.verify:
        content = read_message(octets).content
        found = read_list(content)
        _check_identifier(found, spec.identifier)
        return _report(found, content, None)
    verified = verify(octets, spec.trust, anchors.load(spec.trust.anchors), now)
    found = check_list(
        verified.content,
        verified.certificate,
        now,
        identifier=spec.identifier,
        endorsers=spec.endorsers,
        last_accepted=None,
    )
    return _report(found, verified.content, verified)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            octets = stream.read(MESSAGE_CAP + 1)
    except FileNotFoundError:
        raise TransferError("not_found", f"There is no file {path}.", path=str(path)) from None
    except OSError as error:
        raise TransferError("not_readable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from None
    if len(octets) > MESSAGE_CAP:
        raise TransferError("too_large", f"{path} has more than {MESSAGE_CAP} octets.", path=str(path))
    return octets


def _fetch(spec: InspectionSpec) -> bytes:
    from ..transfer.fetch import fetch_message
    from ..transfer.policy import Policy

    uri = t.cast(str, spec.uri)
    host = urlsplit(uri).hostname
    policy = Policy(
        allow_private=spec.allow_private,
        allow_file=True,
        trusted_hosts=frozenset({host} if host else ()),
        ca_path=spec.ca_path,
    )
    return fetch_message(uri, cap=MESSAGE_CAP, policy=policy, validators=None).octets


def _check_identifier(found: ImageList, identifier: str | None) -> None:
    if identifier is not None and found.identifier != identifier.lower():
        raise SiteError(
            "identifier_mismatch", f"The list is {found.identifier}, not the expected {identifier.lower()}."
        )


def _report(found: ImageList, content: bytes, verified: Verified | None) -> dict[str, t.Any]:
    return {
        "verified": verified is not None,
        "list": {
            "identifier": found.identifier,
            "version": found.version,
            "created": to_text(found.created),
            "expires": to_text(found.expires),
            "title": found.title,
            "description": found.description,
            "source": found.source,
            "uri": found.uri,
            "endorsers": [
                {"dn": endorser.dn, "ca": endorser.ca, "name": endorser.name, "email": endorser.email}
                for endorser in found.endorsers
            ],
            "sha512_of_content": content_digest(content),
            "raw": {key: value for key, value in found.raw.items() if key != IMAGES},
        },
        "images": [_image(image) for image in found.images],
        "signer": verified.signer.as_dict() if verified else None,
        "crls": [crl.as_dict() for crl in verified.crls] if verified else [],
        "good_until": to_text(min(verified.good_until, found.expires)) if verified else None,
    }


def _image(image: Image) -> dict[str, t.Any]:
    return {
        "identifier": image.identifier,
        "version": image.version,
        "title": image.title,
        "description": image.description,
        "uri": image.uri,
        "size": image.size,
        "sha512": image.sha512,
        "arch": image.arch,
        "os": image.os,
        "osversion": image.osversion,
        "hypervisor": image.hypervisor,
        "format": image.format,
        "comments": image.comments,
        "expires": to_text(image.expires) if image.expires else None,
        "raw": image.raw,
    }
