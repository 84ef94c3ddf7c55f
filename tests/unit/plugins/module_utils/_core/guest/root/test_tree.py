# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hostile tree: nothing outside is read or written, nothing endless is followed, nothing but files is opened."""

from __future__ import annotations

import os
import resource
import signal
import socket
import stat
import tarfile
import typing as t
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import GuestError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root import writing
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.backup import keep
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.names import shown
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import CONFIGURATION, Root

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree, and beside it a file of the builder."""
    (tmp_path / "secret").write_text("the builder's")
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "boot" / "grub").mkdir(parents=True)
    (tree / "etc" / "motd").write_text("the image's")
    return tree


@pytest.fixture
def root(tree: Path) -> t.Iterator[Root]:
    with Root(tree) as root:
        yield root


def refusal(call: t.Callable[..., t.Any], *arguments: t.Any, **more: t.Any) -> str:
    with pytest.raises(GuestError) as caught:
        call(*arguments, **more)
    return caught.value.code


def names(directory: t.Union[str, Path]) -> list[str]:
    return sorted(path.name for path in Path(directory).iterdir())


class TestPaths:
    @pytest.mark.parametrize("target", ["/secret", "../../secret", "../../../../../../secret", "/../secret"])
    def test_a_link_out_of_the_tree_stays_inside(self, tree: Path, root: Root, target: str) -> None:
        (tree / "etc" / "link").symlink_to(target)
        assert root.read("/etc/link") is None
        (tree / "secret").write_text("the image's own")
        assert root.read("/etc/link") == b"the image's own"
        assert root.resolve("/etc/link") == "/secret"

    def test_an_absolute_link_of_the_builders_own_place_leads_nowhere(self, tree: Path, root: Root) -> None:
        (tree / "etc" / "link").symlink_to(tree.parent / "secret")
        (tree / "out").symlink_to(tree.parent)
        assert root.read("/etc/link") is None
        assert root.read("/out/secret") is None

    def test_links_are_followed_as_the_system_itself_would(self, tree: Path, root: Root) -> None:
        (tree / "boot" / "grub" / "grub.conf").write_text("default=0\n")
        (tree / "boot" / "grub" / "menu.lst").symlink_to("./grub.conf")
        (tree / "etc" / "grub.conf").symlink_to("../boot/grub/menu.lst")
        (tree / "boot" / "boot").symlink_to("/boot")
        assert root.resolve("/etc/grub.conf") == "/boot/grub/grub.conf"
        assert root.read("/boot/boot/boot/../etc/../boot/grub/menu.lst") == b"default=0\n"
        assert root.read("boot/boot/boot/grub/menu.lst") == b"default=0\n"

    def test_a_loop_of_links_is_refused(self, tree: Path, root: Root) -> None:
        (tree / "etc" / "a").symlink_to("b")
        (tree / "etc" / "b").symlink_to("/etc/a")
        assert refusal(root.read, "/etc/a") == "guest_path_loop"
        assert refusal(root.read, "/etc/a/x") == "guest_path_loop"
        assert refusal(writing.write, root, "/etc/a", b"x") == "guest_path_loop"

    def test_links_that_multiply_end_soon(self, tree: Path, root: Root) -> None:
        below = "."
        for number in range(39):
            (tree / f"l{number}").symlink_to("/".join([below] * 40))
            below = f"l{number}"
        assert refusal(root.read, "/l38/x") == "guest_path_loop"

    def test_a_path_deeper_than_any_system_is_refused(self, tree: Path, root: Root) -> None:
        before = len(names("/proc/self/fd"))
        deep = tree
        for _number in range(260):
            deep = deep / "d"
        deep.mkdir(parents=True)
        assert refusal(root.read, "/d" * 260 + "/x") == "guest_path_loop"
        assert len(names("/proc/self/fd")) == before

    def test_a_tree_that_is_not_there_is_refused(self, tree: Path) -> None:
        assert refusal(Root, tree / "nothing") == "root_missing"
        assert refusal(Root, tree / "etc" / "motd") == "root_missing"

    @pytest.mark.needs("root")
    @settings(max_examples=80, deadline=None)
    @given(
        links=st.lists(
            st.lists(st.sampled_from(["..", ".", "", "a", "b", "c", "d"]), min_size=1, max_size=6).map("/".join),
            min_size=4,
            max_size=4,
        ),
        path=st.lists(st.sampled_from(["..", ".", "", "a", "b", "c", "d", "file"]), max_size=6).map("/".join),
    )
    def test_every_path_leads_where_the_kernel_leads_a_process_inside(
        self, tmp_path_factory: pytest.TempPathFactory, links: list[str], path: str
    ) -> None:
        tree = tmp_path_factory.mktemp("paths")
        (tree / "d").mkdir()
        (tree / "d" / "file").write_text("inside")
        for name, target in zip("abc", links):
            if target:
                (tree / name).symlink_to(target)
        with Root(tree) as root:
            try:
                found = root.read(path)
                ours: str | None = None if found is None else found.decode()
            except GuestError as error:
                ours = error.code
        assert ours == inside(tree, path)


def inside(tree: Path, path: str) -> str | None:
    """What a process whose root directory is the tree reads at `path`."""
    reading, writing_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.chroot(tree)
            os.chdir("/")
            try:
                answer = Path("/" + path).read_text()
            except IsADirectoryError:
                answer = "guest_not_a_file"
            except OSError as error:
                answer = "guest_path_loop" if error.errno == 40 else "nothing"
            os.write(writing_end, answer.encode())
        finally:
            os._exit(0)
    os.close(writing_end)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return None if answer == "nothing" else answer


class TestReading:
    def test_only_regular_files_are_opened(self, tree: Path, root: Root) -> None:
        os.mkfifo(tree / "etc" / "pipe")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tree / "etc" / "socket"))
        for name in ("pipe", "socket", ""):
            assert refusal(root.read, f"/etc/{name}") == "guest_not_a_file"

    @pytest.mark.needs("root")
    def test_a_device_is_never_opened(self, tree: Path, root: Root) -> None:
        os.mknod(tree / "etc" / "fstab", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        assert refusal(root.read, "/etc/fstab") == "guest_not_a_file"
        assert refusal(writing.write, root, "/etc/fstab", b"x") == "guest_not_a_file"

    def test_a_configuration_of_fifty_megabytes_is_not_read(self, tree: Path, root: Root) -> None:
        with (tree / "boot" / "grub" / "grub.conf").open("wb") as file:
            file.truncate(50_000_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert refusal(root.read, "/boot/grub/grub.conf") == "guest_too_large"
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000

    def test_a_file_of_just_the_limit_is_read(self, tree: Path, root: Root) -> None:
        (tree / "etc" / "large").write_bytes(b"x" * CONFIGURATION)
        assert len(root.read("/etc/large") or b"") == CONFIGURATION

    def test_any_name_is_listed_and_shown_on_one_line(self, tree: Path, root: Root) -> None:
        name = b"vmlinuz-\n\x1b[2J\xff"
        (tree / "boot" / os.fsdecode(name)).write_bytes(b"")
        found = root.names("/boot")[-1]
        assert os.fsencode(found) == name
        assert shown(found) == "vmlinuz-\\n\\x1b[2J\\xff"


class TestWriting:
    def test_owner_mode_and_attributes_stay(self, tree: Path, root: Root) -> None:
        path = tree / "etc" / "motd"
        path.chmod(0o4640)
        os.setxattr(path, "user.kept", b"yes")
        if os.geteuid() == 0:
            os.chown(path, 1234, 4321)
            path.chmod(0o4640)
        before = path.stat()
        writing.write(root, "/etc/motd", b"new")
        after = path.stat()
        assert path.read_bytes() == b"new"
        assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
        assert os.getxattr(path, "user.kept") == b"yes"
        assert names(tree / "etc") == ["motd"]

    def test_a_link_is_followed_inside_and_stays_a_link(self, tree: Path, root: Root) -> None:
        (tree / "etc" / "grub.conf").symlink_to("/boot/grub/grub.conf")
        writing.write(root, "/etc/grub.conf", b"default=0\n")
        assert (tree / "boot" / "grub" / "grub.conf").read_bytes() == b"default=0\n"
        assert (tree / "etc" / "grub.conf").is_symlink()

    def test_nothing_of_the_builder_is_written(self, tree: Path, root: Root) -> None:
        (tree / "etc" / "fstab").symlink_to("../../secret")
        (tree / "etc" / "inittab").symlink_to(tree.parent / "secret")
        writing.write(root, "/etc/fstab", b"x")
        assert (tree / "secret").read_bytes() == b"x"
        assert refusal(writing.write, root, "/etc/inittab", b"x") == "guest_not_found"
        assert (tree.parent / "secret").read_text() == "the builder's"
        assert names(tree.parent) == ["secret", "tree"]

    def test_names_beside_a_file_follow_and_others_are_refused(self, tree: Path, root: Root) -> None:
        first, second = tree / "boot" / "grub" / "grub.conf", tree / "boot" / "grub" / "menu.lst"
        first.write_text("old")
        second.hardlink_to(first)
        writing.write(root, "/boot/grub/menu.lst", b"new")
        assert first.read_text() == "new" and first.samefile(second)
        (tree / "etc" / "grub.conf").hardlink_to(first)
        assert refusal(writing.write, root, "/boot/grub/grub.conf", b"newer") == "guest_hard_link"
        assert first.read_text() == "new"

    def test_a_new_file_gets_its_directories_and_its_mode(self, tree: Path, root: Root) -> None:
        writing.write(root, "/etc/dracut.conf.d/new.conf", b"x", mode=0o755)
        assert stat.S_IMODE((tree / "etc" / "dracut.conf.d" / "new.conf").stat().st_mode) == 0o755
        assert refusal(writing.write, root, "/etc/motd/x", b"x") == "guest_not_writable"

    def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(self, tree: Path, root: Root) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        try:
            assert refusal(writing.write, root, "/etc/motd", b"x" * 100_000) == "guest_not_writable"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, old)
        assert (tree / "etc" / "motd").read_text() == "the image's"
        assert names(tree / "etc") == ["motd"]

    def test_links_are_placed_and_removed(self, tree: Path, root: Root) -> None:
        writing.link(root, "/etc/motd", "/dev/null")
        assert (tree / "etc" / "motd").readlink() == Path("/dev/null")
        writing.remove(root, "/etc/motd")
        writing.remove(root, "/etc/motd")
        assert names(tree / "etc") == []
        assert refusal(writing.link, root, "/boot/grub", "x") == "guest_not_a_file"


class TestBackups:
    def test_what_is_changed_is_kept_outside_as_it_was(self, tree: Path, root: Root) -> None:
        os.setxattr(tree / "etc" / "motd", "user.kept", b"yes")
        (tree / "etc" / "link").symlink_to("/x")
        place = str(tree.parent / "backups")
        path = keep(root, ["/etc/motd", "/etc/link", "/etc/nothing"], place, NOW)
        assert path == f"{place}/20261120T120000Z.tar" and stat.S_IMODE(Path(path).stat().st_mode) == 0o600
        with tarfile.open(path) as archive:
            assert archive.getnames() == ["etc/motd", "etc/link"]
            kept = archive.extractfile("etc/motd")
            assert kept is not None and kept.read() == b"the image's"
            assert archive.getmember("etc/motd").pax_headers == {"SCHILY.xattr.user.kept": "yes"}
        assert keep(root, ["/etc/motd"], place, NOW) == f"{place}/20261120T120000Z-2.tar"
        assert keep(root, ["/etc/nothing"], place, NOW) is None

    def test_a_backup_never_becomes_a_part_of_the_image(self, tree: Path, root: Root) -> None:
        (tree.parent / "link").symlink_to(tree)
        for place in (tree / "root", tree, tree.parent / "link" / "x"):
            assert refusal(keep, root, ["/etc/motd"], str(place), NOW) == "backup_inside"
