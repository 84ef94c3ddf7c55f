# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's limits: what a context disk must not do to an endorsed image is refused, each with its code."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import typing as t
from pathlib import Path

import pytest

SCRIPT = {"content": "#!/bin/sh\n"}


@pytest.mark.parametrize("user", ["root", "0", "1000", "wheel", "Root", "a b", "", "$(id)", "toor"])
def test_the_payload_never_runs_as_root(workshop: t.Any, user: str) -> None:
    """X11."""
    for restrict in ("enforce", "off"):
        assert workshop.refused(payload_user=user, restrict=restrict).code == "payload_user_refused"


@pytest.mark.parametrize(
    "target",
    [
        *(
            "/usr/bin/gcc",
            "/usr/local/bin/python3.11",
            "/usr/local/bin/perl",
            "/opt/site/bin/cc",
            "/usr/lib64/libc.so.6",
        ),
        *("/lib/modules/6.1.0/kernel/x.ko", "/boot/vmlinuz", "/etc/ld.so.preload", "/etc/ld.so.conf.d/x.conf"),
        *("/etc/vmcontext.conf", "/etc/vmcontext.d/99-mine.sh", "/etc/init.d/vmcontext.epilogue", "/usr/sbin/sshd"),
        *(
            "/usr/local/lib/python3.9/site-packages/x.py",
            "/proc/sys/kernel/core_pattern",
            "/dev/sda",
            "/etc//ld.so.preload",
        ),
        *("//etc/ld.so.preload", "/etc/alternatives/cc", "/opt/bin/x86_64-linux-gnu-gcc-12", "/bin/sh"),
    ],
)
def test_protected_places_are_refused(workshop: t.Any, target: str) -> None:
    """X11, X15."""
    file = {"content": "x", "name": "x", "target": target}
    assert workshop.refused(files=[file]).code == "target_refused"
    assert workshop.report(files=[file], restrict="warn")["lint"][0]["code"] == "target_refused"
    assert workshop.report(files=[file], restrict="off")["lint"] == []


@pytest.mark.parametrize("target", ["/etc/lsf.conf", "/opt/site/bin/submit", "/var/spool/x", "/usr/local/bin/pbs_mom"])
def test_the_usual_places_are_allowed(workshop: t.Any, target: str) -> None:
    found = workshop.report(files=[{"content": "x", "name": "x", "target": target}])
    assert found["lint"] == []


@pytest.mark.parametrize(
    "target", ["etc/x", "/etc/../boot/x", "/etc/x y", "/etc/", "/etc/$(id)", "/etc/a\nb", "/etc/.."]
)
def test_what_is_no_plain_path_is_refused(workshop: t.Any, target: str) -> None:
    file = {"content": "x", "name": "x", "target": target}
    assert workshop.refused(files=[file], restrict="off").code == "option_invalid"


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".hidden", "", "a b", "x\ny", "$(id)", "-rf", "a" * 65])
def test_a_file_name_is_plain(workshop: t.Any, name: str) -> None:
    assert workshop.refused(files=[{"content": "x", "name": name}]).code == "file_name_refused"


@pytest.mark.parametrize("name", ["context.sh", "prolog.sh", "Context.SH", "meta-data", "openstack", "files.map"])
def test_the_readers_names_are_theirs(workshop: t.Any, name: str) -> None:
    assert workshop.refused(files=[{"content": "x", "name": name}]).code == "file_name_clash"


def test_names_and_targets_are_unique(workshop: t.Any) -> None:
    two = [{"content": "x", "name": "a.conf"}, {"content": "y", "name": "A.conf"}]
    assert workshop.refused(files=two).code == "file_name_clash"
    same = [{"content": "x", "name": name, "target": "/etc/a"} for name in ("a", "b")]
    assert workshop.refused(files=same).code == "file_name_clash"


def test_a_huge_file_is_refused_before_it_is_read(workshop: t.Any) -> None:
    path = workshop.file("huge", b"")
    os.truncate(path, 5 * 1024**3)
    for item in ({"files": [{"src": path}]}, {"packages": [path]}, {"user_data_src": path}):
        assert workshop.refused(**item).code == "content_too_large"


def test_files_that_are_too_much_together_are_refused(workshop: t.Any) -> None:
    path = workshop.file("much", b"")
    os.truncate(path, 33 * 1024**2)
    files = [{"src": path, "name": name} for name in ("a", "b")]
    assert workshop.refused(files=files).code == "content_too_large"


def test_what_is_no_regular_file_is_refused(workshop: t.Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert workshop.refused(files=[{"src": str(tmp_path / "pipe")}]).code == "not_readable"
    assert workshop.refused(files=[{"src": "/dev/zero"}]).code == "not_readable"
    assert workshop.refused(files=[{"src": str(tmp_path / "none")}]).code == "not_found"


def test_what_no_guest_should_have_is_refused(workshop: t.Any, tmp_path: Path) -> None:
    assert workshop.refused(files=[{"src": "/etc/passwd"}]).code == "source_restricted"
    (tmp_path / "link").symlink_to("/etc/passwd")
    assert workshop.refused(files=[{"src": str(tmp_path / "link")}]).code == "source_restricted"
    assert workshop.refused(secret_variables={"X": "/etc/passwd"}).code == "source_restricted"
    assert workshop.report(files=[{"src": "/etc/passwd"}], safe_sources=["/etc"])["lint"] == []


@pytest.mark.parametrize("script", ["prolog", "epilog", "init", "payload"])
def test_a_script_with_the_line_ends_of_windows_is_refused(workshop: t.Any, script: str) -> None:
    bad = {"content": "#!/bin/sh\r\necho x\r\n"}
    assert workshop.refused(scripts={script: bad}).code == "script_line_ends"
    assert workshop.refused(files=[{**bad, "name": "more.sh"}]).code == "script_line_ends"
    assert workshop.refused(scripts={script: {"content": "#!/bin/sh\r"}}).code == "script_line_ends"


def test_a_script_without_an_interpreter_is_told(workshop: t.Any) -> None:
    assert (
        workshop.report(scripts={"prolog": {"content": "echo x\n"}})["lint"][0]["code"] == "script_without_interpreter"
    )


def test_init_beside_prolog_would_run_by_one_reader_only(workshop: t.Any) -> None:
    """X16."""
    assert workshop.refused(scripts={"init": SCRIPT, "prolog": SCRIPT}).code == "init_beside_prolog"


def deb(name: str) -> bytes:
    return b"!<arch>\ndebian-binary   " + name.encode()


def rpm(name: str) -> bytes:
    return b"\xed\xab\xee\xdb\x03\x00\x00\x00\x00\x01" + name.encode().ljust(66, b"\0") + b"\0" * 20


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("kernel-2.6.18-194.el5.x86_64.rpm", rpm("kernel-2.6.18-194")),
        ("harmless-1-1.noarch.rpm", rpm("glibc-2.5-49")),
        ("python3.11_3.11.2_amd64.deb", deb("python3.11")),
        ("perl-base_5.36_amd64.deb", deb("perl-base")),
        ("gcc-12_12.2_amd64.deb", deb("gcc-12")),
        ("libc6_2.36_amd64.deb", deb("libc6")),
        ("linux-image-amd64_6.1_amd64.deb", deb("linux-image-amd64")),
    ],
)
def test_protected_packages_are_refused(workshop: t.Any, name: str, octets: bytes) -> None:
    """X11."""
    assert workshop.refused(packages=[workshop.file(name, octets)]).code == "package_refused"


@pytest.mark.needs("dpkg-deb")
@pytest.mark.parametrize(("compression", "code"), [("gzip", "package_refused"), ("xz", "package_refused")])
def test_a_package_is_known_by_what_it_states_itself(
    workshop: t.Any, tmp_path: Path, compression: str, code: str
) -> None:
    control = tmp_path / "tree/DEBIAN/control"
    control.parent.mkdir(parents=True)
    control.write_text("Package: libc6\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b>\nDescription: x\n")
    path = tmp_path / "harmless_1_all.deb"
    options = [f"-Z{compression}", "--uniform-compression", "--build"]
    command = ["dpkg-deb", *options, str(tmp_path / "tree"), str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    refusal = workshop.refused(packages=[str(path)])
    assert refusal.code == "package_refused" and "libc6" in refusal.detail


def test_the_sites_batch_client_is_taken(workshop: t.Any) -> None:
    paths = [
        workshop.file("batch-client-1.0-1.noarch.rpm", rpm("batch-client-1.0-1")),
        workshop.file("perl-batch_1.0~rc1_all.deb", deb("perl-batch")),
    ]
    found = [file["path"] for file in workshop.report(packages=paths)["files"]]
    assert found == ["packages/batch-client-1.0-1.noarch.rpm", "packages/perl-batch_1.0_rc1_all.deb"]


def test_what_is_no_package_is_refused(workshop: t.Any) -> None:
    assert workshop.refused(packages=[workshop.file("x.rpm", b"#!/bin/sh")]).code == "option_invalid"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"flavours": ["opennebula", "nocloud"]}, ("opennebula", "nocloud")),
        ({"flavours": ["hepix", "configdrive", "nocloud"]}, ("configdrive", "nocloud")),
    ],
)
def test_flavours_that_need_different_labels_conflict_and_both_are_named(
    workshop: t.Any, options: t.Any, named: tuple[str, ...]
) -> None:
    refusal = workshop.refused(**options)
    assert refusal.code == "flavours_conflict"
    assert all(name in refusal.detail for name in named)


@pytest.mark.parametrize(
    "options",
    [
        {"label": "a b"},
        {"label": "x" * 17},
        {"label": ""},
        {"label": "MINE"},
        {"label": "CONTEXT", "flavours": ["nocloud"]},
    ],
)
def test_a_label_that_no_reader_finds_is_refused(workshop: t.Any, options: t.Any) -> None:
    assert workshop.refused(**options).code == "label_invalid"


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"content": "x", "src": "/x"},
        {"content_base64": "a!b="},
        {"url": "https://example.org/x"},
        {"url": "https://example.org/x", "checksum": "md5:" + "0" * 32},
        {"url": "https://example.org/x", "checksum": "sha512:" + "0" * 64},
        {"url": "http://example.org/x", "checksum": "sha256:" + "0" * 64},
        {"url": "file:///etc/passwd", "checksum": "sha256:" + "0" * 64},
        {"content": "x", "checksum": "sha256:" + "0" * 64},
    ],
)
def test_content_comes_in_one_sure_way(workshop: t.Any, item: t.Any) -> None:
    assert workshop.refused(files=[{"name": "x", **item}]).code == "option_invalid"
    assert workshop.fetched == []


def test_a_fetched_file_has_its_checksum_or_is_refused(workshop: t.Any) -> None:
    url = "https://example.org/x"
    workshop.web[url] = b"expected"
    good = hashlib.sha512(b"expected").hexdigest()
    files = [{"name": "x", "url": url, "checksum": f"sha512:{good.upper()}"}]
    assert workshop.report(files=files)["files"][0]["sha256"] == hashlib.sha256(b"expected").hexdigest()
    workshop.web[url] = b"another"
    assert workshop.make(files=files).changed is False
    assert workshop.fetched == [url]
    bad = [{"name": "x", "url": url, "checksum": "sha256:" + "0" * 64}]
    assert workshop.refused(files=bad).code == "checksum_mismatch"


def test_base64_may_hold_any_octets(workshop: t.Any) -> None:
    octets = bytes(range(256))
    files = [{"name": "x", "content_base64": base64.encodebytes(octets).decode()}]
    assert workshop.report(files=files)["files"][0]["sha256"] == hashlib.sha256(octets).hexdigest()


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"flavours": ["hepix"], "user_data": "x"}, "user_data"),
        ({"flavours": ["nocloud"], "scripts": {"prolog": SCRIPT}}, "scripts"),
        ({"network_config": {"version": 2}}, "network_config"),
        ({"flavours": ["hepix"], "vendor_data": "x"}, "vendor_data"),
    ],
)
def test_what_no_reader_takes_is_told(workshop: t.Any, options: t.Any, where: str) -> None:
    found = [(finding["code"], finding["where"]) for finding in workshop.report(**options)["lint"]]
    assert ("nobody_reads", where) in found


def test_the_payloads_user_is_no_administrator_by_a_variable_either(workshop: t.Any) -> None:
    refusal = workshop.refused(variables={"PAYLOAD_USER": "root"})
    assert refusal.code == "payload_user_refused" and "variables.PAYLOAD_USER" in str(refusal)
    options = {"flavours": ["opennebula"], "payload_user": "grid"}
    refusal = workshop.refused(**options, variables={"USERNAME": "grid"})
    assert refusal.code == "payload_user_refused" and "USERNAME_SUDO" in str(refusal)
    for variables in ({"USERNAME": "grid", "USERNAME_SUDO": "no"}, {"USERNAME": "admin"}):
        assert workshop.report(**options, variables=variables)["lint"] == []


def test_what_one_context_would_expand_is_told(workshop: t.Any) -> None:
    """It writes the variables between double quotes, and sources them to report that it is ready."""
    variables = {"GREETING": "$(id)", "PLAIN": "it's", "REPORT_READY": "YES"}
    found = [(one["code"], one["where"]) for one in workshop.report(variables=variables)["lint"]]
    assert found == [("value_expanded", "variables.GREETING")]
    assert workshop.report(variables={**variables, "REPORT_READY": "NO"})["lint"] == []
    assert workshop.report(variables=variables, flavours=["hepix"])["lint"] == []


def test_all_that_is_wrong_is_told_at_once(workshop: t.Any) -> None:
    refusal = workshop.refused(variables={"PATH": "x", "IFS": "y"}, files=[{"src": "/etc/passwd"}])
    assert sorted(finding["code"] for finding in refusal.context["findings"]) == [
        "source_restricted",
        "variable_forbidden",
        "variable_forbidden",
    ]


def test_one_refused_disk_of_many_leaves_all_unmade(workshop: t.Any) -> None:
    dests = [str(workshop.directory / name) for name in ("a.iso", "b.iso")]
    with pytest.raises(Exception, match=r"b\.iso") as refusal:
        workshop.make({"dest": dests[0]}, {"dest": dests[1], "variables": {"PATH": "x"}})
    assert t.cast("t.Any", refusal.value).code == "variable_forbidden"
    assert list(workshop.directory.glob("*.iso")) == []
