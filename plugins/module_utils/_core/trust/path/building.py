# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certification path (step 7). Only `_build` calls `x509.verification`, which is labelled unstable."""

from __future__ import annotations

import datetime
import typing as t

from ...errors import TrustError
from .. import ber, certificates
from ..naming import names

if t.TYPE_CHECKING:
    from cryptography import x509

MAX_DEPTH: t.Final = 8


def build(
    signer: x509.Certificate,
    embedded: t.Iterable[bytes],
    roots: t.Sequence[x509.Certificate],
    intermediates: t.Sequence[x509.Certificate],
    when: datetime.datetime,
) -> tuple[x509.Certificate, ...]:
    """A valid path at `when`, signer first, root last.

    `roots` are believed; `intermediates` and the message's `embedded` certificates (DER) only help to find the way.
    Raises `TrustError`: no_trust_anchor no_valid_path.
    """
    helpers = [*intermediates, *_helpers(embedded, signer, intermediates)]
    if not _leads_to_anchor(signer, helpers, roots):
        issuer = names.slash(certificates.fields_of(signer).issuer)
        raise TrustError("no_trust_anchor", f"No trust anchor stands above {issuer}")
    path = _build(signer, helpers, roots, when)
    # A signer that is an anchor itself would have nobody above it who could revoke it.
    if len(path) < 2 or certificates.der_of(path[-1]) not in {certificates.der_of(root) for root in roots}:
        raise TrustError("no_valid_path", "The path does not lead from the signer to a trust anchor above it")
    for certificate in path:
        if not certificate.not_valid_before_utc <= when <= certificate.not_valid_after_utc:
            raise TrustError("no_valid_path", f"{_name(certificate)} is not valid at {when:%Y-%m-%dT%H:%M:%SZ}")
    return path


def _helpers(
    embedded: t.Iterable[bytes], signer: x509.Certificate, known: t.Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    from cryptography import x509

    present = {certificates.der_of(certificate) for certificate in (signer, *known)}
    found = []
    for der in embedded:
        try:
            if der in present:
                continue
            present.add(der)
            certificate = x509.load_der_x509_certificate(der)
            if not (certificates.fields(der).self_issued and _self_signed(certificate)):
                found.append(certificate)
        except (ValueError, TypeError, x509.InvalidVersion):
            continue  # whatever it is, it leads nowhere
    return found


def _self_signed(certificate: x509.Certificate) -> bool:
    """Whether it vouches for itself; a self-issued one that another key of its CA has signed may show the way."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

    try:
        certificate.verify_directly_issued_by(certificate)
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _leads_to_anchor(
    signer: x509.Certificate, helpers: t.Sequence[x509.Certificate], roots: t.Sequence[x509.Certificate]
) -> bool:
    anchors = {certificates.fields_of(root).subject for root in roots}
    above: dict[bytes, set[bytes]] = {}
    for helper in helpers:
        found = certificates.fields_of(helper)
        above.setdefault(found.subject, set()).add(found.issuer)
    waiting, seen = [certificates.fields_of(signer).issuer], set()
    while waiting:
        name = waiting.pop()
        if name in anchors:
            return True
        if name not in seen:
            seen.add(name)
            waiting.extend(above.get(name, ()))
    return False


def _build(
    signer: x509.Certificate,
    helpers: t.Sequence[x509.Certificate],
    roots: t.Sequence[x509.Certificate],
    when: datetime.datetime,
) -> tuple[x509.Certificate, ...]:
    from cryptography import x509
    from cryptography.x509 import verification

    either = verification.Criticality.AGNOSTIC
    # Certificate policies are accepted as RFC 5280, 6.1 does it with the initial set any-policy. Nobody here processes
    # what restricts them, so it is refused, critical or not.
    ca_policy = (
        verification.ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, either, None)
        .may_be_present(x509.KeyUsage, either, _may_sign_certificates)
        .may_be_present(x509.CertificatePolicies, either, None)
        .require_not_present(x509.PolicyConstraints)
        .require_not_present(x509.InhibitAnyPolicy)
        # The library passes over what it cannot process in one that is not critical.
        .may_be_present(x509.NameConstraints, verification.Criticality.CRITICAL, None)
    )
    ee_policy = verification.ExtensionPolicy.permit_all().may_be_present(x509.CertificatePolicies, either, None)
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store(list(roots)))
        .time(when)
        .max_chain_depth(MAX_DEPTH)
        .extension_policies(ca_policy=ca_policy, ee_policy=ee_policy)
        .build_client_verifier()
    )
    try:
        return tuple(verifier.verify(signer, list(helpers)).chain)
    # The library's own refusal ends in ValueError or TypeError where it cannot print the name of a certificate in it.
    except (verification.VerificationError, ValueError, TypeError) as error:
        detail = f"No valid path leads from {_name(signer)} to a trust anchor ({_why(signer, when, error)})"
        raise TrustError("no_valid_path", detail) from error


def _may_sign_certificates(_policy: t.Any, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("the key usage of a CA does not allow to sign certificates")


def _why(signer: x509.Certificate, when: datetime.datetime, error: Exception) -> str:
    if when > signer.not_valid_after_utc:
        return f"the certificate has expired on {signer.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    if when < signer.not_valid_before_utc:
        return f"the certificate is valid only from {signer.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ} on"
    return str(error).partition(" (encountered processing")[0][:300]


def _name(certificate: x509.Certificate) -> str:
    try:
        return names.slash(certificates.fields_of(certificate).subject)
    except ber.BerError:
        return "a certificate with a malformed name"
