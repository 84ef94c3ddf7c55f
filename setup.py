# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command's package `vmimages` is the collection's plugins/module_utils/_core under another name."""

from __future__ import annotations

from setuptools import find_packages, setup

CORE = "plugins/module_utils/_core"

setup(packages=["vmimages", *(f"vmimages.{name}" for name in find_packages(CORE))], package_dir={"vmimages": CORE})
