#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vmcaster_info
short_description: Read the image lists in a database of vmcaster
version_added: 0.1.0
description:
  - Reads the database in which vmcaster kept image lists, images and endorsers, and returns each list as options of
    M(hepix.vmimages.imagelist_publish).
  - The database is only read. Once the description is kept as variables, it is needed no more.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.info
  - hepix.vmimages.attributes.actiongroup
options:
  database:
    description:
      - The SQLite file, which vmcaster calls C(vmcaster.db) where E(VMCASTER_RDBMS) says nothing else.
    type: path
    required: true
seealso:
  - module: hepix.vmimages.imagelist_publish
  - module: hepix.vmimages.imagelist_info
"""

EXAMPLES = r"""
- name: Read what vmcaster kept
  hepix.vmimages.vmcaster_info:
    database: /home/endorser/vmcaster.db
  register: vmcaster

- name: Keep every list as variables
  ansible.builtin.copy:
    content: "{{ {'hepix_vmimages_publish': item.publication} | hepix.vmimages.to_variables }}"
    dest: "lists/{{ item.identifier }}.yml"
    mode: "0644"
  loop: "{{ vmcaster.lists }}"
"""

RETURN = r"""
lists:
  description: The lists.
  type: list
  elements: dict
  returned: success
  contains:
    identifier:
      description: The UUID of the list.
      type: str
      sample: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    version:
      description: The last version that vmcaster knew. Sites refuse a lower one.
      type: str
      sample: '17'
    publication:
      description: The list as options of M(hepix.vmimages.imagelist_publish).
      type: dict
    endorsers:
      description: Who endorsed the list.
      type: list
      elements: dict
      contains:
        subject:
          description: The name of the endorser in the slash form.
          type: str
          sample: /DC=org/DC=example-grid/CN=Erin Endorser
        metadata:
          description: What vmcaster knew about the endorser, by the keys of image lists.
          type: dict
    lacks:
      description: What must be said before the list can be published.
      type: list
      elements: str
      sample: [hv:uri of the image 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1]
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: publish_invalid
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
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.declared.vmcaster_database import (
    read_database,
)

ARGUMENTS = {"database": {"type": "path", "required": True}}


def read(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    """All lists of the database."""
    return {"lists": read_database(Path(module.params["database"]))}


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run(module, read)


if __name__ == "__main__":
    main()
