# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What packages own, what they signed, and what no package brought."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.packages.content.owned import Owned
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.packages.content.unowned import read_unowned
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.packages.listing import read_databases
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.packages.signature import key_of
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root

SPEC = """\
Name: tool
Version: 1
Release: 1
Summary: Nothing
License: MIT
BuildArch: noarch
%description
x
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc
echo program >%{buildroot}/usr/bin/tool
echo setting >%{buildroot}/etc/tool.conf
%files
/usr/bin/tool
%config /etc/tool.conf
"""
MD5 = "9dd4e461268c8034f5c8564e155c67a6"
KEY = "%no-protection\nKey-Type: RSA\nKey-Length: 2048\nName-Real: Packager\nExpire-Date: 0\n%commit\n"


def lay(tree: Path, **files: str) -> None:
    for name, text in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_path_of_a_package_is_the_one_of_the_tree(tmp_path: Path) -> None:
    info = "var/lib/dpkg/info"
    lay(
        tmp_path,
        **{
            "usr/bin/sh": "x",
            f"{info}/dash.list": "/.\n/bin\n/bin/sh\n/etc/dash\n",
            f"{info}/dash.md5sums": f"{MD5}  bin/sh\n{MD5}  etc/dash\n",
            f"{info}/other:amd64.md5sums": "00000000000000000000000000000000  usr/bin/moved\n",
            "var/lib/dpkg/diversions": "/usr/bin/moved\n/usr/bin/moved.distrib\nmover\n",
            "var/lib/dpkg/status": f"Package: dash\nConffiles:\n /etc/dash {MD5}\n",
        },
    )
    (tmp_path / "bin").symlink_to("usr/bin")
    with Root(tmp_path) as root:
        owned = Owned(root)
    shell = owned.of("/usr/bin/sh")
    assert shell is not None and (shell.package, shell.algorithm) == ("dash", "md5") and shell.digest is not None
    assert owned.files["/etc/dash"].config and not shell.config
    moved = owned.of("/usr/bin/moved.distrib")
    assert moved is not None and moved.package == "other" and owned.of("/usr/bin/moved") is None


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A database with a package that gpg signed, and the id of the key."""
    work = tmp_path_factory.mktemp("signed")
    home = work / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    try:
        subprocess.run([*gpg, "--gen-key"], input=KEY, text=True, check=True, capture_output=True, timeout=120)
        listed = subprocess.run([*gpg, "--with-colons", "-k"], check=True, capture_output=True, text=True, timeout=60)
        key = next(row.split(":")[4] for row in listed.stdout.splitlines() if row.startswith("pub:"))
        (work / "tool.spec").write_text(SPEC)
        own = ["--define", f"_topdir {work}", "--define", "_build_id_links none"]
        subprocess.run(["rpmbuild", "-bb", "--quiet", *own, str(work / "tool.spec")], check=True, capture_output=True)
        (package,) = (work / "RPMS").rglob("*.rpm")
        sign = ["--define", f"_gpg_name {key}", "--define", f"_gpg_path {home}", "--define", "__gpg /usr/bin/gpg"]
        subprocess.run(["rpmsign", "--addsign", *sign, str(package)], check=True, capture_output=True, timeout=60)
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)
    base = ["rpm", "--dbpath", str(work / "system/var/lib/rpm"), "--define", "_db_backend sqlite"]
    subprocess.run([*base, "--initdb"], check=True, capture_output=True, timeout=60)
    install = ["-i", "--justdb", "--nodeps", "--nosignature", "--ignorearch", "--force-debian", str(package)]
    subprocess.run([*base, *install], check=True, capture_output=True, timeout=60)
    return work / "system", key.lower()


@pytest.mark.needs("rpmbuild", "rpmsign", "gpg")
def test_rpm_tells_its_files_and_who_signed_them(signed: tuple[Path, str]) -> None:
    with Root(signed[0]) as root:
        ((package,),) = [database.packages for database in read_databases(root)]
        files = Owned(root).files
    assert package.key == signed[1] and package.installed is not None and package.built is not None
    tool = files["/usr/bin/tool"]
    assert tool.algorithm is not None
    assert tool.digest == hashlib.new(tool.algorithm, b"program\n").hexdigest()
    assert (tool.config, files["/etc/tool.conf"].config) == (False, True)


def test_what_is_no_signature_names_nobody() -> None:
    assert [key_of(octets) for octets in (b"", b"x", b"\x89", b"\x89\x01", b"\x89\x00\x10" + b"\x04" * 16)] == [
        None
    ] * 5
    old = b"\x88\x13" + b"\x03\x05\x00" + bytes(4) + bytes.fromhex("0123456789abcdef") + bytes(4)
    assert key_of(old) == "0123456789abcdef"


def test_what_no_package_brought_is_listed(tmp_path: Path) -> None:
    site = "opt/vo/lib/python3.9/site-packages"
    owned = "usr/lib/python3/dist-packages/own-1.dist-info/METADATA"
    lay(
        tmp_path,
        **{
            f"{site}/numpy-1.26.4.dist-info/METADATA": "Name: numpy\nVersion: 1.26.4\nLicense: BSD\n\nName: no\n",
            f"{site}/old.egg-info/PKG-INFO": "Name: old\nVersion: 2\n",
            f"{site}/broken.dist-info/METADATA": "Name: ../x\nVersion: 2\n",
            "opt/conda/conda-meta/zlib-1.3.json": '{"name": "zlib", "version": "1.3", "license": "Zlib"}',
            "usr/local/bin/run": "x",
            owned: "Name: own\nVersion: 1\n",
            "var/lib/dpkg/info/python3-own.list": f"/{owned}\n",
        },
    )
    with Root(tmp_path) as root:
        packages, trees = read_unowned(root)
    assert [(item.kind, item.name, item.version, item.licence) for item in packages] == [
        ("conda", "zlib", "1.3", "Zlib"),
        ("pypi", "numpy", "1.26.4", "BSD"),
        ("pypi", "old", "2", None),
    ]
    assert packages[1].path == f"/{site}/numpy-1.26.4.dist-info"
    assert [(tree.path, tree.files) for tree in trees] == [("/opt/conda", 1), ("/opt/vo", 3), ("/usr/local", 1)]
    (tmp_path / "usr/local/bin/run").write_text("y")
    with Root(tmp_path) as root:
        again = read_unowned(root)[1]
    assert again[:2] == trees[:2] and again[2].sha256 != trees[2].sha256


def test_a_tree_that_is_too_large_is_listed_without_its_digest(tmp_path: Path) -> None:
    lay(tmp_path, **{"srv/data/small": "x", "opt/vo/run": "x"})
    with (tmp_path / "srv/data/hole").open("wb") as file:
        file.truncate(1 << 42)
    with Root(tmp_path) as root:
        trees = read_unowned(root)[1]
    assert [(tree.path, tree.files, tree.sha256 is None) for tree in trees] == [
        ("/opt/vo", 1, False),
        ("/srv/data", 2, True),
    ]
