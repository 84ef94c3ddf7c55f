# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON without surprises: what one reader sees, every reader sees.

UTF-8 without a byte order mark, at most 4 MiB, at most 16 levels (counted before parsing), no key twice in an object
(escaped spellings included), no floats, NaN or Infinity, integers of at most 18 digits, no NUL, no lone surrogates.
"""

from __future__ import annotations

import collections
import json
import re
import typing as t

from ..errors import TrustError

MAX_OCTETS: t.Final = 4 * 1024 * 1024
MAX_DEPTH: t.Final = 16
MAX_DIGITS: t.Final = 18

# The end of the text closes a string too, so that no unterminated string is scanned more than once.
_STRING: t.Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_ONE_KIND: t.Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS: t.Final = bytes(octet for octet in range(256) if octet not in b"[]{}")


def parse_json(octets: bytes) -> t.Any:
    """The parsed value. Raises TrustError: ``too_large`` above 4 MiB, else ``json_invalid``."""
    if len(octets) > MAX_OCTETS:
        raise TrustError("too_large", f"The list has {len(octets)} octets; at most {MAX_OCTETS} are read.")
    if octets.startswith(b"\xef\xbb\xbf"):
        raise _invalid("The list begins with a byte order mark.")
    _check_depth(octets)
    try:
        value = json.loads(
            octets.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=_no_float,
            parse_int=_short_int,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError as exc:
        raise _invalid(f"The list is not UTF-8 (octet {exc.start}).") from exc
    except json.JSONDecodeError as exc:
        raise _invalid(f"The list is not JSON (line {exc.lineno}, column {exc.colno}: {exc.msg}).") from exc
    if b"\\u" in octets:
        # Only an escape can bring these in: as octets, the UTF-8 decoder and the JSON parser have refused them.
        _check_text(value)
    return value


def _invalid(detail: str) -> TrustError:
    return TrustError("json_invalid", detail)


def _check_depth(octets: bytes) -> None:
    brackets = _STRING.sub(b"", octets).translate(_ONE_KIND, _NO_BRACKETS)
    for _turn in range(MAX_DEPTH):  # what is left after each round stood one level higher
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"")
    # Pairs are left: too deep. Without pairs, closing brackets are left and behind them opening ones: that deep, too.
    if b"[]" in brackets or brackets.count(b"[") > MAX_DEPTH:
        raise _invalid(f"The list is nested deeper than {MAX_DEPTH} levels.")


def _unique(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = collections.Counter(key for key, _item in pairs).most_common(1)[0][0]
        raise _invalid(f"The key {twice[:80]!a} stands twice in one object.")
    return value


def _no_float(text: str) -> t.NoReturn:
    raise _invalid(f"The list holds {text[:40]}: only integers are allowed.")


def _no_constant(text: str) -> t.NoReturn:
    raise _invalid(f"The list holds {text}, which is not JSON.")


def _short_int(text: str) -> int:
    if len(text.lstrip("-")) > MAX_DIGITS:
        raise _invalid(f"The list holds an integer of more than {MAX_DIGITS} digits.")
    return int(text)


def _check_text(value: t.Any) -> None:
    if isinstance(value, str):
        if "\0" in value:
            raise _invalid("The list holds a NUL character.")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise _invalid("The list holds half of a surrogate pair.")
    elif isinstance(value, list):
        for item in value:
            _check_text(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check_text(item)
