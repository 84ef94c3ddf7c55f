#!/bin/sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# modern.sh DIRECTORY: makes DIRECTORY/disk.img, Debian 12 as somebody made it on KVM: systemd, GRUB 2, initramfs-tools,
# one ext4 that is found by the name of its disk there, no serial console.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
directory=$1
tree=$directory/tree
disk=$directory/disk.img

mmdebstrap --quiet --variant=minbase \
    --include=systemd-sysv,udev,kmod,dbus,linux-image-cloud-amd64,initramfs-tools,zstd,grub2-common,grub-pc-bin \
    --include=ifupdown,isc-dhcp-client,iproute2,procps,eject,cloud-init \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt=force-unsafe-io \
    --aptopt='Acquire::Languages "none"' \
    bookworm "$tree"
rm -rf "$tree"/var/lib/apt/lists/* "$tree"/var/cache/apt/*

# A test that wants it takes the file away.
touch "$tree/etc/cloud/cloud-init.disabled"
echo modern >"$tree/etc/hostname"
echo root:root | chroot "$tree" chpasswd
echo "/dev/vda1 / ext4 errors=remount-ro 0 1" >"$tree/etc/fstab"
printf 'auto lo\niface lo inet loopback\nallow-hotplug eth0\niface eth0 inet dhcp\n' >"$tree/etc/network/interfaces"
printf '%s\n' GRUB_DEFAULT=0 GRUB_TIMEOUT=1 GRUB_DISTRIBUTOR=Debian GRUB_CMDLINE_LINUX_DEFAULT=quiet \
    GRUB_CMDLINE_LINUX= GRUB_TERMINAL=console GRUB_DISABLE_OS_PROBER=true >"$tree/etc/default/grub"
mkdir -p "$tree/boot/grub/i386-pc"
cp "$tree"/usr/lib/grub/i386-pc/*.mod "$tree"/usr/lib/grub/i386-pc/*.lst "$tree/boot/grub/i386-pc/"
# shellcheck disable=SC2016 # grub's own variables
chroot "$tree" grub-mkimage -O i386-pc -o /core.img -p '(hd0,msdos1)/boot/grub' biosdisk part_msdos ext2
mv "$tree/core.img" "$directory/core.img"

truncate -s 900M "$disk"
printf 'label: dos\nstart=2048, type=83, bootable\n' | sfdisk --quiet "$disk"
# What grub-bios-setup writes: its first sector, which looks for the rest right behind it.
dd if="$tree/usr/lib/grub/i386-pc/boot.img" of="$disk" bs=440 count=1 conv=notrunc status=none
dd if="$directory/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none
mke2fs -q -t ext4 -m 0 -d "$tree" -E offset=1048576 "$disk" 899M

# Without /proc grub-mkconfig does not learn that the root is on a loop device, for which it makes no entries.
mkdir "$directory/mnt"
mount -o loop,offset=1048576 "$disk" "$directory/mnt"
mount -t tmpfs dev "$directory/mnt/dev"
cp -a /dev/null "$directory/mnt/dev/"
cp -a "$(findmnt --noheadings --output SOURCE "$directory/mnt")" "$directory/mnt/dev/vda1"
chroot "$directory/mnt" grub-mkconfig -o /boot/grub/grub.cfg
grep -q 'root=/dev/vda1' "$directory/mnt/boot/grub/grub.cfg"
umount "$directory/mnt/dev" "$directory/mnt"
rm -rf "$tree" "${directory:?}/mnt" "$directory/core.img"
