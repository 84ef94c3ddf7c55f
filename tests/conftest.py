# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a plain checkout, of any directory name, importable as ansible_collections.hepix.vmimages."""

from __future__ import annotations

import atexit
import importlib.util
import pathlib
import shutil
import sys
import tempfile

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent


def _importable() -> bool:
    try:
        return importlib.util.find_spec("ansible_collections.hepix.vmimages") is not None
    except ImportError:
        return False


if not _importable():
    _tree = pathlib.Path(tempfile.mkdtemp(prefix="vmimages-collections-"))
    atexit.register(shutil.rmtree, _tree, ignore_errors=True)
    (_tree / "ansible_collections" / "hepix").mkdir(parents=True)
    (_tree / "ansible_collections" / "hepix" / "vmimages").symlink_to(CHECKOUT)
    sys.path.insert(0, str(_tree))
