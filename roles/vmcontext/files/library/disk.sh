# shellcheck shell=sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Find the context disk: by its setting, by label, where the book looks, and then everywhere. What it holds decides.

MOUNT_POINT=$STATE/mnt

# One device a line; the same may come twice.
candidates() {
    [ -z "$VMCONTEXT_DEVICE" ] || printf '%s\n' "$VMCONTEXT_DEVICE"
    for label in $VMCONTEXT_LABELS; do
        labelled "$label"
    done
    for name in xvdb vdb hdb sdb sr0 sr1 hdc hdd xvdc xvde vda sda; do
        printf '/dev/%s\n' "$name"
    done
    while read -r _major _minor _blocks name; do
        case "$name" in
            '' | name | ram* | fd*) ;;
            *) printf '/dev/%s\n' "$name" ;;
        esac
    done </proc/partitions
}

labelled() {
    command -v blkid >/dev/null 2>&1 || return 0
    # Without -l, and from its cache, blkid has told nothing or old news; busybox's knows no options at all.
    blkid -c /dev/null -l -o device -t "LABEL=$1" 2>/dev/null ||
        blkid 2>/dev/null | sed -n "s|^\\(/dev/[^:]*\\):.* LABEL=\"$1\".*|\\1|p"
}

holds_marker() {
    for marker in prolog.sh epilog.sh init.sh context.sh; do
        if [ -f "$1/$marker" ] && [ ! -L "$1/$marker" ]; then
            return 0
        fi
    done
    return 1
}

# Copies the disk's files to $CONTEXT_DIR when the device is one; the disk is not mounted any more then.
take_device() {
    for type in $VMCONTEXT_FILESYSTEMS; do
        limited mount -t "$type" -o ro,nosuid,nodev,noexec "$1" "$MOUNT_POINT"
        case $? in
            0) ;;
            124) say "The device $1 does not answer." && continue ;;
            *) continue ;;
        esac
        taken=1
        if holds_marker "$MOUNT_POINT" && copy_files "$MOUNT_POINT"; then
            taken=0
        fi
        umount "$MOUNT_POINT" || umount -l "$MOUNT_POINT" || say "The disk $1 stays mounted on $MOUNT_POINT."
        return $taken
    done
    return 1
}

copy_files() {
    rm -rf "$CONTEXT_DIR.new"
    if ! fits "$1"; then
        say "The context disk is larger than half of what is free in ${CONTEXT_DIR%/*}, and is not copied."
        return 1
    fi
    if ! mkdir "$CONTEXT_DIR.new" || ! limited cp -RP "$1/." "$CONTEXT_DIR.new/"; then
        say "The context disk cannot be copied: is it readable, and is the file system full, or mounted read-only?"
        rm -rf "$CONTEXT_DIR.new"
        return 1
    fi
    # Links and devices have no place on a context disk.
    find "$CONTEXT_DIR.new" ! -type f ! -type d -exec rm -f {} \;
    chmod -R u+rwX,go-rwx "$CONTEXT_DIR.new"
    chmod 0700 "$CONTEXT_DIR.new"
    mv "$CONTEXT_DIR.new" "$CONTEXT_DIR"
}

# A system whose file system is full does not start. Where the numbers cannot be had, it is tried.
fits() {
    size=$(du -sk "$1" 2>/dev/null | cut -f 1)
    free=$(df -Pk "${CONTEXT_DIR%/*}" 2>/dev/null | sed -n '2s/^[^ ]*  *[0-9]*  *[0-9]*  *\([0-9][0-9]*\) .*/\1/p')
    [ -z "$size" ] || [ -z "$free" ] || [ "$size" -le $((free / 2)) ]
}

search_disk() {
    tried=' '
    for device in $(candidates); do
        case "$tried" in *" $device "*) continue ;; esac
        tried="$tried$device "
        [ -b "$device" ] || continue
        if take_device "$device"; then
            say "The context disk is $device."
            return 0
        fi
    done
    return 1
}

# So early in the start the kernel's modules for the disk may still be about to be loaded.
settle_devices() {
    if command -v udevadm >/dev/null 2>&1; then
        udevadm settle --timeout=30 >/dev/null 2>&1
    elif command -v udevsettle >/dev/null 2>&1; then
        udevsettle --timeout=30 >/dev/null 2>&1
    fi
    return 0
}

# Returns 1 where there is no disk.
acquire_disk() {
    rm -rf "$CONTEXT_DIR" "$STATE/acquired"
    mkdir -p "$MOUNT_POINT"
    settle_devices
    left=$VMCONTEXT_WAIT
    [ "$VMCONTEXT_EXPECTED" != yes ] || left=$VMCONTEXT_EXPECTED_WAIT
    until search_disk; do
        rm -f "$STATE/output"
        if [ "$left" -le 0 ]; then
            boot_id >"$STATE/acquired"
            say "No context disk found."
            return 1
        fi
        left=$((left - 1))
        sleep 1
    done
    rm -f "$STATE/output"
    boot_id >"$STATE/acquired"
}

# The epilogue uses what the prologue of the same start found, and looks by itself if there was none.
have_disk() {
    if [ -f "$STATE/acquired" ] && [ "$(cat "$STATE/acquired")" = "$(boot_id)" ]; then
        [ -d "$CONTEXT_DIR" ]
    else
        acquire_disk
    fi
}

boot_id() {
    cat /proc/sys/kernel/random/boot_id 2>/dev/null || echo unknown
}
