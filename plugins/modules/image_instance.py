#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_instance
short_description: Start virtual machines from images that may run
version_added: 0.1.0
description:
  - Makes an instance of an image, if the image may run now. The verdict is asked for first, from the snapshot
    C(verdicts.json) of the site or node, and a refusal has the verdict's code. The cached file is held against its
    recorded size and times, or, if wanted, read and compared with the endorsed digest.
  - The instance gets a disk of its own (an overlay on the cached file, which is only read, or a verified copy), context
    disks, a domain of libvirt with metadata that tell its image, and a record. Then it is started.
  - The record, which only root can have written, tells afterwards what was made of which image. It is what the gate of
    the hypervisor believes, and what O(state=absent) goes by.
  - How the image boots is checked against its boot-mode matrix (see M(hepix.vmimages.image_boot_info)). An image that
    does not boot in the wanted mode is refused, with the reasons.
  - Sites without libvirt get a configuration for C(xl) or a template for OpenNebula, after the same checks.
  - One call makes any number of instances. What is refused for one of them does not undo the others; the call fails
    then, and tells of each.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.actiongroup
  - hepix.vmimages.dependencies.libvirt
requirements:
  - pycdlib >= 1.14, where context disks are made
attributes:
  check_mode:
    support: full
    details:
      - The result has all actions, the domain's XML, and every refusal that can be foreseen. To learn how an image
        boots, it is mounted read-only for a moment, unless O(boot_info) is given.
  diff_mode:
    support: full
    details:
      - The difference is that of domains by what they mean, and of the contents of context disks without secrets.
  idempotent:
    support: partial
    details:
      - With O(state=restarted), an instance is restarted every time.
options:
  name:
    description:
      - The name of the instance. Needed unless there are O(instances).
    type: str
  instances:
    description:
      - Instances, each a mapping with the options of this module. What an item leaves out is taken from the module's
        own options.
    type: list
    elements: dict
  state:
    description:
      - V(present) makes the instance what the options say, and starts it unless O(started=false).
      - V(restarted) does the same, and starts it again if it was running.
      - V(absent) stops it and removes its domain, its disk, the context disks that were made for it, and its record;
        nothing that the record does not name.
    type: str
    choices: [present, absent, restarted]
    default: present
  started:
    description:
      - Whether it runs. With V(false) it is only defined, and stopped if it was running.
    type: bool
    default: true
  restart_when_changed:
    description:
      - Whether a running instance whose description has changed is started again. When not, the change counts at its
        next start, and RV(instances[].restart_needed) is true.
    type: bool
    default: false
  rebuild:
    description:
      - Whether an instance is made anew, with a new disk, when O(image) means another image, another version of it, or
        O(disk) another place. What was on its disk is lost. When not, that is refused (C(instance_outdated)).
    type: bool
    default: false
  stop_timeout:
    description:
      - For how long a system is waited for that was asked to shut down, before its power is cut. V(0s) cuts it at once.
    type: str
    default: 60s
  autostart:
    description:
      - Whether libvirt starts it with the host. When left out, this is not changed.
    type: bool
  uuid:
    description:
      - The UUID of the instance. When left out, it is that of the instance that is there, or one derived from host,
        connection and name.
    type: str
  image:
    description:
      - The UUID or the tag of the image. Needed unless O(state=absent).
    type: str
  state_dir:
    description:
      - The directory of the site's or node's state. Only the snapshot of the verdicts is read there, by whatever user.
    type: path
    default: /var/lib/hepix-vmimages
  max_age:
    description:
      - The age beyond which the verdicts are not believed, such as V(1d). The limit of the image's list
        (C(max_unrefreshed)) holds in any case.
    type: str
  verify:
    description:
      - V(stat) compares size, times and inode of the cached file with those at its verification. V(sha512) reads it as
        well, once for all instances of a call.
    type: str
    choices: [stat, sha512]
    default: stat
  boot_info:
    description:
      - What M(hepix.vmimages.image_boot_info) returned for the image; only its C(matrix) is used. When left out, this
        module looks at the image, which takes root and loop devices, and for V(qcow2) a raw copy of it for as long.
    type: dict
  mode:
    description:
      - How it runs. V(qemu) is without hardware support, and slow.
    type: str
    choices: [kvm, qemu, xen_hvm, xen_para, xen_pvh]
    default: kvm
  connection:
    description:
      - The address of libvirt's daemon, such as V(qemu:///session) or V(xen:///system).
    type: str
    default: qemu:///system
  output:
    description:
      - What is made of the description. V(domain) is a domain of O(connection).
      - V(libvirt) and V(xl) are texts, a domain's XML and a configuration for C(xl), for managers that start it from
        there. Disk, context disks and record are made as well.
      - V(opennebula) is a template. OpenNebula gives out disks, UUIDs and context disks itself, so that nothing else
        is made, and there is no record.
    type: str
    choices: [domain, libvirt, xl, opennebula]
    default: domain
  dest:
    description:
      - The file for the text of O(output), if it is not to be returned only.
    type: path
  memory:
    description:
      - The memory, such as V(2 GiB).
    type: str
    default: 1 GiB
  cpus:
    description:
      - The number of processors.
    type: int
    default: 1
  machine:
    description:
      - The board, for V(kvm) and V(qemu).
    type: str
    choices: [pc, q35]
    default: pc
  cpu:
    description:
      - The model of the processors. When left out, V(host-model), and V(maximum) for V(qemu).
    type: str
    choices: [host-model, host-passthrough, maximum]
  disk:
    description:
      - The instance's own disk.
    type: dict
    suboptions:
      method:
        description:
          - V(overlay) is a qcow2 file that holds what the instance writes, on the file in the cache, which is left as
            it is. It takes no time and little room, and needs the cached file for as long as it lives.
          - V(reflink) shares the octets with the cache, and fails where the file system cannot. V(copy) copies them,
            and verifies them while it does so.
          - V(device) copies them to the block device C(path), and verifies them. What lies beyond the image's end is
            left as it is.
          - When left out, V(overlay).
        type: str
        choices: [overlay, reflink, copy, device]
      path:
        description:
          - The file or the block device. When left out, a file in O(directory) with the instance's name.
          - A node such as C(/dev/sdb) is refused where there is a link to it that lasts, as in C(/dev/disk/by-id).
        type: path
      format:
        description:
          - The format of the file in the cache. When left out, it is the endorsed file, else a derived one, raw before
            qcow2. It has to be given where the image list does not state a format.
        type: str
        choices: [raw, qcow2]
      size:
        description:
          - The size of the disk where it is to be larger than the image, such as V(40 GiB). A disk that is there
            grows, and never shrinks. The guest has to grow its file systems itself.
        type: str
      target:
        description:
          - The place in the machine, such as V(vda). When left out, that of the mode.
        type: str
      mode:
        description:
          - The mode of the file, quoted. When left out, V('0600').
        type: str
      owner:
        description:
          - The owner of the file. When left out, it is root's until libvirt gives it to the guest's user.
        type: str
      group:
        description:
          - The group of the file.
        type: str
      overwrite:
        description:
          - Whether a block device is taken that holds something already. When left out, it is not.
        type: bool
  directory:
    description:
      - The directory of disks and context disks that are given no path. It is made where it is missing.
    type: path
    default: /var/lib/libvirt/images
  contexts:
    description:
      - The context disks, in order.
    type: list
    elements: dict
    suboptions:
      iso:
        description:
          - The options of M(hepix.vmimages.context_iso) for a disk that is made here, without C(dest), C(isos), C(also)
            and C(state). The identifier of the instance (C(instance_id)) is its UUID unless it is given, and
            C(ttl_hours) is O(ttl_hours).
          - It is made with mode 0600, and libvirt gives it to the guest's user for as long as the instance runs.
        type: dict
      path:
        description:
          - The file of a disk that is there, or the place of the one that is made. When left out, it is made in
            O(directory) with the instance's name.
        type: path
      attach:
        description:
          - Whether it is a CD-ROM or a disk. V(auto) is what the image sees in its mode.
        type: str
        choices: [auto, disk, cdrom]
        default: auto
  networks:
    description:
      - The network cards, in order.
    type: list
    elements: dict
    suboptions:
      type:
        description:
          - To what it is connected. V(user) needs no rights, and reaches out only.
        type: str
        choices: [bridge, network, user]
        default: bridge
      source:
        description:
          - The name of the bridge, or of the manager's network.
        type: str
      mac:
        description:
          - The address, in lower case. When left out, it is derived from the instance's UUID.
        type: str
      model:
        description:
          - The model of the card, for V(kvm) and V(qemu). When left out, V(virtio).
        type: str
  console_log:
    description:
      - A file for what the guest writes to its serial line.
    type: path
  vnc:
    description:
      - A screen. Without it there is none.
    type: dict
    suboptions:
      listen:
        description:
          - The address to listen on. There is no password.
        type: str
        default: 127.0.0.1
  bootloader:
    description:
      - The path of pygrub, for V(xen_para) and V(xen_pvh). When left out, C(/usr/bin/pygrub).
    type: path
  opennebula:
    description:
      - What an O(output=opennebula) needs beside.
    type: dict
    suboptions:
      image:
        description:
          - The name of the image in the datastore.
        type: str
        required: true
      context:
        description:
          - Variables for the context disk, which every guest can read.
        type: dict
      context_files:
        description:
          - Names in the datastore for files.
        type: list
        elements: str
  ttl_hours:
    description:
      - After how many hours, from when it was made, the instance's time is over. It is recorded, and the playbook
        C(hepix.vmimages.expire_instances) stops what is beyond it.
    type: int
  until:
    description:
      - The end of the instance's time, in UTC, such as V(2027-01-31T00:00:00Z), in place of O(ttl_hours).
    type: str
  author:
    description:
      - Who is recorded as the one who made it. When left out, it is the user who runs the module, or the one who
        called C(sudo).
    type: str
  records_dir:
    description:
      - The directory of the records, which root owns and nobody else may write.
    type: path
    default: /var/lib/hepix-instances
  ca_path:
    description:
      - Certification authorities for addresses of the context disks, see
        O(hepix.vmimages.context_iso#module:ca_path).
    type: path
notes:
  - Instances that were not made by this module, or have no record, are neither changed nor removed.
  - Calls on one instance at the same moment wait for each other, for ten minutes at most.
seealso:
  - module: hepix.vmimages.image_instance_info
  - module: hepix.vmimages.context_iso
  - module: hepix.vmimages.image_boot_info
"""

EXAMPLES = r"""
- name: Start a worker node
  hepix.vmimages.image_instance:
    name: worker-17
    image: sl5-worker
    memory: 4 GiB
    cpus: 2
    networks:
      - source: br0
    ttl_hours: 48
    contexts:
      - iso:
          variables:
            NFS_SERVER_IP: 192.0.2.1
          scripts:
            epilog:
              src: /srv/site/epilog.sh
          payload_user: grid

- name: Start many, which differ in little
  hepix.vmimages.image_instance:
    image: sl5-worker
    memory: 4 GiB
    verify: sha512
    networks:
      - source: br0
    instances:
      - name: worker-18
      - name: worker-19
        memory: 8 GiB

- name: Start a server on a logical volume, with a disk of its own
  hepix.vmimages.image_instance:
    name: squid-1
    image: 2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1
    disk:
      method: device
      path: /dev/vg0/squid-1
    networks:
      - source: br0

- name: Move it to the version of the image that is endorsed now
  hepix.vmimages.image_instance:
    name: worker-17
    image: sl5-worker
    memory: 4 GiB
    rebuild: true

- name: Write a configuration for xl
  hepix.vmimages.image_instance:
    name: worker-20
    image: sl5-worker
    mode: xen_para
    output: xl
    dest: /etc/xen/worker-20.cfg
    disk:
      method: copy
    networks:
      - source: xenbr0

- name: Remove an instance, and all that was made for it
  hepix.vmimages.image_instance:
    name: worker-17
    state: absent
"""

RETURN = r"""
instances:
  description: The instances, in the order of the options, those that were refused included.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: The name.
      type: str
      sample: worker-17
    changed:
      description: Whether this instance was changed.
      type: bool
    code:
      description: The code of the refusal, V(null) if there was none.
      type: str
    uuid:
      description: The UUID; V(null) where there is none.
      type: str
    state:
      description:
        - What it is afterwards, or in check mode would be. It is V(running), V(stopped), V(recorded) (written down for
          another manager) or V(absent); V(null) after a refusal.
      type: str
      sample: running
    image:
      description: The UUID of the image.
      type: str
    version:
      description: The version of the image.
      type: str
      sample: "1.2"
    mode:
      description: The mode.
      type: str
      sample: kvm
    disk:
      description: The path of its own disk.
      type: str
      sample: /var/lib/libvirt/images/worker-17.qcow2
    contexts:
      description: The paths of its context disks.
      type: list
      elements: str
    record:
      description: The path of its record.
      type: str
    until:
      description: The end of its time, V(null) for none.
      type: str
      sample: "2027-01-31T00:00:00Z"
    xml:
      description: The domain, for the outputs V(domain) and V(libvirt).
      type: str
    configuration:
      description: The text, for the outputs V(xl) and V(opennebula).
      type: str
    differences:
      description: What the domain had otherwise than wanted.
      type: list
      elements: dict
      contains:
        what:
          description: What it is about.
          type: str
          sample: memory
        wanted:
          description: What is wanted.
          type: raw
        found:
          description: What was found.
          type: raw
    restart_needed:
      description: Whether it runs on as it was described before.
      type: bool
actions:
  description: What was done, or in check mode would be done, in this order.
  type: list
  elements: dict
  returned: always
  contains:
    action:
      description:
        - One of V(stop), V(remove), V(make_disk), V(record), V(create_context), V(replace_context), V(permit_context),
          V(grow_disk), V(define), V(redefine), V(autostart), V(start), V(restart), V(write), V(undefine),
          V(remove_record).
      type: str
      sample: start
    name:
      description: The name of the instance.
      type: str
    path:
      description: The file that it is about.
      type: str
      returned: for files
    method:
      description: How the disk is made.
      type: str
      returned: for V(make_disk)
    size:
      description: The new size in octets.
      type: int
      returned: for V(grow_disk)
    differences:
      description: What differs.
      type: list
      elements: str
      returned: for V(redefine)
    autostart:
      description: Whether it starts with the host.
      type: bool
      returned: for V(autostart)
failures:
  description: The refusals, one for each instance that is not as wanted.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: The name of the instance.
      type: str
    code:
      description: The stable code of the refusal.
      type: str
      sample: withdrawn
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
  description: The stable code of the first refusal.
  type: str
  returned: failure
  sample: not_approved
remedy:
  description: What to do next.
  type: str
  returned: failure
context:
  description: Further facts about the first refusal.
  type: dict
  returned: failure
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.contexts import with_checked_contexts
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.dependencies import LIBVIRT, PYCDLIB
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.items import merged_items
from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.instances.calls import bring_about
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.instances.wishes import read_wish
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import utc_now

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "name": {"type": "str"},
    "instances": {"type": "list", "elements": "dict"},
    "state": {"type": "str", "choices": ["present", "absent", "restarted"], "default": "present"},
    "started": {"type": "bool", "default": True},
    "restart_when_changed": {"type": "bool", "default": False},
    "rebuild": {"type": "bool", "default": False},
    "stop_timeout": {"type": "str", "default": "60s"},
    "autostart": {"type": "bool"},
    "uuid": {"type": "str"},
    "image": {"type": "str"},
    "state_dir": {"type": "path", "default": "/var/lib/hepix-vmimages"},
    "max_age": {"type": "str"},
    "verify": {"type": "str", "choices": ["stat", "sha512"], "default": "stat"},
    "boot_info": {"type": "dict"},
    "mode": {"type": "str", "choices": ["kvm", "qemu", "xen_hvm", "xen_para", "xen_pvh"], "default": "kvm"},
    "connection": {"type": "str", "default": "qemu:///system"},
    "output": {"type": "str", "choices": ["domain", "libvirt", "xl", "opennebula"], "default": "domain"},
    "dest": {"type": "path"},
    "memory": {"type": "str", "default": "1 GiB"},
    "cpus": {"type": "int", "default": 1},
    "machine": {"type": "str", "choices": ["pc", "q35"], "default": "pc"},
    "cpu": {"type": "str", "choices": ["host-model", "host-passthrough", "maximum"]},
    "disk": {
        "type": "dict",
        "options": {
            "method": {"type": "str", "choices": ["overlay", "reflink", "copy", "device"]},
            "path": {"type": "path"},
            "format": {"type": "str", "choices": ["raw", "qcow2"]},
            "size": {"type": "str"},
            "target": {"type": "str"},
            "mode": {"type": "str"},
            "owner": {"type": "str"},
            "group": {"type": "str"},
            "overwrite": {"type": "bool"},
        },
    },
    "directory": {"type": "path", "default": "/var/lib/libvirt/images"},
    "contexts": {
        "type": "list",
        "elements": "dict",
        "options": {
            "iso": {"type": "dict"},
            "path": {"type": "path"},
            "attach": {"type": "str", "choices": ["auto", "disk", "cdrom"], "default": "auto"},
        },
    },
    "networks": {
        "type": "list",
        "elements": "dict",
        "options": {
            "type": {"type": "str", "choices": ["bridge", "network", "user"], "default": "bridge"},
            "source": {"type": "str"},
            "mac": {"type": "str"},
            "model": {"type": "str"},
        },
    },
    "console_log": {"type": "path"},
    "vnc": {"type": "dict", "options": {"listen": {"type": "str", "default": "127.0.0.1"}}},
    "bootloader": {"type": "path"},
    "opennebula": {
        "type": "dict",
        "options": {
            "image": {"type": "str", "required": True},
            "context": {"type": "dict"},
            "context_files": {"type": "list", "elements": "str"},
        },
    },
    "ttl_hours": {"type": "int"},
    "until": {"type": "str"},
    "author": {"type": "str"},
    "records_dir": {"type": "path", "default": "/var/lib/hepix-instances"},
    "ca_path": {"type": "path"},
}


def make(module: AnsibleModule) -> Outcome:
    """Make every instance, or plan it."""
    items = merged_items(module.params, ARGUMENTS, "instances", joined=("disk",))
    wishes = [read_wish(with_checked_contexts(item)) for item in items]
    return bring_about(wishes, now=utc_now(), check=module.check_mode)


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        required_one_of=[("name", "instances")],
        mutually_exclusive=[("name", "instances"), ("ttl_hours", "until")],
    )
    items = [module.params, *(module.params["instances"] or [])]
    speaks = any(item.get("output", "domain") == "domain" for item in items)
    makes = any(context.get("iso") for item in items for context in item.get("contexts") or [])
    run(module, make, needs=[*([LIBVIRT] if speaks else []), *([PYCDLIB] if makes else [])])


if __name__ == "__main__":
    main()
