#!/bin/sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# vmcontext: once prologue
# Places the files that files.map of the context disk names: source, mode, owner, group, target.
map=$CONTEXT_DIR/files.map
[ "$2" = start ] && [ -f "$map" ] || exit 0

# The same places as those that context_iso refuses.
refused() {
    case "$1" in
        *[!A-Za-z0-9_.+@:,/-]* | */../* | */.. | */ | *//*) return 0 ;;
        /etc/ld.so.* | /etc/alternatives/* | /etc/kernel/* | /etc/modprobe.d/* | /etc/modprobe.conf | /etc/vmcontext*) return 0 ;;
        /etc/init.d/vmcontext.* | /etc/rc.d/init.d/vmcontext.* | /etc/rc*.d/*vmcontext.*) return 0 ;;
        /etc/systemd/system/hepix-context* | /usr/local/lib/python* | /usr/local/lib*/perl* | /usr/local/share/perl*) return 0 ;;
        /usr/local/include/* | /usr/local/lib/gcc* | /usr/local/lib*/libc.* | /var/lib/hepix/* | /var/lib/vmcontext*) return 0 ;;
        /var/lib/dpkg/* | /var/lib/rpm/* | /etc/perl/* | /etc/python*) return 0 ;;
    esac
    case "$1" in
        /etc/* | /home/* | /opt/* | /root/* | /srv/* | /usr/local/* | /var/*) ;;
        *) return 0 ;;
    esac
    case "$1" in
        */bin/* | */sbin/*)
            printf '%s\n' "${1##*/}" | grep -Eqx '([a-z0-9_]+-[a-z0-9_-]+-)?(gcc|cc|g\+\+|c\+\+|cpp|c89|c99|as|ld|ld\.bfd|ld\.gold|clang|clang\+\+|collect2|perl|python)-?[0-9.]*m?'
            ;;
        *) return 1 ;;
    esac
}

place() {
    case "$1" in '' | */* | .*) return 1 ;; esac
    case "$2" in [0-7][0-7][0-7] | 0[0-7][0-7][0-7]) ;; *) return 1 ;; esac
    case "$3:$4" in *[!A-Za-z0-9_.:-]* | :* | -* | *: | *:-*) return 1 ;; esac
    [ -f "$CONTEXT_DIR/$1" ] || return 1
    ! refused "$5" || return 1
    directory=${5%/*}
    mkdir -p "$directory" || return 1
    # A link on the way may lead to a protected place.
    physical=$(cd -P "$directory" && pwd) || return 1
    ! refused "${physical%/}/${5##*/}" || return 1
    [ ! -d "$5" ] || return 1
    new=$physical/.vmcontext.$$
    if (umask 077 && cp "$CONTEXT_DIR/$1" "$new") && chown "$3:$4" "$new" && chmod "$2" "$new" && mv -f "$new" "$5"; then
        # Where SELinux rules, a service may read only what has its label.
        ! command -v restorecon >/dev/null 2>&1 || restorecon "$5"
        return 0
    fi
    rm -f "$new"
    return 1
}

failed=0
more=
while read -r name mode owner group target more || [ -n "$name" ]; do
    case "$name" in '' | '#'*) continue ;; esac
    if [ -z "$more" ] && place "$name" "$mode" "$owner" "$group" "$target"; then
        echo "$target was placed."
    else
        echo "$target was refused, or could not be written."
        failed=1
    fi
done <"$map"
exit $failed
