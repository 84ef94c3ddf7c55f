#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: context_iso_info
short_description: Tell what is on a context disk, and which readers would accept it
version_added: 0.1.0
description:
  - Reads ISO images with the context of virtual machines, of whatever maker. It reads those of
    M(hepix.vmimages.context_iso), of OpenNebula, and those made with genisoimage or xorriso.
  - For each known reader it tells in a sentence whether it would accept the disk.
  - The values of secrets are not told. On disks of M(hepix.vmimages.context_iso) the disk says what is a secret; on
    others it is guessed from the names of variables and from private keys in files.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.info
  - hepix.vmimages.attributes.actiongroup
  - hepix.vmimages.dependencies.iso
options:
  paths:
    description:
      - The images, as files or devices.
    type: list
    elements: path
    required: true
seealso:
  - module: hepix.vmimages.context_iso
"""

EXAMPLES = r"""
- name: Look at a context disk
  hepix.vmimages.context_iso_info:
    paths:
      - /var/lib/one/datastores/0/42/disk.1
  register: context

- name: Stop unless cloud-init would read it
  ansible.builtin.assert:
    that: context.isos[0].readers.cloud_init_opennebula.accepts
    fail_msg: "{{ context.isos[0].readers.cloud_init_opennebula.why }}"
"""

RETURN = r"""
isos:
  description: The disks, in the order of the option.
  type: list
  elements: dict
  returned: success
  contains:
    path:
      description: The path of the image.
      type: str
      sample: /var/lib/hepix-context/wn001.iso
    sha512:
      description: The digest of the image.
      type: str
    size:
      description: The octets of the image.
      type: int
      sample: 75776
    label:
      description: The label of the volume.
      type: str
      sample: CONTEXT
    names:
      description: Whose file names are told, C(rock_ridge), C(joliet) or C(iso9660), in the order in which Linux
        prefers them.
      type: str
      sample: rock_ridge
    joliet:
      description: Whether there are Joliet names.
      type: bool
    files:
      description: The files on the disk.
      type: list
      elements: dict
      contains:
        path:
          description: The path on the disk.
          type: str
          sample: prolog.sh
        size:
          description: The octets of the file.
          type: int
          sample: 120
        mode:
          description: The mode on the disk.
          type: str
          sample: '0500'
        secret:
          description: Whether it is, or holds, a secret.
          type: bool
        sha256:
          description: The digest of the file, V(null) for a secret.
          type: str
    variables:
      description:
        - The variables that C(context.sh) assigns. The value of a secret is V(null).
        - It is empty where C(context.sh) does more than assigning; nothing of it is executed to find out.
      type: dict
      sample: {"AFS": "off", "BATCH_TOKEN": null}
    readers:
      description:
        - For each known reader whether it accepts the disk, as C(accepts), and in a sentence C(why).
      type: dict
      sample: {"one_context": {"accepts": true, "why": "It sources context.sh."}}
    found_as:
      description:
        - For the usual ways to attach the disk, the device at which the book's own scripts find it, and V(null) where
          they do not. Other readers find it everywhere.
      type: dict
      sample: {"kvm_virtio_disk": "/dev/vdb", "kvm_cdrom": null}
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: context_unreadable
remedy:
  description: What to do next.
  type: str
  returned: failure
  sample: Check that the file is a whole ISO 9660 image.
context:
  description: Further facts about the refusal.
  type: dict
  returned: failure
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.arguments import ArgumentSpec
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import PYCDLIB
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context.disks import look_at

ARGUMENTS: ArgumentSpec = {"paths": {"type": "list", "elements": "path", "required": True}}


def look(module: AnsibleModule) -> dict[str, t.Any]:
    """Read every disk."""
    return {"isos": [look_at(path) for path in module.params["paths"]]}


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
    )
    run(module, look, needs=[PYCDLIB])


if __name__ == "__main__":
    main()
