# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state directory: where its parts lie, who may write it, and the one lock that writers take."""

from __future__ import annotations

import contextlib
import os
import pwd
import typing as t
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...errors import SiteError
from ...transfer import lock
from ...transfer.atomic import make_directory, storage_errors

LOCK_PATIENCE = 60.0


@dataclass(frozen=True)
class StateDirectory:
    """The paths inside one state directory; `index` may lie elsewhere (it does not belong on a network file system)."""

    path: Path
    index: Path

    @classmethod
    def at(cls, path: str | Path, *, index: str | Path | None = None) -> StateDirectory:
        """The state directory at `path`; nothing is read or made. Paths are absolute: others are told of them."""
        root = Path(path).absolute()
        return cls(path=root, index=Path(index).absolute() if index else root / "catalogue.sqlite")

    @property
    def messages(self) -> Path:
        """Every accepted message, verbatim."""
        return self.path / "messages"

    @property
    def journal(self) -> Path:
        """The hash-chained journal: its lines are the commit point of every change."""
        return self.path / "journal.jsonl"

    @property
    def snapshot(self) -> Path:
        """The verdicts as of the last change, for gates and monitoring."""
        return self.path / "verdicts.json"

    @property
    def sheets(self) -> Path:
        """The files that the snapshot names, with the verdicts themselves."""
        return self.path / "verdicts"

    @property
    def downloading(self) -> Path:
        """Images on their way."""
        return self.path / "cache" / "downloading"

    @cached_property
    def current(self) -> Path:
        """Verified images that the site wants."""
        return self.path / "cache" / "current"

    @cached_property
    def expired(self) -> Path:
        """Images that lost their endorsement or their approval, kept for a while."""
        return self.path / "cache" / "expired"

    @property
    def derived(self) -> Path:
        """What was made of the images in `current`: unpacked, or in another format."""
        return self.path / "cache" / "derived"

    @property
    def in_use(self) -> Path:
        """Pins: files that keep images from being deleted."""
        return self.path / "cache" / "in_use"

    @property
    def progress(self) -> Path:
        """What the runs that go on at the moment have done so far."""
        return self.path / "progress"

    def exists(self) -> bool:
        """Whether a site's state is here; ``not_readable`` where that cannot be seen."""
        return _stat(self.journal) is not None

    def holds_messages(self) -> bool:
        """Whether a message was archived that only a journal with lines can have preceded.

        A message is there before its line, and named after that line: a site's first one may be all that a crash left.
        """
        with storage_errors(self.messages, reading=True):
            return any(path.name[:9] > "000000001" for path in self.messages.glob("*/*.smime"))

    def prepare(self, *, create: bool) -> None:
        """Make the directories (`create`), or refuse with ``state_missing`` when there is no state here.

        They are open to readers whatever the umask: there is no secret in them, and a gate may be anybody.
        """
        if not create:
            if not self.exists() and not self.holds_messages():
                raise SiteError("state_missing", f"There is no site state at {self.path}.", path=str(self.path))
            return
        for directory in (self.path, self.messages, self.downloading, self.current, self.expired):
            make_directory(directory)


@contextlib.contextmanager
def as_owner(path: Path, *, load: t.Callable[[], None] = lambda: None) -> t.Iterator[None]:
    """Run the body as the owner of `path`; where there is no `path`, as the present user.

    root takes on the owner's identity, with the owner's own groups, so that no file appears that the service user
    cannot write; any other user than the owner is refused with ``state_owner``. root calls `load` first: it imports
    what the body imports, since the owner may not be able to read Python's files (see `preload`).
    """
    owner = _stat(path)
    if owner is None or owner.st_uid == os.geteuid():
        yield
        return
    if os.geteuid() != 0:
        raise SiteError(
            "state_owner",
            f"{path} belongs to {_user_name(owner.st_uid)}, and this process runs as {_user_name(os.geteuid())}.",
            path=str(path),
        )
    load()
    group, groups = _groups(owner)
    former_group, former_groups = os.getegid(), os.getgroups()
    os.setgroups(groups)
    os.setegid(group)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(former_group)
        os.setgroups(former_groups)


def _groups(owner: os.stat_result) -> tuple[int, list[int]]:
    """The owner's group and all groups; a user without an entry has the group of what it owns, and no other."""
    try:
        user = pwd.getpwuid(owner.st_uid)
    except KeyError:
        return owner.st_gid, []
    return user.pw_gid, os.getgrouplist(user.pw_name, user.pw_gid)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SiteError("not_readable", f"{path} cannot be looked at: {error.strerror}.", path=str(path)) from error


def locked(path: Path, *, patience: float = LOCK_PATIENCE) -> contextlib.AbstractContextManager[None]:
    """Hold the lock file at `path`; ``state_busy`` when another process keeps it for more than `patience` seconds.

    Raises TransferError as `lock.locked`.
    """

    def busy() -> SiteError:
        return SiteError("state_busy", f"{path} was held by another process for {patience:g} seconds.", path=str(path))

    return lock.locked(path, patience=patience, busy=busy)


def user_name() -> str:
    """The name of the person who acts: the one who called sudo or, without sudo, the process's user."""
    return os.environ.get("SUDO_USER") or _user_name(os.getuid())


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
