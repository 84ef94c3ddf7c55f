# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Split a signed message at its MIME boundaries, octet by octet, and write one (RFC 1847, RFC 2046, RFC 8551).

Python's `email` package is of no use here: the body part has no header block, and the octets must stay as sent.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
import typing as t

from ...errors import TrustError

MAX_HEADER: t.Final = 64 * 1024
SIGNATURE_TYPES: t.Final = frozenset({"application/pkcs7-signature", "application/x-pkcs7-signature"})
OPAQUE_TYPES: t.Final = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime"})
CONTENT_TYPES: t.Final = frozenset({"text/plain", "application/json"})

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_HEADER = re.compile(rb"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)
_MEDIA_TYPE = re.compile(rf"\s*({_TOKEN}/{_TOKEN})\s*")
_PARAMETER = re.compile(rf';\s*({_TOKEN})\s*=\s*(?:({_TOKEN})|"((?:[^"\\\r\n]|\\[ -~])*)")\s*')
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_BLANKS = b" \t\r\n"


@dataclasses.dataclass(frozen=True)
class MediaType:
    """A Content-Type: `type/subtype` in lower case, and its parameters by lower-case name."""

    name: str
    parameters: t.Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a message holds: the detached content as sent (None for an opaque signature), and the CMS octets."""

    content: bytes | None
    cms: bytes


def split(octets: bytes) -> Parts:
    """The parts of a signed message.

    Raises `TrustError`: mime_malformed, mime_unsupported.
    """
    headers, body = _header_block(octets)
    media = _content_type(headers)
    if media.name == "multipart/signed":
        return _split_multipart(media, body)
    if media.name in OPAQUE_TYPES:
        kind = media.parameters.get("smime-type", "signed-data").lower()
        if kind != "signed-data":
            raise TrustError("mime_unsupported", f"The message is of smime-type {kind[:40]!r}, not signed-data")
        return Parts(None, _decoded(headers, body))
    raise TrustError("mime_unsupported", f"The message is of type {media.name[:80]!r}")


def _split_multipart(media: MediaType, body: bytes) -> Parts:
    protocol = media.parameters.get("protocol", "").lower()
    if protocol not in SIGNATURE_TYPES:
        raise TrustError("mime_unsupported", f"The signature protocol is {protocol[:80]!r}")
    boundary = media.parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary):
        raise TrustError("mime_malformed", "The message names no usable boundary between its parts")
    content, signature = _two_parts(body, boundary.encode("ascii"))
    headers, encoded = _header_block(signature)
    kind = _content_type(headers)
    if kind.name not in SIGNATURE_TYPES:
        raise TrustError("mime_unsupported", f"The second part is of type {kind.name[:80]!r}, not a signature")
    return Parts(content, _decoded(headers, encoded))


def _two_parts(body: bytes, boundary: bytes) -> tuple[bytes, bytes]:
    delimiter = b"--" + boundary
    lines: list[tuple[int, int, bool]] = []
    at = 0 if body.startswith(delimiter) else _line_start(body, delimiter, 0)
    while at is not None and len(lines) <= 3:
        end = body.find(b"\n", at)
        end = len(body) if end < 0 else end + 1
        rest = body[at + len(delimiter) : end]
        closing = rest.startswith(b"--")
        # Some readers take any line that starts like this for a boundary, others do not: it may not occur.
        if (rest[2:] if closing else rest).strip(_BLANKS):
            raise TrustError("mime_malformed", "A line starts like the boundary but does not end like it")
        lines.append((at, end, closing))
        at = _line_start(body, delimiter, at)
    if [closing for _start, _end, closing in lines] != [False, False, True]:
        raise TrustError("mime_malformed", "The message does not consist of exactly two parts and a closing boundary")
    (content_start, content_end), (signature_start, signature_end) = (
        (lines[number][1], lines[number + 1][0]) for number in (0, 1)
    )
    after = lines[2][1]
    if body[after:].strip(_BLANKS):
        raise TrustError("mime_malformed", "Something follows the closing boundary")
    if body[signature_start - 1 : signature_start] != b"\n" or content_end <= content_start:
        raise TrustError("mime_malformed", "A part of the message is empty")
    return _before_boundary(body, content_start, content_end), body[signature_start:signature_end]


def _line_start(body: bytes, start: bytes, after: int) -> int | None:
    """Where the next line begins that starts like this."""
    at = body.find(b"\n" + start, after)
    return None if at < 0 else at + 1


def _before_boundary(body: bytes, start: int, end: int) -> bytes:
    """The part without the one line end that belongs to the boundary (RFC 2046, 5.1.1)."""
    content = body[start:end]
    return content[:-2] if content.endswith(b"\r\n") else content[:-1]


def _header_block(octets: bytes) -> tuple[dict[str, str], bytes]:
    """Headers (lower-case names, unfolded values; only the Content- fields) and what follows the blank line."""
    lines: list[bytes] = []
    at = 0
    while True:
        end = octets.find(b"\n", at, MAX_HEADER)
        if end < 0:
            raise TrustError("mime_malformed", "The header block does not end with a blank line")
        line = octets[at:end]
        line = line[:-1] if line.endswith(b"\r") else line
        at = end + 1
        if not line:
            break
        if b"\r" in line or b"\0" in line:
            raise TrustError("mime_malformed", "A header line holds control characters")
        if line[:1] in (b" ", b"\t"):
            if not lines:
                raise TrustError("mime_malformed", "The message starts with a continuation line")
            lines[-1] += line
        else:
            lines.append(line)
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if not match:
            raise TrustError("mime_malformed", "The message does not start with a header block")
        name = match[1].decode("ascii").lower()
        if not name.startswith("content-"):
            continue
        if name in headers:
            raise TrustError("mime_malformed", f"The header {name[:40]} occurs twice")
        headers[name] = match[2].decode("latin-1").strip()
    return headers, octets[at:]


def _content_type(headers: t.Mapping[str, str]) -> MediaType:
    value = headers.get("content-type")
    if value is None:
        raise TrustError("mime_malformed", "A Content-Type is missing")
    media = _MEDIA_TYPE.match(value)
    if not media:
        raise TrustError("mime_malformed", "A Content-Type is malformed")
    parameters: dict[str, str] = {}
    at = media.end()
    while at < len(value):
        match = _PARAMETER.match(value, at)
        if not match:
            if value[at:].strip() == ";":
                break
            raise TrustError("mime_malformed", "The parameters of a Content-Type are malformed")
        name = match[1].lower()
        if name in parameters:
            raise TrustError("mime_malformed", f"The parameter {name[:40]} of a Content-Type occurs twice")
        parameters[name] = match[2] if match[2] is not None else re.sub(r"\\(.)", r"\1", match[3])
        at = match.end()
    return MediaType(media[1].lower(), parameters)


def _decoded(headers: t.Mapping[str, str], body: bytes) -> bytes:
    encoding = headers.get("content-transfer-encoding", "7bit").lower()
    if encoding == "binary":
        return body
    if encoding != "base64":
        raise TrustError("mime_unsupported", f"The signature has the transfer encoding {encoding[:40]!r}, not base64")
    compact = body.translate(None, _BLANKS)
    if len(compact) % 4 or not _BASE64.fullmatch(compact):
        raise TrustError("mime_malformed", "The base64 of the signature is malformed")
    try:
        return base64.b64decode(compact, validate=True)
    except binascii.Error as error:
        raise TrustError("mime_malformed", "The base64 of the signature is malformed") from error


def canonical(octets: bytes) -> bytes:
    """The octets with every bare LF as CRLF (RFC 8551, 3.1.1)."""
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def without_headers(octets: bytes) -> bytes:
    """The content of a signed body part: all of it, or what follows its header block where it has one.

    Raises `TrustError`: mime_malformed, mime_unsupported (a type other than text or JSON, an encoded body).
    """
    start = octets.lstrip(_BLANKS)[:1]
    if start in (b"{", b"[") or not re.match(rb"content-|mime-version[ \t]*:", octets[:80], re.IGNORECASE):
        return octets
    headers, body = _header_block(octets)
    media = _content_type({"content-type": "text/plain", **headers})
    charset = media.parameters.get("charset", "utf-8").lower()
    if media.name not in CONTENT_TYPES or charset not in ("utf-8", "us-ascii"):
        detail = f"The signed part is of type {media.name[:80]!r}, charset {charset[:20]!r}"
        raise TrustError("mime_unsupported", detail)
    encoding = headers.get("content-transfer-encoding", "7bit").lower()
    if encoding not in ("7bit", "8bit", "binary"):
        raise TrustError("mime_unsupported", f"The signed part has the transfer encoding {encoding[:40]!r}")
    return body


def join(content: bytes, cms: bytes, *, micalg: str, boundary: str) -> bytes:
    """A multipart/signed message; `content` in the form that was signed.

    The headers end in LF, the content's lines as signed, as `openssl smime` and the prior tools write it.
    """
    encoded = base64.b64encode(cms).decode("ascii")
    lines = "\n".join(encoded[at : at + 64] for at in range(0, len(encoded), 64))
    head = (
        "MIME-Version: 1.0\n"
        'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; '
        f'micalg="{micalg}"; boundary="{boundary}"\n\n'
        "This is an S/MIME signed message\n\n"
        f"--{boundary}\n"
    )
    tail = (
        f"\n--{boundary}\n"
        'Content-Type: application/pkcs7-signature; name="smime.p7s"\n'
        "Content-Transfer-Encoding: base64\n"
        'Content-Disposition: attachment; filename="smime.p7s"\n\n'
        f"{lines}\n\n"
        f"--{boundary}--\n"
    )
    return head.encode("ascii") + content + tail.encode("ascii")
