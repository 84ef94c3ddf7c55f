# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys on a PKCS#11 token: SoftHSM's, by its own driver."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import typing as t
from datetime import datetime

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import PublishError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import anchors
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.credentials import token
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.credentials.load import load, passphrase_of
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message.smime import sign_message
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.verify import verify_message

DRIVER = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "1234"


class Token(t.NamedTuple):
    """A token with the keys that were put on it: `address` names one, `put` adds one."""

    address: t.Callable[[str], str]
    put: t.Callable[[str, pathlib.Path], None]


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Token]:
    """One for the process: a driver reads its configuration once."""
    directory = tmp_path_factory.mktemp("token")
    (directory / "tokens").mkdir()
    configuration = directory / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {directory}/tokens\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(configuration))
        util = ["softhsm2-util", "--module", DRIVER]
        subprocess.run(
            [*util, "--init-token", "--free", "--label", "Endorser's token", "--pin", PIN, "--so-pin", "0000"],
            check=True,
            capture_output=True,
        )

        def put(label: str, key: pathlib.Path) -> None:
            pkcs8 = directory / f"{label}.pem"
            subprocess.run(["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", str(key), "-out", str(pkcs8)], check=True)
            number = format(sum(label.encode()) % 256, "02x")
            options = [
                "--import",
                str(pkcs8),
                "--token",
                "Endorser's token",
                "--label",
                label,
                "--id",
                number,
                "--pin",
                PIN,
            ]
            subprocess.run([*util, *options], check=True, capture_output=True)

        yield Token(lambda label: f"pkcs11:token=Endorser%27s%20token;object={label}?module-path={DRIVER}", put)


pytestmark = pytest.mark.needs("softhsm2-util", DRIVER)


@pytest.mark.parametrize("kind", ["rsa", "p256", "p384"])
@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_a_token_signs_a_message_that_verifies(
    softhsm: Token, pki: t.Any, now: datetime, kind: str, digest: str
) -> None:
    label = f"{kind}-{digest}"
    issued = pki.issue("Erin Endorser", key=kind, directory=label)
    softhsm.put(label, issued.key_path)
    found = load(str(issued.certificate_path), softhsm.address(label), passphrase_of(PIN.encode(), None), now)
    message = sign_message(
        b'{"a": 1}\n',
        certificate=found.certificate,
        key=found.key,
        chain=[pki.sub.certificate],
        digest=digest,
    )
    assert verify_message(message, anchors.load(pki.certificates), now).content == b'{"a": 1}\r\n'


def test_a_token_is_refused_for_a_reason(softhsm: Token, pki: t.Any, now: datetime) -> None:
    issued = pki.issue("Erin Endorser", directory="reasons")
    softhsm.put("reasons", issued.key_path)
    certificate, address = str(issued.certificate_path), softhsm.address("reasons")
    pin = passphrase_of(PIN.encode(), None)
    cases: list[tuple[str, str, str, t.Any]] = [
        ("passphrase_wrong", certificate, address, passphrase_of(b"4321", None)),
        ("passphrase_missing", certificate, address, passphrase_of(None, None)),
        ("key_missing", certificate, softhsm.address("another"), pin),
        ("key_missing", certificate, address.replace("token=Endorser", "token=Nobody"), pin),
        ("key_unreadable", certificate, address.replace(DRIVER, "/nowhere.so"), pin),
        ("key_mismatch", str(pki.endorser.certificate_path), address, pin),
        ("certificate_missing", address, address, pin),
    ]
    for code, signer, key, passphrase in cases:
        with pytest.raises(PublishError) as caught:
            load(signer, key, passphrase, now)
        assert caught.value.code == code
        assert PIN not in str(caught.value)


#: What signs with a token that is pulled out half-way, in a process of its own: its driver is of no use afterwards.
PULLED_OUT = """
import datetime, pathlib, sys
from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import PublishError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.credentials.load import load
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message.smime import sign_message

certificate, address, pin, tokens, now = sys.argv[1:]
found = load(certificate, address, pin.encode, datetime.datetime.fromisoformat(now))
pathlib.Path(tokens).rename(f"{tokens}.elsewhere")
pathlib.Path(tokens).mkdir()
for work in (
    lambda: sign_message(b"{}", certificate=found.certificate, key=found.key, chain=[], digest="sha256"),
    lambda: load(address, address, pin.encode, datetime.datetime.fromisoformat(now)),
):
    try:
        work()
    except PublishError as refusal:
        print(refusal.code, refusal.detail, sep=": ")
"""


@pytest.mark.parametrize("kind", ["rsa", "p256"])
def test_a_token_that_is_pulled_out_is_said_to_be(softhsm: Token, pki: t.Any, now: datetime, kind: str) -> None:
    issued = pki.issue("Erin Endorser", directory=f"out-{kind}", key=kind)
    softhsm.put(f"out-{kind}", issued.key_path)
    tokens = pathlib.Path(os.environ["SOFTHSM2_CONF"]).with_name("tokens")
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-c", PULLED_OUT),
                *(str(issued.certificate_path), softhsm.address(f"out-{kind}"), PIN, str(tokens), now.isoformat()),
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        )
    finally:
        shutil.rmtree(tokens)
        tokens.with_name("tokens.elsewhere").rename(tokens)
    for line in done.stdout.splitlines():
        assert re.fullmatch(r"key_unreadable: The (token|driver) .* \(?[A-Za-z]+\)?", line)
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize("kinds", [("rsa", "p256"), ("p256", "rsa")])
def test_a_key_of_another_kind_is_not_the_certificates(
    softhsm: Token, pki: t.Any, now: datetime, kinds: tuple[str, str]
) -> None:
    certificate, key = (pki.issue("Erin", directory=f"{kinds[0]}-{name}", key=name) for name in kinds)
    softhsm.put(f"for-{kinds[0]}", key.key_path)
    with pytest.raises(PublishError) as caught:
        load(
            str(certificate.certificate_path),
            softhsm.address(f"for-{kinds[0]}"),
            passphrase_of(PIN.encode(), None),
            now,
        )
    assert caught.value.code == "key_mismatch"


@pytest.mark.parametrize(
    "address",
    [
        "pkcs11:object=x?pin-value=1234",
        "pkcs11:object=x?pin-source=file:/x",
        "pkcs11:token=x",
        "pkcs11:object=x;slot-id=1",
        "pkcs11:",
    ],
)
def test_an_address_is_refused(address: str) -> None:
    with pytest.raises(PublishError) as caught:
        token.read_address(address)
    assert caught.value.code == "publish_invalid"


def test_an_address_is_read() -> None:
    found = token.read_address("pkcs11:token=My%20Token;id=%01%02;object=a%3Bb")
    assert (found.module, found.token, found.identifier, found.label) == (
        "p11-kit-proxy.so",
        "My Token",
        b"\x01\x02",
        "a;b",
    )
