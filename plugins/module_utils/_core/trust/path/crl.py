# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate revocation lists of the anchors: for every level below the root one that is good now (step 8).

CRLs inside messages are never read. What is wrong with a CRL makes it unavailable, and unavailable refuses; a serial
number that any genuine CRL of the issuer names is revoked, however old that CRL is.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import hashlib
import re
import typing as t

from ... import files
from ...errors import TrustError
from .. import ber, certificates
from ..naming import names
from . import distribution

if t.TYPE_CHECKING:
    from cryptography import x509

Mode = t.Literal["require", "if-present"]
MAX_CRL: t.Final = 128 * 1024 * 1024
_PEEK: t.Final = 16 * 1024
_BEGIN = re.compile(rb"-----BEGIN X509 CRL-----\s")
_HASHES: t.Final = frozenset({"sha256", "sha384", "sha512"})
#: CRL extensions that may be critical: authority key identifier and CRL number, which restrict nothing, and the issuing
#: distribution point, which is processed
_KNOWN: t.Final = frozenset({"2.5.29.35", "2.5.29.20", "2.5.29.28"})
_DELTA: t.Final = "2.5.29.27"


@dataclasses.dataclass(frozen=True)
class Source:
    """A CRL file (or, with `octets`, a PEM block): its path, and the name hash in its file name."""

    path: str
    stem: str | None
    octets: bytes | None = None


@dataclasses.dataclass(frozen=True)
class CrlUsed:
    """A CRL that a verdict rests on; `issuer` in slash form, `sha256` of its DER octets in hex."""

    issuer: str
    number: int | None
    this_update: datetime.datetime
    next_update: datetime.datetime
    sha256: str

    def as_dict(self) -> dict[str, t.Any]:
        """For JSON output; times as YYYY-MM-DDThh:mm:ssZ."""
        return {
            "issuer": self.issuer,
            "number": self.number,
            "this_update": f"{self.this_update:%Y-%m-%dT%H:%M:%SZ}",
            "next_update": f"{self.next_update:%Y-%m-%dT%H:%M:%SZ}",
            "sha256": self.sha256,
        }


class CrlStore:
    """The CRLs of the anchors, found by their issuer's name; each parsed when a path first needs it."""

    def __init__(self, sources: t.Sequence[Source], stems: t.Mapping[bytes, frozenset[str]]) -> None:
        self._sources = tuple(sources)
        self._stems = stems
        self._index: tuple[dict[t.Hashable, list[Source]], list[Source]] | None = None
        self._parsed: dict[str, x509.CertificateRevocationList | None] = {}

    def of(self, issuer: bytes) -> tuple[list[x509.CertificateRevocationList], list[str]]:
        """(CRLs that name this issuer, paths of those that cannot be read although they are its own)."""
        index, unreadable = self._indexed()
        stems = self._stems.get(issuer, frozenset())
        broken = [source.path for source in unreadable if source.stem is None or source.stem in stems]
        found: dict[bytes, x509.CertificateRevocationList] = {}
        for source in index.get(names.folded(issuer), ()):
            parsed = self._parse(source)
            if parsed is None:
                broken.append(source.path)
            else:
                found.setdefault(parsed.signature + parsed.tbs_certlist_bytes[:64], parsed)
        return list(found.values()), broken

    def _indexed(self) -> tuple[dict[t.Hashable, list[Source]], list[Source]]:
        """(CRLs by their issuer's Name in any encoding, those that cannot be read)."""
        if self._index is None:
            index: dict[t.Hashable, list[Source]] = {}
            broken = []
            for source in self._sources:
                try:
                    index.setdefault(names.folded(_issuer(source)), []).append(source)
                except (OSError, ValueError, files.UnusableFileError):
                    broken.append(source)
            self._index = index, broken  # at once: another thread must not take half an index for the whole
        return self._index

    def _parse(self, source: Source) -> x509.CertificateRevocationList | None:
        if source.path not in self._parsed:
            from cryptography import x509

            try:
                octets = source.octets if source.octets is not None else files.read(source.path, MAX_CRL)[1]
                der = octets[:1] == b"\x30"
                self._parsed[source.path] = x509.load_der_x509_crl(octets) if der else x509.load_pem_x509_crl(octets)
            except (OSError, ValueError, x509.InvalidVersion, files.UnusableFileError):
                self._parsed[source.path] = None
        return self._parsed[source.path]


def _issuer(source: Source) -> bytes:
    """The issuer's Name of a CRL, from its first octets only: CRLs may be large, and there are many."""
    octets = source.octets if source.octets is not None else files.read(source.path, MAX_CRL, only=_PEEK)[1]
    if octets[:1] != b"\x30":
        begin = _BEGIN.search(octets)
        if not begin:
            raise ValueError("no CRL")
        body = octets[begin.end() : begin.end() + _PEEK].partition(b"-")[0].translate(None, b" \t\r\n")
        octets = base64.b64decode(body[: len(body) // 4 * 4], validate=True)
    reader = ber.Reader(octets, max_elements=16)
    end = len(octets)
    _tag, outer, _length = reader.header(0, end)
    _tag, at, _length = reader.header(outer, end)
    if octets[at : at + 1] == bytes([ber.INTEGER]):
        at = reader.element(at, end).end
    at = reader.element(at, end).end
    return reader.whole(ber.expect(reader.element(at, end), ber.SEQUENCE))


def check(
    path: t.Sequence[x509.Certificate],
    store: CrlStore,
    when: datetime.datetime,
    mode: Mode,
    *,
    as_of: datetime.datetime | None = None,
) -> tuple[CrlUsed, ...]:
    """Ask the issuer's CRL about every certificate below the root; signer first, root last.

    The CRLs must be good at `when`. With an earlier `as_of`, for audits, what they revoke from a later date on was not
    revoked yet. Raises `TrustError`: revoked crl_unavailable. What is revoked is said before what is unavailable.
    """
    judged = [_Judged(one, _issuers(path[at:]), store, when, as_of) for at, one in enumerate(path[:-1], start=1)]
    for one in judged:
        if one.revoked_by:
            detail = f"The certificate of {one.name} is revoked by the CRL of {one.issuer_name}"
            raise TrustError("revoked", f"{detail} of {one.revoked_by:%Y-%m-%dT%H:%M:%SZ}", serial=f"{one.serial:x}")
    used = []
    for one in judged:
        if one.best is not None:
            used.append(_used(one.best, one.issuer_name))
        elif mode == "require" or one.reasons:
            why = "; ".join(one.reasons) or "there is none"
            raise TrustError("crl_unavailable", f"No current CRL of {one.issuer_name}: {why}")
    return tuple(used)


def _issuers(above: t.Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """The certificates whose keys may sign the CRL: the issuer's, and after a roll-over the one that vouches for it.

    `above` is the path from the issuer on. A CA that has certified its own other key signs one CRL for both; its keys
    stand next to each other in the path, in self-issued certificates.
    """
    found = [above[0]]
    for lower, upper in zip(above, above[1:]):
        if not certificates.fields_of(lower).self_issued:
            break
        found.append(upper)
    return found


class _Judged:
    """One certificate against all the CRLs of its issuer, which may have several keys."""

    def __init__(
        self,
        certificate: x509.Certificate,
        issuers: t.Sequence[x509.Certificate],
        store: CrlStore,
        when: datetime.datetime,
        as_of: datetime.datetime | None,
    ) -> None:
        issuer_name = certificates.fields_of(issuers[0]).subject
        self.name = names.slash(certificates.fields_of(certificate).subject)
        self.issuer_name = names.slash(issuer_name)
        self.certificate = certificate
        self.serial = certificate.serial_number
        self.as_of = as_of
        self.revoked_by: datetime.datetime | None = None
        self.best: x509.CertificateRevocationList | None = None
        found, broken = store.of(issuer_name)
        self.reasons = [f"{path} cannot be read" for path in broken]
        for revocations in found:
            self._look_at(revocations, issuers, when)

    def _look_at(
        self,
        revocations: x509.CertificateRevocationList,
        issuers: t.Sequence[x509.Certificate],
        when: datetime.datetime,
    ) -> None:
        problems = [_forged(revocations, issuer) for issuer in issuers]
        if None not in problems:
            self.reasons.append(problems[0] or "")
            return
        this_update = revocations.last_update_utc
        entry = revocations.get_revoked_certificate_by_serial_number(self.serial)
        if entry is not None and (self.as_of is None or entry.revocation_date_utc <= self.as_of):
            self.revoked_by = this_update
            return
        problem = _unusable(revocations, self.certificate, when)
        if problem:
            self.reasons.append(problem)
        elif self.best is None or this_update > self.best.last_update_utc:
            self.best = revocations


def _forged(revocations: x509.CertificateRevocationList, issuer: x509.Certificate) -> str | None:
    """Why this CRL is not a genuine statement of the issuer, or None."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        digest = revocations.signature_hash_algorithm
        if digest is not None and digest.name not in _HASHES:
            return f"it is signed with {digest.name}"
        key: t.Any = issuer.public_key()
        if not revocations.is_signature_valid(key):
            return "its signature is not that of the issuer"
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return "its signature, or the issuer's key usage, cannot be read"
    return None if usage.crl_sign else "the issuer's key usage does not allow to sign CRLs"


def _unusable(
    revocations: x509.CertificateRevocationList, certificate: x509.Certificate, when: datetime.datetime
) -> str | None:
    """Why a genuine CRL does not show that this certificate is good, or None."""
    from cryptography import x509

    this_update, next_update = revocations.last_update_utc, revocations.next_update_utc
    if this_update > when:
        return f"it is valid only from {this_update:%Y-%m-%dT%H:%M:%SZ} on"
    if next_update is None:
        return "it does not say when it ends"
    if next_update <= when:
        return f"it has expired on {next_update:%Y-%m-%dT%H:%M:%SZ}"
    try:
        for extension in revocations.extensions:
            oid = extension.oid.dotted_string
            if oid == _DELTA:
                return "it is a delta CRL, which is not processed here"
            if extension.critical and oid not in _KNOWN:
                return f"it has the extension {oid}, which is not processed here"
            if isinstance(extension.value, x509.IssuingDistributionPoint):
                elsewhere = distribution.out_of_scope(extension.value, certificate)
                if elsewhere:
                    return elsewhere
        # Walking through all entries is slow, and an encoded TRUE is needed for a critical one.
        if b"\x01\x01\xff" in revocations.tbs_certlist_bytes:
            for entry in revocations:
                if any(extension.critical for extension in entry.extensions):
                    return "an entry has a critical extension, which is not processed here"
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return "its extensions, or those of the certificate, are malformed"
    return None


def _used(revocations: x509.CertificateRevocationList, issuer_name: str) -> CrlUsed:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        number: int | None = revocations.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        number = None
    next_update = revocations.next_update_utc
    if next_update is None:
        raise ValueError("the CRL has no next update")  # _unusable() has seen that it has one
    digest = hashlib.sha256(revocations.public_bytes(Encoding.DER)).hexdigest()
    return CrlUsed(issuer_name, number, revocations.last_update_utc, next_update, digest)
