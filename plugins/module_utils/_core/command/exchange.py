# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages export`` and ``vmimages import``: what people have said about a site, as YAML."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

from ..errors import SiteError
from ..transfer.atomic import storage_errors
from .line.catalogue import open_catalogue
from .line.output import emit, emit_json, emit_warnings, table

if t.TYPE_CHECKING:
    import argparse

_LARGEST: t.Final = 64 * 1024 * 1024


def export(options: argparse.Namespace) -> int:
    """0; the document goes to standard output."""
    from ..site.exchange import export as exported

    with open_catalogue(options) as catalogue:
        document = exported(catalogue)
    if options.json:
        emit_json(document)
        return 0
    sys.stdout.write(_yaml().safe_dump(document, sort_keys=False, allow_unicode=True, width=120))
    return 0


def restore(options: argparse.Namespace) -> int:
    """0 when the site is as the document says, or, with ``--check``, could be made so."""
    from ..site.exchange import restore as restored

    document = _read(options.file)
    with open_catalogue(options, create=True, dry=options.check) as catalogue:
        outcome = restored(catalogue, document, check=options.check)
    if options.json:
        emit_json({"changed": outcome.changed, "actions": outcome.actions})
        return 0
    emit_warnings(outcome.warnings)
    rows = [(action["what"], action["name"]) for action in outcome.actions]
    emit(*(table(("IMPORTED" if not options.check else "WOULD BE IMPORTED", "NAME"), rows) or ["Nothing is new."]))
    return 0


def _read(name: str) -> t.Any:
    if name == "-":
        octets = sys.stdin.buffer.read(_LARGEST + 1)
    else:
        with storage_errors(name, reading=True), Path(name).open("rb") as stream:
            octets = stream.read(_LARGEST + 1)
    if len(octets) > _LARGEST:
        raise SiteError("import_invalid", f"{name} has more than {_LARGEST} octets.", place=name)
    yaml = _yaml()
    try:
        return yaml.safe_load(octets)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise SiteError("import_invalid", f"{name} is not YAML{where}.", place=name) from error


def _yaml() -> t.Any:
    """The library that Ansible itself reads YAML with; asked for only here."""
    try:
        import yaml
    except ImportError as error:
        detail = f"The interpreter {sys.executable} has no Python library PyYAML."
        raise SiteError("library_missing", detail) from error
    return yaml
