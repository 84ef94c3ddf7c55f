# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The anchors directory: robust to broken neighbours, refused when others may write to it."""

from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust import anchor_files, anchors


def code_of(load: t.Callable[..., object], *arguments: t.Any) -> str:
    with pytest.raises(TrustError) as caught:
        load(*arguments)
    return caught.value.code


def test_the_corpus_directory(directory: pathlib.Path) -> None:
    found = anchors.load(directory)
    assert len(found.roots) == 2
    assert len(found.intermediates) == 1
    assert found.problems == ()


def test_both_hash_styles_of_one_ca_count_once(directory: pathlib.Path) -> None:
    assert (directory / "3b7d49a7.0").read_bytes() == (directory / "542ec297.0").read_bytes()
    assert len(anchors.load(directory).intermediates) == 1


def test_several_cas_share_a_hash(chain: t.Any) -> None:
    other = chain.issue(chain.root.certificate.subject, ca=True)
    chain.write("11111111.1", other.pem)
    assert len(chain.anchors().roots) == 2
    assert chain.verify().path[-1] == chain.root.certificate


def test_symbolic_links_are_followed(chain: t.Any) -> None:
    (chain.directory / "22222222.0").rename(chain.directory / "Sub.pem")
    (chain.directory / "22222222.0").symlink_to("Sub.pem")
    assert chain.verify()


def test_der_is_read(chain: t.Any) -> None:
    chain.write("11111111.0", chain.root.certificate.public_bytes(Encoding.DER))
    assert chain.verify()


@pytest.mark.parametrize(
    "octets", [b"", b"\x30\x82\xff\xff", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END", b"\0" * 300_000]
)
def test_a_broken_file_does_not_take_the_directory_down(chain: t.Any, octets: bytes) -> None:
    broken = chain.write("33333333.0", octets)
    found = chain.anchors()
    assert [problem.path for problem in found.problems] == [str(broken)]
    assert chain.verify(anchors=found)


def test_a_dangling_link_does_not_take_the_directory_down(chain: t.Any) -> None:
    (chain.directory / "33333333.0").symlink_to("nowhere")
    (chain.directory / "33333333.r0").symlink_to("nowhere")
    (chain.directory / "33333333.namespaces").symlink_to("nowhere")
    assert chain.verify()


def test_a_pipe_does_not_block(chain: t.Any) -> None:
    os.mkfifo(chain.directory / "33333333.0", 0o600)
    os.mkfifo(chain.directory / "33333333.r0", 0o600)
    assert chain.verify()


def test_other_file_names_are_not_looked_at(chain: t.Any) -> None:
    chain.write("evil.pem", chain.issue([(NameOID.COMMON_NAME, "Evil")], ca=True).pem, mode=0o666)
    chain.write("ABCDEF01.0", chain.root.pem)
    assert len(chain.anchors().roots) == 1


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777, 0o1777])
def test_a_directory_that_others_may_write_is_refused(chain: t.Any, mode: int) -> None:
    chain.directory.chmod(mode)
    assert code_of(anchors.load, chain.directory) == "anchors_unsafe"


@pytest.mark.parametrize("name", ["11111111.0", "11111111.r0", "11111111.namespaces"])
def test_a_file_that_others_may_write_is_refused(chain: t.Any, name: str) -> None:
    (chain.directory / name).chmod(0o664)
    assert code_of(anchors.load, chain.directory) == "anchors_unsafe"


@pytest.mark.needs("root")
def test_an_owner_who_is_neither_root_nor_the_user_is_refused(chain: t.Any) -> None:
    os.chown(chain.directory / "11111111.0", 4711, -1)
    assert code_of(anchors.load, chain.directory) == "anchors_unsafe"
    assert anchors.load(chain.directory, trusted_owners=[4711]).roots


def test_what_a_link_leads_to_must_be_safe_as_well(chain: t.Any, tmp_path: pathlib.Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o755)
    (chain.directory / "22222222.0").rename(elsewhere / "Sub.pem")
    (chain.directory / "22222222.0").symlink_to(elsewhere / "Sub.pem")
    assert chain.verify()
    for mode in (0o775, 0o777, 0o1777):
        elsewhere.chmod(mode)
        assert code_of(anchors.load, chain.directory) == "anchors_unsafe"


def test_links_on_the_way_are_followed_and_judged(chain: t.Any, tmp_path: pathlib.Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    link = open_to_all / "certificates"
    link.symlink_to(chain.directory)
    open_to_all.chmod(0o755)
    bundle = open_to_all / "bundle.pem"
    bundle.write_bytes(chain.root.pem)
    bundle.chmod(0o644)
    assert anchors.load(link).roots
    open_to_all.chmod(0o777)
    assert code_of(anchors.load, link) == "anchors_unsafe"
    assert code_of(anchors.load, bundle) == "anchors_unsafe"
    assert code_of(anchors.load, open_to_all / ".." / "open" / "certificates") == "anchors_unsafe"
    inner = tmp_path / "inner"
    inner.symlink_to("open/certificates")
    assert code_of(anchors.load, inner) == "anchors_unsafe"
    open_to_all.chmod(0o1777)
    assert anchors.load(inner).roots
    assert anchors.load(bundle).roots


@pytest.mark.needs("root")
def test_in_a_directory_with_the_sticky_bit_the_link_must_be_ours(chain: t.Any, tmp_path: pathlib.Path) -> None:
    link = tmp_path / "shared" / "certificates"
    link.parent.mkdir()
    link.symlink_to(chain.directory)
    os.chown(link, 4711, -1, follow_symlinks=False)
    assert anchors.load(link).roots
    link.parent.chmod(0o1777)
    assert code_of(anchors.load, link) == "anchors_unsafe"
    assert anchors.load(link, trusted_owners=[4711]).roots


def test_a_missing_directory(tmp_path: pathlib.Path) -> None:
    assert code_of(anchors.load, tmp_path / "none") == "anchors_unreadable"
    assert code_of(anchors.load_directory, tmp_path / "none") == "anchors_unreadable"
    assert code_of(anchor_files.fingerprint, tmp_path / "none") == "anchors_unreadable"


def test_a_bundle_needs_explicit_modes(chain: t.Any, tmp_path: pathlib.Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"# anchors\n" + chain.root.pem + chain.sub.pem)
    bundle.chmod(0o644)
    found = anchors.load(bundle)
    assert chain.refusal(anchors=found) == "crl_unavailable"
    assert chain.refusal(anchors=found, crl_mode="if-present") == "namespace_missing"
    assert chain.verify(anchors=found, crl_mode="if-present", namespaces_mode="if-present")


def test_crls_in_a_bundle_are_asked(chain: t.Any, tmp_path: pathlib.Path) -> None:
    bundle = tmp_path / "bundle.pem"
    good = chain.root.pem + chain.sub.pem + chain.crl(chain.root)
    bundle.write_bytes(good + chain.crl(chain.sub))
    bundle.chmod(0o644)
    assert len(chain.verify(anchors=anchors.load(bundle), namespaces_mode="if-present").crls) == 2
    bundle.write_bytes(good + chain.crl(chain.sub, chain.endorser))
    assert chain.refusal(anchors=anchors.load(bundle), namespaces_mode="if-present") == "revoked"


def test_an_unsafe_or_empty_bundle(chain: t.Any, tmp_path: pathlib.Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(chain.root.pem)
    bundle.chmod(0o666)
    assert code_of(anchors.load, bundle) == "anchors_unsafe"
    bundle.write_bytes(b"nothing\n")
    bundle.chmod(0o644)
    assert code_of(anchors.load, bundle) == "anchors_unreadable"


def test_the_fingerprint_knows_what_changed(chain: t.Any) -> None:
    before = anchor_files.fingerprint(chain.directory)
    assert anchor_files.fingerprint(chain.directory) == before
    chain.write("README.txt", "no part of it")
    assert anchor_files.fingerprint(chain.directory) == before
    os.utime(chain.directory / "22222222.r0", ns=(1, 1))
    touched = anchor_files.fingerprint(chain.directory)
    assert touched != before
    (chain.directory / "22222222.r0").unlink()
    assert anchor_files.fingerprint(chain.directory) not in (before, touched)


def test_the_fingerprint_of_a_bundle(chain: t.Any) -> None:
    path = chain.write("bundle.pem", chain.root.pem)
    before = anchor_files.fingerprint(path)
    chain.write("bundle.pem", chain.root.pem + chain.sub.pem)
    assert anchor_files.fingerprint(path) != before
