# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One look at one message, without any state: read it, verify it, and say what it holds."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ..endorserlist.kinds import ENDORSER_LIST, IMAGE_LIST, KINDS, Kind
from ..endorserlist.model import MEMBERS, WRAPPER, EndorserList
from ..errors import SiteError, TransferError, TrustError
from ..imagelist.check import content_digest
from ..imagelist.fields import read_document
from ..imagelist.model import IMAGES, Image, ImageList, SignedList
from ..times import to_text
from ..trust import anchors
from ..trust.message.limits import MAX_MESSAGE
from ..trust.message.smime import read_message
from ..trust.steps import Explanation
from .access import Access
from .judgement.path_status import verify
from .subscription import TrustOptions

if t.TYPE_CHECKING:
    from datetime import datetime

    from cryptography import x509

    from ..trust.verify import Verified


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
    access: Access = field(default_factory=Access)
    trust: TrustOptions = field(default_factory=TrustOptions)

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> InspectionSpec:
        """Read module options; ``option_invalid`` names an option that makes no sense."""
        endorsers = options.get("endorsers")
        verify = options.get("verify", True)
        if not verify and endorsers is not None:
            raise SiteError("option_invalid", "endorsers: who signed an unverified list is not known.")
        if not verify and options.get("as_of") is not None:
            raise SiteError("option_invalid", "as_of: an unverified list is not judged as of any time.")
        return cls(
            src=options.get("src"),
            uri=options.get("uri"),
            verify=verify,
            identifier=options.get("identifier"),
            endorsers=None if endorsers is None else tuple((item["dn"], item["ca"]) for item in endorsers),
            ca_path=options.get("ca_path"),
            allow_private=bool(options.get("allow_private")),
            access=Access.from_options(options, _invalid),
            trust=TrustOptions.from_options(options),
        )


def inspect_list(
    spec: InspectionSpec, *, now: datetime, explanation: Explanation | None = None, audit: bool = False
) -> dict[str, t.Any]:
    """The message as data, times as text: the result of the module imagelist_info.

    `explanation` records each step's outcome, also when the message is refused. With `audit`, `now` is another time
    than the present one: what held then is told, and ``verified`` stays false, for it authorises nothing.
    Raises TransferError when the message cannot be had, TrustError when it does not prove what it must.
    """
    explanation = explanation or Explanation()
    octets = _octets(spec, explanation)
    if not spec.verify:
        # A list that nobody has signed yet is JSON and nothing else.
        content = octets if octets.lstrip()[:1] == b"{" else read_message(octets).content
        found = _kind(content).read(content)
        _check_identifier(found, spec.identifier)
        return _report(found, content)
    verified = verify(octets, spec.trust, anchors.load(spec.trust.anchors), now, explanation=explanation)
    found = _kind(verified.content).check(
        verified.content,
        verified.certificate,
        now,
        identifier=spec.identifier,
        endorsers=spec.endorsers,
        last_accepted=None,
        explanation=explanation,
    )
    return {
        **_report(found, verified.content),
        **_proof(found, verified, now),
        "verified": not audit,
        "audit": audit,
        "steps": [step.as_dict() for step in explanation.steps()],
    }


def refusal(explanation: Explanation) -> dict[str, t.Any]:
    """What a refusal is reported with: ``step``, the one that the message did not pass (None: it was not judged at
    all), and ``steps``, all sixteen."""
    step = explanation.refused()
    steps = [one.as_dict() for one in explanation.steps()] if explanation.begun else []
    return {"step": step.as_dict() if step else None, "steps": steps}


def _octets(spec: InspectionSpec, explanation: Explanation) -> bytes:
    try:
        return _fetch(spec) if spec.uri else _read(Path(spec.src or ""))
    except TransferError as error:
        if error.code == "too_large":
            with explanation.step(1):
                raise
        raise


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            octets = stream.read(MAX_MESSAGE + 1)
    except FileNotFoundError:
        raise TransferError("not_found", f"There is no file {path}.", path=str(path)) from None
    except OSError as error:
        raise TransferError("not_readable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from None
    if len(octets) > MAX_MESSAGE:
        raise TransferError("too_large", f"{path} has more than {MAX_MESSAGE} octets.", path=str(path))
    return octets


def _fetch(spec: InspectionSpec) -> bytes:
    from ..transfer.fetch import fetch_message
    from ..transfer.policy import Policy, host_of

    uri = t.cast(str, spec.uri)
    host = host_of(uri)
    policy = Policy(
        allow_private=spec.allow_private,
        allow_file=True,
        trusted_hosts=frozenset({host} if host else ()),
        ca_path=spec.ca_path,
    )
    return fetch_message(uri, cap=MAX_MESSAGE, policy=spec.access.apply(policy), validators=None).octets


def _invalid(option: str, text: str) -> SiteError:
    return SiteError("option_invalid", f"{option}: {text}.", option=option)


def _kind(content: bytes) -> Kind:
    """Of which kind a list is; what is no list at all is refused as an image list."""
    try:
        document = read_document(content)
    except TrustError:
        return KINDS[IMAGE_LIST]
    return KINDS[ENDORSER_LIST if WRAPPER in document else IMAGE_LIST]


def _check_identifier(found: SignedList, identifier: str | None) -> None:
    if identifier is not None and found.identifier != identifier.lower():
        raise SiteError(
            "identifier_mismatch", f"The list is {found.identifier}, not the expected {identifier.lower()}."
        )


def _report(found: SignedList, content: bytes) -> dict[str, t.Any]:
    """What the message says, with nothing proven."""
    return {
        "verified": False,
        "audit": False,
        "as_of": None,
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
            "raw": {key: value for key, value in found.raw.items() if key not in (IMAGES, MEMBERS)},
        },
        "images": [_image(image) for image in found.images] if isinstance(found, ImageList) else [],
        "elected": [member.as_dict() for member in found.members] if isinstance(found, EndorserList) else None,
        "signer": None,
        "path": [],
        "crls": [],
        "good_until": None,
        "good_until_reason": None,
        "steps": [],
    }


def _proof(found: SignedList, verified: Verified, now: datetime) -> dict[str, t.Any]:
    """What the message proves at `now`, and what will end that first."""
    ends = [(verified.good_until, verified.good_until_reason), (found.expires, "the list expires")]
    good_until, reason = min(ends)
    return {
        "as_of": to_text(now),
        "signer": verified.signer.as_dict(),
        "path": [_certificate(one) for one in verified.path],
        "crls": [{**one.as_dict(), "age": int((now - one.this_update).total_seconds())} for one in verified.crls],
        "good_until": to_text(good_until),
        "good_until_reason": reason,
    }


def _certificate(certificate: x509.Certificate) -> dict[str, t.Any]:
    from ..trust.verify import describe

    return {**describe(certificate).as_dict(), "not_before": to_text(certificate.not_valid_before_utc)}


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
