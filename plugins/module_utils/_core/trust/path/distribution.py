# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Partitioned CRLs: which certificates one with an issuing distribution point speaks about (RFC 5280, 6.3.3 b 2).

Only CRLs of the CA itself that are complete for every reason count. What is revoked is looked for before this is asked,
so that no partition can hide a revocation.
"""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from cryptography import x509


def out_of_scope(point: x509.IssuingDistributionPoint, certificate: x509.Certificate) -> str | None:
    """Why a CRL of the certificate's issuer with this `point` does not speak about `certificate`, or None.

    Raises `ValueError` where the certificate's extensions are malformed.
    """
    if point.indirect_crl:
        return "it is an indirect CRL, which is not processed here"
    if point.only_some_reasons is not None:
        return "it covers only some reasons for a revocation, which is not processed here"
    if point.only_contains_attribute_certs:
        return "it is for attribute certificates only"
    authority = _is_authority(certificate)
    if point.only_contains_user_certs and authority:
        return "it is for end-entity certificates only"
    if point.only_contains_ca_certs and not authority:
        return "it is for the certificates of CAs only"
    if point.full_name is None and point.relative_name is None:
        return None
    if _names(point, certificate.issuer) & _named_by(certificate):
        return None
    return "it belongs to a distribution point that the certificate does not name"


def _is_authority(certificate: x509.Certificate) -> bool:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _named_by(certificate: x509.Certificate) -> frozenset[x509.GeneralName]:
    """The names of the certificate's distribution points that its own CA serves, for all reasons."""
    from cryptography import x509

    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return frozenset()
    own = [point for point in points if point.crl_issuer is None and point.reasons is None]
    return frozenset(name for point in own for name in _names(point, certificate.issuer))


def _names(
    point: x509.DistributionPoint | x509.IssuingDistributionPoint, issuer: x509.Name
) -> frozenset[x509.GeneralName]:
    from cryptography import x509

    if point.relative_name is not None:
        return frozenset({x509.DirectoryName(x509.Name([*issuer.rdns, point.relative_name]))})
    return frozenset(point.full_name or ())
