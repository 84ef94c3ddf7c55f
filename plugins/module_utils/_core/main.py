# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The `vmimages` command: what a host does by itself, with the same core as the Ansible modules.

``vmimages refresh [LIST ...]``   ask the servers of the subscribed lists, and accept what is new
``vmimages sync``                 make the cache what lists and decisions say
``vmimages scrub``                read again the cached files that have not been read for long
``vmimages purge``                delete what has been out of use for long
``vmimages relay``                sign and publish the site's own list of what may run now
``vmimages status``               the lists and the images, with their verdicts
``vmimages verdict UUID|TAG|...`` may this image run now; prints its path if it may; with ``--at``, might it have run
``vmimages gate``                 may this machine start: libvirt's XML on standard input, or ``--disk PATH``
``vmimages stop``                 end the machines that may no longer run, or those of an image, a list, an endorser
``vmimages history LIST|IMAGE``   who signed it when, what was decided, what changed between two versions
``vmimages verify FILE``          verify one signed message, without any state
``vmimages rebaseline LIST``      name the content of a list that is accepted next, whatever its version
``vmimages events``               tell handlers and endorsers what they have not been told yet
``vmimages audit``                read the whole journal and all archived messages, and tell what is damaged
``vmimages rebuild``              make the index anew from the journal and the archived messages
``vmimages export``, ``import``   what people have said about the site, as YAML

Exit codes: 0 done, or allowed; 1 refused, or not allowed, and always for an audit; 2 wrong usage; 3 some lists, images
or handlers failed, the others are done; 4 an internal error. With ``--json`` the answer, or ``{"error": ...}``, is one
JSON document on standard output.
"""

from __future__ import annotations

import importlib
import os
import sys
import typing as t

from .command.line import logs
from .command.line.output import emit_defect, emit_error
from .command.line.parser import parse
from .errors import VmimagesError

if t.TYPE_CHECKING:
    import argparse

OK: t.Final = 0
REFUSED: t.Final = 1
INTERNAL: t.Final = 4
INTERRUPTED: t.Final = 130

#: The module and the function of a command, where they do not have its name.
_PLACES: t.Final = {
    "import": ("exchange", "restore"),
    "export": ("exchange", "export"),
    "sync": ("cache", "sync"),
    "scrub": ("cache", "scrub"),
    "purge": ("cache", "purge"),
    "relay": ("relay", "command"),
    "refresh": ("site", "refresh"),
    "status": ("site", "status"),
    "rebaseline": ("site", "rebaseline"),
    "audit": ("site", "audit"),
    "rebuild": ("site", "rebuild"),
}


def main(arguments: t.Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code. Wrong usage ends in SystemExit 2, as argparse does it."""
    options = parse(arguments)
    try:
        logs.begin(options)
        code = _command(options.command)(options)
        sys.stdout.flush()
        return code
    except VmimagesError as error:
        emit_error(error, as_json=options.json)
        return REFUSED
    except BrokenPipeError:
        # The reader has gone (`vmimages status | head`); what Python flushes at its end must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        emit_defect(error, as_json=options.json)
        return INTERNAL


def _command(name: str) -> t.Callable[[argparse.Namespace], int]:
    """The command's function; only what it needs is imported, since a gate pays for every import."""
    place, function = _PLACES.get(name, (name, name))
    module = importlib.import_module(f".command.{place}", __package__)
    found: t.Callable[[argparse.Namespace], int] = getattr(module, function)
    return found


if __name__ == "__main__":
    raise SystemExit(main())
