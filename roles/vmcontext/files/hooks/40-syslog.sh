#!/bin/sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# vmcontext: once prologue
# Sends the log to the site's server as well, SYSLOG_SERVER, before any service starts.
[ "$2" = start ] && [ -n "${SYSLOG_SERVER-}" ] || exit 0
case "$SYSLOG_SERVER" in *[!A-Za-z0-9.:@-]*) echo "SYSLOG_SERVER is no name of a server." && exit 1 ;; esac
if [ -d /etc/rsyslog.d ]; then
    printf '*.* @%s\n' "$SYSLOG_SERVER" >/etc/rsyslog.d/90-vmcontext.conf
elif [ -f /etc/syslog.conf ]; then
    grep -qxF -e "*.* @$SYSLOG_SERVER" /etc/syslog.conf || printf '*.* @%s\n' "$SYSLOG_SERVER" >>/etc/syslog.conf
else
    echo "There is neither rsyslog nor syslog to configure."
    exit 1
fi
