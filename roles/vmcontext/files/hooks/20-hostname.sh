#!/bin/sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# vmcontext: once prologue
# Names the machine as HOSTNAME of the context disk has it; the shell's own variable does not count.
# shellcheck disable=SC3028
[ "$2" = start ] && [ -f "$CONTEXT_DIR/context.sh" ] || exit 0
grep -q '^HOSTNAME=' "$CONTEXT_DIR/context.sh" || exit 0
case "$HOSTNAME" in
    '' | *[!A-Za-z0-9.-]* | -* | .*) echo "HOSTNAME is no host name." && exit 1 ;;
esac
if [ -f /etc/sysconfig/network ]; then
    { grep -v '^HOSTNAME=' /etc/sysconfig/network; echo "HOSTNAME=$HOSTNAME"; } >/etc/sysconfig/network.new
    chmod 0644 /etc/sysconfig/network.new && mv -f /etc/sysconfig/network.new /etc/sysconfig/network
fi
printf '%s\n' "$HOSTNAME" >/etc/hostname && chmod 0644 /etc/hostname
hostname "$HOSTNAME" 2>/dev/null || printf '%s\n' "$HOSTNAME" >/proc/sys/kernel/hostname
