# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The strategy of variables: ``context.sh``, which every shell can source and which executes nothing.

A value stands in single quotes; a quote in it is written as ``'\\''`` (build-and-context.md 4.1, OpenNebula's form).
"""

from __future__ import annotations

import re
import typing as t

from ....errors import ContextError
from ..lint import Lint

NAME: t.Final = re.compile(r"[A-Z_][A-Z0-9_]*")
HEADER: t.Final = "# Context variables, made by hepix.vmimages. Source this file; it only assigns.\n"

#: Names that steer shells, loaders and interpreters: assigning one breaks the boot, or executes something.
_FORBIDDEN: t.Final = frozenset(
    {
        *("PATH", "IFS", "ENV", "HOME", "SHELL", "USER", "LOGNAME", "UID", "EUID", "GID", "PPID", "PWD", "OLDPWD"),
        *("SHELLOPTS", "GLOBIGNORE", "CDPATH", "PROMPT_COMMAND", "FPATH", "FCEDIT", "MAILPATH", "TMPDIR", "TMOUT"),
        *("OPTIND", "OPTARG", "OPTERR", "POSIXLY_CORRECT", "NLSPATH", "LOCPATH", "GCONV_PATH", "HOSTALIASES"),
        *("RESOLV_HOST_CONF", "EDITOR", "VISUAL", "PAGER", "SHLVL", "RANDOM", "LINENO", "SECONDS", "CONTEXT_DIR"),
    }
)
_FORBIDDEN_FORMS: t.Final = re.compile(r"(?:LD_|DYLD_|BASH|PERL|PYTHON|RUBY|MALLOC_).*|PS[0-9]")
_ASSIGNMENT: t.Final = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=", re.MULTILINE)


def forbidden(name: str) -> bool:
    """Whether a variable of this name would change what shells, loaders or interpreters do."""
    return name in _FORBIDDEN or _FORBIDDEN_FORMS.fullmatch(name) is not None


def read_variables(given: t.Mapping[str, t.Any], where: str, lint: Lint) -> dict[str, str]:
    """The variables under their upper-case names, with their values as text.

    A boolean is refused, because YAML makes one of ``off`` and ``no``, which the reader would not see again. Raises
    `ContextError` ``variable_invalid``; a forbidden name is a breach ``variable_forbidden``.
    """
    variables: dict[str, str] = {}
    for key in sorted(given, key=str):
        place = f"{where}.{key}"
        name = variable_name(key, place)
        if name in variables:
            raise ContextError("variable_invalid", f"{place}: there is another variable {name}, names are upper-cased")
        if forbidden(name):
            lint.breach("variable_forbidden", place, f"the variable {name} must not be set")
        variables[name] = variable_value(given[key], place)
    return variables


def variable_name(key: t.Any, where: str) -> str:
    """The upper-case name. Raises `ContextError` ``variable_invalid``."""
    name = str(key).upper()
    if not NAME.fullmatch(name) or not str(key).isascii():
        raise ContextError("variable_invalid", f"{where}: {str(key)[:60]!r} is not a name")
    return name


def variable_value(value: t.Any, where: str) -> str:
    """The value as text. Raises `ContextError` ``variable_invalid``."""
    if isinstance(value, bool):
        raise ContextError(
            "variable_invalid", f"{where}: the value is a boolean; quote it, YAML reads yes, no and off so"
        )
    if isinstance(value, (int, float)):
        return str(value)
    if not isinstance(value, str):
        raise ContextError("variable_invalid", f"{where}: the value is neither a text nor a number")
    if "\0" in value:
        raise ContextError("variable_invalid", f"{where}: the value holds a NUL, which no shell can")
    if not value.isprintable() and any("\ud800" <= character <= "\udfff" for character in value):
        raise ContextError("variable_invalid", f"{where}: the value is not Unicode")
    return value


def quoted(value: str) -> str:
    """The value as one word of a POSIX shell, in which nothing is expanded."""
    return "'" + value.replace("'", "'\\''") + "'"


def write_context(variables: t.Mapping[str, str]) -> bytes:
    """The octets of ``context.sh``."""
    lines = [f"{name}={quoted(variables[name])}\n" for name in sorted(variables)]
    return (HEADER + "".join(lines)).encode()


def read_context(octets: bytes) -> dict[str, str] | None:
    """The variables that a ``context.sh`` assigns, or None where it does more than assigning (or cannot be read).

    Words in single or double quotes and bare words are understood; whatever a shell would expand or execute is not.
    """
    text = octets.decode("utf-8", "replace").replace("\r\n", "\n")
    variables: dict[str, str] = {}
    position = 0
    while position < len(text):
        if text[position] in " \t\n;":
            position += 1
        elif text[position] == "#":
            position = _line_end(text, position)
        else:
            found = _ASSIGNMENT.match(text, position)
            word = None if found is None else _word(text, found.end())
            if found is None or word is None:
                return None
            variables[found.group(1)], position = word
    return variables


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _word(text: str, position: int) -> tuple[str, int] | None:
    """The word that begins here and the position after it, None if a shell would expand something in it."""
    value: list[str] = []
    while position < len(text) and text[position] not in " \t\n;":
        character = text[position]
        if character == "'":
            end = text.find("'", position + 1)
            if end < 0:
                return None
            value.append(text[position + 1 : end])
            position = end + 1
        elif character == '"':
            inner = _double_quoted(text, position + 1)
            if inner is None:
                return None
            value.append(inner[0])
            position = inner[1]
        elif character == "\\" and position + 1 < len(text):
            value.append(text[position + 1])
            position += 2
        elif character in "$`&|<>()":
            return None
        else:
            value.append(character)
            position += 1
    return "".join(value), position


def _double_quoted(text: str, position: int) -> tuple[str, int] | None:
    value: list[str] = []
    while position < len(text):
        character = text[position]
        if character == '"':
            return "".join(value), position + 1
        if character in "$`":
            return None
        if character == "\\" and text[position + 1 : position + 2] in ("$", "`", '"', "\\"):
            position += 1
            character = text[position]
        value.append(character)
        position += 1
    return None
