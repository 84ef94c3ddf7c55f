# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch the content of an https address, whose checksum the caller compares."""

from __future__ import annotations

import typing as t

from .content import LARGEST, Fetch


def fetcher(ca_path: t.Optional[str]) -> Fetch:
    """What fetches an address with these certification authorities, the system's where it is None.

    The administrator named the address, so its host may be a private one. Raises `TransferError`.
    """

    def fetch(url: str) -> bytes:
        # Imported late: a disk without addresses needs neither requests nor its start-up time.
        from ...transfer.fetch import fetch_message
        from ...transfer.policy import Policy

        policy = Policy(ca_path=ca_path).trusting(url)
        return fetch_message(url, cap=LARGEST, policy=policy).octets

    return fetch
