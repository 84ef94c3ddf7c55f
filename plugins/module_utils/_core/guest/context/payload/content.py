# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the octets of a file come from: text, base64, a local file, or an https address with its checksum."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import stat
import typing as t
from dataclasses import dataclass, field

from ....errors import ContextError, TransferError
from ....transfer.atomic import storage_errors
from ..lint import Lint

#: The most octets of one disk, and so of one file. What is larger belongs on a server.
LARGEST: t.Final = 64 * 1024 * 1024

#: What no guest may have, unless the site names the directory: OpenNebula's restricted directories and our own state.
RESTRICTED: t.Final = (
    *("/boot", "/dev", "/etc", "/proc", "/root", "/run", "/sys", "/var/lib/one"),
    *("/var/lib/hepix-vmimages", "/var/lib/libvirt", "/var/log", "/var/spool"),
)
KINDS: t.Final = ("src", "content", "content_base64", "url")
_CHECKSUM: t.Final = re.compile(r"(?P<name>sha256|sha384|sha512):(?P<digest>[0-9A-Fa-f]+)")

Fetch = t.Callable[[str], bytes]


@dataclass(frozen=True)
class Sources:
    """How content is got: which directories are safe, how an address is fetched, and what is known by its checksum.

    `fetch` returns the octets of an https address, at most `LARGEST`; `known` maps ``algorithm:digest`` to octets
    that need not be fetched, such as those of the disk that is there.
    """

    lint: Lint
    fetch: Fetch
    safe: tuple[str, ...] = ()
    known: t.Callable[[str, str], t.Optional[bytes]] = field(default=lambda name, digest: None)

    def read(self, item: t.Mapping[str, t.Any], where: str) -> bytes:
        """The octets of an item with exactly one of src, content, content_base64 and url.

        Raises `ContextError` (``option_invalid``, ``content_too_large``) and `TransferError`.
        """
        given = [kind for kind in KINDS if item.get(kind) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none"
            raise ContextError(
                "option_invalid", f"{where}: exactly one of {', '.join(KINDS)} is needed, found: {found}"
            )
        if item.get("checksum") is not None and given != ["url"]:
            raise ContextError("option_invalid", f"{where}: a checksum belongs to an url")
        if given == ["src"]:
            return self.read_file(str(item["src"]), where)
        if given == ["url"]:
            return self._read_url(str(item["url"]), item.get("checksum"), where)
        if given == ["content"]:
            return _capped(str(item["content"]).encode("utf-8", "surrogateescape"), where)
        return _capped(_from_base64(str(item["content_base64"]), where), where)

    def read_file(self, path: str, where: str) -> bytes:
        """The octets of a local file; from a restricted directory it is a breach ``source_restricted``."""
        with storage_errors(path, reading=True):
            real = os.path.realpath(path)
            fd = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            with storage_errors(path, reading=True):
                status = os.fstat(fd)
                if not stat.S_ISREG(status.st_mode):
                    raise TransferError("not_readable", f"{path} is not a regular file", path=path)
                if status.st_size > LARGEST:
                    raise _too_large(where, status.st_size)
                self._check_place(real, where)
                with os.fdopen(os.dup(fd), "rb") as file:
                    return _capped(file.read(LARGEST + 1), where)
        finally:
            os.close(fd)

    def _check_place(self, real: str, where: str) -> None:
        if any(_is_below(real, os.path.realpath(place)) for place in self.safe):
            return
        for place in RESTRICTED:
            if _is_below(real, place):
                self.lint.breach("source_restricted", where, f"{real} lies in {place}, whose files no guest gets")

    def _read_url(self, url: str, checksum: t.Any, where: str) -> bytes:
        stated = _CHECKSUM.fullmatch(str(checksum or ""))
        length = 0 if stated is None else hashlib.new(stated["name"]).digest_size * 2
        if stated is None or len(stated["digest"]) != length:
            raise ContextError(
                "option_invalid", f"{where}: an url needs its checksum, such as sha512: and the 128 hexadecimal digits"
            )
        if not url.startswith("https://"):
            raise ContextError("option_invalid", f"{where}: the url is not an https address")
        name, digest = stated["name"], stated["digest"].lower()
        octets = self.known(name, digest)
        if octets is None:
            octets = self.fetch(url)
        found = hashlib.new(name, octets).hexdigest()
        if not hmac.compare_digest(found, digest):
            raise TransferError(
                "checksum_mismatch",
                f"{where}: the file has {name} {found[:16]}..., and {digest[:16]}... is expected",
                algorithm=name,
                found=found,
                expected=digest,
            )
        return _capped(octets, where)


def _is_below(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")


def _capped(octets: bytes, where: str) -> bytes:
    if len(octets) > LARGEST:
        raise _too_large(where, len(octets))
    return octets


def _too_large(where: str, size: int) -> ContextError:
    return ContextError("content_too_large", f"{where}: {size} octets, and {LARGEST} are the most")


def _from_base64(text: str, where: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ContextError("option_invalid", f"{where}.content_base64 is not base64") from None


def fetcher(ca_path: t.Optional[str]) -> Fetch:
    """What fetches an address with these certification authorities, the system's where it is None.

    The administrator named the address, so its host may be a private one. Raises `TransferError`.
    """

    def fetch(url: str) -> bytes:
        # Imported late: a disk without addresses needs neither requests nor its start-up time.
        from ....transfer.fetch import fetch_message
        from ....transfer.policy import Policy

        policy = Policy(ca_path=ca_path).trusting(url)
        return fetch_message(url, cap=LARGEST, policy=policy).octets

    return fetch
