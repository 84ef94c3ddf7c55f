#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: imagelist_info
short_description: Read and verify a signed list of virtual machine images
version_added: 0.1.0
description:
  - Reads one image list, or one list of endorsers, from a file or from its address, verifies it, and returns it as
    data.
  - Verification is what a site does before it accepts a list - the signature, the certification path at this time, the
    revocation lists, the names, and the list itself. It does not know what the site has accepted before, therefore
    it cannot tell a replayed old list from a current one.
  - A list that does not pass makes the module fail with a stable code, and RV(step) says where.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.info
  - hepix.vmimages.attributes.actiongroup
  - hepix.vmimages.dependencies
  - hepix.vmimages.dependencies.transfer
  - hepix.vmimages.access
  - hepix.vmimages.trust
options:
  src:
    description:
      - The file with the signed message, on the host on which the module runs.
      - Exactly one of O(src) and O(uri) is needed.
    type: path
  uri:
    description:
      - The address of the signed message (C(https), C(http) or C(file)).
    type: str
  verify:
    description:
      - Whether the list is verified.
      - V(false) reads the list and proves nothing. The result says so in RV(verified). Only the digest that the message
        states is compared, if it is stated at all, and options that restrict the signer are refused. A list that is not
        signed, plain JSON, can be read so too.
    type: bool
    default: true
  as_of:
    description:
      - The time in UTC as of which the list is judged, for audits. When left out, the present time.
      - What was good at another time authorises nothing now. RV(verified) is V(false) then, and RV(audit) is V(true).
      - The trust anchors and the revocation lists are those in O(anchors), which should be those of that time.
    type: str
  identifier:
    description:
      - The UUID that the list must have. When left out, any list will do.
    type: str
  new_identifier:
    description:
      - A UUID under which RV(publication) describes the list, for a copy of somebody's list. Every image gets a new
        UUID as well, always the same for the same UUIDs.
    type: str
  endorsers:
    description:
      - Who may have signed the list, as pairs of names in the slash form. When left out, anyone whom the trust anchors
        vouch for.
    type: list
    elements: dict
    suboptions:
      dn:
        description:
          - The name of the signer, for example V(/DC=org/DC=example/CN=Erin Endorser).
        type: str
        required: true
      ca:
        description:
          - The name of the certification authority that issued the signer's certificate.
        type: str
        required: true
seealso:
  - module: hepix.vmimages.imagelist_subscribe
  - module: hepix.vmimages.imagelist_publish
"""

EXAMPLES = r"""
- name: Read somebody's list
  hepix.vmimages.imagelist_info:
    uri: https://images.example.org/worker-nodes.list
  register: published

- name: Show what it endorses
  ansible.builtin.debug:
    msg: "{{ published.images | items2dict(key_name='title', value_name='version') }}"

- name: Verify a message on disk, by this signer only
  hepix.vmimages.imagelist_info:
    src: /tmp/worker-nodes.list
    identifier: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    endorsers:
      - dn: /DC=org/DC=example-grid/CN=Erin Endorser
        ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA

- name: Explain why a message is refused
  hepix.vmimages.imagelist_info:
    src: /tmp/worker-nodes.list
  register: explained
  failed_when: false

- name: Show the sixteen steps
  ansible.builtin.debug:
    msg: "{{ explained.steps }}"

- name: Ask whether an archived message was good at the beginning of the year
  hepix.vmimages.imagelist_info:
    src: /srv/archive/worker-nodes-17.list
    anchors: /srv/archive/certificates-2026-01
    as_of: '2026-01-01T12:00:00Z'

- name: Read the list that vmcaster published, to go on with it
  hepix.vmimages.imagelist_info:
    uri: https://images.example.org/worker-nodes.list
    identifier: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
  register: published

- name: Keep it as variables
  ansible.builtin.copy:
    content: "{{ {'worker_nodes': published.publication} | hepix.vmimages.to_variables }}"
    dest: group_vars/all/worker_nodes.yml
    mode: "0644"

- name: Publish it from now on with this collection
  hepix.vmimages.imagelist_publish:
    identifier: "{{ worker_nodes.identifier }}"
    title: "{{ worker_nodes.title }}"
    description: "{{ worker_nodes.description }}"
    source: "{{ worker_nodes.source }}"
    uri: "{{ worker_nodes.uri }}"
    endorser: "{{ worker_nodes.endorser }}"
    metadata: "{{ worker_nodes.metadata }}"
    images: "{{ worker_nodes.images }}"
    history_dir: /home/endorser/.local/share/hepix-vmimages
"""

RETURN = r"""
verified:
  description:
    - Whether the list was verified as of now. It is V(true) unless O(verify=false) or O(as_of), since a list that does
      not pass is a failure.
  type: bool
  returned: success
  sample: true
audit:
  description:
    - Whether the list was judged as of another time, O(as_of), and was good then. That authorises nothing.
  type: bool
  returned: success
  sample: false
as_of:
  description: The time as of which the list was judged, V(null) with O(verify=false).
  type: str
  returned: success
  sample: '2026-11-20T10:00:00Z'
list:
  description: The list.
  type: dict
  returned: success
  contains:
    identifier:
      description: The UUID of the list.
      type: str
      sample: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    version:
      description: The version of the list.
      type: str
      sample: '3'
    created:
      description: When the list was made.
      type: str
      sample: '2026-11-20T09:00:00Z'
    expires:
      description: When the list expires.
      type: str
      sample: '2026-12-18T09:00:00Z'
    title:
      description: The title of the list.
      type: str
      sample: Worker nodes
    description:
      description: What the list is for.
      type: str
      sample: Worker node images of the example site.
    source:
      description: Who publishes the list.
      type: str
      sample: example.org
    uri:
      description: The address that the list states for itself.
      type: str
      sample: https://images.example.org/worker-nodes.list
    endorsers:
      description: Whom the list names as its endorsers.
      type: list
      elements: dict
      sample:
        - dn: /DC=org/DC=example-grid/CN=Erin Endorser
          ca: /DC=org/DC=example-grid/CN=Example Grid Classic CA
          name: Erin Endorser
          email: erin@example.org
    sha512_of_content:
      description: The SHA-512 digest of the signed content, in hexadecimal digits.
      type: str
      sample: 0f5a2c...
    raw:
      description: The list as it was written, without its images; also the keys that this collection does not know.
      type: dict
publication:
  description:
    - The list as options of M(hepix.vmimages.imagelist_publish). Written as YAML it is where an endorser begins who
      takes over a list. What is not in a list is not in it - the certificate, the places to upload to, the history.
  type: dict
  returned: success
  sample:
    identifier: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    title: Worker nodes
    uri: https://images.example.org/worker-nodes.list
images:
  description: The images that the list endorses.
  type: list
  elements: dict
  returned: success
  contains:
    identifier:
      description: The UUID of the image.
      type: str
      sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
    version:
      description: The version of the image.
      type: str
      sample: '2'
    title:
      description: The title of the image.
      type: str
      sample: worker
    description:
      description: What the image is for.
      type: str
    uri:
      description: The address of the image.
      type: str
      sample: https://images.example.org/2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1/2.qcow2
    size:
      description: The size of the transferred file in octets.
      type: int
      sample: 2147483648
    sha512:
      description: The SHA-512 digest of the transferred file, in hexadecimal digits.
      type: str
      sample: 9b71d2...
    arch:
      description: The architecture.
      type: str
      sample: x86_64
    os:
      description: The operating system.
      type: str
      sample: Linux
    osversion:
      description: The version of the operating system.
      type: str
      sample: Debian 12
    hypervisor:
      description: The hypervisors that the image runs on.
      type: str
      sample: kvm
    format:
      description: The format of the file, V(null) where it is not stated.
      type: str
      sample: qcow2
    comments:
      description: Remarks.
      type: str
    expires:
      description: When this image ends, V(null) where it ends with its list.
      type: str
      sample: '2026-12-01T00:00:00Z'
    raw:
      description: The image as it was written, with the keys that this collection does not know.
      type: dict
elected:
  description:
    - The persons whom an endorser list names (see M(hepix.vmimages.endorserlist_publish)), V(null) for an image list.
  type: list
  elements: dict
  returned: success
  sample: null
signer:
  description: Who signed the list, V(null) with O(verify=false).
  type: dict
  returned: success
  contains:
    dn:
      description: The name of the signer in the slash form.
      type: str
      sample: /DC=org/DC=example-grid/CN=Erin Endorser
    ca:
      description: The name of the issuer in the slash form.
      type: str
      sample: /DC=org/DC=example-grid/CN=Example Grid Classic CA
    rfc4514:
      description: The name of the signer by RFC 4514.
      type: str
      sample: CN=Erin Endorser,DC=example-grid,DC=org
    fingerprint:
      description: The SHA-256 digest of the certificate, in hexadecimal digits.
      type: str
      sample: 3f79bb...
    not_after:
      description: When the certificate expires.
      type: str
      sample: '2027-11-20T09:00:00Z'
path:
  description:
    - The certification path, the certificate of the signer first and the trust anchor last. Empty with O(verify=false).
  type: list
  elements: dict
  returned: success
  contains:
    dn:
      description: The name in the slash form.
      type: str
      sample: /DC=org/DC=example-grid/CN=Example Grid Classic CA
    ca:
      description: The name of the issuer in the slash form.
      type: str
      sample: /DC=org/DC=example-grid/CN=Example Grid Root CA
    rfc4514:
      description: The name by RFC 4514.
      type: str
      sample: CN=Example Grid Classic CA,DC=example-grid,DC=org
    fingerprint:
      description: The SHA-256 digest of the certificate, in hexadecimal digits.
      type: str
      sample: 8c1f0e...
    not_before:
      description: When the certificate begins.
      type: str
      sample: '2026-11-18T09:00:00Z'
    not_after:
      description: When the certificate expires.
      type: str
      sample: '2036-11-18T09:00:00Z'
crls:
  description: The revocation lists by which the certification path was judged.
  type: list
  elements: dict
  returned: success
  contains:
    issuer:
      description: The authority that issued the revocation list, in the slash form.
      type: str
      sample: /DC=org/DC=example-grid/CN=Example Grid Classic CA
    number:
      description: The number of the revocation list, V(null) where it states none.
      type: int
      sample: 17
    this_update:
      description: When it was issued.
      type: str
      sample: '2026-11-20T00:00:00Z'
    age:
      description: How long ago that was, in seconds.
      type: int
      sample: 36000
    next_update:
      description: Until when it may be used.
      type: str
      sample: '2026-11-27T00:00:00Z'
    sha256:
      description: The SHA-256 digest of the revocation list, in hexadecimal digits.
      type: str
      sample: 60303a...
good_until:
  description:
    - Until when the proof stands - the earliest of the list's expiry, the ends of the certificates, and the next
      updates of the revocation lists. V(null) with O(verify=false).
  type: str
  returned: success
  sample: '2026-11-27T00:00:00Z'
good_until_reason:
  description: What ends the proof then. V(null) with O(verify=false).
  type: str
  returned: success
  sample: the CRL of /DC=org/DC=example-grid/CN=Example Grid Classic CA expires
steps:
  description:
    - The sixteen steps of the verification in their order, each with its outcome. Empty with O(verify=false), and when
      there was no message to judge.
  type: list
  elements: dict
  returned: success or failure
  contains:
    number:
      description: The number of the step, V(1) to V(16).
      type: int
      sample: 9
    title:
      description: What the step is about.
      type: str
      sample: namespaces
    outcome:
      description:
        - V(passed), V(refused), V(not reached) after a refusal, or V(not asked) when there was nothing to compare with,
          such as the endorsers when O(endorsers) is left out.
      type: str
      sample: passed
    code:
      description: The code of the refusal, V(null) otherwise.
      type: str
      sample: null
    detail:
      description: What was found.
      type: str
      sample: 2 of 2 names permitted by a rule
step:
  description:
    - The step that the list did not pass, with the same keys as an element of RV(steps). V(null) when there was no
      message to judge.
  type: dict
  returned: failure
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: list_expired
remedy:
  description: What to do next.
  type: str
  returned: failure
  sample: Ask the endorser to publish the list with a new expiry date.
context:
  description: Further facts about the refusal, such as paths, found and expected values.
  type: dict
  returned: failure
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.arguments import (
    ACCESS,
    ENDORSERS,
    TRUST,
    timestamp,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import CRYPTOGRAPHY, REQUESTS
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import fail, run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.declared.description import describe
from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.inspection import (
    InspectionSpec,
    inspect_list,
    refusal,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import utc_now
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.steps import Explanation

ARGUMENTS = {
    "src": {"type": "path"},
    "uri": {"type": "str"},
    "verify": {"type": "bool", "default": True},
    "as_of": {"type": "str"},
    "identifier": {"type": "str"},
    "new_identifier": {"type": "str"},
    "endorsers": ENDORSERS,
    **ACCESS,
    **TRUST,
}


def read(module: AnsibleModule) -> t.Mapping[str, t.Any]:
    """Fetch or open the message, verify it, and return what it says and proves."""
    explanation = Explanation()
    try:
        when = timestamp(module.params, "as_of")
        spec = InspectionSpec.from_options(module.params)
        found = inspect_list(spec, now=when or utc_now(), explanation=explanation, audit=when is not None)
        images = [image["raw"] for image in found["images"]]
        described = describe(found["list"]["raw"], images, identifier=module.params["new_identifier"])
        return {**found, "publication": described}
    except VmimagesError as error:
        fail(module, error, **refusal(explanation))


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        mutually_exclusive=[("src", "uri")],
        required_one_of=[("src", "uri")],
        supports_check_mode=True,
    )
    needs = [CRYPTOGRAPHY] if module.params["verify"] else []
    run(module, read, needs=[*needs, REQUESTS] if module.params["uri"] else needs)


if __name__ == "__main__":
    main()
