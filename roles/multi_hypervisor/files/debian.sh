#!/bin/sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# A Debian on a raw disk: MSDOS label, ext4 with /boot on its own, swap, GRUB, no LVM, and nobody can log in.
# Whatever fails, nothing stays mounted or attached, and there is no image that is not whole.
#
#   debian.sh image suite size swap-size mirror packages
#
# Nothing of the arguments is ever read as shell text. An empty mirror is mmdebstrap's own.
set -eu
LC_ALL=C
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
umask 022

part='' work='' loop=''
finish() {
    status=$?
    umount -R "$work/root" 2>/dev/null || :
    if [ -n "$loop" ]; then
        partx -d "$loop" 2>/dev/null || :
        losetup -d "$loop" || :
    fi
    [ "$status" -eq 0 ] || rm -f "$part"
    rm -rf --one-file-system "$work"
    exit "$status"
}

build() {
    image=$1 suite=$2 size=$3 swap=$4 mirror=$5 packages=$6
    [ ! -e "$image" ] || exit 0

    for tool in mmdebstrap sfdisk mkfs.ext4 mkswap losetup partx unshare; do
        command -v "$tool" >/dev/null || { echo "There is no $tool on this machine." >&2; exit 1; }
    done

    part=$image.part
    work=$(mktemp -d)
    trap finish EXIT
    trap 'exit 1' HUP INT TERM
    mkdir "$work/root"

    needed=systemd-sysv,udev,kmod,initramfs-tools,grub-pc,ifupdown,isc-dhcp-client,iproute2,procps,e2fsprogs
    mmdebstrap --quiet --variant=minbase --include="$needed,$packages" --aptopt='Acquire::Languages "none"' \
        --dpkgopt=force-unsafe-io "$suite" "$work/root.tar" ${mirror:+"$mirror"}

    rm -f "$part"
    truncate -s "$size" "$part"
    printf 'label: dos\nstart=2048, size=512M, type=83, bootable\nsize=%s, type=82\ntype=83\n' "$swap" | sfdisk -q "$part"
    loop=$(losetup --find --show --partscan "$part")
    [ -e "${loop}p3" ] || partx -a "$loop"
    mkfs.ext4 -q -L boot -m 0 "${loop}p1"
    mkswap -q -L swap "${loop}p2"
    mkfs.ext4 -q -L root "${loop}p3"
    mount "${loop}p3" "$work/root"
    mkdir "$work/root/boot"
    mount "${loop}p1" "$work/root/boot"
    tar -C "$work/root" -xpf "$work/root.tar" --numeric-owner --xattrs --xattrs-include='*'
    rm "$work/root.tar"

    cat >"$work/root/etc/fstab" <<'END'
LABEL=root / ext4 errors=remount-ro 0 1
LABEL=boot /boot ext4 defaults 0 2
LABEL=swap none swap sw 0 0
END
    printf 'localhost\n' >"$work/root/etc/hostname"
    printf 'auto lo\niface lo inet loopback\n\nallow-hotplug eth0\niface eth0 inet dhcp\n' >"$work/root/etc/network/interfaces"
    mkdir -p "$work/root/etc/default/grub.d"
    cat >"$work/root/etc/default/grub.d/50-hepix.cfg" <<'END'
GRUB_TIMEOUT=2
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="net.ifnames=0 biosdevname=0"
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --speed=115200"
GRUB_DISABLE_OS_PROBER=true
GRUB_DEVICE=LABEL=root
GRUB_DISABLE_LINUX_UUID=true
END

    # The mounts of the chroot vanish with their namespace.
    # shellcheck disable=SC2016
    unshare --mount sh -c '
        set -eu
        mount --bind /dev "$1/dev"
        mount -t proc proc "$1/proc"
        mount -t sysfs -o ro sysfs "$1/sys"
        chroot "$1" grub-install --target=i386-pc "$2"
        chroot "$1" update-grub
    ' sh "$work/root" "$loop"

    rm -rf "$work/root/var/lib/apt/lists" "$work/root/var/cache/apt" "$work/root/var/log"/*.log "$work/root/var/log/apt"
    rm -f "$work/root/etc/ssh"/ssh_host_*key* "$work/root/var/lib/dbus/machine-id" "$work/root/etc"/passwd- \
        "$work/root/etc"/group- "$work/root/etc"/shadow- "$work/root/etc"/gshadow-
    mkdir -p "$work/root/var/lib/apt/lists/partial" "$work/root/var/cache/apt/archives/partial"
    : >"$work/root/etc/machine-id"

    umount -R "$work/root"
    partx -d "$loop" 2>/dev/null || :
    losetup -d "$loop"
    loop=''
    sync "$part"
    mv -n "$part" "$image"
}

# The whole of it is read before any of it runs: what runs has no part of it as its input.
build "$@" </dev/null
