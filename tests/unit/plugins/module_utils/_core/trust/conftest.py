# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The corpus of signed lists, and its anchors with permissions that no checkout can spoil."""

from __future__ import annotations

import datetime
import json
import pathlib
import shutil
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import anchors, verify
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message import smime

CORPUS = pathlib.Path(__file__).parent / "corpus"


def private_copy(source: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """Copy a tree so that its owner alone may write to it, whatever the umask and the owner of the checkout."""
    shutil.copytree(source, target)
    target.chmod(0o755)
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target


class Corpus:
    """Paths, keys, time and anchors of the corpus."""

    def __init__(self, trust: pathlib.Path) -> None:
        self.trust = trust
        self.config: dict[str, t.Any] = json.loads((CORPUS / "config.json").read_text(encoding="utf-8"))
        self.when = datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.timezone.utc)
        self.content = (CORPUS / "list.json").read_bytes()
        self._anchors: dict[str, anchors.Anchors] = {}

    def message(self, name: str) -> bytes:
        return (CORPUS / "messages" / f"{name}.eml").read_bytes()

    def anchors(self, name: str = "trust") -> anchors.Anchors:
        if name not in self._anchors:
            self._anchors[name] = anchors.load_directory(self.trust / name)
        return self._anchors[name]

    def path(self, name: str) -> pathlib.Path:
        """A file of keys/, such as owen.pem or owen.key."""
        return CORPUS / "keys" / name

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.path(f"{name}.pem").read_bytes())

    def key(self, name: str) -> t.Any:
        return load_pem_private_key(self.path(f"{name}.key").read_bytes(), None)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(private_copy(CORPUS / "trust", tmp_path_factory.mktemp("anchors") / "trust"))


@pytest.fixture
def directory(corpus: Corpus, tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of the good anchors directory that a test may change."""
    return private_copy(corpus.trust / "trust", tmp_path / "certificates")


HOUR = datetime.timedelta(hours=1)
DAY = datetime.timedelta(days=1)


class Issued:
    """A certificate and its key."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.certificate = certificate
        self.key = key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


class Pki:
    """Certificates and CRLs made to order; `write` puts them in an anchors directory."""

    def __init__(self, directory: pathlib.Path, when: datetime.datetime) -> None:
        self.directory = directory
        self.when = when
        directory.mkdir(mode=0o755)

    def issue(
        self,
        subject: t.Sequence[tuple[x509.ObjectIdentifier, str]] | x509.Name,
        issuer: Issued | None = None,
        *,
        ca: bool = False,
        extensions: t.Sequence[tuple[x509.ExtensionType, bool]] = (),
        days: tuple[int, int] = (-10, 100),
        key: t.Any = None,
    ) -> Issued:
        name = subject if isinstance(subject, x509.Name) else name_of(*subject)
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer.certificate.subject if issuer else name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.when + days[0] * DAY)
            .not_valid_after(self.when + days[1] * DAY)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        return Issued(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)

    def crl(
        self,
        issuer: Issued,
        *revoked: Issued,
        hours: tuple[int, int] = (-1, 24),
        number: int = 1,
        key: t.Any = None,
        extensions: t.Sequence[tuple[x509.ExtensionType, bool]] = (),
        entry_extensions: t.Sequence[tuple[x509.ExtensionType, bool]] = (),
        digest: hashes.HashAlgorithm | None = None,
    ) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.certificate.subject)
            .last_update(self.when + hours[0] * HOUR)
            .next_update(self.when + hours[1] * HOUR)
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical=critical)
        for one in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number)
            entry = entry.revocation_date(self.when - DAY)
            for extension, critical in entry_extensions:
                entry = entry.add_extension(extension, critical=critical)
            builder = builder.add_revoked_certificate(entry.build())
        signed: t.Any = digest or hashes.SHA256()
        return builder.sign(key or issuer.key, signed).public_bytes(Encoding.PEM)

    def write(self, name: str, octets: bytes | str, mode: int = 0o644) -> pathlib.Path:
        path = self.directory / name
        path.write_bytes(octets.encode() if isinstance(octets, str) else octets)
        path.chmod(mode)
        return path

    def anchors(self) -> anchors.Anchors:
        return anchors.load_directory(self.directory)


def name_of(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


class Chain(Pki):
    """A root, a CA below it and an endorser, with good CRLs and open namespaces."""

    def __init__(self, directory: pathlib.Path, when: datetime.datetime) -> None:
        super().__init__(directory, when)
        self.root = self.issue([(NameOID.COUNTRY_NAME, "XX"), (NameOID.COMMON_NAME, "Root")], ca=True)
        self.sub = self.issue([(NameOID.COUNTRY_NAME, "XX"), (NameOID.COMMON_NAME, "Sub")], self.root, ca=True)
        self.endorser = self.issue([(NameOID.COUNTRY_NAME, "XX"), (NameOID.COMMON_NAME, "Owen")], self.sub)
        self.write("11111111.0", self.root.pem)
        self.write("22222222.0", self.sub.pem)
        self.write("11111111.r0", self.crl(self.root))
        self.write("22222222.r0", self.crl(self.sub))
        self.write("11111111.namespaces", 'TO Issuer "/C=XX/CN=Root" PERMIT Subject "/C=XX/.*"\n')
        self.write("22222222.namespaces", 'TO Issuer "/C=XX/CN=Sub" PERMIT Subject "/C=XX/.*"\n')

    def message(self, signer: Issued | None = None, chain: t.Sequence[Issued] = ()) -> bytes:
        signer = signer or self.endorser
        return smime.sign_message(
            b'{"hv:imagelist": {}}\n',
            certificate=signer.certificate,
            key=signer.key,
            chain=[one.certificate for one in chain],
        )

    def verify(self, message: bytes | None = None, **options: t.Any) -> verify.Verified:
        options = {"anchors": self.anchors(), "when": self.when, **options}
        return verify.verify_message(message if message is not None else self.message(), **options)

    def refusal(self, message: bytes | None = None, **options: t.Any) -> str:
        """The code with which the message is refused."""
        with pytest.raises(TrustError) as caught:
            self.verify(message, **options)
        return caught.value.code


@pytest.fixture
def chain(corpus: Corpus, tmp_path: pathlib.Path) -> Chain:
    return Chain(tmp_path / "anchors", corpus.when)


@pytest.fixture
def present_chain(now: datetime.datetime, tmp_path: pathlib.Path) -> Chain:
    """A chain that holds now: GnuTLS verifies at no other time."""
    return Chain(tmp_path / "present anchors", now)
