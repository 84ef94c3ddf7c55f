#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: imagelist_publish
short_description: Publish a signed list of virtual machine images
version_added: 0.1.0
description:
  - Declares an image list, as an endorser publishes it - what the list is called and which images it endorses.
  - The module derives what can be derived. The size and the SHA-512 digest of an image are read from its file, the
    names of the endorser and of the certification authority from the certificate.
  - The version of the list, and the version of an image, is raised only where something has changed.
  - The list is signed in this process with the endorser's private key (S/MIME, detached signature), and the signed
    message is verified by the same rules that a site applies, before anything is uploaded.
  - Images are uploaded first and the list last, each of them atomically, so that a reader never sees a list without its
    images.
  - Every published message is kept in O(history_dir). It says what was endorsed when, and it is what the next run
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
      - A file named by O(images[].path) is read again only when its size or its times have changed since it was read
        last.
options:
  identifier:
    description:
      - The UUID of the list. Sites pin it when they subscribe, so it never changes.
    type: str
    required: true
  source:
    description:
      - Who publishes the list, for example the domain name of the institute (C(dc:source)).
    type: str
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
  images:
    description:
      - The images that the list endorses.
      - With O(purge_images=false), what is left out of an image stays as it is published. Otherwise it is empty, or the
        default that the option names.
      - It must be given, if need be as V([]), which withdraws all images, unless O(purge_images=false).
    type: list
    elements: dict
    suboptions:
      identifier:
        description:
          - The UUID of the image. It stays the same from version to version.
        type: str
        required: true
      path:
        description:
          - The image's file on this host. Its size and digest are read from it.
          - Either this option is needed, or O(images[].size) and O(images[].sha512). When all of them are given, they
            must agree.
        type: path
      uri:
        description:
          - The address at which sites fetch the image (C(hv:uri)).
          - It may hold the placeholders C({identifier}), C({version}) and C({sha512}).
          - It is needed for a new image.
        type: str
      size:
        description:
          - The size of the transferred file in octets, for an image that is not on this host.
        type: int
      sha512:
        description:
          - The SHA-512 digest of the transferred file in hexadecimal digits, for an image that is not on this host.
        type: str
      title:
        description:
          - The title of the image (C(dc:title)). Sites use it as a tag.
        type: str
      description:
        description:
          - What the image is for (C(dc:description)).
        type: str
      arch:
        description:
          - The architecture (C(sl:arch)). For a new image it defaults to V(x86_64).
        type: str
      os:
        description:
          - The operating system (C(sl:os)). For a new image it defaults to V(Linux).
        type: str
      osversion:
        description:
          - The version of the operating system (C(sl:osversion)).
        type: str
      hypervisor:
        description:
          - The hypervisors that the image runs on, separated by commas (C(hv:hypervisor)). For a new image it
            defaults to V(kvm).
        type: str
      format:
        description:
          - The format of the image's file, for example V(raw) or V(qcow2), where compressed with a suffix such as
            V(.zst) (C(hv:format)).
          - When O(images[].path) is not compressed as the suffix says (V(.gz), V(.bz2), V(.xz) or V(.zst)), it is
            compressed on its way, and the compressed file kept in O(history_dir) as long as it is published.
        type: str
      comments:
        description:
          - Remarks (C(sl:comments)).
        type: str
      version:
        description:
          - The version of the image (C(hv:version)).
          - When left out, it is V(1) for a new image, and is raised by one where the image's file has changed.
        type: str
      expires:
        description:
          - A date and time at which this image ends earlier than the list, such as V(2027-01-31T00:00:00Z)
            (C(dc:date:expires)).
        type: str
      metadata:
        description:
          - Further keys of the image and their values, for example C(ad:mpuri). V(null) as a value removes the key.
        type: dict
        default: {}
      state:
        description:
          - V(absent) takes the image out of the list, which withdraws it from all sites. No other option of the image
            is then needed, and with O(purge_images=false) no other image needs to be named.
        type: str
        choices: [present, absent]
        default: present
      removal_reason:
        description:
          - Why the image is removed. It is kept in O(history_dir) and not published.
        type: str
      audit_report:
        description:
          - A JSON file about the audit of this very image. It says C(image.sha512), which is that of the image or of
            the file that is compressed on its way, and its C(result) is V(pass) or V(waived). For an image that comes
            compressed, C(image.sha512) is that of the file inside, which is not compared.
          - It is kept in O(history_dir).
        type: path
      package_manifest:
        description:
          - A JSON file in the format SPDX 2 with every package of the image.
          - It is kept in O(history_dir).
        type: path
  profile:
    description:
      - Write the fields that some readers demand beyond the plain format.
      - V(appdb) writes those that cloudkeeper and atrope take for granted. What can be told from the rest of the list
        is filled in. C(ad:vo) in O(metadata), and O(images[].expires), O(images[].format) and O(images[].osversion) are
        asked for.
    type: str
    choices: [appdb]
  require_evidence:
    description:
      - Publish no image without a clean O(images[].audit_report) and a O(images[].package_manifest), as clause 5 of the
        endorsement policy asks. What was given with the same octets before need not be given again.
    type: bool
    default: false
  purge_images:
    description:
      - Whether published images that O(images) does not name are withdrawn.
      - V(false) merges O(images) into the published list, so that one task can update one image.
    type: bool
    default: true
seealso:
  - module: hepix.vmimages.imagelist_info
  - module: hepix.vmimages.imagelist_subscribe
"""

EXAMPLES = r"""
- name: Publish a list of one image
  hepix.vmimages.imagelist_publish:
    identifier: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    title: Worker nodes
    description: Worker node images of the example site.
    source: example.org
    uri: https://images.example.org/worker-nodes.list
    images:
      - identifier: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
        path: /srv/build/worker.qcow2
        uri: https://images.example.org/{identifier}/{version}.qcow2
        title: worker
        format: qcow2
    certificate: /home/endorser/.globus/usercert.pem
    private_key: /home/endorser/.globus/userkey.pem
    passphrase_file: /run/user/1000/passphrase
    history_dir: /home/endorser/.local/share/hepix-vmimages
    uploads:
      - uri_match: https://images\.example\.org/
        uri_replace: /srv/www/images/

- name: Withdraw one image and leave the others as they are
  hepix.vmimages.imagelist_publish:
    identifier: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    uri: https://images.example.org/worker-nodes.list
    purge_images: false
    images:
      - identifier: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
        state: absent
        removal_reason: The kernel has a hole
    history_dir: /home/endorser/.local/share/hepix-vmimages
    uploads:
      - method: sftp
        uri_match: https://images\.example\.org/
        uri_replace: sftp://erin@www.example.org/srv/www/images/

- name: Update one image of a list and leave the others as they are
  hepix.vmimages.imagelist_publish:
    identifier: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    uri: https://images.example.org/worker-nodes.list
    purge_images: false
    images:
      - identifier: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
        uri: https://cloud.example.org/worker.img
        size: 2147483648
        sha512: "{{ lookup('ansible.builtin.file', 'worker.img.sha512') }}"
        title: worker
    certificate: /home/endorser/.globus/usercert.pem
    private_key: /home/endorser/.globus/userkey.pem
    history_dir: /home/endorser/.local/share/hepix-vmimages
    uploads:
      - uri_match: https://images\.example\.org/
        uri_replace: /srv/www/images/
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
      sample: 5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3
    version:
      description: The version of the list.
      type: str
      sample: '3'
    uri:
      description: The address at which sites fetch the list.
      type: str
      sample: https://images.example.org/worker-nodes.list
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
      sample: https://images.example.org/2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1/2.qcow2
    size:
      description: The size of the image's file in octets.
      type: int
      sample: 2147483648
    sha512:
      description: The SHA-512 digest of the image's file, in hexadecimal digits.
      type: str
      sample: 9b71d2...
signer:
  description: Who signs the list.
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
    not_after:
      description: When the certificate expires.
      type: str
      sample: '2027-11-20T09:00:00Z'
message_path:
  description: The signed message in O(history_dir); in check mode where it would be kept.
  type: str
  returned: success
  sample: /home/endorser/.local/share/hepix-vmimages/5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3/3.smime
octets_read:
  description: How many octets of image files were read to derive their digests.
  type: int
  returned: success
  sample: 0
actions:
  description: What was done, or in check mode would be done, in this order.
  type: list
  elements: dict
  returned: success
  contains:
    action:
      description:
        - V(sign) a new message, V(upload) a file, V(record) a report or a manifest, V(adopt) a list that was published
          without O(history_dir), or V(complete) a publication that was interrupted.
      type: str
      sample: upload
    identifier:
      description: The UUID of the list, or of the image that is uploaded.
      type: str
      sample: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
    version:
      description: The version of the list, or of the image that is uploaded.
      type: str
      returned: when the action is not V(record)
      sample: '3'
    reason:
      description:
        - Why a message is signed - V(first), V(content), V(expiry), V(certificate), V(lifetime) or V(version).
      type: str
      returned: when the action is V(sign)
      sample: content
    what:
      description:
        - Whether the V(list) or an V(image) is uploaded, and whether the V(audit_report) or the V(package_manifest) of
          an image is recorded.
      type: str
      returned: when the action is V(upload) or V(record)
      sample: image
    uri:
      description: The address of the uploaded file.
      type: str
      returned: when the action is V(upload)
      sample: https://images.example.org/2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1/2.qcow2
    target:
      description: Where the file is written to.
      type: str
      returned: when the action is V(upload)
      sample: /srv/www/images/2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1/2.qcow2
    size:
      description: The size of the uploaded file in octets.
      type: int
      returned: when the action is V(upload)
      sample: 2147483648
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

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.arguments import SIGNING, TRUST
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import CRYPTOGRAPHY
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.publish import PublishSpec, publish
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import utc_now

IMAGE = {
    "identifier": {"type": "str", "required": True},
    "path": {"type": "path"},
    "uri": {"type": "str"},
    "size": {"type": "int"},
    "sha512": {"type": "str"},
    "title": {"type": "str"},
    "description": {"type": "str"},
    "arch": {"type": "str"},
    "os": {"type": "str"},
    "osversion": {"type": "str"},
    "hypervisor": {"type": "str"},
    "format": {"type": "str"},
    "comments": {"type": "str"},
    "version": {"type": "str"},
    "expires": {"type": "str"},
    "metadata": {"type": "dict", "default": {}},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "removal_reason": {"type": "str"},
    "audit_report": {"type": "path"},
    "package_manifest": {"type": "path"},
}

ARGUMENTS = {
    "identifier": {"type": "str", "required": True},
    "source": {"type": "str"},
    "uri": {"type": "str", "required": True},
    "lifetime": {"type": "str", "default": "28d"},
    "renew_before": {"type": "str", "default": "7d"},
    "version": {"type": "str"},
    "images": {"type": "list", "elements": "dict", "options": IMAGE},
    "profile": {"type": "str", "choices": ["appdb"]},
    "require_evidence": {"type": "bool", "default": False},
    "purge_images": {"type": "bool", "default": True},
    **SIGNING,
    **TRUST,
}


def publish_list(module: AnsibleModule) -> Outcome:
    """Plan the publication and, outside check mode, carry it out."""
    return publish(
        PublishSpec.from_options(module.params, environment=os.environ), check=module.check_mode, now=utc_now()
    )


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
