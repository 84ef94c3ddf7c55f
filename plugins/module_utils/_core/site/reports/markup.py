# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTML that is escaped by construction: text becomes markup only through `element`."""

from __future__ import annotations

import html
import typing as t


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = t.Union[str, Markup, None, t.Iterable[t.Union[str, Markup, None]]]


def element(name: str, *children: Child, **attributes: str | bool | None) -> Markup:
    """One element; children that are no `Markup` are escaped, None and attributes of None or False are left out.

    A trailing underscore in an attribute's name is dropped, any other becomes a hyphen: ``class_``, ``data_label``.
    """
    given = "".join(
        f" {_name(key)}" if value is True else f' {_name(key)}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Markup(f"<{name}{given}>{join(children)}</{name}>")


def join(children: t.Iterable[Child]) -> Markup:
    """The children one after the other."""
    return Markup("".join(_rendered(child) for child in children))


def _rendered(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return child
    return html.escape(child) if isinstance(child, str) else join(child)


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
