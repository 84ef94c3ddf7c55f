# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clauses 2.e, 2.f and best practice: what the system is set up to do."""

from __future__ import annotations

import fcntl
import os
import re
import sys
import typing as t

from ...boot.system import has_command, read_system
from ...formats.fstab import Fstab
from ...plan.configuration.services import plan_services
from ...plan.wishes import Wishes
from ...root.draft import Draft
from ...root.tree import Root, guest_errors
from ..model import ERROR, WARNING, Finding, Subject
from ..places import files, matching, rows

_LOGGERS: t.Final = ("rsyslog", "syslog", "syslog-ng", "sysklogd", "inetutils-syslogd")
_CLOCKS: t.Final = ("chronyd", "chrony", "ntpd", "ntp", "ntpsec", "openntpd", "systemd-timesyncd")
_CONTEXT: t.Final = (
    *("hepix-context-prologue", "vmcontext.prologue", "cloud-init", "cloud-init-local", "cloud-init-main"),
    *("one-context", "one-context-local", "vmcontext", "amiconfig", "hepix"),
)
#: What a site changes: where its logs go, and who may log in.
_SITES: t.Final = (
    *("/etc/rsyslog.conf", "/etc/rsyslog.d", "/etc/syslog.conf", "/etc/hosts.allow", "/etc/hosts.deny"),
    *("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/pam.d", "/etc/security", "/etc/grid-security", "/etc"),
)
#: FS_IOC_GETFLAGS, and FS_IMMUTABLE_FL and FS_APPEND_FL of its answer.
_GET_FLAGS: t.Final = 0x80086601
_FIXED: t.Final = 0x10 | 0x20
_RECORDERS: t.Final = ("auditd", "psacct", "acct")
_REMOTE: t.Final = ("telnet", "rsh", "rlogin", "rexec", "shell", "login", "exec", "tftp", "finger")


def enabled(subject: Subject, names: t.Collection[str]) -> bool:
    """Whether one of the services starts by itself, by the links of SysV or of systemd, or by upstart's file."""
    root = subject.root
    for level in "2345":
        for directory in (f"/etc/rc.d/rc{level}.d", f"/etc/rc{level}.d"):
            for link in root.names(directory):
                if re.match(r"S[0-9]{2}", link) and link[3:] in names and not _has_unit(root, link[3:]):
                    return True
    units = {f"{name}.{kind}" for name in names for kind in ("service", "socket")}
    for base in ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"):
        for directory in root.names(base):
            if directory.endswith((".wants", ".requires")) and units.intersection(root.names(f"{base}/{directory}")):
                return True
    return any(root.is_file(f"/etc/init/{name}.conf") for name in names)


def _has_unit(root: Root, name: str) -> bool:
    """Whether systemd, where it is there, goes by a unit and not by the links of SysV."""
    places = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
    return any(root.is_file(f"{place}/{name}.service") for place in places) and any(
        root.is_file(f"{lib}/systemd/systemd") for lib in ("/usr/lib", "/lib")
    )


def logging(subject: Subject) -> t.Iterator[Finding]:
    """Whether the system can log, and the site add a target of its own."""
    root = subject.root
    if root.link("/var/log") == "/dev/null":
        yield Finding("/var/log", "Logs go nowhere.")
    journal = _journal(subject)
    if not journal and not enabled(subject, _LOGGERS):
        yield Finding("/etc", "No logging service starts, and there is no journal.")
    for path in files(root, "/etc/rsyslog.conf", "/etc/syslog.conf", "/etc/rsyslog.d/*.conf"):
        for number, row in rows(root, path):
            if re.match(r"(?:auth(?:priv)?|\*)\.(?:\*|info|notice)\s+(?:~|stop|-?/dev/null)\s*$", row):
                yield Finding(path, "Records of who did what are thrown away.", number)
    if root.is_file("/etc/rsyslog.conf") and not root.is_directory("/etc/rsyslog.d"):
        yield Finding("/etc/rsyslog.d", "There is no directory for the site's own targets.", None, WARNING)


def _journal(subject: Subject) -> bool:
    root = subject.root
    if not any(root.is_file(f"{lib}/systemd/systemd-journald") for lib in ("/lib", "/usr/lib")):
        return False
    storage = "auto"
    for path in files(root, "/etc/systemd/journald.conf", "/etc/systemd/journald.conf.d/*.conf"):
        for _number, row in rows(root, path):
            if row.lower().startswith("storage="):
                storage = row.partition("=")[2].strip().lower()
    return storage != "none"


def changeable(subject: Subject) -> list[Finding] | None:
    """Whether the site can change the system at all: neither a read-only root nor an attribute is in its way."""
    found = [
        Finding(path, "Nothing can change it: it has the attribute immutable or append-only (chattr).")
        for path in _SITES
        if is_fixed(subject.root, path)
    ]
    octets = subject.root.read("/etc/fstab")
    if octets is None:
        return found or None
    mount = Fstab.parse(octets).of("/")
    if mount is not None and "ro" in mount.options:
        what = "The root of the system is read-only: no site can configure it."
        found.append(Finding("/etc/fstab", what, mount.line + 1))
    return found


def is_fixed(root: Root, path: str) -> bool:
    """Whether a file or directory has an attribute by which nobody can change it, on a file system that has such."""
    if root.status(path) is None:
        return False
    with root.spot(path) as spot:
        if not (spot.is_file or spot.is_directory):
            return False
        with guest_errors(path):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(spot.name, flags, dir_fd=spot.directory)
    try:
        answer = fcntl.ioctl(fd, _GET_FLAGS, bytes(8))
    except OSError:
        return False
    finally:
        os.close(fd)
    return bool(int.from_bytes(answer[:4], sys.byteorder) & _FIXED)


def context(subject: Subject) -> list[Finding]:
    """Whether something in the image takes a site's context: that is how a site configures it."""
    root = subject.root
    if enabled(subject, _CONTEXT) or any(root.is_file(f"/etc/systemd/system-generators/{name}") for name in _CONTEXT):
        return []
    generated = [f"{lib}/systemd/system-generators/cloud-init-generator" for lib in ("/lib", "/usr/lib")]
    if any(root.is_file(path) for path in generated):
        return []
    return [Finding("/etc", "Nothing starts that takes the context of a site (vmcontext, cloud-init, one-context).")]


def banning(subject: Subject) -> list[Finding]:
    """Whether the site has a means to keep somebody out."""
    means = ("/etc/hosts.deny", "/etc/security/access.conf", "/etc/grid-security/ban_users.db")
    tools = ("nft", "iptables", "firewalld", "ufw")
    if matching(subject.root, *means) or any(has_command(subject.root, tool) for tool in tools):
        return []
    return [Finding("/etc", "There is neither a firewall tool nor a file in which the site could ban somebody.")]


def clock(subject: Subject) -> list[Finding]:
    """Whether the clock is kept right, so that logs can be compared."""
    return [] if enabled(subject, _CLOCKS) else [Finding("/etc", "No service that keeps the clock right starts.")]


def accounting(subject: Subject) -> list[Finding]:
    """Whether auditd or process accounting is there and starts."""
    if enabled(subject, _RECORDERS):
        return []
    return [Finding("/etc", "Neither auditd nor process accounting starts.")]


def remote_shells(subject: Subject) -> t.Iterator[Finding]:
    """Services that take passwords in the clear, and files that trust other machines."""
    root = subject.root
    trust = subject.places.in_homes(".rhosts", ".shosts")
    for path in matching(root, "/etc/hosts.equiv", "/etc/ssh/shosts.equiv", *trust):
        yield Finding(path, "It trusts other machines.", None, ERROR)
    for path in files(root, *(f"/etc/xinetd.d/{name}" for name in _REMOTE)):
        if not any(re.match(r"disable\s*=\s*yes", row) for _number, row in rows(root, path)):
            yield Finding(path, "A service without encryption starts.")
    for number, row in rows(root, "/etc/inetd.conf"):
        if row.split()[0] in _REMOTE:
            yield Finding("/etc/inetd.conf", f"The service {row.split()[0]} starts, without encryption.", number)
    if enabled(subject, ("telnet", "rsh", "rlogin", "rexec", "telnetd", "inetutils-telnetd")):
        yield Finding("/etc/systemd/system", "A service without encryption starts.")


def services(subject: Subject) -> list[Finding]:
    """The services that a node has no use for (A05, A06)."""
    draft = Draft(subject.root)
    plan_services(draft, read_system(subject.root), Wishes())
    # What a repair would put in their place, such as K95kudzu, is there to be found by nobody.
    return [
        Finding(change.path, " ".join(reason for _id, reason in change.reasons))
        for change in draft.changes
        if change.kind == "remove" or subject.root.exists(change.path)
    ]


def layout(subject: Subject) -> list[Finding] | None:
    """Whether the disk is as every hypervisor takes it (A01, A02)."""
    read = subject.layout
    if read is None:
        return None
    found = (
        [] if read.table == "dos" else [Finding("/", f"The partition table is {read.table or 'missing'}, not MSDOS.")]
    )
    systems = [item.filesystem for item in read.partitions if item.filesystem is not None]
    labels = [system.label for system in systems if system.label]
    for label in sorted({label for label in labels if labels.count(label) > 1}):
        found.append(Finding("/", f"The label {label} is given twice."))
    if any("lvm" in system.kind.lower() for system in systems):
        found.append(Finding("/", "There is a volume of LVM."))
    return found


def journals(subject: Subject) -> list[Finding] | None:
    """Whether every file system was unmounted."""
    read = subject.layout
    if read is None:
        return None
    return [
        Finding("/", f"The file system of partition {item.number} was not unmounted.")
        for item in read.partitions
        if item.filesystem is not None and item.filesystem.dirty
    ]
