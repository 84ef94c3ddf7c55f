#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_decision
short_description: Decide whether virtual machine images may run at a site
version_added: 0.1.0
description:
  - Records what a site decides about images - to approve them, to blacklist them, to let them run in spite of their
    age, or to take an earlier decision back.
  - A decision is about images, about tags, about whole lists, or about endorsers. Decisions by what images are like are
    rules, see M(hepix.vmimages.image_policy).
  - Of all decisions and rules that speak of an image, a blacklist wins, whoever it is about and whenever it was made.
    Else one approval is enough.
  - A decision is the site's. It never replaces the endorser's statement. An image that is withdrawn, or whose signer
    was revoked, does not run, whatever was decided.
  - Every decision is journaled with its reason, its author and its end.
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
      - The difference is that of the decisions about what is named.
  idempotent:
    support: full
    details:
      - A decision that already stands with the same reason and the same end is not recorded again, whoever made it.
options:
  decision:
    description:
      - What is decided.
      - V(approve) lets the image be cached and run, while its endorsement stands.
      - V(blacklist) forbids the image to run. It wins over every other decision.
      - V(run_anyway) approves the image and lets it run after its own or its list's expiry. It overrides nothing else.
      - V(clear) takes the standing decisions about this image, tag, list or endorser back. Others that speak of the
        same images stand, such as the blacklist of a list when an image of it is cleared.
    type: str
    choices: [approve, blacklist, run_anyway, clear]
    required: true
  images:
    description:
      - The UUIDs of the images that the decision is about.
    type: list
    elements: str
    default: []
  tags:
    description:
      - The tags that the decision is about. A decision about a tag holds for every image with this tag, now and later.
    type: list
    elements: str
    default: []
  whole_lists:
    description:
      - The lists that the decision is about as a whole, by identifier or address - all their images, now and later,
        whoever of the subscription's endorsers signs them.
      - An approved list is like one that is subscribed with C(new_images=approve). Its images may run. Those that the
        C(select) of the subscription names are cached.
      - A list that is not subscribed can be blacklisted by its identifier.
    type: list
    elements: str
    default: []
  endorsers:
    description:
      - The endorsers that the decision is about - all images of lists whose accepted message they signed, now and
        later. What somebody else signs next is no longer theirs.
      - An approval does not authorise anybody to sign, which is a matter of the subscription. Of the images that it
        approves, those that the C(select) of the subscription names are cached.
    type: list
    elements: dict
    default: []
    suboptions:
      dn:
        description:
          - The name of the signer in the slash form, for example V(/DC=org/DC=example-grid/CN=Erin Endorser).
        type: str
      ca:
        description:
          - The name of the certification authority that issued the signer's certificate. Needed with
            O(endorsers[].dn).
        type: str
      name:
        description:
          - The name of an endorser of the site's registry, in place of O(endorsers[].dn) and O(endorsers[].ca). The
            decision speaks of all pairs that this endorser has at the time of the verdict.
        type: str
  list:
    description:
      - The subscribed list, by identifier or address, whose images are meant.
      - Not with O(whole_lists), which is about lists themselves.
      - When left out, V(approve) and V(run_anyway) speak of the list that holds the image or the tag, so that another
        endorser cannot step into an approval with the same tag; a tag that several lists hold needs this option.
      - When left out, V(blacklist) speaks of every list, V(clear) takes back what stands for any, and a decision about
        an endorser speaks of all lists that this endorser signs.
    type: str
  reason:
    description:
      - Why it was decided.
    type: str
    default: ''
  author:
    description:
      - Who decided. When left out, it is the user who runs the module, or the one who called C(sudo).
    type: str
  until:
    description:
      - The end of the decision, such as V(2027-01-31T00:00:00Z). When left out, it stands until it is taken back.
      - A time that is over is refused, unless the very decision was recorded before it was.
    type: str
seealso:
  - module: hepix.vmimages.image_policy
  - module: hepix.vmimages.image_info
  - module: hepix.vmimages.image_cache
"""

EXAMPLES = r"""
- name: Approve an image
  hepix.vmimages.image_decision:
    decision: approve
    images:
      - 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
    reason: Tested on the pre-production nodes.

- name: Blacklist whatever bears this tag, for now
  hepix.vmimages.image_decision:
    decision: blacklist
    tags:
      - worker
    reason: The kernel has a known hole.
    until: '2027-01-31T00:00:00Z'

- name: Stop all images of a list, and all of an endorser
  hepix.vmimages.image_decision:
    decision: blacklist
    whole_lists:
      - 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    endorsers:
      - dn: /DC=org/DC=example-grid/CN=Mallory
        ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA
    reason: Under investigation.

- name: Take it back
  hepix.vmimages.image_decision:
    decision: clear
    tags:
      - worker
"""

RETURN = r"""
decisions:
  description:
    - The decisions that stand afterwards, or in check mode would stand, as a list for each UUID, each tag, the
      identifier of each list, and each endorser (the registered name, or C(<dn> issued by <ca>)).
    - The C(list) of a decision is V(null) where it speaks of every list.
  type: dict
  returned: success
  sample:
    2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1:
      - decision: approve
        list: 0b4f3a52-6f2c-4b7c-9f0e-6f3f0e0a1d11
        reason: Tested on the pre-production nodes.
        author: sally
        until: null
actions:
  description: What was recorded, or in check mode would be recorded.
  type: list
  elements: dict
  returned: success
  contains:
    action:
      description: The decision.
      type: str
      sample: approve
    image:
      description: The UUID that it is about.
      type: str
      returned: when it is about an image
      sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
    tag:
      description: The tag that it is about.
      type: str
      returned: when it is about a tag
      sample: worker
    list:
      description: The identifier of the list that it is about.
      type: str
      returned: when it is about a whole list
      sample: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    endorser:
      description: The endorser that it is about.
      type: str
      returned: when it is about an endorser
      sample: /DC=org/CN=Erin issued by /DC=org/CN=CA
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

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.arguments import CATALOGUE, timestamp
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import CRYPTOGRAPHY
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.decisions import decide
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory

ARGUMENTS = {
    "decision": {"type": "str", "choices": ["approve", "blacklist", "run_anyway", "clear"], "required": True},
    "images": {"type": "list", "elements": "str", "default": []},
    "tags": {"type": "list", "elements": "str", "default": []},
    "whole_lists": {"type": "list", "elements": "str", "default": []},
    "endorsers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"dn": {"type": "str"}, "ca": {"type": "str"}, "name": {"type": "str"}},
        "required_together": [("dn", "ca")],
        "mutually_exclusive": [("dn", "name")],
        "required_one_of": [("dn", "name")],
    },
    "list": {"type": "str"},
    "reason": {"type": "str", "default": ""},
    "author": {"type": "str"},
    "until": {"type": "str"},
    **CATALOGUE,
}


def record(module: AnsibleModule) -> Outcome:
    """Record the decision about everything that is named."""
    options = module.params
    until = timestamp(options, "until")
    if module.check_mode and not StateDirectory.at(options["state_dir"]).exists():
        module.warn("No list is subscribed so far: which images the decision speaks of cannot be foretold.")
        return Outcome(False, data={"decisions": {}})
    with Catalogue.open(options["state_dir"], index_path=options["index"], warn=module.warn) as catalogue:
        return decide(
            catalogue,
            decision=options["decision"],
            images=options["images"],
            tags=options["tags"],
            lists=options["whole_lists"],
            endorsers=options["endorsers"],
            of_list=options["list"],
            reason=options["reason"],
            author=options["author"],
            until=until,
            check=module.check_mode,
        )


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
    )
    run(module, record, needs=[CRYPTOGRAPHY])


if __name__ == "__main__":
    main()
