# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read BER elements of hostile input: no recursion, and a budget for elements and for depth.

Only what CMS, names and certificates need: one-octet tags, definite and indefinite lengths (X.690, 8.1). Nothing is
decoded that nobody asked for: a CRL in a message is stepped over by its length.
"""

from __future__ import annotations

import dataclasses
import typing as t

MAX_DEPTH: t.Final = 24
MAX_ELEMENTS: t.Final = 200_000

INTEGER: t.Final = 0x02
BIT_STRING: t.Final = 0x03
OCTET_STRING: t.Final = 0x04
NULL: t.Final = 0x05
OID: t.Final = 0x06
SEQUENCE: t.Final = 0x30
SET: t.Final = 0x31
CONSTRUCTED: t.Final = 0x20


class BerError(ValueError):
    """The octets are not the BER that was expected; callers turn this into their own refusal."""


@dataclasses.dataclass(frozen=True)
class Element:
    """One element: its first octet, and where it starts, its content starts and ends, and it ends itself."""

    tag: int
    start: int
    body: int
    body_end: int
    end: int

    @property
    def indefinite(self) -> bool:
        """Whether the element was sent with an indefinite length (its end is an end-of-contents marker)."""
        return self.end != self.body_end


class Reader:
    """Elements of `octets`; every header that is read counts against `max_elements`."""

    def __init__(self, octets: bytes, *, max_elements: int = MAX_ELEMENTS) -> None:
        self.octets = octets
        self._left = max_elements

    def header(self, at: int, limit: int) -> tuple[int, int, int | None]:
        """(tag, start of the content, length or None when indefinite) of the element at `at`."""
        self._left -= 1
        if self._left < 0:
            raise BerError("there are too many elements")
        if at + 2 > limit:
            raise BerError("an element is cut off")
        tag, length = self.octets[at], self.octets[at + 1]
        if tag & 0x1F == 0x1F:
            raise BerError("a tag of several octets has no place here")
        body = at + 2
        if length < 0x80:
            return tag, body, length
        if length == 0x80:
            if not tag & CONSTRUCTED:
                raise BerError("a primitive element has an indefinite length")
            return tag, body, None
        count = length & 0x7F
        if count > 8 or body + count > limit:
            raise BerError("a length is too long or cut off")
        return tag, body + count, int.from_bytes(self.octets[body : body + count], "big")

    def element(self, at: int, limit: int) -> Element:
        """The element at `at`, which must end at or before `limit`."""
        tag, body, length = self.header(at, limit)
        if tag == 0:
            raise BerError("an end-of-contents marker stands where an element was expected")
        if length is None:
            body_end = self._end_of_contents(body, limit)
            return Element(tag, at, body, body_end, body_end + 2)
        if body + length > limit:
            raise BerError("an element is longer than what holds it")
        return Element(tag, at, body, body + length, body + length)

    def _end_of_contents(self, at: int, limit: int) -> int:
        depth = 1
        while True:
            tag, body, length = self.header(at, limit)
            if tag == 0:
                if length != 0:
                    raise BerError("an end-of-contents marker has a content")
                depth -= 1
                if depth == 0:
                    return at
                at = body
            elif length is None:
                depth += 1
                if depth > MAX_DEPTH:
                    raise BerError("the elements are nested too deeply")
                at = body
            else:
                at = body + length

    def only(self, tag: int) -> Element:
        """The one element that all the octets are; nothing may follow it."""
        element = self.element(0, len(self.octets))
        if element.end != len(self.octets):
            raise BerError(f"{len(self.octets) - element.end} octets follow the outermost element")
        return expect(element, tag)

    def children(self, element: Element) -> list[Element]:
        """The elements directly inside a constructed element."""
        if not element.tag & CONSTRUCTED:
            raise BerError("an element with parts was expected")
        found = []
        at = element.body
        while at < element.body_end:
            child = self.element(at, element.body_end)
            found.append(child)
            at = child.end
        return found

    def whole(self, element: Element) -> bytes:
        """The octets of the element, header included, as sent."""
        return self.octets[element.start : element.end]

    def content(self, element: Element) -> bytes:
        """The octets inside the element, as sent."""
        return self.octets[element.body : element.body_end]

    def octet_string(self, element: Element) -> bytes:
        """The value of an OCTET STRING, put together when it was sent in segments."""
        if element.tag == OCTET_STRING:
            return self.content(element)
        expect(element, OCTET_STRING | CONSTRUCTED)
        segments: list[bytes] = []
        stack = [(1, segment) for segment in reversed(self.children(element))]
        while stack:
            depth, segment = stack.pop()
            if segment.tag == OCTET_STRING:
                segments.append(self.content(segment))
                continue
            expect(segment, OCTET_STRING | CONSTRUCTED)
            if depth >= MAX_DEPTH:
                raise BerError("the segments of a string are nested too deeply")
            stack.extend((depth + 1, inner) for inner in reversed(self.children(segment)))
        return b"".join(segments)

    def oid(self, element: Element) -> str:
        """The dotted form of an OBJECT IDENTIFIER."""
        octets = self.content(expect(element, OID))
        if not octets or len(octets) > 64 or octets[-1] & 0x80:
            raise BerError("an object identifier is malformed")
        arcs: list[int] = []
        arc = 0
        fresh = True
        for octet in octets:
            if fresh and octet == 0x80:
                raise BerError("an object identifier is malformed")
            arc = arc << 7 | octet & 0x7F
            fresh = not octet & 0x80
            if fresh:
                arcs.append(arc)
                arc = 0
        first = min(arcs[0] // 40, 2)
        return ".".join(str(number) for number in (first, arcs[0] - 40 * first, *arcs[1:]))

    def integer(self, element: Element) -> int:
        """The value of an INTEGER."""
        octets = self.content(expect(element, INTEGER))
        if not octets or len(octets) > 4096:
            raise BerError("an integer is malformed")
        return int.from_bytes(octets, "big", signed=True)


def expect(element: Element, tag: int) -> Element:
    """The element itself, when it has this tag."""
    if element.tag != tag:
        raise BerError(f"tag 0x{element.tag:02x} stands where 0x{tag:02x} was expected")
    return element


@dataclasses.dataclass(frozen=True)
class Algorithm:
    """An AlgorithmIdentifier: dotted identifier, and its parameters as sent (None when absent)."""

    oid: str
    parameters: bytes | None

    @property
    def plain(self) -> bool:
        """Whether the parameters are absent or NULL."""
        return self.parameters in (None, b"\x05\x00")


def algorithm(reader: Reader, element: Element) -> Algorithm:
    """Read an AlgorithmIdentifier (RFC 5280, 4.1.1.2)."""
    parts = reader.children(expect(element, SEQUENCE))
    if not 1 <= len(parts) <= 2:
        raise BerError("an algorithm identifier is malformed")
    return Algorithm(reader.oid(parts[0]), reader.whole(parts[1]) if len(parts) == 2 else None)
