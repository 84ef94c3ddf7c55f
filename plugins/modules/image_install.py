#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_install
short_description: Put a cached image into a hypervisor's image directory
version_added: 0.1.0
description:
  - Makes a file what the site's cache has of an image, if the image may run now. On one file system that can do this
    (XFS, btrfs) the file shares its octets with the cache (a reflink), takes no room and no time, and can be written
    without touching the cache. Elsewhere it is a copy, which is verified while it is made.
  - The file appears whole or not at all. A second run reads no octet. A file that is in use is never replaced.
  - A hypervisor that only reads the image, such as one with an overlay for each guest, needs no copy. It can use the
    path that M(hepix.vmimages.image_info) tells. Hard links are not made, because a guest that writes would change the
    cached file.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.actiongroup
  - hepix.vmimages.dependencies
  - hepix.vmimages.catalogue
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - The difference is that of the installed image, not that of its octets.
  idempotent:
    support: full
options:
  image:
    description:
      - The UUID or the tag of the image. Needed with O(state=present).
    type: str
  path:
    description:
      - The file, by its absolute path. Its directory exists.
    type: path
    required: true
  format:
    description:
      - The format that is wanted. It has to be in the cache, as the endorsed file or as a derived one (see
        O(hepix.vmimages.image_cache#module:formats)). When left out, the file is installed as it was endorsed.
    type: str
    choices: [raw, qcow2, vmdk, vdi, vhd]
  method:
    description:
      - V(reflink) shares the octets, and fails where the file system cannot. V(copy) copies them. V(auto) copies where
        they cannot be shared.
    type: str
    choices: [auto, reflink, copy]
    default: auto
  mode:
    description:
      - The permissions of the file, as octal digits in a text.
    type: str
    default: '0644'
  owner:
    description:
      - The name of the user who owns the file. When left out, it is whoever runs the module.
    type: str
  group:
    description:
      - The name of the group of the file.
    type: str
  remove_refused:
    description:
      - Whether the file is removed when the image may no longer run. Otherwise that is a failure, with the code of the
        verdict, and the file stays.
      - A guest that has the file open keeps it until it ends.
    type: bool
    default: false
  state:
    description:
      - Whether the file is there. With V(absent) only a file is removed that was installed from this cache.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: hepix.vmimages.image_cache
  - module: hepix.vmimages.image_info
"""

EXAMPLES = r"""
- name: Put the worker's image where libvirt has its images, and take it away when it is withdrawn
  hepix.vmimages.image_install:
    image: worker
    format: qcow2
    path: /var/lib/libvirt/images/worker.qcow2
    owner: libvirt-qemu
    group: kvm
    mode: '0640'
    remove_refused: true

- name: Remove it
  hepix.vmimages.image_install:
    path: /var/lib/libvirt/images/worker.qcow2
    state: absent
"""

RETURN = r"""
file:
  description: The file.
  type: str
  returned: success
  sample: /var/lib/libvirt/images/worker.qcow2
image:
  description: The UUID of the image, V(null) where the file was removed.
  type: str
  returned: success
  sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
version:
  description: The version of the image.
  type: str
  returned: success
  sample: '2'
format:
  description: The format of the file, V(null) where the endorsed file is no plain disk.
  type: str
  returned: success
  sample: qcow2
sha512:
  description: The SHA-512 digest of the file.
  type: str
  returned: success
  sample: 3c9909...
method:
  description: How it was made, V(reflink) or V(copy). V(null) in check mode where it would be made.
  type: str
  returned: success
  sample: reflink
verdict:
  description: The verdict on the image, as M(hepix.vmimages.image_info) has it. V(null) where the file was removed.
  type: dict
  returned: success
actions:
  description: What was done, or in check mode would be done.
  type: list
  elements: dict
  returned: success
  contains:
    action:
      description: V(install) or V(remove).
      type: str
      sample: install
    image:
      description: The UUID of the image, V(null) where the file is removed.
      type: str
      sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
    path:
      description: The file.
      type: str
      sample: /var/lib/libvirt/images/worker.qcow2
    code:
      description: The code of the verdict for which the file is removed.
      type: str
      sample: withdrawn
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: not_derived
remedy:
  description: What to do next.
  type: str
  returned: failure
  sample: 'Ask for this format (formats of the subscription, or of image_cache), and run `vmimages sync`.'
context:
  description: Further facts about the refusal, such as paths, found and expected values.
  type: dict
  returned: failure
"""

import contextlib
import re
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.arguments import CATALOGUE
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import CRYPTOGRAPHY
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import SiteError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.install import Wanted, install, remove
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store import preload
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue

ARGUMENTS = {
    "image": {"type": "str"},
    "path": {"type": "path", "required": True},
    "format": {"type": "str", "choices": ["raw", "qcow2", "vmdk", "vdi", "vhd"]},
    "method": {"type": "str", "choices": ["auto", "reflink", "copy"], "default": "auto"},
    "mode": {"type": "str", "default": "0644"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "remove_refused": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **CATALOGUE,
}


def place(module: AnsibleModule) -> Outcome:
    """Make the file what the cache has, or take it away."""
    options, check = module.params, module.check_mode
    path = Path(options["path"])

    def opened() -> contextlib.AbstractContextManager[Catalogue]:
        return Catalogue.open(options["state_dir"], index_path=options["index"], warn=module.warn, load=preload.judging)

    if options["state"] == "absent":
        return remove(opened, path, check=check)
    if not re.fullmatch("[0-7]{3,4}", options["mode"]):
        raise SiteError("option_invalid", f"mode: {options['mode']!r} is not octal digits, as in 0644.", option="mode")
    names = ("format", "method", "owner", "group", "remove_refused")
    wanted = Wanted(
        image=options["image"], path=path, mode=int(options["mode"], 8), **{name: options[name] for name in names}
    )
    return install(opened, wanted, check=check)


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS, required_if=[("state", "present", ("image",))], supports_check_mode=True
    )
    run(module, place, needs=[CRYPTOGRAPHY])


if __name__ == "__main__":
    main()
