# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `vmimages` as it is in the collection under test, for benchmarks to start."""

from __future__ import annotations

import sys

from ansible_collections.hepix.vmimages.plugins.module_utils._core.main import main

if __name__ == "__main__":
    sys.exit(main())
