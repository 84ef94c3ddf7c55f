# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a list must satisfy, once its message is verified (`trust.verify`), before it may be applied."""

from __future__ import annotations

import datetime
import hashlib
import typing as t

from ..errors import TrustError
from ..times import to_text
from ..trust.names import signer_matches
from . import versions
from .model import ImageList
from .reader import read_list

if t.TYPE_CHECKING:
    from cryptography import x509


def check_list(
    content: bytes,
    certificate: x509.Certificate,
    when: datetime.datetime,
    *,
    identifier: t.Optional[str],
    endorsers: t.Optional[t.Sequence[tuple[str, str]]],
    last_accepted: t.Optional[t.Mapping[str, str]],
) -> ImageList:
    """Read exactly the octets that were verified, and judge them against what the subscriber knows.

    `content` and `certificate` are those of `Verified`; `when` is an aware time. `identifier` None: not pinned yet.
    `endorsers`: the authorised (DN, CA) pairs in slash form, an empty sequence authorises nobody; None: authorisation
    is not asked, for readers that only report. `last_accepted`: ``{"version", "sha512_of_signed_content"}`` or None.

    Raises TrustError: `read_list`'s codes, ``endorser_mismatch``, ``not_authorised``, ``identifier_mismatch``,
    ``list_not_yet_valid``, ``list_expired``, ``rollback``, ``version_reused``.
    """
    found = read_list(content)
    _check_endorser(found, certificate)
    if endorsers is not None:
        _check_authorised(certificate, endorsers)
    if identifier is not None and found.identifier != identifier.lower():
        raise TrustError(
            "identifier_mismatch",
            f"The list is {found.identifier}, not the expected {identifier.lower()}.",
            found=found.identifier,
            expected=identifier.lower(),
        )
    _check_dates(found, when)
    if last_accepted is not None:
        _check_version(found, content, last_accepted)
    return found


def content_digest(content: bytes) -> str:
    """The sha512 of signed content in hex, as kept in ``sha512_of_signed_content``."""
    return hashlib.sha512(content).hexdigest()


def _check_endorser(found: ImageList, certificate: x509.Certificate) -> None:
    if not any(signer_matches(certificate, endorser.dn, endorser.ca) for endorser in found.endorsers):
        raise TrustError(
            "endorser_mismatch",
            f"The signer is {_name(certificate)}, and the list names another endorser.",
            named=[{"dn": endorser.dn, "ca": endorser.ca} for endorser in found.endorsers],
        )


def _check_authorised(certificate: x509.Certificate, endorsers: t.Sequence[tuple[str, str]]) -> None:
    if not any(signer_matches(certificate, dn, ca) for dn, ca in endorsers):
        raise TrustError("not_authorised", f"The signer {_name(certificate)} is not authorised for this list.")


def _check_dates(found: ImageList, when: datetime.datetime) -> None:
    if when < found.created:
        raise TrustError(
            "list_not_yet_valid", f"The list was created at {to_text(found.created)}, after {to_text(when)}."
        )
    if when >= found.expires:
        raise TrustError("list_expired", f"The list expired at {to_text(found.expires)}.")


def _check_version(found: ImageList, content: bytes, last_accepted: t.Mapping[str, str]) -> None:
    accepted = last_accepted["version"]
    order = versions.compare(found.version, accepted)
    if order < 0:
        raise TrustError("rollback", f"The list's version is {found.version}; version {accepted} was accepted before.")
    if order == 0 and content_digest(content) != last_accepted["sha512_of_signed_content"]:
        raise TrustError("version_reused", f"Version {found.version} was accepted before with other content.")


def _name(certificate: x509.Certificate) -> str:
    return f"{certificate.subject.rfc4514_string()} (issued by {certificate.issuer.rfc4514_string()})"
