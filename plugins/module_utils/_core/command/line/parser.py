# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of `vmimages`."""

from __future__ import annotations

import argparse
import typing as t
from datetime import timedelta

from ...disks.formats import WANTED
from ...trust.anchor_files import DEFAULT_ANCHORS
from . import cache_options
from .values import duration

STATE_DIR: t.Final = "/var/lib/hepix-vmimages"
RELAY: t.Final = "/etc/hepix-vmimages/relay.json"
EXIT_CODES: t.Final = """\
exit codes:
  0  done, or the image is allowed to run
  1  refused, or the image is not allowed to run
  2  wrong usage
  3  some lists, images or handlers of events failed, the others are done
  4  an internal error
"""
CHECK_CODES: t.Final = """
exit codes of --check:
  0  OK
  1  WARNING, such as a failed refresh, a transport without authentication, or a wanted image that may not run
  2  CRITICAL: a list was not refreshed for too long, has expired or proves its signer no more, or a file was changed
  3  UNKNOWN: there are no present verdicts
"""


def parse(arguments: t.Sequence[str] | None) -> argparse.Namespace:
    """The options; `command` names what to do. Wrong usage ends the process with exit code 2."""
    parser = argparse.ArgumentParser(
        prog="vmimages",
        description="Signed virtual machine image lists: verified, cached and judged.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _refresh(commands)
    cache_options.sync(_cache_command(commands, "sync", "make the cache what the lists and the decisions say"))
    cache_options.scrub(_cache_command(commands, "scrub", "read again the cached files that were not read for long"))
    _purge(commands)
    _relay(commands)
    _status(commands)
    _verdict(commands)
    _gate(commands)
    _stop(commands)
    _history(commands)
    _verify(commands)
    _rebaseline(commands)
    _state_command(commands, "events", "tell handlers and endorsers what they have not been told yet")
    _state_command(commands, "audit", "read the whole journal and all archived messages, and tell what is damaged")
    _rebuild(commands)
    _state_command(commands, "export", "write endorsers, subscriptions, decisions and rules as YAML")
    _import(commands)
    return parser.parse_args(arguments)


def _refresh(commands: t.Any) -> None:
    parser = _state_command(commands, "refresh", "ask the servers of the lists, and accept what is new")
    parser.add_argument("lists", metavar="LIST", nargs="*", help="identifier or address of a list (default: all)")
    _add_check(parser)


def _cache_command(commands: t.Any, name: str, text: str) -> argparse.ArgumentParser:
    parser = _state_command(commands, name, text)
    _add_check(parser)
    return parser


def _purge(commands: t.Any) -> None:
    parser = _cache_command(commands, "purge", "delete expired files, and what was made of them")
    parser.add_argument(
        "--older", metavar="AGE", type=duration, required=True, help="those out of use for longer, such as 14d"
    )


def _relay(commands: t.Any) -> None:
    parser = _cache_command(commands, "relay", "sign and publish the site's own list of what may run now")
    parser.add_argument(
        "--config",
        metavar="FILE",
        default=RELAY,
        help="the options of the module imagelist_relay as JSON (default: %(default)s)",
    )


def _status(commands: t.Any) -> None:
    parser = _state_command(commands, "status", "show the lists and the images, with their verdicts")
    parser.epilog = EXIT_CODES + CHECK_CODES
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--html", metavar="FILE", help="write a status page (-: to standard output)")
    group.add_argument("--prometheus", metavar="FILE", help="write metrics for Prometheus (-: to standard output)")
    group.add_argument("--check", action="store_true", help="answer in one line, as Nagios wants it")


def _rebaseline(commands: t.Any) -> None:
    parser = _state_command(
        commands, "rebaseline", "name the content of a list that is accepted next, whatever its version"
    )
    parser.add_argument("list", metavar="LIST", help="identifier or address of the list")
    parser.add_argument(
        "--digest",
        metavar="SHA512",
        required=True,
        help="of the signed content, as the endorser confirms it (`vmimages verify` shows it)",
    )
    parser.add_argument("--reason", metavar="TEXT", required=True, help="why, for those who read the journal")
    _add_check(parser)


def _import(commands: t.Any) -> None:
    parser = _state_command(commands, "import", "say again what an export says; the next refresh fetches the lists")
    parser.add_argument("file", metavar="FILE", help="what `vmimages export` wrote (-: standard input)")
    _add_check(parser)


def _rebuild(commands: t.Any) -> None:
    parser = _state_command(commands, "rebuild", "make the index anew from the journal and the archived messages")
    parser.add_argument(
        "--accept-journal",
        action="store_true",
        help="believe the journal although lines that were known are missing at its end; the journal will tell of it",
    )


def _verdict(commands: t.Any) -> None:
    parser = _state_command(commands, "verdict", "tell whether an image may run now")
    parser.add_argument(
        "name",
        metavar="UUID|TAG|SHA512|PATH",
        help="the image: its UUID, its tag, the SHA-512 of its octets, or a file (a name with a slash)",
    )
    parser.add_argument(
        "--at",
        metavar="TIME",
        help="audit: what the verdict would have been at this time (UTC, such as 2026-01-31T00:00:00Z); the exit code "
        "is never 0",
    )
    parser.add_argument("--tag", action="store_true", help="the name is a tag, whatever it looks like")
    parser.add_argument(
        "--hash",
        action="store_true",
        help="read the file, and judge it by its octets where it is a copy and no file of the cache",
    )
    parser.add_argument("--format", choices=WANTED, help="print the path of the image in this format")
    parser.add_argument(
        "--max-age",
        metavar="AGE",
        type=duration,
        help="refuse verdicts recorded longer ago than this, such as 12h (users who may not open the catalogue are "
        "answered from verdicts.json)",
    )


def _gate(commands: t.Any) -> None:
    parser = _add(commands, "gate", "tell whether a machine may start: all its disks must be of images that may run")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--domain", metavar="FILE", default="-", help="the domain as libvirt's XML (default: -, stdin)")
    what.add_argument(
        "--disk",
        dest="disks",
        metavar="[FORMAT:]PATH",
        action="append",
        default=[],
        help="a disk of a machine that libvirt does not know, raw: or qcow2: (default: raw; may be repeated)",
    )
    parser.add_argument(
        "--iso", dest="isos", metavar="PATH", action="append", default=[], help="with --disk: a read-only ISO"
    )
    parser.add_argument("--uuid", metavar="UUID", help="with --disk: of the machine, for the record of its instance")
    parser.add_argument("--name", metavar="NAME", help="with --disk: of the machine")
    parser.add_argument("--config", metavar="FILE", help="default: /etc/hepix-vmimages/gate.json, if it is there")
    parser.add_argument(
        "--operation", metavar="WORD", default="start", help="what is about to happen, for the log (default: start)"
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing about a machine that may start")


def _stop(commands: t.Any) -> None:
    parser = _add(commands, "stop", "end machines of this host: those that may no longer run, or those of something")
    parser.add_argument("--expired", action="store_true", help="those whose image, or time, is over for good")
    parser.add_argument(
        "--replaced", action="store_true", help="those of a version of an image that another one has replaced"
    )
    for name in ("image", "list"):
        parser.add_argument(
            f"--{name}",
            dest=f"{name}s",
            metavar="UUID",
            action="append",
            default=[],
            help=f"those of this {name}, whatever its verdict (may be repeated)",
        )
    parser.add_argument(
        "--endorser",
        dest="endorsers",
        metavar=("DN", "CA"),
        nargs=2,
        action="append",
        default=[],
        help="those of a list that this endorser has signed (may be repeated)",
    )
    parser.add_argument(
        "--grace",
        metavar="TIME",
        type=duration,
        default=timedelta(hours=1),
        help="how long a machine that was asked to end may take; 0s: none is asked (default: 1h)",
    )
    parser.add_argument("--connect", metavar="URI", default="qemu:///system", help="default: %(default)s")
    parser.add_argument("--config", metavar="FILE", help="of the gate (default: /etc/hepix-vmimages/gate.json)")
    _add_check(parser)


def _history(commands: t.Any) -> None:
    parser = _state_command(commands, "history", "tell what became of a list or of an image")
    parser.add_argument(
        "name", metavar="LIST|IMAGE", help="identifier or address of a list; or an image, as in verdict"
    )
    parser.add_argument(
        "--between", metavar="VERSION", nargs=2, help="tell what changed between these two versions of the list"
    )
    parser.add_argument(
        "--history-dir",
        metavar="PATH",
        help="an endorser's record (history_dir of imagelist_publish) in place of a site",
    )


def _verify(commands: t.Any) -> None:
    parser = _add(commands, "verify", "verify one signed message, without any state")
    parser.add_argument("file", metavar="FILE", help="the signed message")
    parser.add_argument("--identifier", metavar="UUID", help="the list that it must be")
    parser.add_argument(
        "--endorser",
        dest="endorsers",
        metavar=("DN", "CA"),
        nargs=2,
        action="append",
        help="who may have signed it, in slash form (may be repeated; default: anyone with a good certification path)",
    )
    parser.add_argument(
        "--anchors", metavar="PATH", default=DEFAULT_ANCHORS, help="trust anchors (default: %(default)s)"
    )
    for name in ("--crl-mode", "--namespaces-mode"):
        parser.add_argument(name, choices=("require", "if-present"), default="require", help="default: %(default)s")
    parser.add_argument("--allow-sha1", action="store_true", help="accept SHA-1 as the digest of the message")
    parser.add_argument("--allow-host", action="store_true", help="accept a host certificate as the signer")
    parser.add_argument("--explain", action="store_true", help="show the sixteen steps with their outcome")
    parser.add_argument(
        "--when",
        metavar="TIME",
        help="audit: judge as of this time (UTC, such as 2026-01-31T00:00:00Z), with anchors and CRLs of that time; "
        "authorises nothing",
    )


def _state_command(commands: t.Any, name: str, text: str) -> argparse.ArgumentParser:
    parser = _add(commands, name, text)
    parser.add_argument("--state-dir", metavar="PATH", default=STATE_DIR, help="default: %(default)s")
    parser.add_argument("--index", metavar="PATH", help="the SQLite index (default: catalogue.sqlite in the state dir)")
    return parser


def _add(commands: t.Any, name: str, text: str) -> argparse.ArgumentParser:
    parser = t.cast(
        "argparse.ArgumentParser",
        commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        ),
    )
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    return parser


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="only tell what would be done")
