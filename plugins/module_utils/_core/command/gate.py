# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages gate``: may this domain start. libvirt's hook hands its XML over, any other manager its disks."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

from ..errors import HypervisorError, VmimagesError
from ..hypervisor.gate import check, domain, log, settings
from ..times import utc_now
from ..transfer.atomic import storage_errors
from .line.output import emit, emit_error, emit_json, emit_warnings, printable

if t.TYPE_CHECKING:
    import argparse

_LARGEST: t.Final = 4 * 1024 * 1024
#: What may stand before the path of a disk.
_FORMATS: t.Final = ("raw", "qcow2")


def gate(options: argparse.Namespace) -> int:
    """0 if the domain may start, 1 and a sentence if not; whatever forbids an answer is a refusal, too."""
    try:
        site = settings.load(options.config)
        answer = check.check(_domain(options), site, check.verdicts_of(site, utc_now()))
    except VmimagesError as error:
        log.write_failure(error, options.operation)
        emit_error(error, as_json=options.json)
        return 1
    log.write(answer, options.operation)
    if options.json:
        emit_json(answer.as_dict())
    elif not answer.allowed:
        text = f"{answer.domain.name} may not start: {log.sentence(answer)}"
        if answer.passes:
            emit_warnings([text])
        else:
            sys.stderr.write(f"vmimages: {printable(text)}\n")
    elif not options.quiet:
        emit(f"{printable(answer.domain.name)} may start")
    return 0 if answer.passes else 1


def _domain(options: argparse.Namespace) -> domain.Domain:
    if not (options.disks or options.isos):
        return domain.read(_xml(options.domain))
    disks = [_disk(number, text) for number, text in enumerate(options.disks)]
    disks += [
        domain.Disk(f"iso{number}", path=_absolute(path), readonly=True, removable=True)
        for number, path in enumerate(options.isos)
    ]
    return domain.Domain(options.name or "the machine", (options.uuid or "").lower(), tuple(disks), (), "disk0")


def _disk(number: int, text: str) -> domain.Disk:
    """A raw disk, unless its format stands before it: to guess would let a guest choose."""
    kind, colon, path = text.partition(":")
    if not colon or kind not in _FORMATS:
        kind, path = "raw", text
    return domain.Disk(f"disk{number}", path=_absolute(path), format=kind)


def _absolute(path: str) -> str:
    return str(Path(path).absolute())


def _xml(name: str) -> str:
    if name == "-":
        octets = sys.stdin.buffer.read(_LARGEST + 1)
    else:
        with storage_errors(name, reading=True), Path(name).open("rb") as stream:
            octets = stream.read(_LARGEST + 1)
    try:
        return octets.decode()
    except UnicodeDecodeError as error:
        raise HypervisorError("domain_unreadable", f"It is not UTF-8 (octet {error.start})") from error
