# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A line to a server that breaks after so many octets have gone there."""

from __future__ import annotations

import contextlib
import socket
import threading
import typing as t

PIECE: t.Final = 4096


@contextlib.contextmanager
def cut_line(port: int, octets: int) -> t.Iterator[int]:
    """A port of this machine that leads to `port`; every connection is cut after `octets` have gone to the server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, port, octets), daemon=True)
        thread.start()
        yield listener.getsockname()[1]


def _serve(listener: socket.socket, port: int, octets: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _address = listener.accept()
            server = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=_pass, args=(client, server, octets), daemon=True).start()
            threading.Thread(target=_pass, args=(server, client, None), daemon=True).start()


def _pass(source: socket.socket, target: socket.socket, limit: int | None) -> None:
    passed = 0
    with contextlib.suppress(OSError):
        while limit is None or passed < limit:
            piece = source.recv(PIECE)
            if not piece:
                break
            target.sendall(piece)
            passed += len(piece)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
