# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages that other tools sign here and now are accepted, up to the list; and they accept ours.

What a tool cannot do stands in `UNABLE`, with the reason; a test fails when the table is not true.
"""

from __future__ import annotations

import base64
import pathlib
import subprocess
import typing as t

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.check import check_list
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import verify
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message import mime, smime

DN: t.Final = "/DC=org/DC=example-grid/OU=users/CN=Owen Example"
CA: t.Final = "/DC=org/DC=example-grid/CN=Example Grid Classic CA"

#: kind of signature -> name of the signer's key and certificate
SIGNERS: t.Final = {
    "RSA PKCS#1": "owen",
    "RSA-PSS": "owen",
    "RSA-PSS key": "owen_psskey",
    "P-256": "owen_p256",
    "P-384": "owen_p384",
    "Ed25519": "owen_ed25519",
}
SHAPES: t.Final = ("detached", "opaque")
LINES: t.Final = ("LF", "CRLF", "CRLF after signing")
TOOLS: t.Final = ("openssl smime", "openssl cms", "gnutls", "cryptography")

#: (tool, kind of signature) -> why there is no such message. "cannot": the tool fails. "old": before the named version
#: it fails, or writes what is refused; what a later one writes is accepted.
UNABLE: t.Final[t.Mapping[tuple[str, str], tuple[str, str]]] = {
    ("openssl smime", "RSA-PSS"): ("cannot", "smime has no -keyopt"),
    ("openssl smime", "RSA-PSS key"): ("cannot", "PKCS #7 knows no RSASSA-PSS"),
    ("openssl smime", "Ed25519"): ("cannot", "PKCS #7 knows no Ed25519"),
    ("openssl cms", "RSA-PSS key"): ("old", "3.0 writes PSS parameters that are not those of the key"),
    ("openssl cms", "Ed25519"): ("old", "3.2 is the first that signs CMS with Ed25519"),
    ("cryptography", "Ed25519"): ("cannot", "PKCS7SignatureBuilder takes RSA and EC keys"),
}
DETACHED: t.Final = [pkcs7.PKCS7Options.DetachedSignature]


class CannotError(Exception):
    """The tool has failed."""


def run(*command: t.Any, octets: bytes | None = None) -> bytes:
    done = subprocess.run([str(part) for part in command], input=octets, capture_output=True, timeout=60, check=False)
    if done.returncode:
        raise CannotError(done.stderr.decode(errors="replace") + done.stdout.decode(errors="replace"))
    return done.stdout


def openssl(corpus: t.Any, command: str, kind: str, shape: str, content: bytes) -> bytes:
    name = SIGNERS[kind]
    options = ["-nodetach"] if shape == "opaque" else []
    if kind == "RSA-PSS":
        options += ["-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:digest"]
    if kind == "Ed25519":
        options += ["-md", "sha512"]
    pair = ("-signer", corpus.path(f"{name}.pem"), "-inkey", corpus.path(f"{name}.key"))
    message = run("openssl", command, "-sign", *pair, *options, octets=content)
    if not message:
        raise CannotError("openssl ends well when it does not know an option")
    return message


def opaque(cms: bytes) -> bytes:
    lines = base64.encodebytes(cms)
    return (
        b"Content-Type: application/pkcs7-mime; smime-type=signed-data\nContent-Transfer-Encoding: base64\n\n" + lines
    )


def gnutls(corpus: t.Any, directory: pathlib.Path, kind: str, shape: str, content: bytes) -> bytes:
    """certtool signs the octets as they are, and writes PEM: the message around it is the sender's business."""
    (directory / "content").write_bytes(mime.canonical(content))
    name = SIGNERS[kind]
    options = ["--p7-sign" if shape == "opaque" else "--p7-detached-sign", "--p7-time", "--p7-include-cert"]
    if kind.startswith("RSA-PSS"):
        options += ["--sign-params=RSA-PSS", "--hash=SHA256"]
    files = ("--load-certificate", corpus.path(f"{name}.pem"), "--load-privkey", corpus.path(f"{name}.key"))
    pem = run("certtool", *options, *files, "--infile", directory / "content", "--outfile", directory / "signature.pem")
    pem = (directory / "signature.pem").read_bytes()
    cms = base64.b64decode(b"".join(pem.split(b"-----BEGIN PKCS7-----\n")[1].split(b"-----")[0].split()))
    if shape == "opaque":
        return opaque(cms)
    return mime.join(content, cms, micalg="sha-256", boundary="----GnuTLS")


def cryptography(corpus: t.Any, kind: str, shape: str, content: bytes) -> bytes:
    name = SIGNERS[kind]
    certificate, key = corpus.certificate(name), corpus.key(name)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH) if "PSS" in kind else None
    try:
        builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
        builder = builder.add_signer(certificate, key, hashes.SHA256(), rsa_padding=pss)
        if shape == "opaque":  # as SMIME it would be a detached message that holds the content once more
            return opaque(builder.sign(Encoding.DER, []))
        return builder.sign(Encoding.SMIME, DETACHED)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise CannotError(str(error)) from error


def sign(corpus: t.Any, directory: pathlib.Path, tool: str, kind: str, shape: str, content: bytes) -> bytes:
    if tool == "gnutls":
        return gnutls(corpus, directory, kind, shape, content)
    if tool == "cryptography":
        return cryptography(corpus, kind, shape, content)
    return openssl(corpus, tool.split()[1], kind, shape, content)


def check_accepted(corpus: t.Any, message: bytes, kind: str) -> None:
    verified = verify.verify_message(message, corpus.anchors(), corpus.when)
    assert (verified.signer.dn, verified.signer.ca) == (DN, CA)
    assert verified.certificate == corpus.certificate(SIGNERS[kind])
    assert verified.content.split() == corpus.content.split()
    found = check_list(
        verified.content,
        verified.certificate,
        corpus.when,
        identifier=corpus.config["identifier"],
        endorsers=[(DN, CA)],
        last_accepted=None,
    )
    assert len(found.images) == 1


@pytest.mark.needs("openssl", "certtool")
@pytest.mark.parametrize("lines", LINES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", SIGNERS)
@pytest.mark.parametrize("tool", TOOLS)
def test_what_others_sign(corpus: t.Any, tmp_path: pathlib.Path, tool: str, kind: str, shape: str, lines: str) -> None:
    unix = corpus.content.replace(b"\r\n", b"\n")
    expected, _reason = UNABLE.get((tool, kind), ("", ""))
    try:
        message = sign(corpus, tmp_path, tool, kind, shape, mime.canonical(unix) if lines == "CRLF" else unix)
    except CannotError as error:
        assert expected in ("cannot", "old"), error
        return
    assert expected != "cannot", "the tool can do it: take it out of the table"
    if lines == "CRLF after signing":
        message = mime.canonical(message)
    try:
        check_accepted(corpus, message, kind)
    except TrustError as refusal:
        assert (expected, refusal.code) in (("old", "unsupported_algorithm"), ("old", "bad_signature"))


KEYS: t.Final[t.Mapping[str, t.Callable[[], rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey]]] = {
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
}


@pytest.mark.needs("openssl", "certtool")
@pytest.mark.parametrize("digest", smime.SIGNING_DIGESTS)
@pytest.mark.parametrize("kind", KEYS)
def test_what_we_sign(present_chain: t.Any, tmp_path: pathlib.Path, kind: str, digest: str) -> None:
    chain = present_chain
    endorser = chain.issue(chain.endorser.certificate.subject, chain.sub, key=KEYS[kind]())
    message = smime.sign_message(
        b'{"hv:imagelist": {}}\n',
        certificate=endorser.certificate,
        key=endorser.key,
        chain=[chain.sub.certificate],
        digest=digest,
    )
    verified = chain.verify(message)
    assert verified.digest == digest
    parts = mime.split(message)
    assert parts.content is not None
    root, sent, cms, content = (tmp_path / name for name in ("root.pem", "list.eml", "list.p7", "content"))
    root.write_bytes(chain.root.pem)
    sent.write_bytes(message)
    cms.write_bytes(parts.cms)
    content.write_bytes(parts.content)
    for command in ("smime", "cms"):
        only = ("-CAfile", root, "-no-CApath", "-no-CAstore", "-purpose", "any")
        assert run("openssl", command, "-verify", "-in", sent, *only) == verified.content
    certtool = ("certtool", "--p7-verify", "--inder", "--infile", cms, "--load-ca-certificate", root)
    run(*certtool, "--load-data", content)
    content.write_bytes(parts.content.replace(b"hv", b"vh"))
    with pytest.raises(CannotError, match="verification failed"):
        run(*certtool, "--load-data", content)


def test_a_key_that_is_bound_to_pss_stays_bound(corpus: t.Any) -> None:
    """PKCS#1 v1.5 with such a key is refused, although the arithmetic fits."""
    message = cryptography(corpus, "RSA-PSS key", "detached", corpus.content)
    assert verify.verify_message(message, corpus.anchors(), corpus.when)
    certificate, key = corpus.certificate("owen_psskey"), corpus.key("owen_psskey")
    builder = pkcs7.PKCS7SignatureBuilder().set_data(corpus.content).add_signer(certificate, key, hashes.SHA256())
    with pytest.raises(TrustError) as caught:
        verify.verify_message(builder.sign(Encoding.SMIME, DETACHED), corpus.anchors(), corpus.when)
    assert caught.value.code == "unsupported_algorithm"
