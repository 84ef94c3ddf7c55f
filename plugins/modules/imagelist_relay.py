#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: imagelist_relay
short_description: Publish a site's own list of approved and cached images
version_added: 0.1.0
description:
  - Signs a list of the images that may run at the site now, and publishes it. The images are at the addresses of the
    site's cache, so that worker nodes and smaller sites subscribe to this list as to any other, and fetch from the
    cache.
  - An image is in the list when its verdict is V(allowed), which M(hepix.vmimages.image_info) shows. The endorser still
    endorses it, the site has approved and not blacklisted it, and its verified file is in the cache.
  - Each image keeps its UUID, its version, its checksums, and all that its endorser says about it. Only its address is
    that of the cache, and its end is the one of its verdict, which is the first end of what the endorsement rests on.
    So no node outlives the endorsement, even when the site is not reached any more.
  - A decision of the site, a withdrawal by an endorser, and a revocation reach the nodes with the next run of this
    module.
  - The list is signed, verified and uploaded as M(hepix.vmimages.imagelist_publish) does it.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.actiongroup
  - hepix.vmimages.dependencies
  - hepix.vmimages.catalogue
  - hepix.vmimages.signing
  - hepix.vmimages.trust
attributes:
  check_mode:
    support: full
    details:
      - In check mode the list is composed, signed and verified in memory, and nothing is written.
  diff_mode:
    support: full
    details:
      - The difference is that of the list's content, not of the signed message.
  idempotent:
    support: partial
    details:
      - A list is signed again when its content has changed, or when less than O(renew_before) is left until it or the
        certificate of its signer expires. Otherwise nothing is changed.
      - The content also changes when the verdicts last longer than before, as they do after new certificate revocation
        lists have come in.
options:
  lists:
    description:
      - The UUIDs of subscribed lists, to relay their images only.
    type: list
    elements: str
    default: []
  images:
    description:
      - The UUIDs or tags of images, to relay these only. A tag means the latest image that bears it.
      - With O(lists) as well, the images of both are relayed.
    type: list
    elements: str
    default: []
  base_uri:
    description:
      - The address under which the cache's directory C(cache/current) below O(state_dir) is served. The address of an
        image is this, a slash, and the name of its file there.
      - A file's name holds the image's UUID, its version, and the beginning of its digest. What is at an address never
        changes, so that any HTTP cache may stand between the site and its nodes.
    type: str
    required: true
  identifier:
    description:
      - The UUID of the site's list. Nodes pin it when they subscribe, so it never changes.
    type: str
    required: true
  source:
    description:
      - The site, for example its domain name (C(dc:source)).
    type: str
  uri:
    description:
      - The address at which the nodes fetch the list (C(hv:uri)).
    type: str
    required: true
  lifetime:
    description:
      - How long a signed list is good for, as a number and a unit (V(s), V(m), V(h), V(d) or V(w)). Nodes that do not
        reach the site any more go on for at most this long.
    type: str
    default: 7d
  renew_before:
    description:
      - The list is signed again when less than this is left until it expires, even if nothing else has changed.
      - It is capped to half of O(lifetime).
    type: str
    default: 3d
notes:
  - The command C(vmimages relay) does the same by a file with these options, as a service that the role
    C(hepix.vmimages.image_cache) sets up.
seealso:
  - module: hepix.vmimages.image_cache
  - module: hepix.vmimages.image_decision
  - module: hepix.vmimages.image_info
  - module: hepix.vmimages.imagelist_publish
  - module: hepix.vmimages.imagelist_subscribe
"""

EXAMPLES = r"""
- name: Bring the cache up to date
  hepix.vmimages.image_cache:
    refresh: true

- name: Tell the nodes what they may run
  hepix.vmimages.imagelist_relay:
    identifier: 0f0a4b3c-0a3c-4d8e-9a53-51d5e0b6c1f4
    title: Images of the example site
    source: example.org
    uri: https://cache.example.org/site.list
    base_uri: https://cache.example.org/images/
    certificate: /etc/grid-security/robot/usercert.pem
    private_key: /etc/grid-security/robot/userkey.pem
    history_dir: /var/lib/hepix-vmimages-relay
    uploads:
      - uri_match: https://cache\.example\.org/
        uri_replace: /srv/www/

- name: Subscribe a node to it
  hepix.vmimages.imagelist_subscribe:
    uri: https://cache.example.org/site.list
    identifier: 0f0a4b3c-0a3c-4d8e-9a53-51d5e0b6c1f4
    endorsers:
      - dn: /DC=org/DC=example-grid/OU=robots/CN=Image relay of the example site
        ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA
    new_images: cache
    allow_private: true
"""

RETURN = r"""
list:
  description: The published list, or in check mode the list as it would be published.
  type: dict
  returned: success
  contains:
    identifier:
      description: The UUID of the site's list.
      type: str
      sample: 0f0a4b3c-0a3c-4d8e-9a53-51d5e0b6c1f4
    version:
      description: The version of the list.
      type: str
      sample: '3'
    uri:
      description: The address at which the nodes fetch the list.
      type: str
      sample: https://cache.example.org/site.list
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
images:
  description: The images of the list.
  type: list
  elements: dict
  returned: success
  contains:
    identifier:
      description: The UUID of the image.
      type: str
      sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
    title:
      description: The title of the image.
      type: str
      sample: worker
    version:
      description: The version of the image.
      type: str
      sample: '2'
    uri:
      description: The address of the image.
      type: str
      sample: https://cache.example.org/images/2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1_2_9b71d224bd62f378
    size:
      description: The size of the image's file in octets.
      type: int
      sample: 2147483648
    sha512:
      description: The SHA-512 digest of the image's file, in hexadecimal digits.
      type: str
      sample: 9b71d2...
relayed:
  description: Where the images of the list come from, by UUID.
  type: list
  elements: dict
  returned: success
  contains:
    identifier:
      description: The UUID of the image.
      type: str
      sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
    list:
      description: The UUID of the subscribed list that endorses it.
      type: str
      sample: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    expires:
      description: When it ends at the nodes, unless the list is renewed. V(null) where only the list itself ends.
      type: str
      sample: '2026-12-04T09:00:00Z'
left_out:
  description: The images whose files are in the cache, and which may not run now.
  type: list
  elements: dict
  returned: success
  contains:
    identifier:
      description: The UUID of the image.
      type: str
      sample: e0f7a6f0-62c8-4b6e-8f56-7f2d6f0f7d11
    list:
      description: The UUID of its list.
      type: str
      sample: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    version:
      description: The version of the image.
      type: str
      sample: '2'
    code:
      description: Why it may not run.
      type: str
      sample: blacklisted
signer:
  description: Who signs the list.
  type: dict
  returned: success
  contains:
    dn:
      description: The name of the signer in the slash form.
      type: str
      sample: /DC=org/DC=example-grid/OU=robots/CN=Image relay of the example site
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
  sample: /var/lib/hepix-vmimages-relay/0f0a4b3c-0a3c-4d8e-9a53-51d5e0b6c1f4/messages/3-3.smime
actions:
  description: What was done, or in check mode would be done, in this order.
  type: list
  elements: dict
  returned: success
  contains:
    action:
      description:
        - V(sign) a new message, V(upload) it, V(adopt) a list that was published without O(history_dir), or V(complete)
          a publication that was interrupted.
      type: str
      sample: upload
    identifier:
      description: The UUID of the site's list.
      type: str
      sample: 0f0a4b3c-0a3c-4d8e-9a53-51d5e0b6c1f4
    version:
      description: The version of the site's list.
      type: str
      sample: '3'
    reason:
      description:
        - Why a message is signed - V(first), V(content), V(expiry), V(certificate) or V(lifetime).
      type: str
      returned: when the action is V(sign)
      sample: content
    what:
      description: Always V(list).
      type: str
      returned: when the action is V(upload)
      sample: list
    uri:
      description: The address of the list.
      type: str
      returned: when the action is V(upload)
      sample: https://cache.example.org/site.list
    target:
      description: Where the list is written to.
      type: str
      returned: when the action is V(upload)
      sample: /srv/www/site.list
    size:
      description: The size of the signed message in octets.
      type: int
      returned: when the action is V(upload)
      sample: 8192
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

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.arguments import CATALOGUE, SIGNING, TRUST
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import CRYPTOGRAPHY
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.command.relay import publish_relay
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import utc_now

ARGUMENTS = {
    "lists": {"type": "list", "elements": "str", "default": []},
    "images": {"type": "list", "elements": "str", "default": []},
    "base_uri": {"type": "str", "required": True},
    "identifier": {"type": "str", "required": True},
    "source": {"type": "str"},
    "uri": {"type": "str", "required": True},
    "lifetime": {"type": "str", "default": "7d"},
    "renew_before": {"type": "str", "default": "3d"},
    **CATALOGUE,
    **SIGNING,
    **TRUST,
}


def relay_list(module: AnsibleModule) -> Outcome:
    """Publish what may run now."""
    return publish_relay(module.params, check=module.check_mode, now=utc_now())


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        mutually_exclusive=[("passphrase", "passphrase_file")],
        supports_check_mode=True,
    )
    run(module, relay_list, needs=[CRYPTOGRAPHY])


if __name__ == "__main__":
    main()
