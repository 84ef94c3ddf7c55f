#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: Tell whether virtual machine images may run at a site, and why
version_added: 0.1.0
description:
  - Reads the images of a site's subscriptions, each with its verdict - may it run now, and every reason.
  - It reads what the site knows. It fetches nothing and changes nothing.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.actiongroup
  - hepix.vmimages.attributes.info
  - hepix.vmimages.dependencies
  - hepix.vmimages.catalogue
options:
  images:
    description:
      - The UUIDs of the images to tell about. A UUID that no subscribed list holds or has held is a failure.
    type: list
    elements: str
    default: []
  tags:
    description:
      - The tags of the images to tell about. Of several images with one tag, it is the latest endorsed one.
    type: list
    elements: str
    default: []
  lists:
    description:
      - The UUIDs of lists, to tell about their images only.
    type: list
    elements: str
    default: []
  state:
    description:
      - Which images to return - those that may run, those that may not, or both.
    type: str
    choices: [any, allowed, refused]
    default: any
seealso:
  - module: hepix.vmimages.image_decision
  - module: hepix.vmimages.image_cache
"""

EXAMPLES = r"""
- name: Ask about one image by its tag
  hepix.vmimages.image_info:
    tags:
      - worker
  register: answer

- name: Go on only if it may run
  ansible.builtin.assert:
    that: answer.images | map(attribute='verdict.allowed') is all
    fail_msg: "{{ answer.images | map(attribute='verdict.reasons') | flatten | map(attribute='text') | join(' ') }}"

- name: Find everything that may not run
  hepix.vmimages.image_info:
    state: refused
"""

RETURN = r"""
images:
  description: The images, each with its verdict.
  type: list
  elements: dict
  returned: success
  contains:
    identifier:
      description: The UUID of the image.
      type: str
      sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
    list:
      description: The UUID of its list.
      type: str
      sample: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    title:
      description: The title of the image.
      type: str
      sample: worker
    tag:
      description: Its tag, which is the title unless the subscription says otherwise.
      type: str
      sample: worker
    version:
      description: The version of the image.
      type: str
      sample: '2'
    dated:
      description: When the list version was made in which this version of the image appeared first.
      type: str
      sample: '2026-11-20T09:00:00Z'
    size:
      description: The size of the transferred file in octets.
      type: int
      sample: 2147483648
    sha512:
      description: The SHA-512 digest of the transferred file, in hexadecimal digits.
      type: str
      sample: 9b71d2...
    uri:
      description: The address of the image.
      type: str
      sample: https://images.example.org/2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1/2.qcow2
    endorsed:
      description: Whether the list's accepted version holds the image.
      type: bool
      sample: true
    verdict:
      description: May the image run now.
      type: dict
      contains:
        allowed:
          description: Whether it may run.
          type: bool
          sample: false
        code:
          description: The stable code of the weightiest reason, V(allowed) or V(run_anyway) if it may run.
          type: str
          sample: not_approved
        reasons:
          description: Every reason, the weightiest first.
          type: list
          elements: dict
          contains:
            code:
              description: The stable code of the reason.
              type: str
              sample: not_approved
            text:
              description: The reason in one sentence.
              type: str
              sample: The site has not approved image 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1.
        remedy:
          description: What to do next, empty if there is nothing to do.
          type: str
          sample: Approve the image, if the site wants it (image_decision).
        path:
          description: The file to run, V(null) where there is none in the cache.
          type: str
          sample: /var/lib/hepix-vmimages/cache/current/2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1_2_9b71d224bd62f378
        good_until:
          description: Until when an allowing verdict stands, V(null) for a refusing one.
          type: str
          sample: '2026-11-27T00:00:00Z'
    cache:
      description: The cached file, V(null) where there is none.
      type: dict
      contains:
        path:
          description: The path of the file.
          type: str
          sample: /var/lib/hepix-vmimages/cache/current/2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1_2_9b71d224bd62f378
        unchanged:
          description: Whether size, times and inode are still those of the verified file.
          type: bool
          sample: true
    decisions:
      description: The site's decisions about the image.
      type: list
      elements: dict
      contains:
        decision:
          description: What was decided.
          type: str
          sample: approve
        target_type:
          description:
            - What was decided about - an V(image), a V(tag), a whole V(list), an V(endorser), or the V(rule) that
              decides.
          type: str
          sample: image
        target:
          description: The UUID, the tag, the identifier of the list, the endorser, or the name of the rule.
          type: str
          sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
        list:
          description: The list whose image is meant. V(null) where the decision speaks of every list.
          type: str
          sample: 0b4f3a52-6f2c-4b7c-9f0e-6f3f0e0a1d11
        reason:
          description: Why it was decided.
          type: str
          sample: Tested on the pre-production nodes.
        author:
          description: Who decided.
          type: str
          sample: sally
        until:
          description: The end of the decision, V(null) if it has none.
          type: str
          sample: '2027-01-31T00:00:00Z'
        begins:
          description: When a rule about the age of images begins, or began, to speak of this one. Else V(null).
          type: str
          sample: null
    metadata:
      description: The image as its list describes it, with every key.
      type: dict
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: unknown_image
remedy:
  description: What to do next.
  type: str
  returned: failure
  sample: Use the UUID or the tag of an image in a subscribed list; `vmimages status` shows them.
context:
  description: Further facts about the refusal, such as paths, found and expected values.
  type: dict
  returned: failure
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.arguments import CATALOGUE
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import CRYPTOGRAPHY
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.queries import images
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue

ARGUMENTS = {
    "images": {"type": "list", "elements": "str", "default": []},
    "tags": {"type": "list", "elements": "str", "default": []},
    "lists": {"type": "list", "elements": "str", "default": []},
    "state": {"type": "str", "choices": ["any", "allowed", "refused"], "default": "any"},
    **CATALOGUE,
}


def ask(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    """Return the images that the options name, with their verdicts."""
    options = module.params
    with Catalogue.open(options["state_dir"], index_path=options["index"]) as catalogue:
        found = images(
            catalogue, images=options["images"], tags=options["tags"], lists=options["lists"], state=options["state"]
        )
    return {"images": found}


def main() -> t.NoReturn:
    """Run the module."""
    run(AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True), ask, needs=[CRYPTOGRAPHY])


if __name__ == "__main__":
    main()
