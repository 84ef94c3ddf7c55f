# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each run of Ansible packs each of its modules anew; the runs of the tests find what the ones before have packed.

To pack one of our modules takes as much time as to run it. Where Ansible keeps what it has packed is its own affair: if
it keeps it elsewhere one day, the tests are only slower.
"""

from __future__ import annotations

import os
from pathlib import Path

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: packed
type: aggregate
short_description: Share packed modules between runs
description: Lets the runs of the tests share the modules that Ansible has packed.
"""


class CallbackModule(CallbackBase):
    """Does its work when it is loaded."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "packed"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        shared = Path(os.environ.get("VMIMAGES_TEST_PACKED", ""))
        own = Path(vars(constants)["DEFAULT_LOCAL_TMP"]) / "ansiballz_cache"
        if shared.is_absolute() and shared.is_dir() and not own.exists():
            own.symlink_to(shared)
