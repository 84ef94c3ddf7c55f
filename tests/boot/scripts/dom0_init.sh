#!/bin/sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# The first process of dom0. It starts Xen's tools, then does what it is told on its console, a line at a time:
#   dry NAME    hand /jobs/NAME.cfg to `xl -N create`
#   start NAME  create that guest, and show its console until it is told to stop
#   stop NAME   destroy it
#   halt
# Each ends with "@@ <command> <name> <status>"; "@@ gone <name>" says that a guest ended by itself.
# /dev/vdb is a tar archive with what is in /jobs; disks with a serial number are /srv/images/<serial number>.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
exec </dev/hvc0 >/dev/hvc0 2>&1
dmesg -n 1
logs=/var/log/xen/console
mkdir -p /run/lock /run/xen /run/xenstored "$logs"
ip link set lo up
for module in xenfs xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xen-blkback xen-netback bridge tun loop; do
    modprobe "$module" || echo "no module $module"
done
mount -t xenfs xenfs /proc/xen
tools=/usr/lib/xen-4.17/bin
ip link add xenbr0 type bridge
ip link set xenbr0 up
oxenstored --pid-file /run/xenstored.pid
while [ ! -S /run/xenstored/socket ]; do sleep 0.1; done
"$tools/xen-init-dom0"
"$tools/xenconsoled" --log=guest --log-dir="$logs" --pid-file=/run/xenconsoled.pid

tar -C /jobs -xf /dev/vdb
for disk in /sys/block/vd*; do
    name=$(cat "$disk/serial")
    [ -z "$name" ] || ln -s "/dev/${disk##*/}" "/srv/images/$name"
done
xl info | grep -E '^(xen_version|xen_caps|virt_caps|free_memory)'

# Where a guest of this configuration writes: what xenconsoled logs, and the file of its serial line where it has one.
# With full virtualisation a guest has both: its kernel writes to both, and its services to the last console= only.
logs_of() {
    echo "$logs/guest-$1.log"
    sed -n 's/^serial *= *"file:\(.*\)"$/\1/p' "/jobs/$1.cfg"
}

start() {
    written=$(logs_of "$1")
    for log in $written; do : >"$log"; done
    xl create "/jobs/$1.cfg"
    status=$?
    if [ "$status" -ne 0 ]; then
        tail -n 30 /var/log/xen/bootloader*.log "/var/log/xen/qemu-dm-$1.log" "/var/log/xen/xl-$1.log" 2>/dev/null
        return "$status"
    fi
    # shellcheck disable=SC2086
    tail -q -n +1 -F $written 2>/dev/null &
    follower=$!
    domain=$(xl domid "$1")
    (
        while xenstore-exists "/local/domain/$domain"; do sleep 3; done
        echo "@@ gone $1"
    ) &
    watcher=$!
}

stop() {
    kill "$watcher" "$follower" 2>/dev/null
    wait "$watcher" "$follower" 2>/dev/null
    xl destroy "$1"
}

echo "@@ dom0 ready 0"
while read -r command name; do
    case $command in
    dry) xl -N create "/jobs/$name.cfg" ;;
    start) start "$name" ;;
    stop) stop "$name" ;;
    halt) break ;;
    *) continue ;;
    esac
    echo "@@ $command $name $?"
done
sync
echo o >/proc/sysrq-trigger
sleep 60
