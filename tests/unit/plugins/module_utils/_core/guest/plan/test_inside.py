# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of an image on the builder: in a small real system, what they can reach and how they may end."""

from __future__ import annotations

import re
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import GuestError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.plan.inside import run_inside
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root

pytestmark = pytest.mark.needs("root", "unshare", "/bin/busybox")


@pytest.fixture
def system(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for name in ("bin", "dev", "proc", "sys", "etc"):
        (tree / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin" / "busybox")
    for library in libraries("/bin/busybox"):
        (tree / library.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, tree / library.lstrip("/"))
    for name in ("sh", "ls", "cat", "kill", "sleep", "env", "ip", "mount", "id"):
        (tree / "bin" / name).symlink_to("busybox")
    return tree


@pytest.fixture
def inside(system: Path) -> t.Iterator[t.Callable[..., str]]:
    with Root(system) as root:
        yield lambda *argv, **more: run_inside(root, argv, **more)
    assert str(system) not in Path("/proc/self/mountinfo").read_text()


def libraries(program: str) -> list[str]:
    """The files that a program is linked to; none where it is static."""
    said = subprocess.run(["ldd", program], check=False, capture_output=True, text=True).stdout
    return re.findall(r"(/\S+) \(0x", said)


def refusal(call: t.Callable[..., t.Any], *arguments: t.Any, **more: t.Any) -> GuestError:
    with pytest.raises(GuestError) as caught:
        call(*arguments, **more)
    return caught.value


def test_a_command_runs_in_the_system(inside: t.Any) -> None:
    assert {"bin", "dev", "etc", "proc", "sys"} <= set(inside("ls", "/").split())
    assert inside("sh", "-c", "echo $0 $1", "it's", "; ls") == "it's ; ls"


def test_it_has_six_devices_no_network_and_no_processes_but_its_own(inside: t.Any) -> None:
    assert inside("ls", "/dev").split() == [
        "fd", "full", "null", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero",
    ]  # fmt: skip
    assert "UP" not in inside("ip", "-o", "link").split("lo:")[1].split("mtu")[0]
    assert inside("sh", "-c", "echo $$") == "1"


def test_it_knows_nothing_of_the_builders_environment(inside: t.Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of the builder")
    assert "SECRET" not in inside("env")


def test_a_failure_is_told_with_what_it_said(inside: t.Any) -> None:
    error = refusal(inside, "sh", "-c", "echo it is so; exit 3")
    assert (error.code, error.detail) == ("guest_command_failed", "sh failed with status 3: it is so")


def test_a_crash_is_called_a_crash(inside: t.Any) -> None:
    assert "crashed" in refusal(inside, "sh", "-c", "sh -c 'kill -SEGV $$'; exit $?").detail


def test_one_that_does_not_end_is_stopped_with_all_its_children(inside: t.Any) -> None:
    error = refusal(inside, "sh", "-c", "sleep 4242 & sleep 4242", timeout=1)
    assert "did not end within 1 seconds" in error.detail
    running = subprocess.run(["ps", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    assert "sleep 4242" not in running


def test_a_system_of_another_machine_is_refused(system: Path, inside: t.Any) -> None:
    octets = bytearray((system / "bin" / "busybox").read_bytes())
    octets[18:20] = b"\x15\x00"
    (system / "bin" / "busybox").write_bytes(octets)
    assert refusal(inside, "ls").code == "guest_foreign"
    (system / "bin" / "sh").unlink()
    assert refusal(inside, "ls").code == "guest_not_found"


@pytest.mark.parametrize("target", ["/etc", "../../victim", "/victim"])
def test_its_links_do_not_lead_the_mounts_astray(system: Path, inside: t.Any, tmp_path: Path, target: str) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "file").write_text("the builder's")
    (system / "dev").rmdir()
    (system / "dev").symlink_to(target)
    if target == "/etc":
        assert "null" in inside("ls", "/etc")
    else:
        assert refusal(inside, "ls").code == "guest_not_found"
    assert [path.name for path in (tmp_path / "victim").iterdir()] == ["file"]
    assert list((system / "etc").iterdir()) == []
