#!/usr/bin/env python
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certification authority to try things out with: trust anchors in IGTF's layout, an endorser and a TLS server.

For the demo playbook and the tests only: the CAs' private keys lie unencrypted beside what they signed.

``<directory>/certificates/``  trust anchors of a root CA and its sub-CA, under both hashes of OpenSSL:
                               ``.0``, ``.r0``, ``.namespaces``, ``.signing_policy``
``<directory>/endorser/``      ``usercert.pem``, ``userkey.pem``: who signs lists
``<directory>/tls/``           ``ca.pem``, ``server.pem``, ``server.key`` for localhost, 127.0.0.1 and ::1
``<directory>/ca/``            keys, revoked serial numbers and CRL counters, so that a later call can go on
"""

from __future__ import annotations

import argparse
import hashlib
import ipaddress
import json
import os
import re
import sys
import typing as t
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = t.Union[rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey]

BASE: t.Final = ((NameOID.DOMAIN_COMPONENT, "org"), (NameOID.DOMAIN_COMPONENT, "example-grid"))
AUTHORITIES: t.Final = {"root": "Example Grid Root CA", "sub": "Example Grid Classic CA"}
ENDORSER: t.Final = "Erin Endorser"
KEY_USAGES: t.Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def make_key(kind: str) -> PrivateKey:
    """A new private key: ``rsa`` (2048), ``rsa1024``, ``rsa3072``, ``p256``, ``p384``, ``p521`` or ``ed25519``."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    curves: dict[str, type[ec.EllipticCurve]] = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1}
    if kind in curves:
        return ec.generate_private_key(curves[kind]())
    return rsa.generate_private_key(public_exponent=65537, key_size=int(kind[3:] or 2048))


def make_name(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    """A distinguished name below /DC=org/DC=example-grid."""
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in (*BASE, *parts)])


def slash_name(name: x509.Name) -> str:
    """The name as grid software writes it: /DC=org/DC=example-grid/CN=..."""
    return "".join(f"/{attribute.rfc4514_attribute_name}={attribute.value!s}" for attribute in name)


def old_hash(name: x509.Name) -> str:
    """OpenSSL's subject hash before 1.0.0: MD5 of the encoded name, the first four octets little-endian."""
    return _hash_name(hashlib.md5(name.public_bytes(), usedforsecurity=False).digest())


def new_hash(name: x509.Name) -> str:
    """OpenSSL's subject hash since 1.0.0: SHA-1 of the canonical name, the first four octets little-endian."""
    canonical = b"".join(_encode(0x31, b"".join(sorted(map(_canonical, rdn)))) for rdn in name.rdns)
    return _hash_name(hashlib.sha1(canonical, usedforsecurity=False).digest())


def _hash_name(digest: bytes) -> str:
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


def _canonical(attribute: x509.NameAttribute[t.Any]) -> bytes:
    value = re.sub(r"[ \t\n\v\f\r]+", " ", str(attribute.value)).strip(" ")
    lowered = "".join(c.lower() if c.isascii() else c for c in value)
    return _encode(0x30, _encode_oid(attribute.oid.dotted_string) + _encode(0x0C, lowered.encode()))


def _encode(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _encode_oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    octets = bytearray()
    for number in (first * 40 + second, *rest):
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(0x80 | (number & 0x7F))
        octets += bytes(reversed(groups))
    return _encode(0x06, bytes(octets))


def write_file(path: Path, octets: bytes, mode: int = 0o644) -> None:
    """Replace `path` as a whole; at no time is it readable by more than `mode` says."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(octets)
    temporary.replace(path)


def make_directory(path: Path, mode: int = 0o755) -> Path:
    """Make a directory (and its parents) with exactly `mode`, whatever the umask."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    return path


def key_octets(key: PrivateKey, passphrase: bytes | None = None) -> bytes:
    """The key as PEM (PKCS#8), encrypted when there is a passphrase."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def certificate_octets(certificate: x509.Certificate) -> bytes:
    """The certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _digest_for(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in names for usage in KEY_USAGES})


@dataclass(frozen=True)
class Authority:
    """A CA: its certificate and its private key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def name(self) -> str:
        """The subject in slash form."""
        return slash_name(self.certificate.subject)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, and the files they were written to."""

    certificate: x509.Certificate
    key: PrivateKey
    certificate_path: Path
    key_path: Path

    @property
    def dn(self) -> str:
        """The subject in slash form, as in hv:dn."""
        return slash_name(self.certificate.subject)

    @property
    def ca(self) -> str:
        """The issuer in slash form, as in hv:ca."""
        return slash_name(self.certificate.issuer)


class DemoCA:
    """A root CA with one sub-CA, kept in `directory`; `now` (aware, UTC) is the time that validity counts from."""

    def __init__(self, directory: str | os.PathLike[str], now: datetime) -> None:
        self.directory = Path(directory)
        self.now = now.replace(microsecond=0)
        self.certificates = self.directory / "certificates"
        self.tls = self.directory / "tls"
        self._private = self.directory / "ca"

    # -- what there is ---------------------------------------------------------------------------------------------

    @property
    def root(self) -> Authority:
        """The self-signed CA."""
        return self._authority("root")

    @property
    def sub(self) -> Authority:
        """The CA below the root; it issues the users' certificates."""
        return self._authority("sub")

    @property
    def endorser(self) -> Issued:
        """The endorser made by `make`."""
        return self._read_issued(self.directory / "endorser")

    def _authority(self, which: str) -> Authority:
        return self._read_authority(which)

    def _generations(self, which: str) -> list[Authority]:
        """The authority under all of its keys, the oldest first; `roll_over` makes them more than one."""
        older = sorted(self._private.glob(f"{which}.[0-9].pem"))
        return [*(self._read_authority(path.stem) for path in older), self._authority(which)]

    def _read_authority(self, stem: str) -> Authority:
        issued = self._read_issued(self._private, f"{stem}.pem", f"{stem}.key")
        return Authority(issued.certificate, issued.key)

    def _read_issued(self, directory: Path, certificate: str = "usercert.pem", key: str = "userkey.pem") -> Issued:
        certificate_path, key_path = directory / certificate, directory / key
        loaded = serialization.load_pem_private_key(key_path.read_bytes(), None)
        read = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        return Issued(read, t.cast(PrivateKey, loaded), certificate_path, key_path)

    # -- making ----------------------------------------------------------------------------------------------------

    def make(self, *, crl_days: float = 30) -> None:
        """Make the CAs, their anchors and CRLs, the endorser, and the TLS server's certificate."""
        make_directory(self.directory)
        make_directory(self._private, 0o700)
        make_directory(self.certificates)
        root = self._make_authority("root", None)
        self._make_authority("sub", root)
        self._write_state({"crl_number": 0, "revoked": {"root": {}, "sub": {}}})
        for which in AUTHORITIES:
            self._write_anchor(which)
        self.write_crls(crl_days)
        self.issue(ENDORSER, directory="endorser")
        self._make_tls()

    def issue(
        self,
        name: str = ENDORSER,
        days: float = 365,
        key: str = "rsa",
        *,
        issuer: str = "sub",
        host: bool = False,
        email: str | None = None,
        passphrase: bytes | None = None,
        directory: str | None = None,
        key_usage: t.Sequence[str] = ("digital_signature", "content_commitment"),
        extended_key_usage: t.Sequence[x509.ObjectIdentifier] | None = None,
    ) -> Issued:
        """Issue a user's (or a host's) certificate and write it to ``<directory>/<name>/usercert.pem, userkey.pem``.

        It ends `days` after now; with negative `days` it expired that long ago. `issuer` is ``root`` or ``sub``;
        `key` a kind as in `make_key`.
        """
        authority = self._authority(issuer)
        unit = "hosts" if host else "users"
        subject = make_name((NameOID.ORGANIZATIONAL_UNIT_NAME, unit), (NameOID.COMMON_NAME, name))
        address = email or re.sub(r"[^a-z0-9]+", ".", name.lower()) + "@example.org"
        alternative: x509.GeneralName = x509.DNSName(name) if host else x509.RFC822Name(address)
        if extended_key_usage is None:
            first = ExtendedKeyUsageOID.SERVER_AUTH if host else ExtendedKeyUsageOID.EMAIL_PROTECTION
            extended_key_usage = [first, ExtendedKeyUsageOID.CLIENT_AUTH]
        private = make_key(key)
        certificate = self._sign(
            subject, private, authority, days, _usage(*key_usage), [alternative], extended_key_usage
        )
        target = make_directory(self.directory / (directory or re.sub(r"\W+", "-", name.lower()).strip("-")))
        issued = Issued(certificate, private, target / "usercert.pem", target / "userkey.pem")
        write_file(issued.certificate_path, certificate_octets(certificate))
        write_file(issued.key_path, key_octets(private, passphrase), 0o600)
        return issued

    def roll_over(self, which: str = "sub", *, crl_days: float = 30) -> None:
        """Give ``root`` or ``sub`` a new key and certificate under its old name, as ``.1`` and ``.r1``.

        From now on it issues with the new key. The old certificate stays beside it, and the CRLs of both go on.
        """
        number = len(self._generations(which))
        for suffix in ("pem", "key"):
            (self._private / f"{which}.{suffix}").rename(self._private / f"{which}.{number - 1}.{suffix}")
        made = self._make_authority(which, self.root if which == "sub" else None)
        self._write_hashed(which, str(number), certificate_octets(made.certificate))
        self.write_crls(crl_days)

    def remove_anchor(self, which: str, number: int = 0) -> None:
        """Remove an authority's certificate and CRL from the trust anchors; after a roll-over the old one is 0."""
        subject = self._authority(which).certificate.subject
        for suffix in (str(number), f"r{number}"):
            for digest in (old_hash(subject), new_hash(subject)):
                (self.certificates / f"{digest}.{suffix}").unlink()

    def revoke(self, certificate: x509.Certificate, *, crl_days: float = 30) -> None:
        """Revoke a certificate of the root or the sub-CA, and write new CRLs."""
        state = self._read_state()
        which = next(w for w in AUTHORITIES if self._authority(w).certificate.subject == certificate.issuer)
        state["revoked"][which][str(certificate.serial_number)] = self.now.isoformat()
        self._write_state(state)
        self.write_crls(crl_days)

    def write_crls(self, next_update_days: float = 30, *, this_update: datetime | None = None) -> None:
        """Write the CRLs of all CAs anew, each with the next number; negative days make them expired."""
        state = self._read_state()
        state["crl_number"] += 1
        next_update = self.now + timedelta(days=next_update_days)
        issued = this_update or min(self.now - timedelta(hours=1), next_update - timedelta(days=1))
        generations = [(which, *one) for which in AUTHORITIES for one in enumerate(self._generations(which))]
        for which, number, authority in generations:
            builder = x509.CertificateRevocationListBuilder(authority.certificate.subject, issued, next_update)
            builder = builder.add_extension(x509.CRLNumber(state["crl_number"]), critical=False)
            builder = builder.add_extension(_authority_key(authority), critical=False)
            for serial, when in state["revoked"][which].items():
                revoked = x509.RevokedCertificateBuilder(int(serial), datetime.fromisoformat(when))
                builder = builder.add_revoked_certificate(revoked.build())
            crl = builder.sign(authority.key, _digest_for(authority.key))
            self._write_hashed(which, f"r{number}", crl.public_bytes(serialization.Encoding.PEM))
        self._write_state(state)

    # -- how -------------------------------------------------------------------------------------------------------

    def _make_authority(self, which: str, parent: Authority | None) -> Authority:
        key = make_key("p256")
        subject = make_name((NameOID.COMMON_NAME, AUTHORITIES[which]))
        certificate = self._sign_authority(subject, key, parent)
        write_file(self._private / f"{which}.pem", certificate_octets(certificate))
        write_file(self._private / f"{which}.key", key_octets(key), 0o600)
        return Authority(certificate, key)

    def _sign_authority(self, subject: x509.Name, key: PrivateKey, parent: Authority | None) -> x509.Certificate:
        builder = self._builder(subject, key, parent.certificate.subject if parent else subject, 3650)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        if parent:
            builder = builder.add_extension(_authority_key(parent), critical=False)
        signing_key = parent.key if parent else key
        return builder.sign(signing_key, _digest_for(signing_key))

    def _builder(self, subject: x509.Name, key: PrivateKey, issuer: x509.Name, days: float) -> x509.CertificateBuilder:
        not_after = self.now + timedelta(days=days)
        not_before = min(self.now - timedelta(days=2), not_after - timedelta(days=30))
        builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(not_before).not_valid_after(not_after)
        return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)

    def _sign(
        self,
        subject: x509.Name,
        key: PrivateKey,
        authority: Authority,
        days: float,
        usage: x509.KeyUsage,
        alternatives: t.Sequence[x509.GeneralName],
        extended: t.Sequence[x509.ObjectIdentifier],
    ) -> x509.Certificate:
        builder = self._builder(subject, key, authority.certificate.subject, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(usage, critical=True)
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        builder = builder.add_extension(_authority_key(authority), critical=False)
        return builder.sign(authority.key, _digest_for(authority.key))

    def _make_tls(self) -> None:
        make_directory(self.tls)
        ca_key, key = make_key("p256"), make_key("p256")
        ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example Web CA")])
        ca = Authority(self._sign_authority(ca_name, ca_key, None), ca_key)
        loopback = [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
        server = self._sign(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]),
            key,
            ca,
            365,
            _usage("digital_signature"),
            [x509.DNSName("localhost"), *loopback],
            [ExtendedKeyUsageOID.SERVER_AUTH],
        )
        write_file(self.tls / "ca.pem", certificate_octets(ca.certificate))
        write_file(self.tls / "server.pem", certificate_octets(server))
        write_file(self.tls / "server.key", key_octets(key), 0o600)

    def _write_anchor(self, which: str) -> None:
        authority = self._authority(which)
        self._write_hashed(which, "0", certificate_octets(authority.certificate))
        namespaces = (
            "#NAMESPACES-VERSION: 1.0\n"
            f"# {AUTHORITIES[which]}: every name of the example grid.\n"
            f'TO Issuer "{authority.name}" \\\n'
            '  PERMIT Subject "/DC=org/DC=example-grid/.*"\n'
        )
        policy = (
            f"# {AUTHORITIES[which]}: every name of the example grid.\n"
            f"access_id_CA   X509    '{authority.name}'\n"
            "pos_rights     globus  CA:sign\n"
            "cond_subjects  globus  '\"/DC=org/DC=example-grid/*\"'\n"
        )
        self._write_hashed(which, "namespaces", namespaces.encode())
        self._write_hashed(which, "signing_policy", policy.encode())

    def _write_hashed(self, which: str, suffix: str, octets: bytes) -> None:
        # As in the IGTF distribution: one real file, and a link for each of OpenSSL's two hashes.
        alias = f"example-grid-{which}.{'pem' if suffix == '0' else suffix}"
        write_file(self.certificates / alias, octets)
        subject = self._authority(which).certificate.subject
        for digest in (old_hash(subject), new_hash(subject)):
            link = self.certificates / f"{digest}.{suffix}"
            if not link.is_symlink():
                link.symlink_to(alias)

    def _read_state(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads((self._private / "state.json").read_text()))

    def _write_state(self, state: t.Mapping[str, t.Any]) -> None:
        write_file(self._private / "state.json", json.dumps(state, indent=4).encode(), 0o600)


def _authority_key(authority: Authority) -> x509.AuthorityKeyIdentifier:
    identifier = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _parse(arguments: t.Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A certification authority to try things out with.")
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="make the CAs, an endorser and a TLS server's certificate")
    issue = commands.add_parser("issue", help="issue one more user certificate")
    revoke = commands.add_parser("revoke", help="revoke a certificate and write new CRLs")
    crls = commands.add_parser("crls", help="write new CRLs")
    for command in (make, issue, revoke, crls):
        command.add_argument("directory", type=Path)
    issue.add_argument("name")
    issue.add_argument("--days", type=float, default=365, help="validity from now; negative: expired that long ago")
    issue.add_argument("--key", default="rsa", help="rsa, rsa3072, p256, p384, p521 or ed25519")
    issue.add_argument("--passphrase-file", type=Path, help="encrypt the key with the first line of this file")
    revoke.add_argument("certificate", type=Path)
    crls.add_argument("--days", type=float, default=30, help="until the next update; negative: expired")
    return parser.parse_args(arguments)


def main(arguments: t.Sequence[str] | None = None) -> int:
    """The command: prints as JSON what it made."""
    options = _parse(arguments)
    authority = DemoCA(options.directory, datetime.now(timezone.utc))
    if options.command == "make":
        authority.make()
        issued = authority.endorser
    elif options.command == "issue":
        passphrase = options.passphrase_file.read_bytes().splitlines()[0] if options.passphrase_file else None
        issued = authority.issue(options.name, options.days, options.key, passphrase=passphrase)
    elif options.command == "revoke":
        authority.revoke(x509.load_pem_x509_certificate(options.certificate.read_bytes()))
        return 0
    else:
        authority.write_crls(options.days)
        return 0
    facts = {
        "dn": issued.dn,
        "ca": issued.ca,
        "certificate": str(issued.certificate_path),
        "private_key": str(issued.key_path),
        "chain": [str(authority.certificates / "example-grid-sub.pem")],
        "anchors": str(authority.certificates),
        "tls": str(authority.tls),
    }
    sys.stdout.write(json.dumps(facts, indent=4) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
