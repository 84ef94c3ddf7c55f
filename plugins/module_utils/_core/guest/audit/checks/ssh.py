# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clause 2.d: what lets somebody in over ssh, and what makes one server another's double."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ....errors import GuestError
from ..model import Finding, Subject
from ..places import files, rows
from .credentials import found, has_key

_CONFIGURATIONS: t.Final = ("/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config", "/usr/local/etc/ssh/sshd_config")
_DEEPEST: t.Final = 4
#: Since then root does not get in with a password unless somebody says so.
_CAREFUL_SINCE: t.Final = 7
_VERSION: t.Final = re.compile(r"(?:[0-9]+:)?([0-9]{1,4})\.")
_WITHOUT_PASSWORD: t.Final = ("no", "prohibit-password", "without-password", "forced-commands-only")


@dataclass(frozen=True)
class Setting:
    """One line of sshd's configuration; `where` is what stands behind Match, None outside of it."""

    words: tuple[str, ...]
    path: str
    line: int
    where: str | None

    @property
    def value(self) -> str:
        return self.words[0].lower()

    @property
    def counts_for_all(self) -> bool:
        return self.where is None or self.where in ("all", "user *", "address *", "address 0.0.0.0/0")


Settings = dict[str, list[Setting]]


def read_settings(subject: Subject) -> Settings:
    """Every setting of sshd in its order, those of included files in their place."""
    settings: Settings = {}
    path = next((path for path in _CONFIGURATIONS if subject.root.is_file(path)), None)
    if path is not None:
        _read(subject, path, None, settings, depth=0)
    return settings


def _read(subject: Subject, path: str, where: str | None, settings: Settings, *, depth: int) -> None:
    for number, row in rows(subject.root, path):
        words = [word.strip('"') for word in row.replace("=", " ", 1).split()]
        name = words[0].lower()
        if name == "match":
            where = " ".join(words[1:]).lower()
        elif name == "include" and depth < _DEEPEST:
            named = [word if word.startswith("/") else f"/etc/ssh/{word}" for word in words[1:]]
            for other in files(subject.root, *named):
                _read(subject, other, where, settings, depth=depth + 1)
        elif len(words) > 1:
            settings.setdefault(name, []).append(Setting(tuple(words[1:]), path, number, where))


def sshd(subject: Subject) -> list[Finding] | None:
    """What sshd lets in. Of each setting the first one counts, as sshd has it; what is for some users only is left."""
    path = next((path for path in _CONFIGURATIONS if subject.root.is_file(path)), None)
    if path is None:
        return None
    settings = read_settings(subject)
    root = "prohibit-password" if _is_careful(subject) else "unset"
    found = [
        *_judged(settings, "permitrootlogin", root, _WITHOUT_PASSWORD, "lets root in", path),
        *_judged(settings, "passwordauthentication", "unset", ("no",), "takes passwords", path),
        *_judged(settings, "permitemptypasswords", "no", ("no",), "takes empty passwords", path),
    ]
    pam = settings.get("usepam")
    asks = settings.get("kbdinteractiveauthentication") or settings.get("challengeresponseauthentication")
    if pam and pam[0].value == "yes" and not found and (asks is None or asks[0].value != "no"):
        what = "sshd takes passwords by way of PAM: kbdinteractiveauthentication is not no."
        found.append(Finding(path, what) if asks is None else Finding(asks[0].path, what, asks[0].line))
    return found


def _judged(
    settings: Settings, name: str, default: str, good: t.Collection[str], what: str, path: str
) -> t.Iterator[Finding]:
    given = settings.get(name, [])
    first = [setting for setting in given if setting.where is None][:1]
    if not first and default not in good:
        yield Finding(path, f"sshd {what}: {name} is {default}.")
    for setting in [*first, *(one for one in given if one.where is not None and one.counts_for_all)]:
        if setting.value not in good:
            yield Finding(setting.path, f"sshd {what}: {name} is {setting.value[:40]}.", setting.line)


def _is_careful(subject: Subject) -> bool:
    """Whether it is an sshd whose default keeps passwords of root out, by the version of its package."""
    try:
        versions = [package.version for _database, package in subject.packages if package.name == "openssh-server"]
    except GuestError:
        return False
    matches = [_VERSION.match(version) for version in versions]
    return bool(matches) and all(match is not None and int(match[1]) >= _CAREFUL_SINCE for match in matches)


def authorized_keys(subject: Subject) -> t.Iterator[Finding]:
    """Keys that let somebody in, in the home of any account and where a server of ssh is told to look."""
    settings = read_settings(subject)
    named = settings.get("authorizedkeysfile", [])
    patterns = [".ssh/authorized_keys", ".ssh/authorized_keys2"]
    patterns += [word for setting in named for word in setting.words if word.lower() != "none"]
    users = {account.home: account.name for account in subject.places.accounts}
    paths = ["/etc/ssh/authorized_keys/*", "/etc/dropbear/authorized_keys", "/etc/dropbear/initramfs/authorized_keys"]
    paths.append("/etc/dropbear-initramfs/authorized_keys")
    for home in dict.fromkeys([*subject.places.homes, *users]):
        for pattern in patterns:
            path = pattern.replace("%h", home).replace("%u", users.get(home, "*")).replace("%%", "%")
            paths.append(path if path.startswith("/") else f"{home.rstrip('/')}/{path}")
    # Whom an authority certifies gets in as whoever the certificate names.
    paths += [setting.words[0] for setting in settings.get("trustedusercakeys", [])]
    for path in files(subject.root, *dict.fromkeys(paths)):
        for number, row in rows(subject.root, path):
            yield Finding(path, f"A key lets its owner in: {row.split()[0][:40]}.", number)


def host_keys(subject: Subject) -> list[Finding]:
    """Keys of the ssh server, which every machine made of the image would share."""
    directories = ("/etc/ssh", "/usr/local/etc/ssh", "/usr/local/etc")
    paths = [f"{directory}/*host*key{end}" for directory in directories for end in ("", ".pub")]
    paths += ["/etc/ssh_host*", "/etc/dropbear/*host_key", "/etc/dropbear/initramfs/*host_key"]
    told = [setting.words[0] for setting in read_settings(subject).get("hostkey", [])]
    # The image says where its keys are, and a repair removes them: it has to be a key.
    keys = [path for path in files(subject.root, *told) if has_key(subject, path)]
    return found(subject, dict.fromkeys([*files(subject.root, *paths), *keys]), "A host key of ssh.")


def host_keys_are_made(subject: Subject) -> list[Finding] | None:
    """Whether something makes new ones at the first start."""
    root = subject.root
    if not any(root.is_file(f"{place}/sshd") for place in ("/usr/sbin", "/sbin")):
        return None
    units = [f"{place}/systemd/system/*.service" for place in ("/etc", "/lib", "/usr/lib")]
    scripts = ["/etc/init.d/*", "/etc/rc.d/init.d/*", "/etc/rc.local", "/etc/rc.d/rc.local"]
    if any(root.is_file(f"{place}/cloud-init") for place in ("/usr/bin", "/bin")):
        return []
    for path in files(root, *scripts, *units):
        if "keygen" in (root.text(path) or ""):
            return []
    return [Finding("/usr/sbin/sshd", "Nothing makes host keys at the first start: sshd would not run.")]


def client_keys(subject: Subject) -> list[Finding]:
    """Private keys in the .ssh of any home."""
    paths = files(subject.root, *subject.places.in_homes(".ssh/*"))
    keys = [path for path in paths if has_key(subject, path) or _is_identity(path)]
    return found(subject, keys, "A private key of ssh.")


def _is_identity(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return name.startswith("id_") and not name.endswith(".pub")
