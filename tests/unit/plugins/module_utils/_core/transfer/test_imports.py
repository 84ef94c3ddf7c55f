# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The package can be imported, and complains in a sentence, where its libraries are missing."""

from __future__ import annotations

import os
import subprocess
import sys

ROOT = "ansible_collections.hepix.vmimages.plugins.module_utils._core"

PROGRAM = f"""
import importlib, pkgutil, sys

class Missing:
    def find_spec(self, name, *_rest):
        if name.split(".")[0] in ("requests", "urllib3", "cryptography"):
            raise ImportError(name)

sys.meta_path.insert(0, Missing())
package = importlib.import_module("{ROOT}.transfer")
for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(found.name)
fetch = importlib.import_module("{ROOT}.transfer.fetch")
policy = importlib.import_module("{ROOT}.transfer.policy")
errors = importlib.import_module("{ROOT}.errors")
try:
    fetch.fetch_message("http://127.0.0.1:9/", cap=1, policy=policy.Policy())
except errors.TransferError as error:
    print(error.code, error.detail)
"""


def test_without_the_libraries_everything_imports_and_a_fetch_says_what_is_missing() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for name in list(environment):
        if name.lower().endswith("_proxy"):
            del environment[name]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.startswith("library_missing ")
    assert "urllib3" in done.stdout
    assert sys.executable in done.stdout
