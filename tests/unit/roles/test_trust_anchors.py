# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role trust_anchors: a directory brought as a whole, and the check that CRLs are fresh."""

from __future__ import annotations

import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

ROLE = Path(__file__).resolve().parents[3] / "roles" / "trust_anchors"


def script(*arguments: str | Path, document: str = "") -> str:
    """Run the script that the role runs on the controller and on the host."""
    command = [sys.executable, str(ROLE / "files/anchors.py"), *map(str, arguments)]
    return subprocess.run(command, input=document, check=True, text=True, capture_output=True, timeout=60).stdout


def check(directory: Path, *arguments: str) -> tuple[int, str]:
    """Ask the check, as Nagios does."""
    text = (ROLE / "templates/check_crls.sh.j2").read_text().replace("{{ trust_anchors_path }}", str(directory))
    assert "{{" not in text
    command = ["/bin/sh", "-c", text, "check_crls", *arguments]
    done = subprocess.run(command, check=False, text=True, capture_output=True, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_a_directory_is_brought_once_and_what_leaves_it_goes(pki: t.Any, tmp_path: Path) -> None:
    host = tmp_path / "host"
    document = script("pack", pki.certificates)
    told = script("unpack", host, "--check", document=document)
    assert told and not host.exists()
    assert script("unpack", host, document=document) == told
    assert {path.name for path in pki.certificates.iterdir()} <= {path.name for path in host.iterdir()}
    assert script("unpack", host, document=document) == ""
    # The host's own file stays; an authority that the site trusts no more does not.
    (host / "own.pem").write_text("")
    gone = sorted(path.name for path in pki.certificates.glob("*.0"))[0]
    (pki.certificates / gone).unlink()
    document = script("pack", pki.certificates)
    assert script("unpack", host, document=document) == f"{gone} is removed\n"
    assert not (host / gone).exists() and (host / "own.pem").exists()


def test_crls_that_were_fetched_are_newer(pki: t.Any, tmp_path: Path) -> None:
    host = tmp_path / "host"
    document = script("pack", pki.certificates)
    script("unpack", host, "--no-crls", document=document)
    crl = sorted(host.glob("*.r0"))[0].resolve()
    crl.write_text("fetched")
    assert script("unpack", host, "--no-crls", document=document) == ""
    assert crl.read_text() == "fetched"
    assert script("unpack", host, document=document) == f"{crl.name}\n"


def test_what_was_changed_on_the_host_is_mended(pki: t.Any, tmp_path: Path) -> None:
    host = tmp_path / "host"
    document = script("pack", pki.certificates)
    script("unpack", host, document=document)
    # One authority has several names; the others are links to it.
    anchor, other = sorted({path.resolve() for path in host.glob("*.0")})
    anchor.chmod(0o666)
    other.unlink()
    other.symlink_to("/etc/hostname")
    assert script("unpack", host, document=document) == f"{anchor.name}\n{other.name}\n"
    assert anchor.stat().st_mode & 0o777 == 0o644 and not other.is_symlink()


@pytest.mark.needs("openssl")
def test_the_check_tells_how_fresh_the_crls_are(pki: t.Any) -> None:
    directory = pki.certificates
    number = len(list(directory.glob("*.0")))
    assert check(directory) == (0, f"CRLS OK - {number} are good | good={number} late=0 missing=0\n")
    crl = next(path for path in sorted(directory.glob("*.r0")) if path.is_symlink())
    kept = crl.read_bytes()
    crl.unlink()
    crl.write_text("damaged")
    code, line = check(directory)
    assert code == 1 and f"over or soon over: {crl.stem};" in line
    crl.unlink()
    assert check(directory)[0] == 0, "who names no address publishes none"
    (directory / f"{crl.stem}.crl_url").write_text("http://crl.example.org/ca.crl\n")
    code, line = check(directory)
    assert code == 1 and f"missing: {crl.stem} |" in line
    crl.write_bytes(kept)
    assert check(directory, str(directory), str(40 * 86400))[0] == 2, "all end within forty days"
    assert check(directory / "nowhere", str(directory / "nowhere"))[0] == 3


def test_every_variable_is_used() -> None:
    specs = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    used = "".join(path.read_text() for path in ROLE.rglob("*") if path.suffix in (".yml", ".j2"))
    assert [name for name in specs if not re.search(rf"\b{name}\b", used.replace(f"{name}:", ""))] == []
