# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Domains by libvirt's own binding: found, defined, started, stopped, removed. What libvirt refuses is refused here."""

from __future__ import annotations

import contextlib
import re
import time
import typing as t
from xml.etree import ElementTree

from ...errors import HypervisorError

#: Models by which a host labels the files of its guests, and which can be told to leave one alone.
_LABELS: t.Final = ("dac", "selinux")
_POLL: t.Final = 0.2
_HOOK_SAID: t.Final = re.compile(r"unexpected exit status [0-9]+: (.+)")

Connection = t.Any
Domain = t.Any


class Connections:
    """Connections by URI, opened when they are asked for."""

    def __init__(self) -> None:
        self._open: dict[str, Connection] = {}

    def __enter__(self) -> Connections:
        return self

    def __exit__(self, *_error: object) -> None:
        for connection in self._open.values():
            with contextlib.suppress(Exception):
                connection.close()
        self._open.clear()

    def to(self, uri: str) -> Connection:
        """Raises `HypervisorError` ``hypervisor_unreachable``."""
        if uri not in self._open:
            import libvirt

            # libvirt would write each error to standard error as well, where a module's answer is expected.
            libvirt.registerErrorHandler(lambda _context, _error: None, None)
            try:
                self._open[uri] = libvirt.open(uri)
            except libvirt.libvirtError as error:
                raise HypervisorError("hypervisor_unreachable", f"{uri}: {_said(error)}", uri=uri) from error
        return self._open[uri]


@contextlib.contextmanager
def refusals(what: str) -> t.Iterator[None]:
    """Turn what libvirt refuses into ``hypervisor_refused``, and what a hook does into ``start_refused``."""
    import libvirt

    try:
        yield
    except libvirt.libvirtError as error:
        said = _said(error)
        if error.get_error_code() != libvirt.VIR_ERR_HOOK_SCRIPT_FAILED:
            raise HypervisorError("hypervisor_refused", f"{what}: {said}") from error
        # Before that stands the hook's whole command, with its environment.
        of_hook = _HOOK_SAID.search(said)
        raise HypervisorError("start_refused", f"{what}: {of_hook[1] if of_hook else said}") from error


def _said(error: t.Any) -> str:
    return str(error.get_error_message() or error).strip().replace("\n", " ")


def labels(connection: Connection) -> tuple[str, ...]:
    """The security models of the host that would relabel what lies below an overlay."""
    with refusals("capabilities"):
        host = ElementTree.fromstring(connection.getCapabilities()).find("host")
    found = [] if host is None else [(model.text or "").strip() for model in host.iterfind("secmodel/model")]
    return tuple(model for model in _LABELS if model in found)


def by_name(connection: Connection, name: str) -> Domain | None:
    return _lookup(connection.lookupByName, name)


def by_uuid(connection: Connection, uuid: str) -> Domain | None:
    return _lookup(connection.lookupByUUIDString, uuid)


def _lookup(look: t.Callable[[str], Domain], key: str) -> Domain | None:
    import libvirt

    try:
        return look(key)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise HypervisorError("hypervisor_refused", f"{key}: {_said(error)}") from error


def everything(connection: Connection) -> list[Domain]:
    """All domains, running or not, by their names."""
    with refusals("domains"):
        return sorted(connection.listAllDomains(0), key=lambda domain: str(domain.name()))


def description(domain: Domain) -> str:
    """The XML of the domain as it is defined."""
    import libvirt

    with refusals(domain.name()):
        return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))


def is_active(domain: Domain) -> bool:
    with refusals(domain.name()):
        return bool(domain.isActive())


def define(connection: Connection, name: str, xml: str) -> Domain:
    with refusals(f"{name} is not defined"):
        return connection.defineXML(xml)


def autostart(domain: Domain) -> bool:
    with refusals(domain.name()):
        return bool(domain.autostart())


def set_autostart(domain: Domain, wanted: bool) -> None:
    with refusals(f"{domain.name()}: autostart"):
        domain.setAutostart(int(wanted))


def start(domain: Domain) -> None:
    with refusals(f"{domain.name()} is not started"):
        domain.create()


def grow(domain: Domain, disk: str, size: int) -> None:
    """Make the disk of a running machine larger, by its path: where it is attached may have been chosen; `size` in
    octets."""
    import libvirt

    with refusals(f"{domain.name()}: {disk} does not grow"):
        domain.blockResize(disk, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)


def stop(domain: Domain, patience: float) -> None:
    """Ask the system to shut down, and cut its power when it has not done so after `patience` seconds."""
    deadline = time.monotonic() + patience
    if patience > 0:
        # A system that cannot be asked is not waited for.
        with contextlib.suppress(HypervisorError):
            with refusals(domain.name()):
                domain.shutdown()
            while is_active(domain) and time.monotonic() < deadline:
                time.sleep(_POLL)
    if is_active(domain):
        with refusals(f"{domain.name()} is not stopped"):
            domain.destroy()


def undefine(domain: Domain) -> None:
    """With what libvirt keeps of it; drivers know some of the flags, and refuse others."""
    import libvirt

    saved, snapshots = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE, libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    everything_else = libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    for flags in (saved | snapshots | everything_else, saved | snapshots, saved):
        try:
            domain.undefineFlags(flags)
            return
        except libvirt.libvirtError as error:
            if error.get_error_code() not in (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_NO_SUPPORT):
                raise HypervisorError("hypervisor_refused", f"{domain.name()} stays defined: {_said(error)}") from error
    with refusals(f"{domain.name()} stays defined"):
        domain.undefine()
