#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_instance_info
short_description: Tell which virtual machines use which image, and whether they still may
version_added: 0.1.0
description:
  - Tells of all instances of a hypervisor which image they are made of, in which version, by which list, who stands for
    it, and until when; and what the verdict on that image is now. An instance of a version that the list no longer has
    is refused as withdrawn.
  - What root has recorded when the instance was made counts (M(hepix.vmimages.image_instance)). A domain without record
    is told by its own metadata, which anybody can write who may define a domain. Where record and metadata, or record
    and disk, do not agree, that is told as well.
  - What cannot be read, such as the verdicts of a node that has none yet, is a problem in the result and no failure.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.actiongroup
  - hepix.vmimages.attributes.info
  - hepix.vmimages.dependencies.libvirt
options:
  connections:
    description:
      - The addresses of libvirt's daemons. With an empty list, only the records are read, and libvirt is not needed.
    type: list
    elements: str
    default: ['qemu:///system']
  images:
    description:
      - Only instances of these images, by UUID.
    type: list
    elements: str
    default: []
  lists:
    description:
      - Only instances of images of these lists, by UUID.
    type: list
    elements: str
    default: []
  endorsers:
    description:
      - Only instances whose image was endorsed under one of these names (DN).
    type: list
    elements: str
    default: []
  state:
    description:
      - Only instances that are running, are stopped, have no domain any more (V(gone)), or were written down for
        another manager (V(recorded)).
    type: str
    choices: [any, running, stopped, gone, recorded]
    default: any
  verdict:
    description:
      - Only instances whose image may run now, or may not. An instance about which no verdict can be told is neither.
    type: str
    choices: [any, allowed, refused]
    default: any
  ttl:
    description:
      - With V(over), only instances whose time is over.
    type: str
    choices: [any, over]
    default: any
  state_dir:
    description:
      - The directory of the site's or node's state, of which the snapshot of the verdicts is read.
    type: path
    default: /var/lib/hepix-vmimages
  records_dir:
    description:
      - The directory of the records.
    type: path
    default: /var/lib/hepix-instances
seealso:
  - module: hepix.vmimages.image_instance
"""

EXAMPLES = r"""
- name: Look for machines whose image may no longer run
  hepix.vmimages.image_instance_info:
    state: running
    verdict: refused
  register: refused

- name: Tell of them
  ansible.builtin.debug:
    msg: "{{ item.name }} runs image {{ item.image }}: {{ item.verdict.reason }}"
  loop: "{{ refused.instances }}"

- name: Look for what runs of one endorser
  hepix.vmimages.image_instance_info:
    endorsers:
      - /DC=org/DC=example/CN=Jane Doe
"""

RETURN = r"""
instances:
  description: The instances, by connection and name.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The name.
      type: str
      sample: worker-17
    uuid:
      description: The UUID.
      type: str
    connection:
      description: The address of its daemon, V(null) for what was written down for another manager.
      type: str
      sample: qemu:///system
    state:
      description: V(running), V(stopped), V(gone) (recorded, without a domain) or V(recorded) (for another manager).
      type: str
      sample: running
    source:
      description: By what the instance is told, V(record), or V(metadata), which is a claim of whoever defined it.
      type: str
      sample: record
    image:
      description: The UUID of the image.
      type: str
    version:
      description: The version of the image.
      type: str
    sha512:
      description: The endorsed digest.
      type: str
    list:
      description: The UUID of the image's list.
      type: str
    list_version:
      description: The version of the list.
      type: str
    endorser_dn:
      description: The name of who signed the list.
      type: str
    endorser_ca:
      description: The name of the authority that issued the certificate.
      type: str
    expires:
      description: The end of the endorsement as it was when the instance was made, or last checked by its module.
      type: str
    created:
      description: When the instance was made; V(null) without a record.
      type: str
    until:
      description: The end of its time, V(null) for none.
      type: str
    ttl_over:
      description: Whether that is past.
      type: bool
    author:
      description: Who made it; V(null) without a record.
      type: str
    mode:
      description: The mode; V(null) without a record.
      type: str
    disk:
      description: The path of its disk; V(null) without a record.
      type: str
    contexts:
      description: The paths of its context disks.
      type: list
      elements: str
    differences:
      description: Where metadata or disk are not as recorded.
      type: list
      elements: dict
      contains:
        what:
          description: What it is about.
          type: str
          sample: version
        record:
          description: What is recorded.
          type: str
        found:
          description: What was found.
          type: str
    verdict:
      description: What may be said of it now; V(null) where there are no verdicts at all.
      type: dict
      contains:
        allowed:
          description: Whether the image may run; V(null) where that cannot be told, as from an old snapshot.
          type: bool
        code:
          description: The code of the refusal, or why nothing can be told.
          type: str
          sample: withdrawn
        reason:
          description: The same as a sentence.
          type: str
        replaced:
          description: Whether it is refused only because the list has another version of the image by now.
          type: bool
        good_until:
          description: Until when a permission can be relied on.
          type: str
others:
  description: The domains that are none of this collection.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The name.
      type: str
    uuid:
      description: The UUID.
      type: str
    connection:
      description: The address of its daemon.
      type: str
    state:
      description: V(running) or V(stopped).
      type: str
verdicts_written:
  description: When the snapshot of the verdicts was written; V(null) where there is none that can be read.
  type: str
  returned: success
problems:
  description: What could not be read.
  type: list
  elements: dict
  returned: success
  contains:
    code:
      description: The stable code.
      type: str
      sample: snapshot_missing
    detail:
      description: What was found.
      type: str
    remedy:
      description: What to do next.
      type: str
    context:
      description: Further facts.
      type: dict
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
remedy:
  description: What to do next.
  type: str
  returned: failure
context:
  description: Further facts about the refusal.
  type: dict
  returned: failure
"""

import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import LIBVIRT
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.instances import report
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import utc_now

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "connections": {"type": "list", "elements": "str", "default": ["qemu:///system"]},
    "images": {"type": "list", "elements": "str", "default": []},
    "lists": {"type": "list", "elements": "str", "default": []},
    "endorsers": {"type": "list", "elements": "str", "default": []},
    "state": {"type": "str", "choices": ["any", "running", "stopped", "gone", "recorded"], "default": "any"},
    "verdict": {"type": "str", "choices": ["any", "allowed", "refused"], "default": "any"},
    "ttl": {"type": "str", "choices": ["any", "over"], "default": "any"},
    "state_dir": {"type": "path", "default": "/var/lib/hepix-vmimages"},
    "records_dir": {"type": "path", "default": "/var/lib/hepix-instances"},
}


def ask(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    """Return the instances that the options choose."""
    options = module.params
    question = report.Question(
        images=frozenset(name.lower() for name in options["images"]),
        lists=frozenset(name.lower() for name in options["lists"]),
        endorsers=frozenset(options["endorsers"]),
        **{key: options[key] for key in ("state", "verdict", "ttl")},
    )
    return report.instances(
        options["connections"],
        records_dir=Path(options["records_dir"]),
        state_dir=options["state_dir"],
        now=utc_now(),
        question=question,
    )


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run(module, ask, needs=[LIBVIRT] if module.params["connections"] else [])


if __name__ == "__main__":
    main()
