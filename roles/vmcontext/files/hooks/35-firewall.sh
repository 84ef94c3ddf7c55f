#!/bin/sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# vmcontext: always prologue epilogue
# Lets others connect to the ports of TCP_IN_PORTS alone: numbers and ranges such as '22 80 20000-25000', or none.
# Rules of the image stay what they are. The epilogue says it again, since a service of the image may have begun anew.
[ "$2" = start ] && [ -n "${TCP_IN_PORTS-}" ] || exit 0
set -f
ports=
for port in $(printf '%s' "$TCP_IN_PORTS" | tr ',' ' '); do
    case "$port" in
        none) continue ;;
        0* | *[:-]0* | *[!0-9:-]* | [:-]* | *[:-] | *[:-]*[:-]* | ????????????*) echo "TCP_IN_PORTS: $port is no port." && exit 1 ;;
    esac
    first=${port%%[:-]*}
    last=${port##*[:-]}
    if [ "$first" -lt 1 ] || [ "$last" -gt 65535 ] || [ "$first" -gt "$last" ]; then
        echo "TCP_IN_PORTS: $port is no port."
        exit 1
    fi
    # Some nft want no range of one.
    if [ "$first" -eq "$last" ]; then ports="$ports $first"; else ports="$ports $first:$last"; fi
done

with_nft() {
    accept=
    for port in $ports; do
        accept="$accept tcp dport $(printf '%s' "$port" | tr ':' '-') accept;"
    done
    nft -f - <<END
table inet vmcontext {}
delete table inet vmcontext
table inet vmcontext {
    chain input {
        type filter hook input priority -5; policy accept;
        iifname "lo" accept; $accept
        tcp flags & (syn | ack) == syn reject with tcp reset
    }
}
END
}

# EL5's iptables cannot be asked whether a rule is there.
with_iptables() {
    "$1" -N VMCONTEXT 2>/dev/null
    "$1" -F VMCONTEXT && "$1" -A VMCONTEXT -i lo -j RETURN || return 1
    for port in $ports; do
        "$1" -A VMCONTEXT -p tcp --dport "$port" -j RETURN || return 1
    done
    "$1" -A VMCONTEXT -p tcp --syn -j REJECT --reject-with tcp-reset || return 1
    "$1" -D INPUT -j VMCONTEXT 2>/dev/null
    "$1" -I INPUT -j VMCONTEXT
}

if command -v nft >/dev/null 2>&1; then
    with_nft
elif command -v iptables >/dev/null 2>&1; then
    with_iptables iptables || exit 1
    ! command -v ip6tables >/dev/null 2>&1 || [ ! -e /proc/net/if_inet6 ] || with_iptables ip6tables
else
    echo "TCP_IN_PORTS: there is neither nft nor iptables."
    exit 1
fi
