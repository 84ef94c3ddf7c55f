# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real trust anchors of the grid, as Debian packages them: every file is read, and every live CA has its root."""

from __future__ import annotations

import datetime
import hashlib
import os
import pathlib
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import (
    anchor_files,
    anchors,
    certificates,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.naming import names, namespaces, policies
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.path import building

PACKAGED = pathlib.Path("/usr/share/igtf-policy")
PROFILES = ("classic", "iota", "mics", "slcs")

pytestmark = [
    pytest.mark.needs(*(str(PACKAGED / profile) for profile in PROFILES)),
    pytest.mark.filterwarnings("ignore:Parsed a serial number"),
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """All profiles in one directory of links, as the packages make it in /etc/grid-security/certificates."""
    made = tmp_path_factory.mktemp("igtf") / "certificates"
    made.mkdir(mode=0o755)
    for profile in PROFILES:
        for file in (PACKAGED / profile).iterdir():
            if not (made / file.name).is_symlink():
                (made / file.name).symlink_to(file)
    return made


@pytest.fixture(scope="module")
def loaded(directory: pathlib.Path) -> anchors.Anchors:
    return anchors.load_directory(directory)


def slash(one: x509.Certificate) -> str:
    return names.slash(certificates.fields_of(one).subject)


def test_every_certificate_loads(directory: pathlib.Path, loaded: anchors.Anchors) -> None:
    assert loaded.problems == ()
    packaged = {
        x509.load_pem_x509_certificate(file.read_bytes()).fingerprint(hashes.SHA256())
        for file in directory.glob("*.pem")
    }
    found = {one.fingerprint(hashes.SHA256()) for one in (*loaded.roots, *loaded.intermediates)}
    assert found == packaged
    assert len(loaded.roots) >= 40 and len(loaded.intermediates) >= 20


@pytest.mark.parametrize("kind", policies.KINDS)
def test_every_policy_file_parses(directory: pathlib.Path, kind: policies.Kind) -> None:
    files = sorted(directory.glob(f"*.{kind}"))
    assert len(files) >= 100
    assert [file.name for file in files if not policies.read_rules(file.read_bytes(), kind, str(file))] == []


def test_every_ca_has_rules_and_a_name_of_its_own(loaded: anchors.Anchors) -> None:
    for one in (*loaded.roots, *loaded.intermediates):
        subject = certificates.fields_of(one).subject
        assert names.ambiguity(subject) is None
        assert loaded.policies.rules_for(subject, []) != []


def test_every_live_ca_has_its_root(
    loaded: anchors.Anchors, record_property: t.Callable[[str, object], None], now: datetime.datetime
) -> None:
    ended = []
    for one in loaded.intermediates:
        try:
            found = building.build(one, (), loaded.roots, loaded.intermediates, now)
        except TrustError as refusal:
            assert refusal.code == "no_valid_path"
            ended.append(f"{slash(one)}: {refusal.detail}")
            assert is_over(one, loaded, now), ended[-1]
            continue
        assert not is_over(one, loaded, now)
        assert namespaces.check(found, loaded.policies, "require") == len(found) - 1
    over = [slash(one) for one in loaded.roots if one.not_valid_after_utc < now]
    record_property("sub-CAs that are over", ended)
    record_property("roots that are over", over)
    print("Over, and refused:", *ended, sep="\n  ")
    print("Roots that are over:", *over, sep="\n  ")
    assert len(ended) < len(loaded.intermediates) / 2


def is_over(one: x509.Certificate, loaded: anchors.Anchors, now: datetime.datetime) -> bool:
    """Whether this CA, or every CA that may have issued it, is past its end: by names and dates alone."""
    if not one.not_valid_before_utc <= now <= one.not_valid_after_utc:
        return True
    if one.issuer == one.subject:
        return False
    above = [other for other in (*loaded.roots, *loaded.intermediates) if other.subject == one.issuer]
    return all(is_over(other, loaded, now) for other in above)


def test_a_ca_that_has_ended_is_refused(loaded: anchors.Anchors) -> None:
    for one in loaded.intermediates:
        after = one.not_valid_after_utc + datetime.timedelta(seconds=1)
        with pytest.raises(TrustError) as caught:
            building.build(one, (), loaded.roots, loaded.intermediates, after)
        assert caught.value.code == "no_valid_path"


def test_the_fingerprint_is_stable(directory: pathlib.Path, tmp_path: pathlib.Path) -> None:
    first = anchor_files.fingerprint(directory)
    anchors.load_directory(directory)
    assert anchor_files.fingerprint(directory) == first
    other = tmp_path / "certificates"
    other.mkdir(mode=0o755)
    for file in sorted(directory.iterdir(), key=lambda file: hashlib.sha256(os.fsencode(file.name)).digest()):
        (other / file.name).symlink_to(file.resolve())
    assert anchor_files.fingerprint(other) == first
    next(other.glob("*.0")).unlink()
    assert anchor_files.fingerprint(other) != first
