# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role vmcontext, applied to a tree with systemd and with sysvinit in Red Hat's way."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.needs("root")

ROLE = Path(__file__).resolve().parents[3] / "roles" / "vmcontext"
FILES = ROLE / "files"
RECAP = re.compile(r"localhost +: +ok=\d+ +changed=(\d+) +unreachable=0 +failed=0")
SHELL_FILES = sorted(
    path for path in FILES.rglob("*") if path.is_file() and path.suffix in ("", ".sh", ".prologue", ".epilogue")
)
#: Unpacked by tests/prepare, since it would order the init scripts of the machine where it is installed.
INSSERV = ROLE.parents[1] / ".venv/insserv/sbin/insserv"
HARD = "it's $(touch executed)"


@dataclass
class Tree:
    """A tree with both inits, and the playbook that applies the role to it."""

    root: Path
    playbook: Path
    run_playbook: t.Any

    def apply(self, *options: str, **variables: t.Any) -> int:
        """Apply the role and return how much was changed; there must be no warning."""
        done = self.run(*options, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "[WARNING]" not in done.stdout + done.stderr
        recap = RECAP.search(done.stdout)
        assert recap is not None
        return int(recap.group(1))

    def run(self, *options: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
        given = json.dumps({"vmcontext_root": str(self.root), **variables})
        done = self.run_playbook(self.playbook, *options, "-e", given, ANSIBLE_PIPELINING="true")
        return t.cast("subprocess.CompletedProcess[str]", done)

    def everything(self) -> dict[str, str]:
        found = {}
        for path in sorted(self.root.rglob("*")):
            if path.is_symlink():
                found[str(path)] = f"link:{path.readlink()}"
            else:
                digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "directory"
                found[str(path)] = f"{path.stat().st_mode:o} {digest}"
        return found


def make(root: Path, files: t.Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.fixture
def tree(tmp_path: Path, run_playbook: t.Any) -> Tree:
    root = tmp_path / "tree"
    programs = {"usr/bin/gcc-12": "compiler", "usr/bin/python3": "python", "usr/bin/awk": "x"}
    kernel = {"lib/modules/6.1/kernel/a/b.ko": "module", "boot/vmlinuz-2.6.18": "kernel"}
    make(root, {**programs, **kernel, "etc/inittab": "id:3:initdefault:\n", "usr/lib/systemd/systemd": ""})
    (root / "etc/rc.d/init.d").mkdir(parents=True)
    (root / "etc/init.d").symlink_to("rc.d/init.d")
    (root / "usr/bin/cc").symlink_to("gcc-12")
    for level in range(7):
        (root / f"etc/rc.d/rc{level}.d").mkdir()
        (root / f"etc/rc{level}.d").symlink_to(f"rc.d/rc{level}.d")
    play = {"hosts": "localhost", "gather_facts": False, "roles": ["hepix.vmimages.vmcontext"]}
    playbook = tmp_path / "apply.yml"
    playbook.write_text(yaml.safe_dump([play]))
    return Tree(root, playbook, run_playbook)


def test_both_inits_are_served_and_again_is_no_change(tree: Tree) -> None:
    before = tree.everything()
    options = {"vmcontext_payload_user": HARD, "vmcontext_labels": ["CONTEXT", "cidata"], "vmcontext_init": "both"}
    planned = tree.apply("--check", "--diff", **options)
    assert tree.everything() == before
    assert tree.apply(**options) == planned > 10
    after = tree.everything()
    assert tree.apply("--diff", **options) == 0
    assert tree.everything() == after

    root = tree.root
    library = root / "usr/lib/vmcontext"
    for name in ("vmcontext", "sysv", "source.sh"):
        assert (library / name).read_bytes() == (FILES / name).read_bytes()
        assert (library / name).stat().st_mode & 0o777 == 0o755
    functions = (library / "library.sh").read_text()
    assert all(path.read_text().strip() in functions for path in FILES.joinpath("library").iterdir())
    subprocess.run(["sh", "-n", str(library / "library.sh")], check=True, timeout=10)
    hooks = {path.name for path in (FILES / "hooks").iterdir()}
    assert {path.name for path in (root / "etc/vmcontext.d").iterdir()} == hooks
    shown = '. ./etc/vmcontext.conf; printf "%s|%s" "$VMCONTEXT_PAYLOAD_USER" "$VMCONTEXT_LABELS"'
    done = subprocess.run(["sh", "-c", shown], cwd=root, check=True, capture_output=True, text=True, timeout=10)
    assert done.stdout == f"{HARD}|CONTEXT cidata"

    # X11: the image's own protected files, and none of the machine that works on the tree.
    lines = [line.split(" ", 1) for line in (library / "protected.list").read_text().splitlines()]
    listed = {path: digest for digest, path in lines}
    assert set(listed) == {
        *("/lib/modules/6.1/kernel/a/b.ko", "/boot/vmlinuz-2.6.18"),
        *("/usr/bin/gcc-12", "/usr/bin/python3", "/usr/bin/cc"),
    }
    assert listed["/usr/bin/gcc-12"] == hashlib.sha256(b"compiler").hexdigest()
    assert listed["/usr/bin/cc"] == "link:gcc-12"

    # X09
    units = root / "etc/systemd/system"
    for target, phase in (("sysinit", "prologue"), ("multi-user", "epilogue")):
        link = units / f"{target}.target.wants/hepix-context-{phase}.service"
        assert link.readlink() == Path(f"../hepix-context-{phase}.service") and link.is_file()

    # X08
    for level in range(7):
        marks = ("S02", "S99") if 2 <= level <= 5 else ("K91", "K02")
        for mark, phase in zip(marks, ("prologue", "epilogue")):
            link = root / f"etc/rc.d/rc{level}.d/{mark}vmcontext.{phase}"
            assert link.readlink() == Path(f"../init.d/vmcontext.{phase}") and link.stat().st_mode & 0o111

    assert tree.apply(vmcontext_state="absent") == 3
    left = set(tree.everything()) - set(before)
    allowed = re.compile(r".*/(etc|systemd|system|[a-z-]+\.target\.wants|var|lib|hepix)")
    assert [path for path in left if not allowed.fullmatch(path)] == []


RUNNING = """\
set -e
cd "$1"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
shift
for place in /proc /dev "$@"; do
    mkdir -p "root$place"
    mount --rbind "$place" "root$place"
done
mkdir -p root/usr/local/sbin root/run/systemd/system root/etc/rc2.d
printf '#!/bin/sh\\necho "$*" >>/called\\n' >root/usr/local/sbin/systemctl
chmod 0755 root/usr/local/sbin/systemctl
exec chroot root env PATH="/usr/local/sbin:$PATH" "$ANSIBLE_PLAYBOOK" "$PLAYBOOK" -e "$GIVEN"
"""


@pytest.mark.needs("unshare", "chroot")
def test_a_running_system_is_served_as_a_tree_is(
    tree: Tree, tmp_path: Path, ansible_environment: dict[str, str]
) -> None:
    """A copy of this system; its systemd, if there is one, is not asked, but a stand-in."""
    (tmp_path / "running").mkdir()
    repository = ROLE.parents[1]
    given = {"vmcontext_root": "/", "vmcontext_init": "both", "vmcontext_manifest": False}
    places = [tmp_path.parent, repository, Path(ansible_environment["HOME"])]
    # A Python of the system's own is in the copy; bound into it, the system itself would be written to.
    if not Path(sys.base_prefix).is_relative_to("/usr"):
        places.append(Path(sys.base_prefix))
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", RUNNING, "running", tmp_path / "running", *places],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={
            **ansible_environment,
            "ANSIBLE_PLAYBOOK": str(Path(sys.executable).with_name("ansible-playbook")),
            "PLAYBOOK": str(tree.playbook),
            "GIVEN": json.dumps(given),
        },
    )
    assert done.returncode == 0 and "[WARNING]" not in done.stdout + done.stderr, done.stdout + done.stderr
    upper = tmp_path / "running/upper"
    assert (upper / "usr/lib/vmcontext/vmcontext").is_file()
    assert (upper / "etc/systemd/system/sysinit.target.wants/hepix-context-prologue.service").is_file()
    assert (upper / "etc/rc2.d/S02vmcontext.prologue").readlink() == Path("../init.d/vmcontext.prologue")
    assert (upper / "called").read_text() == "daemon-reload\n"


def test_links_that_lead_out_of_the_tree_are_refused(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tree.root / "etc/vmcontext.d").symlink_to(tmp_path / "host")
    done = tree.run()
    assert done.returncode != 0 and "lead out of it" in done.stdout
    assert list((tmp_path / "host").iterdir()) == [] and not (tree.root / "usr/lib/vmcontext").exists()


def test_a_tree_without_an_init_is_refused(tree: Tree) -> None:
    (tree.root / "usr/lib/systemd/systemd").unlink()
    (tree.root / "etc/inittab").unlink()
    shutil.rmtree(tree.root / "etc/rc.d")
    done = tree.run()
    assert done.returncode != 0 and "neither systemd nor sysvinit" in done.stdout


@pytest.mark.needs("systemd-analyze")
def test_x09_systemd_has_no_complaint_about_the_units(tmp_path: Path) -> None:
    """The programs' paths are of the image, so they are set to one that is here."""
    for path in FILES.glob("hepix-context*"):
        (tmp_path / path.name).write_text(path.read_text().replace("/usr/lib/vmcontext/vmcontext", "/bin/true"))
    units = sorted(map(str, tmp_path.iterdir()))
    assert len(units) == 3
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=one", *units],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_x09_the_prologue_is_before_the_network(tmp_path: Path) -> None:
    """X12: a service that listens stands after network-pre, or after sysinit, and so after the prologue."""
    unit = (FILES / "hepix-context-prologue.service").read_text().splitlines()
    assert "DefaultDependencies=no" in unit and "WantedBy=sysinit.target" in unit
    (before,) = [line for line in unit if line.startswith("Before=")]
    assert {"network-pre.target", "sysinit.target"} <= set(before.removeprefix("Before=").split())


@pytest.mark.parametrize(("name", "numbers"), [("prologue", "2345 2 91"), ("epilogue", "2345 99 2")])
def test_x08_the_headers_are_those_of_chkconfig_and_lsb(name: str, numbers: str) -> None:
    text = (FILES / f"vmcontext.{name}").read_text()
    assert f"\n# chkconfig: {numbers}\n# description: " in text
    header = text.split("### BEGIN INIT INFO\n")[1].split("### END INIT INFO\n")[0]
    fields = dict(line.removeprefix("# ").split(":", 1) for line in header.splitlines())
    assert fields["Provides"].strip() == f"vmcontext.{name}"
    assert fields["Default-Start"].split() == ["2", "3", "4", "5"]
    assert {"Required-Start", "Required-Stop", "Default-Stop", "Short-Description"} <= set(fields)


@pytest.mark.needs(str(INSSERV))
def test_x08_debians_insserv_orders_the_scripts(tmp_path: Path) -> None:
    scripts = tmp_path / "etc/init.d"
    scripts.mkdir(parents=True)
    for name in ("prologue", "epilogue"):
        (scripts / f"vmcontext.{name}").write_bytes((FILES / f"vmcontext.{name}").read_bytes())
        (scripts / f"vmcontext.{name}").chmod(0o755)
    for name, needs in (("networking", "$local_fs"), ("mountall", ""), ("sshd", "$network")):
        fields = {"Provides": name, "Required-Start": needs, "Required-Stop": needs, "Default-Start": "2 3 4 5"}
        header = "\n".join(f"# {key}: {value}" for key, value in {**fields, "Default-Stop": "0 6"}.items())
        (scripts / name).write_text(f"#!/bin/sh\n### BEGIN INIT INFO\n{header}\n### END INIT INFO\n")
        (scripts / name).chmod(0o755)
    conf = tmp_path / "insserv.conf"
    conf.write_text("$local_fs mountall\n$network networking\n")
    for level in range(7):
        (tmp_path / f"etc/rc{level}.d").mkdir()
    (tmp_path / "etc/rcS.d").mkdir()
    options: list[str | Path] = ["-c", conf, "-o", tmp_path / "none", "-p", scripts, "-i", scripts]
    command = [INSSERV, *options, *sorted(scripts.iterdir())]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    order = [re.sub(r"^S\d\d", "", path.name) for path in sorted((tmp_path / "etc/rc2.d").glob("S*"))]
    assert order.index("vmcontext.prologue") < order.index("networking") < order.index("sshd")
    assert order[-1] == "vmcontext.epilogue"


@pytest.mark.needs("shellcheck")
def test_shellcheck_has_no_complaint() -> None:
    done = subprocess.run(
        ["shellcheck", "-x", "-s", "sh", *SHELL_FILES],
        cwd=FILES,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert len(SHELL_FILES) > 10


@pytest.mark.needs("dash", "bash", "busybox")
@pytest.mark.parametrize("shell", [["dash"], ["bash", "--posix"], ["busybox", "sh"]], ids=lambda shell: str(shell[0]))
def test_every_shell_reads_the_scripts(shell: list[str]) -> None:
    for path in SHELL_FILES:
        subprocess.run([*shell, "-n", str(path)], check=True, capture_output=True, timeout=10)
