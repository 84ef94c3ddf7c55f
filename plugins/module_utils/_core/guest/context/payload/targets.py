# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where files of a context disk may go in the guest (requirements X11, X15).

The site's limits of the working group: "No changes to C compiler, perl, python". The guest's own check is in the role
`vmcontext`, with the same places.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
import typing as t

from ....errors import ContextError
from ..lint import Lint

#: Below these a target may lie.
ALLOWED: t.Final = ("/etc", "/home", "/opt", "/root", "/srv", "/usr/local", "/var")

#: Where the compiler, perl, python, the kernel and the C library are, what loads them, and the contextualisation.
PROTECTED: t.Final = (
    *("/etc/ld.so.*", "/etc/alternatives/*", "/etc/kernel/*", "/etc/modprobe.d/*", "/etc/modprobe.conf"),
    *("/etc/vmcontext*", "/etc/init.d/vmcontext.*", "/etc/rc.d/init.d/vmcontext.*", "/etc/rc*.d/*vmcontext.*"),
    *(
        "/etc/systemd/system/hepix-context*",
        "/usr/local/lib/python*",
        "/usr/local/lib*/perl*",
        "/usr/local/share/perl*",
    ),
    *(
        "/usr/local/include/*",
        "/usr/local/lib/gcc*",
        "/usr/local/lib*/libc.*",
        "/var/lib/hepix/*",
        "/var/lib/vmcontext*",
    ),
    *("/var/lib/dpkg/*", "/var/lib/rpm/*", "/etc/perl/*", "/etc/python*"),
)
_PROGRAM: t.Final = re.compile(
    r"(?:[a-z0-9_]+-[a-z0-9_-]+-)?(?:gcc|cc|g\+\+|c\+\+|cpp|c89|c99|as|ld|ld\.bfd|ld\.gold|clang|clang\+\+|collect2"
    r"|perl|python)-?[0-9.]*m?"
)
_PROGRAM_DIRECTORY: t.Final = re.compile(r".*/s?bin/[^/]+")
_TARGET: t.Final = re.compile(r"/[A-Za-z0-9_.+@:,/-]+")
_MODE: t.Final = re.compile(r"0?[0-7]{3}")
_OWNER: t.Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}")


def check_target(target: str, where: str, lint: Lint) -> str:
    """The target path in its one spelling. Raises `ContextError` ``option_invalid`` for what is no path.

    A place that is protected, or not among those that are allowed, is a breach ``target_refused``.
    """
    if not _TARGET.fullmatch(target) or "/../" in f"{target}/" or target.endswith("/"):
        raise ContextError(
            "option_invalid", f"{where}: {target[:120]!r} is not the absolute path of a file, in plain characters"
        )
    path = posixpath.normpath(target).replace("//", "/", 1)
    if protected(path):
        lint.breach("target_refused", where, f"{path} is protected")
    elif not path.startswith(tuple(f"{place}/" for place in ALLOWED)):
        lint.breach("target_refused", where, f"{path} is in none of {', '.join(ALLOWED)}")
    return path


def protected(path: str) -> bool:
    """Whether a site must not place a file here."""
    if any(fnmatch.fnmatchcase(path, pattern) for pattern in PROTECTED):
        return True
    program = _PROGRAM_DIRECTORY.fullmatch(path) is not None
    return program and _PROGRAM.fullmatch(posixpath.basename(path)) is not None


def check_mode(mode: str, where: str) -> str:
    """Four octal digits. Raises `ContextError` ``option_invalid``; set-user-ID bits cannot be had."""
    if not _MODE.fullmatch(mode):
        raise ContextError("option_invalid", f"{where}: {mode[:20]!r} is not a mode such as '0644' (quote it)")
    return mode.rjust(4, "0")


def check_owner(owner: str, where: str) -> str:
    """A user's or group's name or number. Raises `ContextError` ``option_invalid``."""
    if not _OWNER.fullmatch(owner):
        raise ContextError("option_invalid", f"{where}: {owner[:40]!r} is not the name of a user or group")
    return owner
