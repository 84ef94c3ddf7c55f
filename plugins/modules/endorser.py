#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: endorser
short_description: Add endorsers to a site's registry, and remove them
version_added: 0.1.0
description:
  - Declares who an endorser is - one person, with every certificate name under which this person may sign.
    Subscriptions then speak of the person by name.
  - Removing an endorser stops the images of every list that this person has signed at the next check, without any
    network. It also takes the person's names away from subscriptions that spell them out, until an endorser is declared
    with them again.
  - The same holds for a single pair that is no longer among O(pairs).
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
      - The difference is that of the named endorsers.
  idempotent:
    support: full
    details:
      - What the registry says already is not recorded again, whoever said it.
options:
  name:
    description:
      - The name by which subscriptions and decisions speak of this endorser. It does not begin with a slash.
    type: str
  pairs:
    description:
      - The names under which this endorser may sign, each with the certification authority that issued the
        certificate. Needed with O(state=present).
      - With O(state=absent), pairs that are taken away although the registry may not know them, such as those of a
        person whom only an endorser list names.
    type: list
    elements: dict
    suboptions: &pair
      dn:
        description:
          - The name of the signer in the slash form, for example V(/DC=org/DC=example-grid/CN=Erin Endorser).
        type: str
        required: true
      ca:
        description:
          - The name of the certification authority.
        type: str
        required: true
  email:
    description:
      - Where the endorser is reached. For people, nothing is sent there.
    type: str
    default: ''
  comment:
    description:
      - A remark, such as the experiment that the endorser works for.
    type: str
    default: ''
  endorsers:
    description:
      - Several endorsers in one call, in place of O(name). Those that are not named stay as they are.
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - As O(name).
        type: str
        required: true
      pairs:
        description:
          - As O(pairs).
        type: list
        elements: dict
        suboptions: *pair
      email:
        description:
          - As O(email).
        type: str
        default: ''
      comment:
        description:
          - As O(comment).
        type: str
        default: ''
      state:
        description:
          - As O(state), which stands when this is left out.
        type: str
        choices: [present, absent]
  reason:
    description:
      - Why, for those who read the journal and for those who are told that an image may not run.
    type: str
    default: ''
  author:
    description:
      - Who decided. When left out, it is the user who runs the module, or the one who called C(sudo).
    type: str
  state:
    description:
      - Whether the endorser is in the registry.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: hepix.vmimages.imagelist_subscribe
  - module: hepix.vmimages.endorserlist_subscribe
  - module: hepix.vmimages.image_decision
"""

EXAMPLES = r"""
- name: Register an endorser with two certificates
  hepix.vmimages.endorser:
    name: erin
    email: erin@example.org
    pairs:
      - dn: /DC=org/DC=example-grid/CN=Erin Endorser
        ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA
      - dn: /C=XX/O=Example/CN=Erin Endorser
        ca: /C=XX/O=Example/CN=Example National CA

- name: Stop all images of an endorser
  hepix.vmimages.endorser:
    name: erin
    state: absent
    reason: Erin has left the experiment.

- name: Register one endorser and remove another in one call
  hepix.vmimages.endorser:
    endorsers:
      - name: eve
        pairs:
          - dn: /DC=org/DC=example-grid/CN=Eve Endorser
            ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA
      - name: erin
        state: absent
    reason: Eve takes over from Erin.
"""

RETURN = r"""
endorsers:
  description: The endorsers that are registered by this call, as they are afterwards or in check mode would be.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The name.
      type: str
      sample: erin
    pairs:
      description: The names under which the endorser may sign.
      type: list
      elements: dict
      sample:
        - dn: /DC=org/DC=example-grid/CN=Erin Endorser
          ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA
    email:
      description: Where the endorser is reached.
      type: str
      sample: erin@example.org
    comment:
      description: The remark.
      type: str
      sample: ''
removed:
  description: The names that are not registered afterwards.
  type: list
  elements: str
  returned: success
  sample: []
actions:
  description: What was recorded, or in check mode would be recorded, in this order.
  type: list
  elements: dict
  returned: success
  contains:
    action:
      description: What kind of action it is - V(add), V(change) or V(remove).
      type: str
      sample: add
    endorser:
      description: The name of the endorser.
      type: str
      sample: erin
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: endorser_invalid
remedy:
  description: What to do next.
  type: str
  returned: failure
  sample: Correct the named option.
context:
  description: Further facts about the refusal, such as the option that is wrong.
  type: dict
  returned: failure
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.arguments import CATALOGUE, ENDORSERS
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import CRYPTOGRAPHY
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.endorsers.declare import Declaration, declare
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue

PERSON = {
    "pairs": ENDORSERS,
    "email": {"type": "str", "default": ""},
    "comment": {"type": "str", "default": ""},
}
STATES = ["present", "absent"]
ARGUMENTS = {
    "name": {"type": "str"},
    **PERSON,
    "endorsers": {
        "type": "list",
        "elements": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            **PERSON,
            "state": {"type": "str", "choices": STATES},
        },
    },
    "reason": {"type": "str", "default": ""},
    "author": {"type": "str"},
    "state": {"type": "str", "choices": STATES, "default": "present"},
    **CATALOGUE,
}


def register(module: AnsibleModule) -> Outcome:
    """Make the registry what the options say."""
    options, check = module.params, module.check_mode
    said = Declaration.from_options(options)
    with Catalogue.open(
        options["state_dir"], index_path=options["index"], create=True, dry=check, warn=module.warn
    ) as catalogue:
        return declare(catalogue, said, check=check)


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        mutually_exclusive=[("name", "endorsers"), ("pairs", "endorsers")],
        required_one_of=[("name", "endorsers")],
        supports_check_mode=True,
    )
    run(module, register, needs=[CRYPTOGRAPHY])


if __name__ == "__main__":
    main()
