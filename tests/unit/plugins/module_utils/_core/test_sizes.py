# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of octets as people write them."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.sizes import parse_size


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0, 0),
        (4096, 4096),
        ("4096", 4096),
        ("12 B", 12),
        ("700MB", 700_000_000),
        ("1.5 kB", 1500),
        ("20 GiB", 20 * 1024**3),
        ("0.5 gib", 512 * 1024**2),
        (" 2 TiB ", 2 * 1024**4),
        ("1 PB", 10**15),
    ],
)
def test_a_size(given: t.Any, expected: int) -> None:
    assert parse_size(given) == expected


@pytest.mark.parametrize(
    "given",
    [True, None, -1, 1.5, "", "GiB", "20 G", "20 gigs", "1,5 GB", "-1", "0.3 B", "1 EB", "\u0661 GB", "1e9", "9" * 19],
)
def test_no_size(given: t.Any) -> None:
    with pytest.raises(ValueError, match=r"size|whole"):
        parse_size(given)
