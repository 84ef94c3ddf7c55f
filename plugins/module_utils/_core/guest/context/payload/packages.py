# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages a site may add to an image: its batch client, and none of what the endorser stands for (X11).

A package is known by its file's name and by the name that it states itself, in the lead of an rpm and in the control
file of a deb. What it does when it is installed, nobody can tell from that.
"""

from __future__ import annotations

import io
import re
import tarfile
import typing as t

from ....errors import ContextError
from ..lint import Lint

#: Packages that hold what sites do not change, by name.
PROTECTED_PACKAGES: t.Final = re.compile(
    r"(?:kernel|linux-(?:image|modules|headers|libc-dev)|glibc|libc6|libc-bin|libc-dev|musl|gcc|g\+\+|cpp|clang|binutils"
    r"|libgcc|libstdc\+\+)(?:[-+0-9.:].*)?"
    r"|perl|perl-(?:base|libs|modules.*|interpreter|core)|libperl[0-9].*"
    r"|python|python[0-9.]+|python[0-9.]*-(?:libs|minimal|base|unversioned-command)|libpython.*"
    r"|vmcontext|hepix-vmcontext"
)
#: An rpm is called name-version-release.arch, a deb name_version_arch.
_RPM: t.Final = re.compile(r"(?P<name>.+)-[^-]+-[^-]+\.[^.-]+\.rpm")
_DEB: t.Final = re.compile(r"(?P<name>[^_]+)_[^_]+_[^_]+\.deb")

_AR_HEADER: t.Final = 60
_CONTROL: t.Final = re.compile(rb"^Package:[ \t]*([^\s]+)", re.MULTILINE)


def check_package(file_name: str, octets: bytes, where: str, lint: Lint) -> None:
    """Check that a package is one, and none of the protected ones. Raises `ContextError` ``option_invalid``."""
    rpm, deb = _RPM.fullmatch(file_name), _DEB.fullmatch(file_name)
    if rpm and octets.startswith(b"\xed\xab\xee\xdb"):
        # The lead names the package as name-version-release, whatever the file is called.
        lead = octets[10:76].split(b"\0")[0].decode("ascii", "replace")
        names = {rpm["name"], lead.rsplit("-", 2)[0]}
    elif deb and octets.startswith(b"!<arch>\ndebian-binary"):
        names = {deb["name"], _stated_by_deb(octets) or deb["name"]}
    else:
        raise ContextError(
            "option_invalid",
            f"{where}: {file_name} is neither an rpm nor a deb under its usual name, such as a_1.0_all.deb",
        )
    for name in sorted(names):
        if PROTECTED_PACKAGES.fullmatch(name):
            lint.breach("package_refused", where, f"the package {name} is protected")


def _stated_by_deb(octets: bytes) -> t.Optional[str]:
    """The name in the control file; None where it cannot be read, as when zstd compressed it."""
    position = 8
    while position + _AR_HEADER <= len(octets):
        header = octets[position : position + _AR_HEADER]
        name, size = header[:16].decode("ascii", "replace").strip(" /"), header[48:58].strip()
        if not size.isdigit():
            return None
        begin = position + _AR_HEADER
        if name.startswith("control.tar"):
            return _stated_by_control(octets[begin : begin + int(size)])
        position = begin + int(size) + int(size) % 2
    return None


def _stated_by_control(archive: bytes) -> t.Optional[str]:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:*") as tar:
            for member in tar:
                file = tar.extractfile(member) if member.name.rsplit("/", 1)[-1] == "control" else None
                if file is not None:
                    found = _CONTROL.search(file.read(64 * 1024))
                    return None if found is None else found.group(1).decode("ascii", "replace")
    except (tarfile.TarError, OSError, EOFError, ValueError):
        return None
    return None
