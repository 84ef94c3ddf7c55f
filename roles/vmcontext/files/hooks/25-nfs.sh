#!/bin/sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# vmcontext: once prologue epilogue
# Names the site's server of files, NFS_SERVER_IP, nfs-server, and mounts what NFS_MOUNTS says: words like
# /export/home:/home. The prologue writes, and when the network is up the epilogue mounts.
[ "$2" = start ] && [ -n "${NFS_SERVER_IP-}" ] || exit 0
case "$NFS_SERVER_IP" in
    *[!0-9A-Fa-f.:]*) echo "NFS_SERVER_IP is no address." && exit 1 ;;
    *:*) server="[$NFS_SERVER_IP]" ;;
    *) server=$NFS_SERVER_IP ;;
esac
set -f
protected=/usr/lib/vmcontext/protected.list

# The system's own directories are no places for others, nor are those in which programs are looked for.
refused() {
    case "$1" in
        *[!A-Za-z0-9_.+@:,/-]* | *:*:* | *..* | *//* | *:*/ | */./*) return 0 ;;
        /*:/usr/local/bin* | /*:/usr/local/sbin* | /*:/usr/local/lib* | /*:/usr/local/include* | /*:/usr/local/share*) return 0 ;;
        /*:/var/lib/dpkg* | /*:/var/lib/rpm*) return 0 ;;
        /*:/usr/local/* | /*:/home | /*:/home/* | /*:/opt | /*:/opt/* | /*:/srv | /*:/srv/* | /*:/mnt/* | /*:/data | /*:/data/*) return 1 ;;
        /*:/var/spool/* | /*:/var/lib/hepix* | /*:/var/lib/vmcontext*) return 0 ;;
        /*:/var/lib/* | /*:/scratch | /*:/scratch/* | /*:/cvmfs/* | /*:/software | /*:/software/* | /*:/shared | /*:/shared/*) return 1 ;;
    esac
    return 0
}

# hides DIRECTORY: whether a protected file lies below it.
hides() {
    [ -f "$protected" ] && cut -d ' ' -f 3- "$protected" | while IFS= read -r path; do
        case "$path" in "$1"/*) echo "$path" && break ;; esac
    done | grep -q .
}

for pair in ${NFS_MOUNTS-}; do
    if refused "$pair" || hides "${pair#*:}"; then
        echo "NFS_MOUNTS: $pair was refused."
        exit 1
    fi
done

# own FILE: the lines of standard input take the place of those that were written before.
own() {
    {
        sed '/^# vmcontext: nfs begin$/,/^# vmcontext: nfs end$/d' "$1" 2>/dev/null
        echo '# vmcontext: nfs begin'
        cat
        echo '# vmcontext: nfs end'
    } >"$1.vmcontext" && chmod 0644 "$1.vmcontext" && mv -f "$1.vmcontext" "$1"
}

if [ "$1" = prologue ]; then
    echo "$NFS_SERVER_IP nfs-server" | own /etc/hosts || exit 1
    [ -n "${NFS_MOUNTS-}" ] || exit 0
    for pair in $NFS_MOUNTS; do
        mkdir -p "${pair#*:}" || exit 1
    done
    for pair in $NFS_MOUNTS; do
        echo "$server:${pair%%:*} ${pair#*:} nfs defaults,nosuid,nodev,_netdev 0 0"
    done | own /etc/fstab
    exit
fi
failed=0
for pair in ${NFS_MOUNTS-}; do
    # A link on the way may lead to a protected place.
    physical=$(cd -P "${pair#*:}" 2>/dev/null && pwd) || physical=
    if [ -n "$physical" ] && { refused "${pair%%:*}:$physical" || hides "$physical"; }; then
        echo "NFS_MOUNTS: $pair leads to $physical, and was refused."
        failed=1
        continue
    fi
    grep -q " ${pair#*:} nfs" /proc/mounts || mount "${pair#*:}" || failed=1
done
exit $failed
