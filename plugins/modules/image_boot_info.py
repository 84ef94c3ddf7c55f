#!/usr/bin/python
# Copyright: the hepix.vmimages contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_boot_info
short_description: Tell how the system in an image boots, and under which hypervisors
version_added: 0.1.0
description:
  - Reads the system under a directory, usually a mounted image, and tells its kernels, boot entries, initrds, consoles
    and network, and from them the boot-mode matrix - whether it boots under KVM, under Xen fully virtualised,
    paravirtualised, and as PVH, by which entry, and every reason why not.
  - Nothing is booted and nothing is run. Initrds are unpacked to see which drivers they hold; the boot loader is read
    as GRUB reads it, and as pygrub does, which differ.
  - The system is not trusted. What it refuses to tell is among the RV(problems), and a mode that cannot be judged for
    it does not boot.
author:
  - The hepix.vmimages contributors (@hepix-vmimages)
extends_documentation_fragment:
  - hepix.vmimages.attributes
  - hepix.vmimages.attributes.actiongroup
  - hepix.vmimages.attributes.info
requirements:
  - C(zstd), C(lz4) and C(lzop) for initrds that are compressed with them
options:
  root:
    description:
      - The directory of the system. V(/) is the running system itself.
    type: path
    default: /
  image:
    description:
      - The disk image that the system lies on, to check its labels and boot sector.
      - When left out, it is the one that O(root) is mounted from, if it is.
    type: path
seealso:
  - module: hepix.vmimages.image_mount
  - ref: ansible_collections.hepix.vmimages.docsite.images
    description: What the collection does with images, and the requirements by their ids.
"""

EXAMPLES = r"""
- name: Read how the mounted image boots
  hepix.vmimages.image_boot_info:
    root: /run/worker
  register: boot

- name: Insist on paravirtualised Xen
  ansible.builtin.assert:
    that: boot.matrix.xen_para.ok
    fail_msg: "{{ boot.matrix.xen_para.reasons | map(attribute='text') | join(' ') }}"
"""

RETURN = r"""
system:
  description: What system it is.
  type: dict
  returned: success
  contains:
    name:
      description: Its own name.
      type: str
      sample: Scientific Linux SL release 5.4 (Boron)
    id:
      description: The ID of os-release.
      type: str
      sample: debian
    version:
      description: The VERSION_ID of os-release.
      type: str
      sample: '12'
    init:
      description: V(systemd), V(upstart), V(sysv), or V(null).
      type: str
      sample: sysv
    initrd_tool:
      description: What makes its initrds, V(dracut), V(mkinitrd), V(initramfs-tools), or V(null).
      type: str
      sample: mkinitrd
kernels:
  description: The kernels, the newest first.
  type: list
  elements: dict
  returned: success
  contains:
    version:
      description: The version.
      type: str
      sample: 6.1.0-18-amd64
    path:
      description: The image; V(null) where there are modules only.
      type: str
      sample: /boot/vmlinuz-6.1.0-18-amd64
    xen_only:
      description: Whether it is a kernel-xen of old, which runs paravirtualised only.
      type: bool
      sample: false
    config:
      description: The options that matter here, each V(y), V(m) or V(n); V(null) where the configuration is missing.
      type: dict
      sample: {XEN_PV: y}
    modules:
      description: How many modules there are.
      type: int
      sample: 3921
loader:
  description: The boot loader as GRUB reads it.
  type: dict
  returned: success
  contains:
    kind:
      description: V(grub) for 0.97, V(grub2), or V(null).
      type: str
      sample: grub
    path:
      description: The file.
      type: str
      sample: /boot/grub/grub.conf
    default:
      description: The index of the default entry.
      type: int
      sample: 0
    entry_files:
      description: Whether entries are read from C(/boot/loader/entries).
      type: bool
      sample: false
    entries:
      description: The entries in order, those of submenus as well.
      type: list
      elements: dict
      contains:
        position:
          description: The place in the menu, and in the submenus, as GRUB counts.
          type: str
          sample: '1>0'
        title:
          description: The title.
          type: str
          sample: Debian GNU/Linux
        kernel:
          description: The kernel, as a path in the system.
          type: str
          sample: /boot/vmlinuz-6.1.0-18-amd64
        initrds:
          description: The initrds, as paths in the system.
          type: list
          elements: str
          sample: [/boot/initrd.img-6.1.0-18-amd64]
        arguments:
          description: What the kernel is told.
          type: list
          elements: str
          sample: [root=LABEL=/, ro]
        hypervisor:
          description: Whether it starts a hypervisor.
          type: bool
          sample: false
        source:
          description: The file that the entry is in.
          type: str
          sample: /boot/grub/grub.cfg
pygrub:
  description: The boot loader as pygrub reads it, by rules of its own.
  type: dict
  returned: success
  contains:
    path:
      description: The file that it takes.
      type: str
      sample: /boot/grub/grub.cfg
    default:
      description: The index of the entry that it takes without C(--entry).
      type: int
      sample: 0
    entries:
      description: Its entries.
      type: list
      elements: dict
      contains:
        index:
          description: What C(--entry) takes.
          type: int
          sample: 1
        title:
          description: The title.
          type: str
          sample: Debian GNU/Linux
        kernel:
          description: The kernel, as a path in the system.
          type: str
          sample: /boot/vmlinuz-6.1.0-18-amd64
        initrd:
          description: The initrd, as a path in the system.
          type: str
          sample: /boot/initrd.img-6.1.0-18-amd64
        arguments:
          description: What the kernel is told.
          type: list
          elements: str
          sample: [root=LABEL=/, ro]
    problem:
      description: Why it finds nothing, or gives up; V(null) otherwise.
      type: str
      sample: null
initrds:
  description: The initrds that entries name.
  type: list
  elements: dict
  returned: success
  contains:
    path:
      description: The path.
      type: str
      sample: /boot/initrd-paravirt.img
    compression:
      description: What its parts are compressed with, in order.
      type: list
      elements: str
      sample: [none, zstd]
    tool:
      description: What made it, as far as that can be told.
      type: str
      sample: dracut
    kernels:
      description: The kernels that it has modules of; empty for those of mkinitrd, which do not say.
      type: list
      elements: str
      sample: [6.1.0-18-amd64]
    modules:
      description: Its modules, named as the kernel does, with underscores.
      type: list
      elements: str
      sample: [ext4, virtio_blk, xen_blkfront]
    order:
      description: Those that are loaded by name, in this order.
      type: list
      elements: str
      sample: [virtio_ring, virtio, virtio_pci, virtio_blk]
mounts:
  description: What C(/etc/fstab) names.
  type: list
  elements: dict
  returned: success
  contains:
    source:
      description: The file system.
      type: str
      sample: LABEL=/boot
    target:
      description: Where it belongs.
      type: str
      sample: /boot
    type:
      description: Its kind.
      type: str
      sample: ext3
consoles:
  description: Where somebody can log in.
  type: dict
  returned: success
  contains:
    gettys:
      description: The terminals with a login of their own.
      type: list
      elements: str
      sample: [tty1, xvc0]
    automatic:
      description: Whether each console of the kernel gets one by itself.
      type: bool
      sample: false
    securetty:
      description: The terminals that let root in; V(null) where all do.
      type: list
      elements: str
      sample: [tty1, xvc0]
pinning:
  description: What binds the network to one card.
  type: list
  elements: dict
  returned: success
  contains:
    path:
      description: The file.
      type: str
      sample: /etc/sysconfig/network-scripts/ifcfg-eth0
    text:
      description: How it does so.
      type: str
      sample: HWADDR binds the interface to one card.
layout:
  description: The layout of the disk; V(null) where the system is not mounted from an image that is known.
  type: dict
  returned: success
  contains:
    size:
      description: The size of the image in octets.
      type: int
      sample: 10737418240
    table:
      description: The kind of the partition table, V(dos), V(gpt), or V(null) where there is none.
      type: str
      sample: dos
    partitions:
      description: The partitions, with the start and size of each in octets.
      type: list
      elements: dict
      contains:
        number:
          description: The number, as Linux counts.
          type: int
          sample: 1
        start:
          description: The first octet.
          type: int
          sample: 1048576
        size:
          description: The number of octets.
          type: int
          sample: 104857600
        type:
          description: The type, two hexadecimal digits, or a UUID in a GPT.
          type: str
          sample: '83'
        active:
          description: Whether a BIOS boots from it.
          type: bool
          sample: true
        filesystem:
          description: What it holds; V(null) when that is not known.
          type: dict
          contains:
            kind:
              description: Such as V(ext4), V(xfs), V(swap) or V(lvm).
              type: str
              sample: ext3
            label:
              description: The label.
              type: str
              sample: /boot
            uuid:
              description: The UUID.
              type: str
              sample: 0f3a1c1e-4d1c-4b7c-9f0e-6f3f0e0a1d11
            dirty:
              description: Whether its journal holds what was not written yet.
              type: bool
              sample: false
matrix:
  description: The boot-mode matrix.
  type: dict
  returned: success
  contains:
    kvm:
      description: Full virtualisation by KVM, with virtio.
      type: dict
      contains:
        ok:
          description: Whether the system reaches a login in this mode. What cannot be told counts as no.
          type: bool
          sample: true
        loader:
          description: The boot loader of the mode, V(grub) or V(pygrub).
          type: str
          sample: pygrub
        entry:
          description: The index of the entry for that boot loader, from 0; V(null) where it has none.
          type: int
          sample: 1
        title:
          description: The title of the entry.
          type: str
          sample: Scientific Linux SL (2.6.18-194.8.1.el5xen)
        kernel:
          description: The version of the kernel that it starts.
          type: str
          sample: 2.6.18-194.8.1.el5xen
        kernel_path:
          description: The image of that kernel, as a path in the system.
          type: str
          sample: /boot/vmlinuz-2.6.18-194.8.1.el5xen
        initrds:
          description: Its initrds, as paths in the system.
          type: list
          elements: str
          sample: [/boot/initrd-xen-para.img]
        root:
          description: What the kernel is told about its root.
          type: str
          sample: LABEL=/
        root_by:
          description: By what the root is found, such as V(label), V(uuid) or V(device).
          type: str
          sample: label
        disk:
          description: What the kernel calls the first disk.
          type: str
          sample: xvda
        console:
          description: The console of the mode.
          type: str
          sample: xvc0
        ide_noprobe:
          description: Whether the kernel leaves emulated IDE disks alone, so that a template must not use hda to hdd.
          type: bool
          sample: false
        reasons:
          description: Why the mode does not boot; empty if it does.
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
          description: What the system lacks in this mode although it boots, such as its network.
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
      description: Full virtualisation by Xen, with paravirtualised disk and network where the kernel has them.
      type: dict
      contains:
        ok:
          description: Whether the system reaches a login in this mode. What cannot be told counts as no.
          type: bool
          sample: true
        loader:
          description: The boot loader of the mode, V(grub) or V(pygrub).
          type: str
          sample: pygrub
        entry:
          description: The index of the entry for that boot loader, from 0; V(null) where it has none.
          type: int
          sample: 1
        title:
          description: The title of the entry.
          type: str
          sample: Scientific Linux SL (2.6.18-194.8.1.el5xen)
        kernel:
          description: The version of the kernel that it starts.
          type: str
          sample: 2.6.18-194.8.1.el5xen
        kernel_path:
          description: The image of that kernel, as a path in the system.
          type: str
          sample: /boot/vmlinuz-2.6.18-194.8.1.el5xen
        initrds:
          description: Its initrds, as paths in the system.
          type: list
          elements: str
          sample: [/boot/initrd-xen-para.img]
        root:
          description: What the kernel is told about its root.
          type: str
          sample: LABEL=/
        root_by:
          description: By what the root is found, such as V(label), V(uuid) or V(device).
          type: str
          sample: label
        disk:
          description: What the kernel calls the first disk.
          type: str
          sample: xvda
        console:
          description: The console of the mode.
          type: str
          sample: xvc0
        ide_noprobe:
          description: Whether the kernel leaves emulated IDE disks alone, so that a template must not use hda to hdd.
          type: bool
          sample: false
        reasons:
          description: Why the mode does not boot; empty if it does.
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
          description: What the system lacks in this mode although it boots, such as its network.
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
      description: Paravirtualisation by Xen, through pygrub.
      type: dict
      contains:
        ok:
          description: Whether the system reaches a login in this mode. What cannot be told counts as no.
          type: bool
          sample: true
        loader:
          description: The boot loader of the mode, V(grub) or V(pygrub).
          type: str
          sample: pygrub
        entry:
          description: The index of the entry for that boot loader, from 0; V(null) where it has none.
          type: int
          sample: 1
        title:
          description: The title of the entry.
          type: str
          sample: Scientific Linux SL (2.6.18-194.8.1.el5xen)
        kernel:
          description: The version of the kernel that it starts.
          type: str
          sample: 2.6.18-194.8.1.el5xen
        kernel_path:
          description: The image of that kernel, as a path in the system.
          type: str
          sample: /boot/vmlinuz-2.6.18-194.8.1.el5xen
        initrds:
          description: Its initrds, as paths in the system.
          type: list
          elements: str
          sample: [/boot/initrd-xen-para.img]
        root:
          description: What the kernel is told about its root.
          type: str
          sample: LABEL=/
        root_by:
          description: By what the root is found, such as V(label), V(uuid) or V(device).
          type: str
          sample: label
        disk:
          description: What the kernel calls the first disk.
          type: str
          sample: xvda
        console:
          description: The console of the mode.
          type: str
          sample: xvc0
        ide_noprobe:
          description: Whether the kernel leaves emulated IDE disks alone, so that a template must not use hda to hdd.
          type: bool
          sample: false
        reasons:
          description: Why the mode does not boot; empty if it does.
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
          description: What the system lacks in this mode although it boots, such as its network.
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
      description: PVH of Xen, through pygrub.
      type: dict
      contains:
        ok:
          description: Whether the system reaches a login in this mode. What cannot be told counts as no.
          type: bool
          sample: true
        loader:
          description: The boot loader of the mode, V(grub) or V(pygrub).
          type: str
          sample: pygrub
        entry:
          description: The index of the entry for that boot loader, from 0; V(null) where it has none.
          type: int
          sample: 1
        title:
          description: The title of the entry.
          type: str
          sample: Scientific Linux SL (2.6.18-194.8.1.el5xen)
        kernel:
          description: The version of the kernel that it starts.
          type: str
          sample: 2.6.18-194.8.1.el5xen
        kernel_path:
          description: The image of that kernel, as a path in the system.
          type: str
          sample: /boot/vmlinuz-2.6.18-194.8.1.el5xen
        initrds:
          description: Its initrds, as paths in the system.
          type: list
          elements: str
          sample: [/boot/initrd-xen-para.img]
        root:
          description: What the kernel is told about its root.
          type: str
          sample: LABEL=/
        root_by:
          description: By what the root is found, such as V(label), V(uuid) or V(device).
          type: str
          sample: label
        disk:
          description: What the kernel calls the first disk.
          type: str
          sample: xvda
        console:
          description: The console of the mode.
          type: str
          sample: xvc0
        ide_noprobe:
          description: Whether the kernel leaves emulated IDE disks alone, so that a template must not use hda to hdd.
          type: bool
          sample: false
        reasons:
          description: Why the mode does not boot; empty if it does.
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
          description: What the system lacks in this mode although it boots, such as its network.
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
problems:
  description: What of the system could not be read, or is not understood.
  type: list
  elements: dict
  returned: success
  contains:
    path:
      description: The path in the system.
      type: str
      sample: /boot/grub/grub.conf
    code:
      description: The stable code.
      type: str
      sample: guest_too_large
    detail:
      description: What was found.
      type: str
      sample: /boot/grub/grub.conf of the tree has more than 1048576 octets.
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

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hepix.vmimages.plugins.module_utils._ansible.running import run
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.boot.report import report
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.boot.survey import survey
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root

ARGUMENTS = {
    "root": {"type": "path", "default": "/"},
    "image": {"type": "path"},
}


def look(module: AnsibleModule) -> dict[str, t.Any]:
    """Survey the system, and judge each mode."""
    with Root(module.params["root"]) as root:
        return report(survey(root, image=module.params["image"]))


def main() -> t.NoReturn:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
    )
    run(module, look)


if __name__ == "__main__":
    main()
