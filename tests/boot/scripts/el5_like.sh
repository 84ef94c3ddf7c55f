#!/bin/sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# el5_like.sh DIRECTORY: makes DIRECTORY/disk.img, a system in the layout of EL5 as somebody made it on KVM: sysvinit
# with an inittab, grub 0.97 with a grub.conf, a separate /boot, ext3, a card bound by its address, services of EL5, an
# initrd that knows no Xen. Its programs are Debian's: EL5's own cannot be had.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
directory=$1
tree=$directory/tree
disk=$directory/disk.img

# shellcheck disable=SC2016 # $1 is for the hook's own shell
mmdebstrap --quiet --variant=minbase \
    --include=sysvinit-core,sysv-rc,initscripts,orphan-sysvinit-scripts,udev,kmod,linux-image-cloud-amd64,initramfs-tools \
    --include=grub-legacy,mingetty,util-linux,ifupdown,isc-dhcp-client,iproute2,procps,eject,e2fsprogs \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt=force-unsafe-io --dpkgopt=force-confold \
    --aptopt='Acquire::Languages "none"' \
    --setup-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"; printf "MODULES=list\nCOMPRESS=gzip\n" >"$1/etc/initramfs-tools/conf.d/modules"' \
    --setup-hook='printf "%s\n" ext4 ata_piix ahci sd_mod virtio_pci virtio_blk virtio_net >"$1/etc/initramfs-tools/modules"' \
    bookworm "$tree"
rm -rf "$tree"/var/lib/apt/lists/* "$tree"/var/cache/apt/*
kernel=$(basename "$tree"/boot/vmlinuz-*)
kernel=${kernel#vmlinuz-}

echo el5-like >"$tree/etc/hostname"
echo root:root | chroot "$tree" chpasswd
printf 'LABEL=/ / ext3 defaults 1 1\nLABEL=/boot /boot ext3 defaults 1 2\n' >"$tree/etc/fstab"
printf 'auto lo\niface lo inet loopback\n' >"$tree/etc/network/interfaces"
mkdir -p "$tree/etc/sysconfig/network-scripts"
printf 'DEVICE=eth0\nBOOTPROTO=dhcp\nHWADDR=00:16:3E:00:00:1F\nONBOOT=yes\n' \
    >"$tree/etc/sysconfig/network-scripts/ifcfg-eth0"
printf 'alias eth0 virtio_net\nalias scsi_hostadapter virtio_blk\n' >"$tree/etc/modprobe.conf"
printf 'console\ntty1\ntty2\n' >"$tree/etc/securetty"
cat >"$tree/etc/inittab" <<'END'
# The default runlevel is 3.
id:3:initdefault:

si::sysinit:/etc/init.d/rcS
~~:S:wait:/sbin/sulogin

l0:0:wait:/etc/init.d/rc 0
l1:1:wait:/etc/init.d/rc 1
l2:2:wait:/etc/init.d/rc 2
l3:3:wait:/etc/init.d/rc 3
l4:4:wait:/etc/init.d/rc 4
l5:5:wait:/etc/init.d/rc 5
l6:6:wait:/etc/init.d/rc 6

ca::ctrlaltdel:/sbin/shutdown -t3 -r now

# Run gettys in standard runlevels
1:2345:respawn:/sbin/mingetty tty1
2:2345:respawn:/sbin/mingetty tty2
3:2345:respawn:/sbin/mingetty tty3
4:2345:respawn:/sbin/mingetty tty4
5:2345:respawn:/sbin/mingetty tty5
6:2345:respawn:/sbin/mingetty tty6
END

# As EL's rc does: in the order of the links, one after the other.
touch "$tree/etc/init.d/.legacy-bootordering"
for service in kudzu:05:95 cups:55:10; do
    name=${service%%:*}
    start=${service#*:}
    cat >"$tree/etc/init.d/$name" <<END
#!/bin/sh
# chkconfig: 2345 ${start%:*} ${start#*:}
# description: stands in for a service of EL5
echo "service $name: \$1"
END
    chmod 0755 "$tree/etc/init.d/$name"
    for level in 2 3 4 5; do
        ln -s "../init.d/$name" "$tree/etc/rc$level.d/S${start%:*}$name"
    done
done

# What anaconda leaves where kernel-xen is installed beside the plain kernel; the hypervisor is only looked for.
mkdir -p "$tree/boot/grub"
cp "$tree"/usr/lib/grub/*-pc/* "$tree/boot/grub/"
: >"$tree/boot/xen.gz-2.6"
cat >"$tree/boot/grub/grub.conf" <<END
# grub.conf
default=1
timeout=1
hiddenmenu
title EL5-like under a hypervisor of its own ($kernel)
	root (hd0,0)
	kernel /xen.gz-2.6
	module /vmlinuz-$kernel ro root=LABEL=/ rhgb quiet
	module /initrd.img-$kernel
title EL5-like ($kernel)
	root (hd0,0)
	kernel /vmlinuz-$kernel ro root=LABEL=/ rhgb quiet
	initrd /initrd.img-$kernel
END
ln -s grub.conf "$tree/boot/grub/menu.lst"

mv "$tree/boot" "$directory/boot"
mkdir "$tree/boot"
truncate -s 900M "$disk"
printf 'label: dos\nstart=2048, size=160M, type=83, bootable\ntype=83\n' | sfdisk --quiet "$disk"
# Inodes and features that grub 0.97 knows.
mke2fs -q -t ext3 -L /boot -I 128 -O ^resize_inode,^dir_index -d "$directory/boot" -E offset=1048576 "$disk" 160M
mke2fs -q -t ext3 -L / -I 128 -m 0 -d "$tree" -E offset=$((161 * 1024 * 1024)) "$disk" 739M

touch "$tree/disk.img"
mount --bind "$disk" "$tree/disk.img"
printf 'device (hd0) /disk.img\nroot (hd0,0)\nsetup (hd0)\nquit\n' |
    chroot "$tree" grub --batch --no-floppy --device-map=/dev/null
umount "$tree/disk.img"
head -c 440 "$disk" | grep -aq GRUB
rm -rf "$tree" "${directory:?}/boot"
