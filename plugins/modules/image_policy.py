#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_policy
short_description: Declare a site's rules about virtual machine images
version_added: 0.1.0
description:
  - Declares the rules by which a site decides about images - approve, blacklist or run in spite of their age whatever
    is like this, in the lists of now and in those to come.
  - The rules are one set, which O(rules) replaces as a whole. A rule that is left out is gone, and an empty list ends
    them all. So the policy of a site is what is written in its playbooks, and can be reviewed there.
  - Of all decisions and rules that speak of an image, a blacklist wins, whoever it is about and whenever it was made.
    Else one approval is enough. The order of rules means nothing.
  - A rule never replaces the endorser's statement. An image that is withdrawn, or whose signer was revoked, does not
    run, whatever the rules say.
  - The module may run before the first subscription, so that no image is ever judged without the rules.
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
      - The difference is that of the rules, by name. Durations and sizes are shown in one unit, whichever was written.
  idempotent:
    support: full
    details:
      - Rules with the same meaning are not recorded again, whoever wrote them, in which order, and in which units.
options:
  rules:
    description:
      - All rules of the site.
      - A rule that makes no sense is refused with the code C(rule_invalid) and its place, such as
        C(rules[2].match.size_min). Then the rules that stood before stay in force, all of them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - The name of the rule, by which verdicts and messages speak of it. Needed, and each is used once. Up to 64
            ASCII letters, digits, spaces, dots, hyphens and underscores.
        type: str
      decision:
        description:
          - What the rule decides, as in M(hepix.vmimages.image_decision). Needed.
        type: str
        choices: [approve, blacklist, run_anyway]
      match:
        description:
          - What the images are like that the rule speaks of. Needed. An image must be like all of it.
          - The keys C(os), C(osversion), C(arch), C(hypervisor), C(vo), C(format), C(title) and C(tag) compare what the
            list says of the image (C(sl:os), C(sl:osversion), C(sl:arch), C(hv:hypervisor), C(ad:vo) of the image or
            else of the list, C(hv:format), C(dc:title)). Each has a glob, or a list of globs of which one must fit.
            V(*) stands for any text, V(?) for any character. Upper and lower case are the same. Numbers need quotes.
          - The key C(list) compares the identifier of the list and the address at which it is subscribed, C(endorser)
            the signer of its accepted message as C(<dn> issued by <ca>), or the name in the site's registry.
          - The keys C(size_min) and C(size_max) compare the size of the transferred file, in octets or with a unit
            such as V(20 GiB) or V(700 MB).
          - The keys C(older_than) and C(newer_than) compare the time since the list version was made in which this
            version of the image appeared first, such as V(30d). Verdicts end when such a rule changes them.
          - The key C(metadata) is a mapping of any further keys of the list to globs.
          - The key C(all) with the value V(true), alone, means every image. An empty match is refused.
          - An image of which the list does not say what a rule compares is not like the rule.
          - What an image is like is the word of its endorser, so a rule that approves must say whose images it means,
            by C(list), C(endorser) or C(all). With C(list) set to V(*) all subscribed lists are meant.
        type: dict
      except:
        description:
          - The UUIDs and tags of images that the rule does not speak of.
        type: list
        elements: str
      reason:
        description:
          - Why. Verdicts and messages to endorsers tell it.
        type: str
      until:
        description:
          - The end of the rule, such as V(2027-01-31T00:00:00Z). After it the rule says nothing, and a warning asks to
            take it out.
        type: str
  author:
    description:
      - Who answers for the rules that are new or changed. When left out, it is the user who runs the module, or the
        one who called C(sudo).
    type: str
seealso:
  - module: hepix.vmimages.image_decision
  - module: hepix.vmimages.imagelist_subscribe
  - module: hepix.vmimages.image_info
"""

EXAMPLES = r"""
- name: Declare the policy of the site
  hepix.vmimages.image_policy:
    rules:
      - name: end of life
        decision: blacklist
        match:
          os: Linux
          osversion: ['SL 5*', 'CentOS 5*']
        except:
          - 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
        reason: No security updates since 2020.
      - name: too large
        decision: blacklist
        match:
          size_min: 60 GiB
        reason: The disks of the nodes have 80 GB.
      - name: stale
        decision: blacklist
        match:
          older_than: 365d
        reason: A year without any update.
      - name: worker nodes of Erin
        decision: approve
        match:
          endorser: /DC=org/DC=example-grid/CN=Erin Endorser issued by *
          arch: x86_64
          hypervisor: '*kvm*'
          format: qcow2
        reason: Agreed with the VO.

- name: Decide by rules no more
  hepix.vmimages.image_policy:
    rules: []
"""

RETURN = r"""
rules:
  description: The rules that stand afterwards, or in check mode would stand, by name.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The name of the rule.
      type: str
      sample: too large
    decision:
      description: What it decides.
      type: str
      sample: blacklist
    match:
      description: What the images are like, with sizes in octets and durations in their largest unit.
      type: dict
      sample:
        size_min: 64424509440
    except:
      description: The UUIDs and tags that it does not speak of.
      type: list
      elements: str
      sample: []
    reason:
      description: Why.
      type: str
      sample: The disks of the nodes have 80 GB.
    until:
      description: The end of the rule, V(null) if it has none.
      type: str
      sample: '2027-01-31T00:00:00Z'
    author:
      description: Who wrote the rule as it stands.
      type: str
      sample: sally
    count:
      description: How many images of the subscribed lists it speaks of now.
      type: int
      sample: 2
    images:
      description: The UUIDs of these images, of the first thousand if there are more.
      type: list
      elements: str
      sample:
        - 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
        - e0f7a6f0-62c8-4b6e-8f56-7f2d6f0f7d11
actions:
  description: What was recorded, or in check mode would be recorded.
  type: list
  elements: dict
  returned: success
  contains:
    action:
      description: What became of the rule - V(add), V(change) or V(remove).
      type: str
      sample: add
    rule:
      description: The name of the rule.
      type: str
      sample: too large
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: rule_invalid
remedy:
  description: What to do next.
  type: str
  returned: failure
  sample: Correct the named rule; the rules that stood before stay in force.
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
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.rules.declare import declare
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.catalogue import Catalogue

ARGUMENTS = {
    "rules": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str"},
            "decision": {"type": "str", "choices": ["approve", "blacklist", "run_anyway"]},
            "match": {"type": "dict"},
            "except": {"type": "list", "elements": "str"},
            "reason": {"type": "str"},
            "until": {"type": "str"},
        },
    },
    "author": {"type": "str"},
    **CATALOGUE,
}


def replace_rules(module: AnsibleModule) -> Outcome:
    """Make the rules of the site what the options say."""
    options, check = module.params, module.check_mode
    with Catalogue.open(
        options["state_dir"], index_path=options["index"], create=True, dry=check, warn=module.warn
    ) as catalogue:
        return declare(catalogue, options["rules"], author=options["author"], check=check)


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    run(module, replace_rules, needs=[CRYPTOGRAPHY])


if __name__ == "__main__":
    main()
