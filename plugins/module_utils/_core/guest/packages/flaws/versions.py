# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of two versions is older: as dpkg has it (Debian policy 5.6.12), and as rpm has it (rpm-version(7))."""

from __future__ import annotations

import re
import typing as t

_PARTS: t.Final = re.compile(r"[0-9]+|[A-Za-z]+|[~^]")
_EPOCH: t.Final = re.compile(r"([0-9]{1,9}):")


def older(kind: str, one: str, other: str) -> bool:
    """Whether `one` is an older version than `other`; `kind` is deb or rpm."""
    return compare(kind, one, other) < 0


def compare(kind: str, one: str, other: str) -> int:
    """-1, 0 or 1, for whole versions ``[epoch:]version[-release]``; rpm compares releases only if both have one."""
    (epoch, version, release), (other_epoch, other_version, other_release) = _split(kind, one), _split(kind, other)
    if epoch != other_epoch:
        return -1 if epoch < other_epoch else 1
    compared = _of_dpkg if kind == "deb" else _of_rpm
    answer = compared(version, other_version)
    if answer or (kind == "rpm" and not (release and other_release)):
        return answer
    return compared(release, other_release)


def _split(kind: str, text: str) -> tuple[int, str, str]:
    match = _EPOCH.match(text)
    epoch = int(match[1]) if match is not None else 0
    rest = text[match.end() :] if match is not None else text
    version, dash, release = rest.rpartition("-")
    if not dash:
        # To dpkg no revision is the same as revision 0.
        return epoch, rest, "0" if kind == "deb" else ""
    return epoch, version, release


def _of_dpkg(one: str, other: str) -> int:
    """Text and numbers by turns; ``~`` comes before the end, and letters before all else."""
    while one or other:
        for expression, key in ((r"[^0-9]*", _letters), (r"[0-9]*", _number)):
            first, second = re.match(expression, one), re.match(expression, other)
            here, there = (first[0] if first else ""), (second[0] if second else "")
            one, other = one[len(here) :], other[len(there) :]
            mine, its = key(here), key(there)
            if mine != its:
                return -1 if mine < its else 1
    return 0


def _letters(text: str) -> tuple[int, ...]:
    order = [-1 if sign == "~" else ord(sign) if sign.isalpha() else ord(sign) + 256 for sign in text]
    return (*order, 0)


def _number(text: str) -> tuple[int, ...]:
    return (int(text[:4000] or "0"),)


def _of_rpm(one: str, other: str) -> int:
    """Numbers are newer than letters, ``~`` is older than the end, and ``^`` newer than the end and older than all."""
    mine, its = _PARTS.findall(one), _PARTS.findall(other)
    for number in range(max(len(mine), len(its))):
        here = mine[number] if number < len(mine) else ""
        there = its[number] if number < len(its) else ""
        if here != there:
            first, second = _rank(here), _rank(there)
            if first != second:
                return -1 if first < second else 1
    return 0


def _rank(part: str) -> tuple[int, int, str]:
    kinds = {"~": 0, "": 1, "^": 2}
    if part in kinds:
        return (kinds[part], 0, "")
    return (4, int(part[:4000]), "") if part[0].isdecimal() else (3, 0, part)
