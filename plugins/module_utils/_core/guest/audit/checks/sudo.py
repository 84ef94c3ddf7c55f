# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Best practice: who becomes root by sudo or doas. Source: sudoers(5)."""

from __future__ import annotations

import re
import typing as t

from ....errors import GuestError
from ...root.tree import Root
from ..model import Finding, Subject
from ..places import files, rows

_CONFIGURATIONS: t.Final = ("/etc/sudoers", "/usr/etc/sudoers", "/etc/sudoers.d/*")
_ADMINISTRATORS: t.Final = ("root", "%sudo", "%wheel", "%admin")
_MOST_FILES: t.Final = 1000
_INCLUDE: t.Final = re.compile(r"[#@]include(dir)?\s+(.+)")
#: What begins with # and is no comment: the number of a user, and files that are included.
_NO_COMMENT: t.Final = re.compile(r"[0-9]|include(?:dir)?\s")
_ALIAS: t.Final = re.compile(r"Cmnd?_Alias\s+(.*)")
_RUN_AS: t.Final = re.compile(r"\([^)]*\)")
_OTHER_HOSTS: t.Final = re.compile(r":[^:=,]+=")
_PARTS: t.Final = re.compile(r"[,:]")


def sudo(subject: Subject) -> t.Iterator[Finding]:
    """Rules that give root away."""
    lines = list(_lines(subject.root))
    everything = _everything([text for _path, _number, text in lines])
    for path, number, text in lines:
        if text.startswith("Defaults"):
            if re.search(r"!\s*authenticate\b|\bexempt_group\b", text):
                yield Finding(path, "The defaults of sudo need no password.", number)
            continue
        user, stated = _rule(text)
        if not user or "_Alias" in user:
            continue
        commands = _RUN_AS.sub(" ", stated)
        if re.search(r"\bNOPASSWD\b", commands):
            yield Finding(path, f"{user[:80]} needs no password for sudo.", number)
        elif user not in _ADMINISTRATORS and everything.intersection(_commands(commands)):
            yield Finding(path, f"{user[:80]} may do everything.", number)
    yield from _doas(subject.root)


def _rule(text: str) -> tuple[str, str]:
    """Whom a rule is for, with commas and no blanks between several, and what it says of them; "" for what is none."""
    who, equals, stated = text.partition("=")
    words = " ".join(who.split()).replace(" ,", ",").replace(", ", ",").split(" ")
    return (words[0], stated) if equals and len(words) > 1 else ("", "")


def _commands(text: str) -> set[str]:
    """The commands of a rule; tags such as SETENV are among them, and are none that anybody has."""
    return {part.strip() for part in _PARTS.split(_OTHER_HOSTS.sub(",", text))}


def _everything(texts: t.Iterable[str]) -> set[str]:
    """ALL, and the aliases that stand for it."""
    aliases = {}
    for text in texts:
        match = _ALIAS.match(text)
        for part in match[1].split(":") if match is not None else ():
            name, _equals, commands = part.partition("=")
            aliases[name.strip()] = {command.strip() for command in commands.split(",")}
    found = {"ALL"}
    while True:
        more = {name for name, commands in aliases.items() if commands & found}
        if more <= found:
            return found
        found |= more


def _lines(root: Root) -> t.Iterator[tuple[str, int, str]]:
    """Path, number and text of every line that says something; one that goes on is one with the next."""
    ahead = files(root, *_CONFIGURATIONS)
    seen: set[str] = set()
    while ahead:
        path = ahead.pop(0)
        if path in seen:
            continue
        seen.add(path)
        if len(seen) > _MOST_FILES:
            raise GuestError("guest_too_large", "The configuration of sudo has no end", path=path)
        for number, text in _joined(root.text(path) or ""):
            match = _INCLUDE.match(text)
            if match is None:
                yield path, number, text
            else:
                ahead += _included(root, match[2].strip().strip('"'), is_directory=match[1] is not None)


def _included(root: Root, named: str, *, is_directory: bool) -> list[str]:
    path = named if named.startswith("/") else f"/etc/{named}"
    if not is_directory:
        return files(root, path)
    # As sudo has it; what it leaves out here is looked for in the usual place all the same.
    return [path for path in files(root, f"{path}/*") if "." not in path.rsplit("/", 1)[-1] and path[-1] != "~"]


def _joined(text: str) -> t.Iterator[tuple[int, str]]:
    first, before = 0, ""
    for number, row in enumerate(text.split("\n"), 1):
        plain = row.rstrip("\r")
        first = first if before else number
        if plain.endswith("\\"):
            before += plain[:-1] + " "
            continue
        whole, before = _without_comment(before + plain).strip(), ""
        if whole:
            yield first, whole
    if before.strip():
        yield first, before.strip()


def _without_comment(text: str) -> str:
    head, _sign, behind = text.partition("#")
    return head if "=" in head or not _NO_COMMENT.match(behind) else text


def _doas(root: Root) -> t.Iterator[Finding]:
    for path in files(root, "/etc/doas.conf", "/etc/doas.d/*.conf"):
        for number, row in rows(root, path):
            words = row.split()
            if words[0] == "permit" and "nopass" in words:
                yield Finding(path, "A rule of doas needs no password.", number)
            elif words[0] == "permit" and "cmd" not in words and not {":wheel", ":sudo", "root"} & set(words):
                yield Finding(path, "A rule of doas permits everything.", number)
