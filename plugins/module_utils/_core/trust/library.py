# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the one library there, and in a version that has what we need? One plain sentence when not."""

from __future__ import annotations

import contextlib
import functools
import sys
import typing as t
import warnings

from ..errors import TrustError

MINIMUM: t.Final = 49
BELOW: t.Final = 52


@functools.lru_cache(maxsize=1)
def require() -> None:
    """Raise `TrustError` (library_missing) unless cryptography >= 49, < 52 can be imported."""
    try:
        import cryptography
    except ImportError as error:
        detail = f"The interpreter {sys.executable} has no Python library cryptography"
        raise TrustError("library_missing", detail, library="cryptography") from error
    problem = unfit(cryptography.__version__)
    if problem:
        raise TrustError("library_missing", problem, library="cryptography", found=cryptography.__version__)


def unfit(version: str) -> str | None:
    """Why this version of cryptography cannot be used, or None."""
    major = version.partition(".")[0]
    if major.isdigit() and MINIMUM <= int(major) < BELOW:
        return None
    return f"The interpreter {sys.executable} has cryptography {version}; version {MINIMUM} to {BELOW - 1} is needed"


@contextlib.contextmanager
def quiet() -> t.Iterator[None]:
    """Keep the library's warnings (a serial number of zero, ...) from the user: old anchors are full of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
