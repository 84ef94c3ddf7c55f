# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module says about check mode, diff mode and repeated runs."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragments hepix.vmimages.attributes, .attributes.info and .attributes.actiongroup."""

    # A module states the support of each itself.
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: In check mode the module returns what it would do, and changes nothing.
  diff_mode:
    description: In diff mode the module returns what differs between before and after, never a secret.
  idempotent:
    description: Run again with the same options, the module changes nothing.
"""

    # For modules that only read.
    INFO = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - The module only reads, in check mode as well.
  diff_mode:
    support: N/A
    details:
      - The module only reads.
  idempotent:
    support: full
    details:
      - The module only reads.
"""

    ACTIONGROUP = r"""
options: {}
attributes:
  action_group:
    description: Common options can be set once, with C(group/hepix.vmimages.vmimages) in C(module_defaults).
    support: full
    membership:
      - hepix.vmimages.vmimages
"""
