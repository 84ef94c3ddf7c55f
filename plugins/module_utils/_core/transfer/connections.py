# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections that go only where the policy allows, judged by the very address that is connected to.

The name is resolved once; every address it has is checked before the first packet is sent, and the socket is
connected to one of those. There is no second look-up that could answer differently (DNS rebinding), and notations such
as ``2130706433`` or ``0177.1`` are judged by the address that the resolver makes of them.
"""

from __future__ import annotations

import socket
import sys
import typing as t

from ..errors import TransferError
from .watchdog import Watchdog

if t.TYPE_CHECKING:
    from urllib3.connectionpool import HTTPConnectionPool

#: Called with (host, numeric address); raises to refuse.
AddressCheck = t.Callable[[str, str], None]


def library_missing(name: str) -> TransferError:
    """Return the refusal for an interpreter that lacks the library `name`."""
    return TransferError("library_missing", f"The interpreter {sys.executable} has no Python library {name}")


def resolve(host: str, port: int) -> list[tuple[t.Any, ...]]:
    """Return the resolver's answers for a TCP connection to `host`. Raises ``unreachable``."""
    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except (socket.gaierror, UnicodeError) as error:
        why = error.strerror if isinstance(error, socket.gaierror) and error.strerror else "not a host name"
        raise TransferError("unreachable", f"The host name {host} cannot be resolved: {why}", host=host) from error


def connect(
    host: str, port: int, *, check: AddressCheck, timeout: t.Optional[float], watchdog: Watchdog
) -> socket.socket:
    """Resolve `host`, check every address it has, and return a socket connected to the first one that answers.

    Raises `TransferError`: ``unreachable``, ``timeout``, or what `check` raises.
    """
    answers = resolve(host, port)
    for *_kind, address in answers:
        check(host, address[0])
    failure: t.Optional[OSError] = None
    for family, kind, protocol, _name, address in answers:
        watchdog.check()
        patience = watchdog.remaining() if timeout is None else min(timeout, watchdog.remaining())
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(max(patience, 0.001))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.connect(address)
            watchdog.watch(connection)
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    watchdog.check()
    if isinstance(failure, socket.timeout):
        raise TransferError("timeout", f"The host {host} did not answer on port {port}", host=host) from failure
    why = (failure.strerror or "no route").lower() if failure else "it has no address"
    raise TransferError("unreachable", f"No connection to {host} port {port}: {why}", host=host) from failure


def pool_classes(check: AddressCheck, watchdog: t.Callable[[], Watchdog]) -> dict[str, type[HTTPConnectionPool]]:
    """Return urllib3's connection pools, by scheme, with connections made by `connect`.

    `watchdog` returns the one of the transfer that the calling thread is doing. urllib3 makes sockets in
    ``_new_conn``: should a later version no longer do so, the connection is refused rather than left unchecked.
    """
    try:
        from urllib3.connection import HTTPConnection, HTTPSConnection
        from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
    except ImportError as error:
        raise library_missing("urllib3 (it comes with requests)") from error

    class Guarded(HTTPConnection):
        checked = False

        def _new_conn(self) -> socket.socket:
            host = getattr(self, "_dns_host", self.host)
            timeout = self.timeout if isinstance(self.timeout, (int, float)) else None
            connection = connect(host, self.port, check=check, timeout=timeout, watchdog=watchdog())
            self.checked = True
            return connection

        def connect(self) -> None:
            self.checked = False
            super().connect()
            if not self.checked:
                self.close()
                raise TransferError("internal_error", "The HTTP library connected without the address check")

        def request(self, *args: t.Any, **kwargs: t.Any) -> None:
            if self.sock is not None:
                watchdog().watch(self.sock)
            super().request(*args, **kwargs)

    class GuardedTLS(Guarded, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Guarded

    class TLSPool(HTTPSConnectionPool):
        ConnectionCls = GuardedTLS

    return {"http": Pool, "https": TLSPool}
