#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_mount
short_description: Mount the file systems of a virtual machine image under a directory
version_added: 0.1.0
description:
  - Mounts all that a system needs of a raw disk image under one directory, as the C(/etc/fstab) of the image lays it
    out, or takes it down again.
  - Read-only is the default, and leaves no trace in the image - no journal is replayed, so that its checksum stays.
  - Each file system is mounted through a loop device of its own, which vanishes with the mount. No partition has to be
    announced to the kernel. Whatever fails, nothing stays mounted.
  - The image is not trusted. Its links and mount points lead nowhere but into itself, and its devices and set-user-id
    programs have no effect. To mount a file system that was made to harm remains a risk of the kernel, which only a
    virtual machine contains.
  - The directory of an unpacked system can be mounted as well, read-only or writable.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details:
      - What the image holds is only seen when it is mounted. Check mode reads its partition table and file systems, and
        returns no RV(mounts) for an image that is not mounted.
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - What is mounted is asked of the kernel. What is incomplete, or has another mode, is mounted anew.
requirements:
  - root
  - C(mount) and C(umount) of util-linux
options:
  image:
    description:
      - The disk image, or the directory of an unpacked system.
      - Required if O(state=present).
    type: path
  path:
    description:
      - The directory to mount at. It is made if it is missing, and has to be empty.
    type: path
    required: true
  format:
    description:
      - The format of the image, which is never guessed from what it holds.
      - What is not V(raw) is read through a raw copy in O(scratch_dir), which C(qemu-img) makes and which goes with the
        mount. It cannot be mounted for writing. An image that names other files that it is made of is refused.
    type: str
    choices: [raw, qcow2, vmdk, vdi, vhd]
    default: raw
  scratch_dir:
    description:
      - The directory for the raw copy of an image in another format, with room for all that the image holds.
    type: path
    default: /var/tmp
  writable:
    description:
      - Whether the image may be changed. Nothing else may use it then.
    type: bool
    default: false
  state:
    description:
      - V(present) mounts the image.
      - V(absent) takes down the image at O(path), whoever left it there, with all that is mounted in it, and removes
        the directory if it is empty then. What is no image is left alone, and refused.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - ref: ansible_collections.hepix.vmimages.docsite.images
    description: What the collection does with images.
"""

EXAMPLES = r"""
- name: Mount an image to build on
  hepix.vmimages.image_mount:
    image: /srv/images/worker.img
    path: /run/worker
    writable: true

- name: Take it down
  hepix.vmimages.image_mount:
    path: /run/worker
    state: absent

- name: Mount an image of the cloud, to be read
  hepix.vmimages.image_mount:
    image: /srv/images/cloud.qcow2
    format: qcow2
    path: /run/cloud

- name: Look into an image
  block:
    - name: Mount it read-only
      hepix.vmimages.image_mount:
        image: /srv/images/worker.img
        path: /run/worker

    - name: Read what system it is
      ansible.builtin.slurp:
        src: /run/worker/etc/os-release

  always:
    - name: Take it down
      hepix.vmimages.image_mount:
        path: /run/worker
        state: absent
"""

RETURN = r"""
image:
  description: The image, without links; V(null) where none was mounted.
  type: str
  returned: success
  sample: /srv/images/worker.img
root:
  description: The directory, without links - the root of the system.
  type: str
  returned: success
  sample: /run/worker
writable:
  description: Whether the image is mounted for writing.
  type: bool
  returned: success
  sample: false
mounts:
  description:
    - What is mounted, the root of the system first.
    - Empty for an unpacked system, for O(state=absent), and in check mode for what is not mounted.
  type: list
  elements: dict
  returned: success
  contains:
    partition:
      description: The number of the partition; 0 where the whole disk is one file system.
      type: int
      sample: 3
    target:
      description: The place inside the system.
      type: str
      sample: /boot
    type:
      description: The kind of the file system.
      type: str
      sample: ext3
    label:
      description: Its label.
      type: str
      sample: /boot
    uuid:
      description: Its UUID.
      type: str
      sample: 0f3a1c1e-4d1c-4b7c-9f0e-6f3f0e0a1d11
    writable:
      description: Whether it is mounted for writing.
      type: bool
      sample: false
layout:
  description:
    - The layout of the disk; V(null) for an unpacked system, for O(state=absent), and in check mode for an image in
      another format.
  type: dict
  returned: success
  contains:
    size:
      description: The size of the image in octets.
      type: int
      sample: 10737418240
    table:
      description: The kind of the partition table, V(dos), V(gpt), or V(null) where there is none.
      type: str
      sample: dos
    partitions:
      description: The partitions, with the start and size of each in octets.
      type: list
      elements: dict
      contains:
        number:
          description: The number, as Linux counts.
          type: int
          sample: 1
        start:
          description: The first octet.
          type: int
          sample: 1048576
        size:
          description: The number of octets.
          type: int
          sample: 104857600
        type:
          description: The type, two hexadecimal digits, or a UUID in a GPT.
          type: str
          sample: '83'
        active:
          description: Whether a BIOS boots from it.
          type: bool
          sample: true
        filesystem:
          description: What it holds; V(null) when that is not known.
          type: dict
          contains:
            kind:
              description: Such as V(ext4), V(xfs), V(swap) or V(lvm).
              type: str
              sample: ext3
            label:
              description: The label.
              type: str
              sample: /boot
            uuid:
              description: The UUID.
              type: str
              sample: 0f3a1c1e-4d1c-4b7c-9f0e-6f3f0e0a1d11
            dirty:
              description: Whether its journal holds what was not written yet, because it was not unmounted.
              type: bool
              sample: false
actions:
  description: What was done, or in check mode would be done.
  type: list
  elements: dict
  returned: success
  contains:
    action:
      description: V(mount) or V(unmount).
      type: str
      sample: mount
    root:
      description: The directory.
      type: str
      sample: /run/worker
    image:
      description: The image.
      type: str
      returned: when it was mounted
      sample: /srv/images/worker.img
    writable:
      description: Whether for writing.
      type: bool
      returned: when it was mounted
      sample: false
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: image_busy
remedy:
  description: What to do next.
  type: str
  returned: failure
  sample: Shut down what uses the image, or unmount it there, and try again.
context:
  description: Further facts about the refusal, such as paths, found and expected values.
  type: dict
  returned: failure
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.mount.copies import FORMATS
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.mount.images import mount_image, unmount_image
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome

ARGUMENTS = {
    "image": {"type": "path"},
    "path": {"type": "path", "required": True},
    "format": {"type": "str", "choices": ["raw", *FORMATS], "default": "raw"},
    "scratch_dir": {"type": "path", "default": "/var/tmp"},
    "writable": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def bring_about(module: AnsibleModule) -> Outcome:
    """Mount the image, or take down what is mounted."""
    options = module.params
    if options["state"] == "absent":
        return unmount_image(options["path"], check=module.check_mode)
    return mount_image(
        options["image"],
        options["path"],
        writable=options["writable"],
        check=module.check_mode,
        kind=options["format"],
        scratch=options["scratch_dir"],
    )


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("state", "present", ("image",))],
        supports_check_mode=True,
    )
    run(module, bring_about)


if __name__ == "__main__":
    main()
