# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that work on a catalogue imports late, imported at once: root does so before it becomes the owner.

Python's files may be readable by root alone: Ansible ships a module as an archive of mode 0600, an environment may lie
in root's home. An import that is put off until it is needed, ours or a library's, would then fail in the middle of the
work. A library that is not installed is left out here; whoever needs it says so.
"""

from __future__ import annotations

import contextlib
import importlib

#: What the standard library and the libraries import in functions of theirs.
_LATE_JUDGING = (
    "_strptime",
    "cryptography.exceptions",
    "cryptography.hazmat.backends.openssl.backend",
    "cryptography.hazmat.primitives.asymmetric.ec",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "cryptography.hazmat.primitives.asymmetric.padding",
    "cryptography.hazmat.primitives.asymmetric.rsa",
    "cryptography.hazmat.primitives.asymmetric.utils",
    "cryptography.hazmat.primitives.hashes",
    "cryptography.hazmat.primitives.serialization.pkcs7",
    "cryptography.x509.oid",
    "cryptography.x509.verification",
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "linecache",
    "sqlite3.dbapi2",
    "stringprep",
    "traceback",
    "unicodedata",
)
_LATE_TRANSFER = (
    "backports.zstd",
    "compression.zstd",
    "concurrent.futures.process",
    "concurrent.futures.thread",
    "ctypes",
    "http.cookies",
    "idna",
    "isal.igzip_lib",
    "netrc",
    "queue",
    "requests.utils",
    "select",
    "selectors",
    "smtplib",
    "ssl",
    "urllib3.connection",
    "urllib3.connectionpool",
    "urllib3.poolmanager",
    "urllib3.response",
    "urllib3.util.ssl_match_hostname",
    "urllib3.util.ssl_",
)


def judging() -> None:
    """What questions to a catalogue need: 0.1 s."""
    from ...endorserlist import check as endorsers_check  # noqa: F401
    from ...endorserlist import reader as endorsers_reader  # noqa: F401
    from ...imagelist import check, difference, reader  # noqa: F401
    from ...transfer import checksum  # noqa: F401
    from ...transfer.access import credentials, mirrors, proxies  # noqa: F401
    from ...trust import anchors, verify  # noqa: F401
    from ...trust.message import smime  # noqa: F401
    from ...trust.naming import names, namespaces  # noqa: F401
    from ...trust.path import building, crl, signer  # noqa: F401
    from .. import matching, queries  # noqa: F401
    from ..endorsers import members, terms  # noqa: F401
    from ..history import images, verdicts  # noqa: F401
    from ..judgement import composition, snapshot  # noqa: F401
    from ..reports import publish  # noqa: F401
    from ..rules import rule  # noqa: F401
    from . import archive  # noqa: F401
    from .replay import events  # noqa: F401

    _import(_LATE_JUDGING)


def everything() -> None:
    """What any work on a catalogue needs, the network's part included: 0.3 s."""
    from ...disks import derive  # noqa: F401
    from ...endorserlist import writer as endorsers_writer  # noqa: F401
    from ...imagelist import writer  # noqa: F401
    from ...transfer import fetch, session  # noqa: F401
    from .. import relay  # noqa: F401
    from ..cache import sync  # noqa: F401
    from ..events import dispatch  # noqa: F401
    from ..lists import rebaseline, refresh, subscribe  # noqa: F401

    judging()
    _import(_LATE_TRANSFER)


def _import(names: tuple[str, ...]) -> None:
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
