# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clause 2.c: what a run of the system, or its making, left behind."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
import typing as t

from ...boot.network import plan_network
from ...root.draft import Draft
from ...root.tree import Root
from ...root.walking import walk
from ..model import ERROR, Finding, Repair, Subject
from ..places import files, records, rows, size_of
from .accounts import is_hash
from .credentials import found

_HISTORY: t.Final = [
    ".bash_history",
    ".zsh_history",
    ".sh_history",
    ".ksh_history",
    ".history",
    ".mysql_history",
    ".psql_history",
    ".sqlite_history",
    ".python_history",
    ".viminfo",
    ".lesshst",
    ".rediscli_history",
    ".ash_history",
    ".zhistory",
    ".irb_history",
    ".node_repl_history",
    ".wget-hsts",
    ".dbshell",
    ".mycli-history",
    ".pgcli_history",
    ".ipython/profile_default/history.sqlite",
    ".config/fish/fish_history",
    ".local/share/fish/fish_history",
    ".local/share/mc/history",
    ".local/state/bash/history",
    ".local/state/lesshst",
    ".local/state/nvim/shada/main.shada",
]
_IDENTITY: t.Final = [
    "/var/lib/systemd/random-seed",
    "/var/lib/urandom/random-seed",
    "/var/lib/random-seed",
    "/var/lib/systemd/credential.secret",
    "/etc/hostid",
    "/etc/iscsi/initiatorname.iscsi",
    "/var/lib/dhcp/*.leases",
    "/var/lib/dhclient/*",
    "/var/lib/NetworkManager/*.lease",
    "/var/lib/NetworkManager/secret_key",
    "/var/lib/NetworkManager/seen-bssids",
    "/var/lib/NetworkManager/timestamps",
    "/var/lib/dhcpcd/*",
    "/var/lib/wicked/*.xml",
    "/etc/dhcpcd.duid",
    "/etc/dhcpcd.secret",
    "/etc/nvme/hostid",
    "/etc/nvme/hostnqn",
    "/boot/efi/loader/random-seed",
    "/boot/loader/random-seed",
    "/efi/loader/random-seed",
    "/etc/sysconfig/hwconf",
    "/var/lib/dbus/machine-id",
]
_MACHINE: t.Final = "/etc/machine-id"
_RULES: t.Final = ("/etc/udev/rules.d/70-persistent-net.rules", "/etc/udev/rules.d/70-persistent-cd.rules")
#: A rule that names an interface after a card's address, in whatever file.
_OF_ONE_CARD: t.Final = re.compile(r"ATTRS?\{address\}\s*==\s*\"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}")
_INSTANCE: t.Final = (
    *("/var/lib/cloud/instances", "/var/lib/cloud/seed", "/var/lib/cloud/data", "/var/lib/hepix", "/var/lib/amiconfig"),
    *("/context", "/var/lib/waagent"),
)
_INSTALLERS: t.Final = ("/var/log/anaconda", "/var/log/installer", "/var/adm/autoinstall")
_INSTALLER: t.Final = [
    "/root/*ks.cfg",
    "/root/ks*.log",
    "/root/install.log*",
    "/root/*.ks",
    "/root/autoinst.xml",
    "/root/preseed.cfg",
    "/preseed.cfg",
    "/var/log/anaconda*",
]
_SPOOLS: t.Final = [
    "/var/log",
    "/var/mail",
    "/var/spool/mail",
    "/var/spool/cron",
    "/var/spool/at",
    "/var/spool/exim",
    "/var/spool/exim4",
    "/var/spool/mqueue",
    "/var/spool/clientmqueue",
    *(f"/var/spool/postfix/{queue}" for queue in ("active", "deferred", "hold", "incoming", "maildrop")),
    "/var/spool/abrt",
    "/var/crash",
    "/var/tmp",
    "/tmp",
    "/var/account",
    "/var/cache/apt/archives",
    "/var/cache/yum",
    "/var/cache/dnf",
    "/var/lib/systemd/coredump",
    "/var/lib/mlocate",
    "/var/lib/plocate",
    "/var/cache/zypp/packages",
    "/var/cache/pacman/pkg",
]
_BACKUPS: t.Final = ("*~", "*.bak", "*.orig", "*.rpmsave", "*.rpmorig", "*.dpkg-old", "*.pre-v2v", "#*#", ".*.swp")
_SMALL: t.Final = 64 * 1024
_SYSTEM: t.Final = (
    *("/bin/", "/sbin/", "/lib/", "/lib64/"),
    *("/usr/bin/", "/usr/sbin/", "/usr/lib/", "/usr/lib64/", "/usr/libexec/"),
)


def history(subject: Subject) -> list[Finding]:
    """What people typed."""
    return found(subject, files(subject.root, *subject.places.in_homes(*_HISTORY)), "What somebody typed or opened.")


def identity(subject: Subject) -> t.Iterator[Finding]:
    """What makes one machine differ from another; a card's address binds the image to it."""
    if (subject.root.text(_MACHINE) or "").strip() not in ("", "uninitialized"):
        yield Finding(_MACHINE, "Every machine made of the image would have this id.")
    paths = files(subject.root, *_IDENTITY)
    # On most systems it is a link to /etc/machine-id.
    yield from found(subject, [path for path in paths if subject.root.link(path) is None], "It is one machine's own.")
    yield from found(subject, files(subject.root, *_RULES), "It binds names to one machine's devices.", severity=ERROR)
    for path in files(subject.root, "/etc/udev/rules.d/*.rules"):
        for number, row in rows(subject.root, path) if path not in _RULES else ():
            if _OF_ONE_CARD.search(row):
                yield Finding(path, "It binds names to one machine's devices.", number, ERROR)
    draft = Draft(subject.root)
    for sentence in plan_network(draft):
        yield Finding(sentence.split(",")[0], sentence, None, ERROR)
    for change in draft.changes:
        if change.path not in _RULES:
            yield Finding(change.path, " ".join(reason for _id, reason in change.reasons), None, ERROR)


def neutralise(_subject: Subject, findings: t.Sequence[Finding]) -> t.Iterator[Repair]:
    """Ids go or are emptied; the configuration of the network is image_boot's to change."""
    for finding in findings:
        if finding.path == _MACHINE:
            yield Repair(finding.path, b"", "emptied")
        elif finding.path in _RULES or any(fnmatch.fnmatch(finding.path, pattern) for pattern in _IDENTITY):
            yield Repair(finding.path, None, "removed")


def instance(subject: Subject) -> list[Finding]:
    """What a machine made of the image was told by its site."""
    paths = [path for path, status in walk(subject.root, *_INSTANCE) if stat.S_ISREG(status.st_mode)]
    return found(
        subject,
        [*paths, *files(subject.root, "/etc/one-context.d/*env", "/var/run/one-context/*")],
        "A remnant of an instance.",
    )


def installer(subject: Subject) -> list[Finding]:
    """Logs and answers of the installer, which hold the hash of root's password."""
    deep = [
        path for path, status in walk(subject.root, *_INSTALLERS) if stat.S_ISREG(status.st_mode) and status.st_size
    ]
    paths = dict.fromkeys([*files(subject.root, *_INSTALLER), *deep])
    return found(subject, paths, "A trace of the installer.")


def logs(subject: Subject) -> list[Finding]:
    """Logs, mail, jobs, crashes and caches that are not empty."""
    paths = [
        path
        for path, status in walk(subject.root, *_SPOOLS, *subject.places.in_homes("Maildir", "Mail"))
        if stat.S_ISREG(status.st_mode) and status.st_size and not path.endswith(("/README", "/CACHEDIR.TAG", "/lock"))
    ]
    paths += files(subject.root, *subject.places.in_homes("mbox"))
    return [Finding(path, "It is a log, a spool or a cache.") for path in paths]


def backups(subject: Subject) -> t.Iterator[Finding]:
    """Copies that editors and tools leave behind; one with a password's hash blocks."""
    for path, status in walk(subject.root, *dict.fromkeys(["/etc", *subject.places.homes])):
        name = path.rsplit("/", 1)[-1]
        if stat.S_ISREG(status.st_mode) and any(fnmatch.fnmatchcase(name, pattern) for pattern in _BACKUPS):
            hashes = 0 < size_of(subject.root, path) <= _SMALL and any(
                len(fields) > 1 and is_hash(fields[1].lstrip("!*"))
                for _number, fields in records(subject.root.text(path) or "")
            )
            yield Finding(path, "A copy that was left behind.", None, ERROR if hashes else None)


def writable(subject: Subject) -> t.Iterator[Finding]:
    """Programs that give rights away and are no package's, and files that everybody may write."""
    owned = subject.owned.files
    for path in files(subject.root, "/etc/ld.so.preload"):
        yield Finding(path, "Every program loads what it names.")
    for path, status in walk(subject.root, "/", skip=("/proc", "/sys", "/dev", "/run")):
        mode = status.st_mode
        own = path in owned if owned else path.startswith(_SYSTEM)
        if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID) and mode & 0o111:
            if not own:
                yield Finding(path, "A set-user-id or set-group-id program that is no package's.")
        elif stat.S_ISREG(mode) and mode & 0o111 and not own and _has_capabilities(subject.root, path):
            yield Finding(path, "A program with capabilities that is no package's.")
        if stat.S_ISBLK(mode):
            yield Finding(path, "A device node outside of /dev: whoever may open it has the disk.")
        if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
            yield Finding(path, "Everybody may write the file.")
        elif stat.S_ISDIR(mode) and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            yield Finding(path, "Everybody may remove other people's files in the directory.")


def _has_capabilities(root: Root, path: str) -> bool:
    with root.open(path) as file:
        try:
            return bool(os.getxattr(file.fileno(), "security.capability"))
        except OSError:
            return False
