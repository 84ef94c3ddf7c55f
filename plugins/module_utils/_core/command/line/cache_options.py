# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of ``vmimages sync`` and ``vmimages scrub``; for those without a default here, settings.json has one."""

from __future__ import annotations

import argparse

from ...disks.formats import WANTED
from .values import duration, number, positive, size


def sync(parser: argparse.ArgumentParser) -> None:
    """All that there is."""
    _scope(parser)
    _quiet(parser)
    parser.add_argument("--verify", action="store_true", help="read the cached files again and compare their digests")
    parser.add_argument(
        "--purge-expired", metavar="AGE", type=duration, help="delete expired files older than this, such as 14d"
    )
    _transfer(parser)
    _upkeep(parser)
    parser.add_argument(
        "--scrub", action="store_true", help="read the files again that were not read for --scrub-interval"
    )
    _scrubbing(parser)


def scrub(parser: argparse.ArgumentParser) -> None:
    """What is read, how fast, and how what is damaged comes again."""
    _scope(parser)
    _quiet(parser)
    _scrubbing(parser)
    _transfer(parser)
    _upkeep(parser)


def _quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="do not tell how far it is while it runs")


def _scope(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--list", dest="lists", metavar="LIST", action="append", default=[], help="only this list")
    parser.add_argument("--image", dest="images", metavar="UUID", action="append", default=[], help="only this image")


def _transfer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-parallel", metavar="N", type=positive, default=2, help="downloads at once (default: 2)")
    parser.add_argument(
        "--max-per-host", metavar="N", type=positive, default=4, help="downloads at once from one host (default: 4)"
    )
    parser.add_argument(
        "--retries", metavar="N", type=number, help="how often an image is tried again that does not come (default: 3)"
    )
    parser.add_argument("--timeout", metavar="TIME", type=duration, help="the longest that an image may take (1d)")
    parser.add_argument(
        "--minimum-rate", metavar="N", type=number, help="octets a second below which a download ends (default: 1024)"
    )


def _upkeep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        dest="formats",
        choices=WANTED,
        action="append",
        help="make the disks of all images in this format as well (may be repeated)",
    )
    parser.add_argument("--max-unpacked", metavar="SIZE", type=size, help="the largest disk (default: 512 GiB)")
    parser.add_argument("--quota", metavar="SIZE", type=size, help="what the cache may hold in all, such as '2 TiB'")
    parser.add_argument("--min-free", metavar="SIZE", type=size, help="what stays free on its file system")
    parser.add_argument(
        "--keep-expired",
        metavar="AGE",
        type=duration,
        help="expired files make room when they are older than this (default: 0s)",
    )


def _scrubbing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scrub-interval", metavar="AGE", type=duration, help="how long ago a file may have been read (default: 30d)"
    )
    parser.add_argument("--scrub-rate", metavar="SIZE", type=size, help="octets to read in a second, such as '50 MiB'")
