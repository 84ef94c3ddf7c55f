# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ten steps in their order, their explanation, the path, and what an acceptance says."""

from __future__ import annotations

import datetime
import pathlib
import subprocess
import sys
import typing as t

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import anchors, library, steps, verify
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message import smime
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.path import building

CHECKOUT = pathlib.Path(__file__).resolve().parents[6]
PUBLISHED = CHECKOUT.parent / "shared" / "vectors" / "hepix-2011"
CN = NameOID.COMMON_NAME


def test_what_an_acceptance_says(corpus: t.Any) -> None:
    verified = verify.verify_message(corpus.message("ok-openssl-cms-rsa"), corpus.anchors(), corpus.when)
    assert verified.certificate == corpus.certificate("owen")
    assert verified.path == tuple(corpus.certificate(name) for name in ("owen", "sub", "root"))
    assert verified.signer.as_dict() == {
        "dn": "/DC=org/DC=example-grid/OU=users/CN=Owen Example",
        "ca": "/DC=org/DC=example-grid/CN=Example Grid Classic CA",
        "rfc4514": "CN=Owen Example,OU=users,DC=example-grid,DC=org",
        "fingerprint": corpus.certificate("owen").fingerprint(sha256()).hex(),
        "not_after": "2027-11-20T12:00:00Z",
    }
    assert [crl.as_dict()["number"] for crl in verified.crls] == [7, 1]
    assert verified.crls[0].as_dict()["next_update"] == "2026-12-20T12:00:00Z"
    assert verified.good_until == datetime.datetime(2026, 12, 20, 12, tzinfo=datetime.timezone.utc)
    assert verified.digest == "sha256"


def sha256() -> t.Any:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def test_the_first_end_of_validity_counts(chain: t.Any) -> None:
    short = chain.issue(chain.endorser.certificate.subject, chain.sub, days=(-1, 0), key=None)
    later = chain.when - datetime.timedelta(hours=1)
    chain.write("11111111.r0", chain.crl(chain.root, hours=(-30, 24)))
    chain.write("22222222.r0", chain.crl(chain.sub, hours=(-30, 24)))
    verified = chain.verify(chain.message(short), when=later)
    assert verified.good_until == chain.when
    assert "/C=XX/CN=Owen" in verified.good_until_reason


def test_every_step_is_explained(corpus: t.Any) -> None:
    explanation = steps.Explanation()
    verified = verify.verify_message(
        corpus.message("ok-openssl-cms-rsa"), corpus.anchors(), corpus.when, explanation=explanation
    )
    assert verified.steps == explanation.steps()
    assert [step.number for step in verified.steps] == list(range(1, 17))
    assert [step.outcome for step in verified.steps] == ["passed"] * 10 + ["not reached"] * 6


@pytest.mark.parametrize(
    ("message", "number", "code"),
    [
        ("bad-mime-pgp", 2, "mime_unsupported"),
        ("bad-md5", 3, "weak_algorithm"),
        ("bad-content-digit", 4, "digest_mismatch"),
        ("bad-sig-other-key", 5, "bad_signature"),
        ("bad-signer-serverauth", 6, "extended_key_usage"),
        ("bad-signer-critext", 7, "no_valid_path"),
        ("bad-stale-crl-in-message", 8, "revoked"),
        ("bad-dn-slash-cn", 10, "dn_ambiguous"),
    ],
)
def test_the_step_that_refuses_is_explained(corpus: t.Any, message: str, number: int, code: str) -> None:
    explanation = steps.Explanation()
    with pytest.raises(TrustError):
        verify.verify_message(corpus.message(message), corpus.anchors(), corpus.when, explanation=explanation)
    taken = explanation.steps()
    assert [step.outcome for step in taken[: number - 1]] == ["passed"] * (number - 1)
    assert (taken[number - 1].outcome, taken[number - 1].code) == ("refused", code)
    assert {step.outcome for step in taken[number:]} == {"not reached"}


class Panic(BaseException):
    """As the compiled library raises it."""


@pytest.mark.parametrize("error", [ValueError("x"), RecursionError(), MemoryError(), Panic()])
def test_the_unforeseen_is_a_refusal(corpus: t.Any, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
        raise error

    monkeypatch.setattr(building, "build", fail)
    explanation = steps.Explanation()
    with pytest.raises(TrustError) as caught:
        verify.verify_message(
            corpus.message("ok-openssl-cms-rsa"), corpus.anchors(), corpus.when, explanation=explanation
        )
    assert caught.value.code == "internal_error"
    assert explanation.steps()[6].code == "internal_error"


def test_a_time_without_zone_and_an_unknown_mode_are_refused(corpus: t.Any) -> None:
    octets = corpus.message("ok-openssl-cms-rsa")
    cases: list[tuple[t.Any, dict[str, t.Any]]] = [
        (corpus.when.replace(tzinfo=None), {}),
        (corpus.when, {"crl_mode": "no"}),
    ]
    for when, options in cases:
        with pytest.raises(TrustError) as caught:
            verify.verify_message(octets, corpus.anchors(), when, **options)
        assert caught.value.code == "internal_error"


def test_another_time_zone_is_the_same_time(corpus: t.Any) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=-11))
    octets = corpus.message("ok-openssl-cms-rsa")
    there = verify.verify_message(octets, corpus.anchors(), corpus.when.astimezone(zone))
    assert there.good_until == verify.verify_message(octets, corpus.anchors(), corpus.when).good_until


def test_validity_of_every_certificate(chain: t.Any) -> None:
    day = datetime.timedelta(days=1)
    for when in (chain.when + 101 * day, chain.when - 11 * day):
        assert chain.refusal(when=when, crl_mode="if-present") == "no_valid_path"
    old_root = chain.issue(chain.root.certificate.subject, ca=True, key=chain.root.key, days=(-10, -1))
    chain.write("11111111.0", old_root.pem)
    assert chain.refusal() == "no_valid_path"


def test_an_embedded_intermediate_helps_but_is_not_believed(chain: t.Any) -> None:
    (chain.directory / "22222222.0").unlink()
    assert chain.refusal() == "no_trust_anchor"
    assert chain.verify(chain.message(chain=[chain.sub]))
    impostor = chain.issue(chain.sub.certificate.subject, chain.endorser, ca=True)
    mallory = chain.issue(chain.endorser.certificate.subject, impostor)
    assert chain.refusal(chain.message(mallory, chain=[impostor])) in ("no_valid_path", "no_trust_anchor")


def test_an_endorser_cannot_issue(chain: t.Any) -> None:
    mallory = chain.issue([(NameOID.COUNTRY_NAME, "XX"), (CN, "Mallory")], chain.endorser)
    assert chain.refusal(chain.message(mallory, chain=[chain.endorser])) == "no_valid_path"


def test_a_signer_who_is_an_anchor_has_nobody_to_revoke_him(chain: t.Any) -> None:
    alone = chain.issue([(NameOID.COUNTRY_NAME, "XX"), (CN, "Alone")])
    chain.write("33333333.0", alone.pem)
    assert chain.refusal(chain.message(alone), crl_mode="if-present", namespaces_mode="if-present") == "no_valid_path"


@pytest.mark.parametrize(
    "extension",
    [
        (x509.PolicyConstraints(0, None), False),
        (x509.PolicyConstraints(0, None), True),
        (x509.InhibitAnyPolicy(0), False),
        (x509.NameConstraints([x509.DirectoryName(x509.Name([x509.NameAttribute(CN, "x")]))], None), False),
        (x509.NameConstraints([x509.DirectoryName(x509.Name([x509.NameAttribute(CN, "x")]))], None), True),
        (x509.KeyUsage(True, False, False, False, False, False, True, False, False), True),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00"), True),
    ],
    ids=["policy", "critical policy", "any-policy", "names", "critical names", "no keyCertSign", "unknown"],
)
def test_restrictions_of_a_ca_are_never_passed_over(chain: t.Any, extension: t.Any) -> None:
    sub = chain.issue(chain.sub.certificate.subject, chain.root, ca=True, extensions=[extension], key=chain.sub.key)
    chain.write("22222222.0", sub.pem)
    assert chain.refusal() == "no_valid_path"


@pytest.mark.parametrize(
    ("purposes", "allow_host", "code"),
    [
        ([ExtendedKeyUsageOID.EMAIL_PROTECTION], False, None),
        ([ExtendedKeyUsageOID.CLIENT_AUTH], False, None),
        ([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE], False, None),
        ([ExtendedKeyUsageOID.SERVER_AUTH], False, "extended_key_usage"),
        ([ExtendedKeyUsageOID.SERVER_AUTH], True, None),
        ([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH], False, "extended_key_usage"),
        ([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH], True, None),
        ([ExtendedKeyUsageOID.CODE_SIGNING], True, "extended_key_usage"),
    ],
)
def test_purposes(chain: t.Any, purposes: t.Any, allow_host: bool, code: str | None) -> None:
    subject = chain.endorser.certificate.subject
    signer = chain.issue(subject, chain.sub, extensions=[(x509.ExtendedKeyUsage(purposes), False)])
    if code:
        assert chain.refusal(chain.message(signer), allow_host=allow_host) == code
    else:
        assert chain.verify(chain.message(signer), allow_host=allow_host)


@pytest.mark.parametrize("last", ["proxy", "limited proxy", "Proxy"])
def test_legacy_proxies(chain: t.Any, last: str) -> None:
    proxy = chain.issue([(NameOID.COUNTRY_NAME, "XX"), (CN, "Owen"), (CN, last)], chain.endorser)
    assert chain.refusal(chain.message(proxy, chain=[chain.endorser])) == "proxy_certificate"


def test_an_ambiguous_ca_is_refused_too(chain: t.Any) -> None:
    sub = chain.issue([(NameOID.COUNTRY_NAME, "XX"), (CN, "Sub/CN=x")], chain.root, ca=True)
    chain.write("22222222.0", sub.pem)
    chain.write("22222222.r0", chain.crl(sub))
    message = chain.message(chain.issue(chain.endorser.certificate.subject, sub))
    assert chain.refusal(message, namespaces_mode="if-present") == "dn_ambiguous"


def test_crls_in_messages_are_never_read(corpus: t.Any) -> None:
    octets = corpus.message("ok-embedded-crl-ignored")
    with pytest.raises(TrustError) as caught:
        verify.verify_message(octets, corpus.anchors("trust_nocrl"), corpus.when)
    assert caught.value.code == "crl_unavailable"


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published message of 2011 is not distributed with the project")
def test_the_published_message_of_2011(directory: pathlib.Path) -> None:
    octets = (PUBLISHED / "readme-2011-03-10.crlf-body.smime").read_bytes()
    for file in (PUBLISHED / "certificates").iterdir():
        copy = directory / file.name
        copy.write_bytes(file.read_bytes())
        copy.chmod(0o644)
    found = anchors.load(directory)
    assert len(found.roots) == 3
    when = datetime.datetime(2011, 3, 20, tzinfo=datetime.timezone.utc)
    message = smime.read_message(octets)
    assert message.signed_data.signer.digest == "sha1"
    assert message.content.startswith(b"{")
    for allow_sha1, number, code in ((False, 3, "weak_algorithm"), (True, 7, "no_valid_path")):
        explanation = steps.Explanation()
        with pytest.raises(TrustError) as caught:
            verify.verify_message(octets, found, when, allow_sha1=allow_sha1, explanation=explanation)
        assert caught.value.code == code
        assert [step.number for step in explanation.steps() if step.outcome == "refused"] == [number]


@pytest.mark.parametrize(("version", "fits"), [("49.0.0", True), ("51.2", True), ("48.9", False), ("52.0.0", False)])
def test_the_version_of_the_library(version: str, fits: bool) -> None:
    assert (library.unfit(version) is None) is fits


def test_nothing_is_imported_before_it_is_needed() -> None:
    package = verify.__name__.rpartition(".")[0]
    folder = pathlib.Path(verify.__file__).parent
    files = (file.relative_to(folder).with_suffix("") for file in folder.rglob("*.py") if file.stem != "__init__")
    names = sorted(".".join(file.parts) for file in files)
    assert {"verify", "message.mime", "credentials.keys"} <= set(names)
    message = pathlib.Path(__file__).parent / "corpus" / "messages" / "ok-openssl-cms-rsa.eml"
    code = (
        "import builtins, importlib, sys\n"
        "real = builtins.__import__\n"
        "def refuse(name, *rest):\n"
        "    if name.partition('.')[0] in ('cryptography', 'requests', 'ansible'):\n"
        "        raise ImportError(name)\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = refuse\n"
        f"for name in {names!r}:\n"
        f"    importlib.import_module({package!r} + '.' + name)\n"
        "from importlib import import_module\n"
        f"smime = import_module({package!r} + '.message.smime')\n"
        f"octets = open({str(message)!r}, 'rb').read()\n"
        "assert smime.read_message(octets).content.startswith(b'{')\n"
        f"anchors = import_module({package!r} + '.anchors')\n"
        "try:\n"
        "    anchors.load('/')\n"
        "except Exception as error:\n"
        "    assert error.code == 'library_missing', error\n"
        "else:\n"
        "    raise SystemExit('no refusal')\n"
    )
    paths = [str(pathlib.Path(entry)) for entry in sys.path if entry]
    command = [sys.executable, "-c", f"import sys\nsys.path[:] = {paths!r}\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
