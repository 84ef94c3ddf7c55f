# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Octets on their way from the network to several consumers, each in a thread of its own.

Receiving, hashing and writing let go of Python's lock while they move a whole buffer, so that they overlap. The buffers
are few and small: what is in them is still in the processor's cache when the last consumer comes to it.
"""

from __future__ import annotations

import threading
import typing as t
from queue import SimpleQueue

from ..checksum import BUFFER_SIZE

#: Buffers between the receiver and the slowest consumer.
DEPTH: t.Final = 8

#: Given the octets of one buffer, in their order; what it raises ends the transfer.
Consumer = t.Callable[[memoryview], None]


class Pipeline:
    """A ring of buffers, filled by one thread and given to all `consumers`; a context manager.

    Fill `buffer` and call `submit`, again and again; `drain` waits until the consumers have taken all of it.
    """

    def __init__(self, consumers: t.Sequence[Consumer], *, name: str) -> None:
        self._ring = [memoryview(bytearray(BUFFER_SIZE)) for _number in range(DEPTH)]
        self._workers = [_Worker(consumer, f"{name}-{number}") for number, consumer in enumerate(consumers)]
        self._next = 0
        self._underway = 0

    def __enter__(self) -> Pipeline:
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        for worker in self._workers:
            worker.todo.put(None)
        for worker in self._workers:
            worker.join()

    def buffer(self) -> memoryview:
        """The buffer to fill next, as soon as every consumer is done with it. Raises what a consumer has raised."""
        if self._underway == DEPTH:
            self._await_oldest()
        self._check()
        return self._ring[self._next]

    def submit(self, count: int) -> None:
        """The first `count` octets of `buffer` are for the consumers."""
        view = self._ring[self._next][:count]
        self._next = (self._next + 1) % DEPTH
        self._underway += 1
        for worker in self._workers:
            worker.todo.put(view)

    def drain(self) -> None:
        """Wait until every consumer has taken everything. Raises what a consumer has raised."""
        while self._underway:
            self._await_oldest()
        self._check()

    def _await_oldest(self) -> None:
        for worker in self._workers:
            worker.done.get()
        self._underway -= 1

    def _check(self) -> None:
        for worker in self._workers:
            if worker.failure is not None:
                raise worker.failure


class _Worker(threading.Thread):
    """Feeds one consumer; after its failure the buffers are only given back."""

    def __init__(self, consumer: Consumer, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.todo: SimpleQueue[t.Optional[memoryview]] = SimpleQueue()
        self.done: SimpleQueue[None] = SimpleQueue()
        self.failure: t.Optional[BaseException] = None
        self._consumer = consumer

    def run(self) -> None:
        while True:
            view = self.todo.get()
            if view is None:
                return
            if self.failure is None:
                try:
                    self._consumer(view)
                except BaseException as error:  # it is the receiving thread that tells
                    self.failure = error
            self.done.put(None)
