#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vmcatcher_info
short_description: Read the subscriptions in a database of vmcatcher
version_added: 0.1.0
description:
  - Reads the database in which vmcatcher kept a site's subscriptions, the endorsers that the site trusts, and the
    images that it wants. Each subscription is returned as options of M(hepix.vmimages.imagelist_subscribe) and
    M(hepix.vmimages.image_decision).
  - The database is only read. User names and passwords in it are not returned.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.info
  - hepix.vmimages.attributes.actiongroup
options:
  database:
    description:
      - The SQLite file that E(VMCATCHER_RDBMS) names, such as C(/var/lib/vmcatcher/vmcatcher.db).
    type: path
    required: true
seealso:
  - module: hepix.vmimages.imagelist_subscribe
  - module: hepix.vmimages.image_decision
"""

EXAMPLES = r"""
- name: Read what vmcatcher kept
  hepix.vmimages.vmcatcher_info:
    database: /var/lib/vmcatcher/vmcatcher.db
  register: vmcatcher

- name: Keep it as variables of hepix.vmimages.subscribe
  ansible.builtin.copy:
    content: >-
      {{ {'hepix_vmimages_subscriptions': vmcatcher.lists | map(attribute='subscription'),
          'hepix_vmimages_decisions': vmcatcher.lists | map(attribute='decisions') | flatten}
         | hepix.vmimages.to_variables }}
    dest: site.yml
    mode: "0644"
"""

RETURN = r"""
lists:
  description: The subscriptions.
  type: list
  elements: dict
  returned: success
  contains:
    identifier:
      description: The UUID of the list.
      type: str
      sample: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    description:
      description: What the list said of itself when it was subscribed.
      type: str
    version:
      description: The last version that vmcatcher accepted, empty where there was none.
      type: str
      sample: '17'
    subscription:
      description:
        - The subscription as options of M(hepix.vmimages.imagelist_subscribe). A user name and a password in its
          address are left out.
      type: dict
    decisions:
      description:
        - The approval of the wanted images as options of M(hepix.vmimages.image_decision). Images that the last
          accepted version did not hold are not approved.
      type: list
      elements: dict
    endorsers:
      description: Who could sign the list, with the name by which vmcatcher knew them.
      type: list
      elements: dict
      contains:
        name:
          description: The name or UUID of the endorser.
          type: str
        dn:
          description: The name in the certificate of the endorser.
          type: str
          sample: /DC=org/DC=example-grid/CN=Erin Endorser
        ca:
          description: The name of the authority that issued it.
          type: str
    images:
      description: The images that vmcatcher knew from this list.
      type: list
      elements: dict
      contains:
        identifier:
          description: The UUID of the image.
          type: str
        wanted:
          description: Whether it was chosen for the cache.
          type: bool
        listed:
          description: Whether the last accepted version of the list held it. What follows is empty otherwise.
          type: bool
        title:
          description: Its title.
          type: str
        version:
          description: Its version.
          type: str
        size:
          description: Its size in octets.
          type: int
        sha512:
          description: Its SHA-512 digest.
          type: str
        uri:
          description: Its address.
          type: str
    lacks:
      description: What must be said, or decided by a person, before the site can subscribe to the list.
      type: list
      elements: str
      sample: [credentials]
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: option_invalid
remedy:
  description: What to do next.
  type: str
  returned: failure
  sample: Correct the named option.
context:
  description: Further facts about the refusal, such as paths, found and expected values.
  type: dict
  returned: failure
"""

import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.takeover.vmcatcher import read_database

ARGUMENTS = {"database": {"type": "path", "required": True}}


def read(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    """All subscriptions of the database."""
    return {"lists": read_database(Path(module.params["database"]))}


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run(module, read)


if __name__ == "__main__":
    main()
