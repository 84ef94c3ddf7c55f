# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every package of a tree: all databases that it has, none of them empty."""

from __future__ import annotations

from ...errors import GuestError
from ..root.tree import Root
from .dpkg import read_dpkg
from .model import Database
from .rpm import read_rpm


def read_databases(root: Root) -> tuple[Database, ...]:
    """The databases of the tree that hold packages.

    A system with dpkg that also has the tool rpm may hold an empty database of rpm: it says nothing. Raises
    `GuestError`: packages_missing (no database, or none that holds a package), packages_malformed, guest_*.
    """
    found = [*read_dpkg(root), *read_rpm(root)]
    full = tuple(database for database in found if database.packages)
    if not full:
        where = ", ".join(database.path for database in found)
        what = f"The package database {where} is empty" if where else "The tree has no package database"
        raise GuestError("packages_missing", what, path=root.path)
    return full
