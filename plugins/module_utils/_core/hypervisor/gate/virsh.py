# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The few words with libvirt that ending a machine takes, through its own command: a host needs no binding for it."""

from __future__ import annotations

import re
import shutil
import subprocess
import typing as t
from dataclasses import dataclass

from ...errors import HypervisorError

_PATH: t.Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_UUID: t.Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SECONDS: t.Final = 60


@dataclass(frozen=True)
class Virsh:
    """libvirt at one address, such as ``qemu:///system``."""

    uri: str

    def running(self) -> list[str]:
        """The UUIDs of all machines that run, or are paused.

        Raises `HypervisorError`: ``hypervisor_unreachable hypervisor_refused tool_missing``.
        """
        return [line.strip() for line in self._call("list", "--uuid").splitlines() if _UUID.fullmatch(line.strip())]

    def xml(self, uuid: str) -> str:
        """The machine as it runs."""
        return self._call("dumpxml", uuid)

    def shutdown(self, uuid: str) -> None:
        """Ask the guest to end."""
        self._call("shutdown", uuid)

    def destroy(self, uuid: str) -> None:
        """End it at once."""
        self._call("destroy", uuid)

    def _call(self, *arguments: str) -> str:
        program = shutil.which("virsh", path=_PATH)
        if program is None:
            raise HypervisorError("tool_missing", "There is no program virsh on this host.")
        try:
            done = subprocess.run(
                [program, "--quiet", "--connect", self.uri, *arguments],
                check=False,
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=_SECONDS,
                env={"PATH": _PATH, "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired as error:
            raise HypervisorError(
                "hypervisor_unreachable", f"virsh {arguments[0]} has not ended in {_SECONDS} s"
            ) from error
        if done.returncode != 0:
            said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
            code = "hypervisor_unreachable" if arguments[0] == "list" else "hypervisor_refused"
            raise HypervisorError(code, f"virsh {arguments[0]} at {self.uri}: {said}")
        return done.stdout
