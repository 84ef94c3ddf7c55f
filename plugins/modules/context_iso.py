#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: context_iso
short_description: Make the context disks that configure virtual machines at their start
version_added: 0.1.0
description:
  - Makes the ISO images from which virtual machines are configured when they start, without a change of their image.
    The images have Rock Ridge and Joliet names and a label, so that all their readers find them.
  - Variables, files and scripts are the three strategies of the HEPiX working group. Which reader takes the disk is
    chosen by O(flavours), and the result tells in a sentence for each known reader whether it accepts the disk.
  - What a site must not do to an endorsed image is refused while the disk is made, see O(restrict).
  - The same options make the same octets, on every host, at every time.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.actiongroup
  - hepix.vmimages.dependencies.iso
attributes:
  check_mode:
    support: full
    details:
      - Contents are read, and fetched, in check mode as well.
  diff_mode:
    support: full
    details:
      - The difference shows variables, files and the text of short files, and nothing of what is a secret.
  idempotent:
    support: full
    details:
      - A disk is replaced when its octets differ. An address is not fetched again while the disk that is there holds
        a file with its checksum.
options:
  dest:
    description:
      - Where the disk is written, atomically. Its directory must be there.
      - This, or O(isos), is needed.
    type: path
  isos:
    description:
      - Many disks in one call, each with the options of this module. What an item leaves out it takes from the
        options beside this one; the variables of both are joined.
      - Nothing is written when one of them is refused.
    type: list
    elements: dict
  state:
    description:
      - Whether the disk is there.
    type: str
    choices: [present, absent]
    default: present
  flavours:
    description:
      - For whose readers the disk is made. When left out, it is V(hepix) and V(opennebula).
      - V(hepix) are the book's prologue and epilogue, and those of the role P(hepix.vmimages.vmcontext#role).
      - V(amiconfig) is the same with the user data as C(EC2_USER_DATA).
      - V(opennebula) is one-context, and cloud-init on images for OpenNebula.
      - V(nocloud) and V(configdrive) are those sources of cloud-init.
      - Readers that look for different labels cannot share a disk; O(also) makes a second one.
    type: list
    elements: str
    choices: [hepix, amiconfig, opennebula, nocloud, configdrive]
  label:
    description:
      - The label of the volume. When left out, it is the one that the flavours' readers look for, or V(CONTEXT).
    type: str
  also:
    description:
      - Further disks with the same contents for other readers, for instance one for V(nocloud).
    type: list
    elements: dict
    suboptions:
      dest:
        description:
          - Where the disk is written.
        type: path
        required: true
      flavours:
        description:
          - For whose readers it is made.
        type: list
        elements: str
        choices: [hepix, amiconfig, opennebula, nocloud, configdrive]
        required: true
      label:
        description:
          - The label of the volume.
        type: str
  instance_id:
    description:
      - The identifier of the instance. What is done once per instance is done again when it changes.
      - Readers get it as C(HEPIX_INSTANCE_ID), C(VMID), C(instance-id) and C(uuid).
    type: str
  hostname:
    description:
      - The host name of the instance.
    type: str
  variables:
    description:
      - Variables for C(context.sh), with texts or numbers as values. Names are upper-cased. Values are quoted, so that
        no shell expands or executes anything in them.
      - A boolean is refused, because YAML makes one of V(off). Quote such values.
    type: dict
  secret_variables:
    description:
      - Variables whose values are secrets, each with the path of a file on the module's host that holds the value. A
        line end at the end of the file does not count.
    type: dict
  scripts:
    description:
      - The scripts that run in the guest.
    type: dict
    suboptions: &scripts
      prolog:
        description:
          - Runs as root before the network is there, C(prolog.sh).
        type: dict
        suboptions: &content
          src:
            description:
              - The path of a file on the module's host.
            type: path
          content:
            description:
              - The text itself.
            type: str
          content_base64:
            description:
              - The content in base64.
            type: str
          url:
            description:
              - An https address. The checksum is needed then.
            type: str
          checksum:
            description:
              - The checksum of what is at the address, such as V(sha512:) with the hexadecimal digits; sha256 and
                sha384 will do.
            type: str
          secret:
            description:
              - Whether the content is a secret, which is neither shown nor left in the guest after use.
            type: bool
            default: false
      epilog:
        description:
          - Runs as root when the system is up, C(epilog.sh).
        type: dict
        suboptions: *content
      init:
        description:
          - Is run by readers that know no prologue, C(init.sh).
        type: dict
        suboptions: *content
      payload:
        description:
          - Runs as O(payload_user) after the epilogue, C(payload.sh). The role's scripts do this.
        type: dict
        suboptions: *content
  files:
    description:
      - Files of the disk, each with one of C(src), C(content), C(content_base64) and C(url).
    type: list
    elements: dict
    suboptions:
      name:
        description:
          - The name on the disk, without a directory. When left out, it is that of C(src).
        type: str
      target:
        description:
          - The path in the guest where the role's scripts place the file before the prologue runs.
        type: str
      mode:
        description:
          - The mode in the guest, quoted. When left out, V('0644'), and V('0600') for a secret.
        type: str
      owner:
        description:
          - The owner in the guest.
        type: str
        default: root
      group:
        description:
          - The group in the guest.
        type: str
        default: root
      src:
        description:
          - The path of a file on the module's host.
        type: path
      content:
        description:
          - The text itself.
        type: str
      content_base64:
        description:
          - The content in base64.
        type: str
      url:
        description:
          - An https address. The checksum is needed then.
        type: str
      checksum:
        description:
          - The checksum of what is at the address, such as V(sha512:) with the hexadecimal digits; sha256 and sha384
            will do.
        type: str
      secret:
        description:
          - Whether the content is a secret, which is neither shown nor left in the guest after use.
        type: bool
        default: false
  packages:
    description:
      - Paths of packages on the module's host, rpm or deb, such as the client of the site's batch system. The role's
        scripts install them between prologue and epilogue.
    type: list
    elements: path
  user_data:
    description:
      - User data for cloud-init and its relatives, as text, or as a mapping that becomes a cloud-config.
    type: raw
  user_data_src:
    description:
      - The path of a file on the module's host with the user data, in place of O(user_data). It is taken for a secret.
    type: path
  meta_data:
    description:
      - Further meta data for V(nocloud) and V(configdrive).
    type: dict
  vendor_data:
    description:
      - Vendor data for V(nocloud) and V(configdrive), as text or as a mapping.
    type: raw
  network_config:
    description:
      - The network configuration for V(nocloud), as text or as a mapping.
    type: raw
  ssh_authorized_keys:
    description:
      - Public keys that may log in.
    type: list
    elements: str
  payload_user:
    description:
      - The user of the image under whom the payload runs. Root, system users and numbers are always refused.
    type: str
  ttl_hours:
    description:
      - After how many hours the instance shuts itself down.
    type: int
  restrict:
    description:
      - What becomes of a disk that crosses the site's limits. They are files that go to protected places (compiler,
        perl, python, kernel, C library, and the contextualisation itself) or outside of the usual ones, packages of
        the same, sources such as C(/etc) whose files no guest should have, variables that steer shells and loaders,
        scripts with the line ends of Windows, and C(init.sh) beside C(prolog.sh).
      - V(enforce) refuses it, V(warn) says so and makes it, V(off) makes it without a word.
    type: str
    choices: [enforce, warn, 'off']
    default: enforce
  safe_sources:
    description:
      - Directories below restricted ones whose files guests may have.
    type: list
    elements: path
  source_date:
    description:
      - The date of everything on the disk, in seconds since 1970.
    type: int
    default: 0
  mode:
    description:
      - The mode of the disk's file, quoted.
    type: str
    default: '0600'
  owner:
    description:
      - The owner of the disk's file, for instance the user of the hypervisor.
    type: str
  group:
    description:
      - The group of the disk's file.
    type: str
  ca_path:
    description:
      - A PEM file, or a hashed directory, of the certification authorities for addresses. When left out, it is the
        system's.
    type: path
notes:
  - Addresses are fetched with the libraries requests and urllib3, which are needed for them only.
seealso:
  - module: hepix.vmimages.context_iso_info
"""

EXAMPLES = r"""
- name: Make the context disk of a worker node
  hepix.vmimages.context_iso:
    dest: /var/lib/hepix-context/wn001.iso
    instance_id: 7a1f2b8e-4a5d-4a52-9d3c-1f0a2b7c9e11
    hostname: wn001.example.org
    variables:
      AFS: 'off'
      NFS_SERVER_IP: 192.0.2.1
    scripts:
      prolog:
        src: /srv/site/prolog.sh
      epilog:
        content: |
          #!/bin/sh
          echo "This is $HOSTNAME."
    files:
      - src: /srv/site/lsf.conf
        name: lsfcontext.conf
        target: /etc/lsf.conf
      - url: https://config.example.org/ban-list
        checksum: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
        name: ban-list
    packages:
      - /srv/site/batch-client-1.0-1.noarch.rpm
    secret_variables:
      BATCH_TOKEN: /srv/site/secrets/batch-token
    payload_user: grid
    ttl_hours: 48
    owner: libvirt-qemu

- name: Serve cloud-init's NoCloud as well, with the same contents
  hepix.vmimages.context_iso:
    dest: /var/lib/hepix-context/wn002.iso
    instance_id: 0e6c9a0a-35a1-43e4-a3c1-7ce0b7a3f3a8
    user_data:
      packages: [nfs-common]
    also:
      - dest: /var/lib/hepix-context/wn002-cidata.iso
        flavours: [nocloud]

- name: Make many disks in one call
  hepix.vmimages.context_iso:
    variables:
      SYSLOG_SERVER: log.example.org
    isos:
      - dest: /var/lib/hepix-context/wn003.iso
        instance_id: wn003
      - dest: /var/lib/hepix-context/wn004.iso
        instance_id: wn004
"""

RETURN = r"""
isos:
  description: The disks, in the order of the options, each followed by those under its O(also).
  type: list
  elements: dict
  returned: success
  contains:
    dest:
      description: The path of the disk.
      type: str
      sample: /var/lib/hepix-context/wn001.iso
    state:
      description: Whether it is there afterwards, or in check mode would be.
      type: str
      sample: present
    changed:
      description: Whether this disk was changed.
      type: bool
    sha512:
      description: The digest of the disk.
      type: str
      returned: when it is present
    size:
      description: The octets of the disk.
      type: int
      returned: when it is present
      sample: 75776
    label:
      description: The label of the volume.
      type: str
      returned: when it is present
      sample: CONTEXT
    files:
      description: The files on the disk.
      type: list
      elements: dict
      returned: when it is present
      contains:
        path:
          description: The path on the disk.
          type: str
          sample: prolog.sh
        size:
          description: The octets of the file.
          type: int
          sample: 120
        mode:
          description: The mode on the disk.
          type: str
          sample: '0500'
        secret:
          description: Whether it is, or holds, a secret.
          type: bool
        sha256:
          description: The digest of the file, V(null) for a secret.
          type: str
    variables:
      description: The variables of C(context.sh). The value of a secret is V(null).
      type: dict
      returned: when it is present
      sample: {"AFS": "off", "BATCH_TOKEN": null}
    readers:
      description:
        - For each known reader whether it accepts the disk, as C(accepts), and in a sentence C(why).
      type: dict
      returned: when it is present
      sample: {"one_context": {"accepts": true, "why": "It sources context.sh."}}
    found_as:
      description:
        - For the usual ways to attach the disk, the device at which the book's own scripts find it, and V(null) where
          they do not. Other readers find it everywhere.
      type: dict
      returned: when it is present
      sample: {"kvm_virtio_disk": "/dev/vdb", "kvm_cdrom": null}
    lint:
      description: What was found about the disk, and did not stop it.
      type: list
      elements: dict
      returned: when it is present
      contains:
        code:
          description: The stable code of the finding.
          type: str
          sample: nobody_reads
        where:
          description: The option that it is about.
          type: str
          sample: user_data
        level:
          description: What it is.
          type: str
          sample: warning
        sentence:
          description: What was found, and what to do.
          type: str
actions:
  description: What was done, or in check mode would be done.
  type: list
  elements: dict
  returned: success
  contains:
    action:
      description: V(create), V(replace), V(permit) (owner and mode only) or V(remove).
      type: str
      sample: create
    dest:
      description: The path of the disk.
      type: str
      sample: /var/lib/hepix-context/wn001.iso
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: variable_forbidden
remedy:
  description: What to do next.
  type: str
  returned: failure
  sample: "Choose another name: shells and programs give this one a meaning of their own."
context:
  description: Further facts about the refusal, such as all that was found.
  type: dict
  returned: failure
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.contexts import CONTEXT_ISO
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import PYCDLIB
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.items import merged_items
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context.disks import make_disks, wanted_disks
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context.payload.content import fetcher
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome

ARGUMENTS = CONTEXT_ISO


def make(module: AnsibleModule) -> Outcome:
    """Make every disk, or plan it."""
    items = merged_items(module.params, ARGUMENTS, "isos", joined=("variables", "secret_variables"))
    wanted = [disk for item in items for disk in wanted_disks(item)]
    return make_disks(wanted, check=module.check_mode, fetch=fetcher(module.params["ca_path"]))


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        required_one_of=[("dest", "isos")],
    )
    run(module, make, needs=[PYCDLIB])


if __name__ == "__main__":
    main()
