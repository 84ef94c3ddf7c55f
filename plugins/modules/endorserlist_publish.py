#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: endorserlist_publish
short_description: Publish a VO's signed list of image endorsers
version_added: 0.1.0
description:
  - Declares whom a virtual organisation has elected to endorse images - the persons, the certificate names that each of
    them signs with, and where their image lists are. Sites that support the VO subscribe to this list.
  - The version of the list is raised only where something has changed.
  - The list is signed in this process with the private key of whoever speaks for the VO (S/MIME, detached signature),
    and the signed message is verified by the same rules that a site applies, before it is uploaded atomically.
  - Every published message is kept in O(history_dir). It says who was an endorser when, and it is what the next run
    compares with.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.actiongroup
  - hepix.vmimages.dependencies
  - hepix.vmimages.signing
  - hepix.vmimages.trust
attributes:
  check_mode:
    support: full
    details:
      - In check mode the list is composed, signed and verified in memory, and nothing is written. The plan is the one
        that a real run would carry out.
  diff_mode:
    support: full
    details:
      - The difference is that of the list's content, not of the signed message.
  idempotent:
    support: partial
    details:
      - A list is signed again when its content has changed, when less than O(renew_before) is left until it or the
        certificate of its signer expires, and when its expiry is later than O(lifetime) allows. Otherwise nothing is
        changed.
options:
  identifier:
    description:
      - The UUID of the list. Sites pin it when they subscribe, so it never changes.
    type: str
    required: true
  vo:
    description:
      - The name of the virtual organisation (C(ad:vo)).
    type: str
    required: true
  uri:
    description:
      - The address at which sites fetch the list (C(hv:uri)).
    type: str
    required: true
  lifetime:
    description:
      - How long a signed list is good for, as a number and a unit (V(s), V(m), V(h), V(d) or V(w)).
    type: str
    default: 28d
  renew_before:
    description:
      - The list is signed again when less than this is left until it expires, even if nothing else has changed.
      - It is capped to half of O(lifetime).
    type: str
    default: 7d
  version:
    description:
      - The version of the list (C(hv:version)). It must be higher than the published one if the content has changed.
      - When left out, the published version is raised by one where something has changed.
    type: str
  endorsers:
    description:
      - The VO's endorsers.
      - With O(purge_endorsers=false), what is left out of a person stays as it is published.
      - It must be given, if need be as V([]), which stops all of the VO's images at the sites, unless
        O(purge_endorsers=false).
    type: list
    elements: dict
    suboptions:
      identifier:
        description:
          - What the VO calls this person, such as a mail address. One line that does not begin with a slash. It stays
            the same when the person's certificates change.
        type: str
        required: true
      pairs:
        description:
          - The names under which the person signs, each with the certification authority that issued the certificate.
            A pair belongs to one person.
        type: list
        elements: dict
        suboptions:
          dn:
            description:
              - The name of the person in the slash form.
            type: str
            required: true
          ca:
            description:
              - The name of the certification authority in the slash form.
            type: str
            required: true
      name:
        description:
          - The name of the person (C(dc:creator)).
        type: str
      email:
        description:
          - The person's address (C(hv:email)).
        type: str
      lists:
        description:
          - The person's image lists.
        type: list
        elements: dict
        suboptions:
          uri:
            description:
              - The address of the list (C(https) or C(http)).
            type: str
            required: true
          identifier:
            description:
              - The UUID of the list. When it is stated, sites accept no other list from this address.
            type: str
      metadata:
        description:
          - Further keys of the person and their values.
        type: dict
        default: {}
  purge_endorsers:
    description:
      - Whether published endorsers that O(endorsers) does not name are removed from the list.
      - V(false) merges O(endorsers) into the published list, so that one task can change one person.
    type: bool
    default: true
seealso:
  - module: hepix.vmimages.endorserlist_subscribe
  - module: hepix.vmimages.imagelist_publish
"""

EXAMPLES = r"""
- name: Publish the VO's list of endorsers
  hepix.vmimages.endorserlist_publish:
    identifier: 7c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90
    vo: vo.example.org
    title: Endorsers of vo.example.org
    uri: https://vo.example.org/endorsers.list
    endorsers:
      - identifier: erin@example.org
        name: Erin Endorser
        email: erin@example.org
        pairs:
          - dn: /DC=org/DC=example-grid/CN=Erin Endorser
            ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA
        lists:
          - uri: https://images.example.org/worker-nodes.list
            identifier: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    certificate: /home/vo/.globus/usercert.pem
    private_key: /home/vo/.globus/userkey.pem
    passphrase_file: /run/user/1000/passphrase
    history_dir: /home/vo/.local/share/hepix-vmimages
    uploads:
      - uri_match: https://vo\.example\.org/
        uri_replace: /srv/www/vo/
"""

RETURN = r"""
list:
  description: The published list, or in check mode the list as it would be published.
  type: dict
  returned: success
  contains:
    identifier:
      description: The UUID of the list.
      type: str
      sample: 7c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90
    version:
      description: The version of the list.
      type: str
      sample: '3'
    uri:
      description: The address at which sites fetch the list.
      type: str
      sample: https://vo.example.org/endorsers.list
    created:
      description: When the list was signed.
      type: str
      sample: '2026-11-20T09:00:00Z'
    expires:
      description: When the list expires.
      type: str
      sample: '2026-12-18T09:00:00Z'
    sha512_of_content:
      description: The SHA-512 digest of the signed content, in hexadecimal digits.
      type: str
      sample: 0f5a2c...
endorsers:
  description: The endorsers of the list.
  type: list
  elements: dict
  returned: success
  contains:
    identifier:
      description: What the VO calls this person.
      type: str
      sample: erin@example.org
    name:
      description: The name of the person.
      type: str
      sample: Erin Endorser
    email:
      description: The person's address.
      type: str
      sample: erin@example.org
    pairs:
      description: The names under which the person signs.
      type: list
      elements: dict
      sample:
        - dn: /DC=org/DC=example-grid/CN=Erin Endorser
          ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA
    lists:
      description: The person's image lists; the C(identifier) of one is V(null) where the VO does not state it.
      type: list
      elements: dict
      sample:
        - uri: https://images.example.org/worker-nodes.list
          identifier: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
signer:
  description: Who signs the list.
  type: dict
  returned: success
  contains:
    dn:
      description: The name of the signer in the slash form.
      type: str
      sample: /DC=org/DC=example-grid/CN=Vera Voms
    ca:
      description: The name of the issuer in the slash form.
      type: str
      sample: /DC=org/DC=example-grid/CN=Example Grid Classic CA
    not_after:
      description: When the certificate expires.
      type: str
      sample: '2027-11-20T09:00:00Z'
message_path:
  description: The signed message in O(history_dir); in check mode where it would be kept.
  type: str
  returned: success
  sample: /home/vo/.local/share/hepix-vmimages/7c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90/3.smime
actions:
  description: What was done, or in check mode would be done, in this order.
  type: list
  elements: dict
  returned: success
  contains:
    action:
      description:
        - V(sign) a new message, V(upload) it, V(adopt) a list that was published without O(history_dir), or
          V(complete) a publication that was interrupted.
      type: str
      sample: upload
    identifier:
      description: The UUID of the list.
      type: str
      sample: 7c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90
    version:
      description: The version of the list.
      type: str
      sample: '3'
    reason:
      description:
        - Why a message is signed - V(first), V(content), V(expiry), V(certificate), V(lifetime) or V(version).
      type: str
      returned: when the action is V(sign)
      sample: content
    what:
      description: What is uploaded, always V(list).
      type: str
      returned: when the action is V(upload)
      sample: list
    uri:
      description: The address of the list.
      type: str
      returned: when the action is V(upload)
      sample: https://vo.example.org/endorsers.list
    target:
      description: Where the message is written to.
      type: str
      returned: when the action is V(upload)
      sample: /srv/www/vo/endorsers.list
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: key_mismatch
remedy:
  description: What to do next.
  type: str
  returned: failure
  sample: Use the private key that belongs to the certificate.
context:
  description: Further facts about the refusal, such as paths, found and expected values.
  type: dict
  returned: failure
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.arguments import ENDORSERS, SIGNING, TRUST
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import CRYPTOGRAPHY
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.publish import (
    ENDORSER_LIST,
    PublishSpec,
    publish,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import utc_now

PERSON = {
    "identifier": {"type": "str", "required": True},
    "pairs": ENDORSERS,
    "name": {"type": "str"},
    "email": {"type": "str"},
    "lists": {
        "type": "list",
        "elements": "dict",
        "options": {"uri": {"type": "str", "required": True}, "identifier": {"type": "str"}},
    },
    "metadata": {"type": "dict", "default": {}},
}

ARGUMENTS = {
    "identifier": {"type": "str", "required": True},
    "vo": {"type": "str", "required": True},
    "uri": {"type": "str", "required": True},
    "lifetime": {"type": "str", "default": "28d"},
    "renew_before": {"type": "str", "default": "7d"},
    "version": {"type": "str"},
    "endorsers": {"type": "list", "elements": "dict", "options": PERSON},
    "purge_endorsers": {"type": "bool", "default": True},
    **SIGNING,
    **TRUST,
}


def publish_list(module: AnsibleModule) -> Outcome:
    """Plan the publication and, outside check mode, carry it out."""
    spec = PublishSpec.from_options(module.params, kind=ENDORSER_LIST, environment=os.environ)
    return publish(spec, check=module.check_mode, now=utc_now())


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        mutually_exclusive=[("passphrase", "passphrase_file")],
        supports_check_mode=True,
    )
    run(module, publish_list, needs=[CRYPTOGRAPHY])


if __name__ == "__main__":
    main()
