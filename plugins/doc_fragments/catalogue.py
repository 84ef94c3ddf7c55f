# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a site keeps its state: mirrored by CATALOGUE in module_utils/_ansible/arguments.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Fragment hepix.vmimages.catalogue."""

    DOCUMENTATION = r"""
options:
  state_dir:
    description:
      - The directory of the site's subscriptions, accepted messages, decisions and cached images.
      - Whoever owns it is the service's user. A module that runs as root works as that user; any other user is refused.
    type: path
    default: /var/lib/hepix-vmimages
  index:
    description:
      - The SQLite file that answers queries. It is derived from O(state_dir) and is rebuilt when it is lost.
      - It must be on a local file system, also where O(state_dir) is shared between machines.
      - Defaults to C(catalogue.sqlite) in O(state_dir).
    type: path
"""
