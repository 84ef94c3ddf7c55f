# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The libraries that modules need on their host: mirrored by module_utils/_ansible/dependencies.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments hepix.vmimages.dependencies, .dependencies.transfer, .dependencies.iso and .dependencies.libvirt."""

    DOCUMENTATION = r"""
options: {}
requirements:
  - python >= 3.9
  - cryptography >= 49, < 52
notes:
  - The libraries are needed by the interpreter that runs the module. When they are missing there, the module looks for
    them in the interpreter that the environment variable E(HEPIX_VMIMAGES_PYTHON) names, in the collection's
    environment C(/opt/hepix-vmimages) and in the system's Python, and runs there; else it fails with a sentence that
    says what is missing and how to get it.
"""

    # For modules that also fetch over HTTP.
    TRANSFER = r"""
options: {}
requirements:
  - requests >= 2.28
  - urllib3 >= 2
"""

    # For modules that read or write context disks, and need nothing else.
    ISO = r"""
options: {}
requirements:
  - python >= 3.9
  - pycdlib >= 1.14
"""

    # For modules that speak with a hypervisor.
    LIBVIRT = r"""
options: {}
requirements:
  - python >= 3.9
  - libvirt-python >= 5.0, the system's package C(python3-libvirt)
notes:
  - The binding is for the system's own Python, C(/usr/bin/python3), which is found and used in place of an interpreter
    that lacks it. An environment that is to have it as well is made with C(python3 -m venv --system-site-packages).
"""
