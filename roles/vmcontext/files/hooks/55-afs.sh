#!/bin/sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# vmcontext: always prologue epilogue
# Whether the client of AFS runs: AFS is on or off. Without the variable it is as the image has it.
[ "$2" = start ] && [ -n "${AFS-}" ] || exit 0
case "$AFS" in on | off) ;; *) echo "AFS is neither on nor off." && exit 1 ;; esac

# Asked for without waiting: systemd starts nothing before the prologue is over.
with_systemd() {
    if [ "$AFS" = off ]; then
        systemctl mask --runtime "$1.service" && systemctl --no-block stop "$1.service"
    else
        systemctl --no-block start "$1.service"
    fi
}

# The prologue changes what is started, and the epilogue what was started before.
with_sysv() {
    if [ "$2" = epilogue ]; then
        if [ "$AFS" = off ]; then "/etc/init.d/$1" stop; else "/etc/init.d/$1" start; fi
    elif command -v chkconfig >/dev/null 2>&1; then
        chkconfig "$1" "$AFS"
    else
        relink "$1"
    fi
}

# Not by update-rc.d, which may number all links anew: the start that is under way would not find the others any more.
relink() {
    for level in 2 3 4 5; do
        if [ "$AFS" = off ]; then
            for link in "/etc/rc$level.d"/S[0-9][0-9]"$1"; do
                [ ! -L "$link" ] || mv -f "$link" "/etc/rc$level.d/K01$1" || return 1
            done
        else
            set -- "$1" /etc/rc$level.d/S[0-9][0-9]"$1"
            [ -L "$2" ] || ln -sf "../init.d/$1" "/etc/rc$level.d/S60$1" || return 1
            rm -f /etc/rc$level.d/K[0-9][0-9]"$1"
        fi
    done
}

found=no
for name in openafs-client afs; do
    if [ -d /run/systemd/system ]; then
        for directory in /etc/systemd/system /usr/lib/systemd/system /lib/systemd/system; do
            if [ -f "$directory/$name.service" ]; then
                found=yes
                [ "$1" = epilogue ] || with_systemd "$name" || exit 1
                break
            fi
        done
    elif [ -x "/etc/init.d/$name" ]; then
        found=yes
        with_sysv "$name" "$1" || exit 1
    fi
done
if [ $found = no ] && [ "$AFS" = on ]; then
    echo "AFS is on, and there is no client of AFS."
    exit 1
fi
