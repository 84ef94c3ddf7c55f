#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_boot
short_description: Make the system in an image boot under several hypervisors
version_added: 0.1.0
description:
  - Changes the system under a directory, usually a mounted image, so that one and the same image boots under KVM, under
    Xen fully virtualised, and paravirtualised, as the book of the working group has it for EL5, and likewise for the
    systems of today.
  - Network without the address of one card, modprobe aliases, services, consoles, initrds with the drivers of every
    mode, boot entries and their order; and the configuration that keeps a kernel update from undoing it.
  - What is done is chosen by the tools and files that are in the system, not by its release file. The requirements have
    ids, which the reasons and notes carry.
  - Files are changed line by line by this machine; all that is not meant stays octet for octet. Only building an initrd
    runs a program of the image, as root, in namespaces of its own without network.
  - Configuration is written first, then initrds are built and checked by content, and the boot loader comes last.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details:
      - Returns every change and, for each initrd, why it would be built.
  diff_mode:
    support: full
    details:
      - Shows the lines that go and come, and nothing else of a file, which may hold secrets.
  idempotent:
    support: full
    details:
      - An initrd is built when what it holds is not enough, whatever its age.
requirements:
  - C(unshare) of util-linux 2.32 or later, and root, to build initrds in a tree other than C(/)
  - C(zstd), C(lz4) and C(lzop) for initrds that are compressed with them
options:
  root:
    description:
      - The directory of the system. V(/) is the running system itself.
    type: path
    required: true
  image:
    description:
      - The disk image that the system lies on, for its labels.
      - When left out, it is the one that O(root) is mounted from, if it is.
    type: path
  modes:
    description:
      - The modes that the system has to boot in.
    type: list
    elements: str
    choices: [kvm, xen_hvm, xen_para, xen_pvh]
    default: [kvm, xen_hvm, xen_para]
  kernel:
    description:
      - The version of the kernel of the default entry. When left out, the newest that is not for Xen alone.
    type: str
  xen_kernel:
    description:
      - The version of the kernel for V(xen_para) where the other cannot run so (EL5). When left out, the newest.
    type: str
  consoles:
    description:
      - The consoles of a kernel of today, the last of which is C(/dev/console). Empty leaves them as they are.
      - With V(hvc0) last, boot messages are seen under KVM and in every mode of Xen.
    type: list
    elements: str
    default: ['ttyS0,115200', hvc0]
  inittab_ttys:
    description:
      - Which logins on virtual terminals are left in C(/etc/inittab), which a paravirtualised guest does not have.
    type: str
    choices: [keep_first, none, all]
    default: keep_first
  console_guard:
    description:
      - Whether the login on a console of Xen is guarded by a script (C(/sbin/hepix-console)), so that init does not
        complain where there is no such console. The book does without.
    type: bool
    default: false
  ide_noprobe:
    description:
      - Whether EL5's kernel is told to leave emulated IDE disks alone, which excludes disks and CD-ROMs named hda to
        hdd.
      - V(auto) does so if V(xen_hvm) is among the O(modes).
    type: str
    choices: [auto, always, never]
    default: auto
  predictable_names:
    description:
      - Whether systemd may name network interfaces by where their card is attached, which differs by hypervisor.
      - By default, the interface is C(eth0) everywhere, and its configuration is made to speak of C(eth0).
    type: bool
    default: false
  services_off:
    description:
      - The services that do not start. One that is not installed is none.
    type: list
    elements: str
    default: [bluetooth, cups, firstboot, gpm, ip6tables, isdn, kudzu, pcscd]
  firewall:
    description:
      - Whether the system's own firewall services are left as they are, or off, for the site to set its own.
    type: str
    choices: [keep, 'off']
    default: keep
  selinux:
    description:
      - The mode of SELinux. The book disables it. Where it is not disabled, and files were changed, the system labels
        them at its next boot (C(/.autorelabel)).
    type: str
    choices: [keep, enforcing, permissive, disabled]
    default: keep
  identity:
    description:
      - What the image is to say of itself in C(/etc/hepix-image.json), which M(hepix.vmimages.image_audit) compares
        with its list - C(uuid), C(title), C(version), C(created) and C(endorser), each a text.
      - When left out, the file stays as it is.
    type: dict
  build_initrds:
    description:
      - Whether initrds may be built, which runs programs of the image. If not, they are listed in RV(builds), and boot
        entries are left as they are until the initrds are there.
    type: bool
    default: true
  backup_dir:
    description:
      - A directory outside the image for an archive of the files that are changed, one for each run.
      - A running system, V(/), has no outside.
    type: path
seealso:
  - module: hepix.vmimages.image_mount
  - module: hepix.vmimages.image_boot_info
  - ref: ansible_collections.hepix.vmimages.docsite.images
    description: What the collection does with images, and the requirements by their ids.
"""

EXAMPLES = r"""
- name: Make the mounted image boot everywhere
  hepix.vmimages.image_boot:
    root: /run/worker
    backup_dir: /var/backups/worker
  register: done

- name: Insist on what was asked for
  ansible.builtin.assert:
    that: done.matrix[item].ok
    fail_msg: "{{ done.matrix[item].reasons | map(attribute='text') | join(' ') }}"
  loop: "{{ done.wanted }}"

- name: Follow the book to the letter
  hepix.vmimages.image_boot:
    root: /run/worker
    selinux: disabled
    firewall: 'off'
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be done, in this order.
  type: list
  elements: dict
  returned: success
  contains:
    action:
      description: V(write), V(link), V(remove) or V(build).
      type: str
      sample: write
    path:
      description: The path in the system.
      type: str
      sample: /boot/grub/grub.conf
    requirements:
      description: The ids of the requirements that it is for.
      type: list
      elements: str
      sample: [A10, A14]
    reasons:
      description: Why.
      type: list
      elements: str
      sample: [pygrub ignores module lines, and would start the hypervisor as the guest.]
builds:
  description: The initrds that have to be built, whether or not O(build_initrds) lets them.
  type: list
  elements: dict
  returned: success
  contains:
    path:
      description: The initrd.
      type: str
      sample: /boot/initrd-xen-para.img
    kernel:
      description: The version of its kernel.
      type: str
      sample: 2.6.18-194.8.1.el5xen
    command:
      description: The command, which runs in the system.
      type: list
      elements: str
      sample: [update-initramfs, -u, -k, 6.1.0-18-amd64]
    why:
      description: Why it has to be built.
      type: list
      elements: str
      sample: ['/boot/initrd.img-6.1.0-18-amd64 lacks xen_blkfront.']
    needs:
      description: The modules that it has to hold afterwards.
      type: list
      elements: str
      sample: [virtio_blk, xen_blkfront]
notes:
  description: What the wanted modes still lack and no plan can give; each is a warning, too.
  type: list
  elements: dict
  returned: success
  contains:
    requirement:
      description: The id of the requirement, as the documentation lists them.
      type: str
      sample: A09
    text:
      description: What was found.
      type: str
      sample: /boot/initrd.img lacks xen_blkfront.
matrix:
  description:
    - The boot-mode matrix afterwards; in check mode and without a change, as it is.
    - M(hepix.vmimages.image_boot_info) tells more.
  type: dict
  returned: success
  contains:
    kvm:
      description: That mode.
      type: dict
      contains:
        ok:
          description: Whether the system reaches a login in this mode.
          type: bool
          sample: true
        entry:
          description: The index of the entry for the boot loader of the mode.
          type: int
          sample: 0
        kernel:
          description: The version of the kernel that it starts.
          type: str
          sample: 6.1.0-18-amd64
        reasons:
          description: Why it does not boot.
          type: list
          elements: dict
          contains:
            requirement:
              description: The id of the requirement, as the documentation lists them.
              type: str
              sample: A09
            text:
              description: What was found.
              type: str
              sample: /boot/initrd.img lacks xen_blkfront.
        warnings:
          description: What it lacks although it boots.
          type: list
          elements: dict
          contains:
            requirement:
              description: The id of the requirement, as the documentation lists them.
              type: str
              sample: A09
            text:
              description: What was found.
              type: str
              sample: /boot/initrd.img lacks xen_blkfront.
    xen_hvm:
      description: That mode.
      type: dict
      contains:
        ok:
          description: Whether the system reaches a login in this mode.
          type: bool
          sample: true
        entry:
          description: The index of the entry for the boot loader of the mode.
          type: int
          sample: 0
        kernel:
          description: The version of the kernel that it starts.
          type: str
          sample: 6.1.0-18-amd64
        reasons:
          description: Why it does not boot.
          type: list
          elements: dict
          contains:
            requirement:
              description: The id of the requirement, as the documentation lists them.
              type: str
              sample: A09
            text:
              description: What was found.
              type: str
              sample: /boot/initrd.img lacks xen_blkfront.
        warnings:
          description: What it lacks although it boots.
          type: list
          elements: dict
          contains:
            requirement:
              description: The id of the requirement, as the documentation lists them.
              type: str
              sample: A09
            text:
              description: What was found.
              type: str
              sample: /boot/initrd.img lacks xen_blkfront.
    xen_para:
      description: That mode.
      type: dict
      contains:
        ok:
          description: Whether the system reaches a login in this mode.
          type: bool
          sample: true
        entry:
          description: The index of the entry for the boot loader of the mode.
          type: int
          sample: 0
        kernel:
          description: The version of the kernel that it starts.
          type: str
          sample: 6.1.0-18-amd64
        reasons:
          description: Why it does not boot.
          type: list
          elements: dict
          contains:
            requirement:
              description: The id of the requirement, as the documentation lists them.
              type: str
              sample: A09
            text:
              description: What was found.
              type: str
              sample: /boot/initrd.img lacks xen_blkfront.
        warnings:
          description: What it lacks although it boots.
          type: list
          elements: dict
          contains:
            requirement:
              description: The id of the requirement, as the documentation lists them.
              type: str
              sample: A09
            text:
              description: What was found.
              type: str
              sample: /boot/initrd.img lacks xen_blkfront.
    xen_pvh:
      description: That mode.
      type: dict
      contains:
        ok:
          description: Whether the system reaches a login in this mode.
          type: bool
          sample: true
        entry:
          description: The index of the entry for the boot loader of the mode.
          type: int
          sample: 0
        kernel:
          description: The version of the kernel that it starts.
          type: str
          sample: 6.1.0-18-amd64
        reasons:
          description: Why it does not boot.
          type: list
          elements: dict
          contains:
            requirement:
              description: The id of the requirement, as the documentation lists them.
              type: str
              sample: A09
            text:
              description: What was found.
              type: str
              sample: /boot/initrd.img lacks xen_blkfront.
        warnings:
          description: What it lacks although it boots.
          type: list
          elements: dict
          contains:
            requirement:
              description: The id of the requirement, as the documentation lists them.
              type: str
              sample: A09
            text:
              description: What was found.
              type: str
              sample: /boot/initrd.img lacks xen_blkfront.
wanted:
  description: The modes that were asked for.
  type: list
  elements: str
  returned: success
  sample: [kvm, xen_hvm, xen_para]
backup:
  description: The archive of what was changed; V(null) where there is none.
  type: str
  returned: success
  sample: /var/backups/worker/20261120T120000Z.tar
code:
  description: The stable code of the refusal.
  type: str
  returned: failure
  sample: root_missing
remedy:
  description: What to do next.
  type: str
  returned: failure
  sample: 'Name the directory that holds the system: a mounted image, an unpacked tree, or /.'
context:
  description: Further facts about the refusal, such as paths, found and expected values.
  type: dict
  returned: failure
"""

import typing as t
from dataclasses import fields
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.plan.carry_out import make_bootable
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.plan.inside import run_inside
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.plan.wishes import SERVICES, Wishes
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome

MODES = ["kvm", "xen_hvm", "xen_para", "xen_pvh"]

ARGUMENTS = {
    "root": {"type": "path", "required": True},
    "image": {"type": "path"},
    "modes": {"type": "list", "elements": "str", "choices": MODES, "default": MODES[:3]},
    "kernel": {"type": "str"},
    "xen_kernel": {"type": "str"},
    "consoles": {"type": "list", "elements": "str", "default": ["ttyS0,115200", "hvc0"]},
    "inittab_ttys": {"type": "str", "choices": ["keep_first", "none", "all"], "default": "keep_first"},
    "console_guard": {"type": "bool", "default": False},
    "ide_noprobe": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
    "predictable_names": {"type": "bool", "default": False},
    "services_off": {"type": "list", "elements": "str", "default": list(SERVICES)},
    "firewall": {"type": "str", "choices": ["keep", "off"], "default": "keep"},
    "selinux": {"type": "str", "choices": ["keep", "enforcing", "permissive", "disabled"], "default": "keep"},
    "identity": {"type": "dict"},
    "build_initrds": {"type": "bool", "default": True},
    "backup_dir": {"type": "path"},
}


def make(module: AnsibleModule) -> Outcome:
    """Plan, and outside check mode do, what the modes need."""
    options = module.params
    chosen: dict[str, t.Any] = {field.name: options[field.name] for field in fields(Wishes)}
    chosen.update({name: tuple(value) for name, value in chosen.items() if isinstance(value, list)})
    if chosen["identity"] is not None:
        chosen["identity"] = {str(key): str(value) for key, value in chosen["identity"].items()}
    with Root(options["root"]) as root:
        return make_bootable(
            root,
            Wishes(**chosen),
            check=module.check_mode,
            now=datetime.now(timezone.utc),
            image=options["image"],
            backup_dir=options["backup_dir"],
            build=run_inside if options["build_initrds"] else None,
        )


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
    )
    run(module, make)


if __name__ == "__main__":
    main()
