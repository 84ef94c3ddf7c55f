#!/bin/sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# dom0.sh DIRECTORY: makes xen, vmlinuz, initrd and disk.img there: Xen 4.17 and a Debian 12 with its tools, whose
# first process is dom0_init.sh.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
here=$(dirname "$0")
directory=$1
tree=$directory/tree

# shellcheck disable=SC2016 # $1 is for the hook's own shell
mmdebstrap --quiet --variant=minbase \
    --include=linux-image-amd64,initramfs-tools,kmod,busybox,iproute2,procps,util-linux,e2fsprogs \
    --include=xen-hypervisor-4.17-amd64,xen-utils-4.17,xen-utils-common,qemu-system-xen,seabios,ipxe-qemu \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt=force-unsafe-io --dpkgopt=force-confold \
    --dpkgopt='path-exclude=/lib/modules/*/kernel/sound/*' --dpkgopt='path-exclude=/lib/modules/*/kernel/drivers/gpu/*' \
    --dpkgopt='path-exclude=/lib/modules/*/kernel/drivers/media/*' \
    --dpkgopt='path-exclude=/lib/modules/*/kernel/drivers/net/wireless/*' \
    --dpkgopt='path-exclude=/lib/modules/*/kernel/drivers/net/ethernet/*' \
    --aptopt='Acquire::Languages "none"' \
    --setup-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"; printf "MODULES=list\nCOMPRESS=gzip\n" >"$1/etc/initramfs-tools/conf.d/modules"' \
    --setup-hook='printf "%s\n" ext4 virtio_pci virtio_blk >"$1/etc/initramfs-tools/modules"' \
    bookworm "$tree"
rm -rf "$tree"/var/lib/apt/lists/* "$tree"/var/cache/apt/*
echo dom0 >"$tree/etc/hostname"
install -m 0755 "$here/dom0_init.sh" "$tree/sbin/dom0-init"
mkdir -p "$tree/jobs" "$tree/srv/images"

cp "$tree"/boot/vmlinuz-* "$directory/vmlinuz"
cp "$tree"/boot/initrd.img-* "$directory/initrd"
gzip -dc "$tree/boot/xen-4.17-amd64.gz" >"$directory/xen"
rm -rf "${tree:?}"/boot/*
truncate -s 1200M "$directory/disk.img"
mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$tree" "$directory/disk.img"
rm -rf "$tree"
