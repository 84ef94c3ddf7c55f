# shellcheck shell=sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# What happens is told to the console (standard output), to the log file, and to syslog, or the kernel before it runs.

say() {
    printf 'vmcontext: %s\n' "$*"
    printf '%s %s\n' "$(date '+%Y-%m-%dT%H:%M:%S%z')" "$*" 2>/dev/null >>"$VMCONTEXT_LOG"
    # systemd takes standard output into its journal by itself.
    if [ -n "${JOURNAL_STREAM-}" ]; then
        return 0
    elif [ -S /dev/log ] && command -v logger >/dev/null 2>&1; then
        logger -t vmcontext -p daemon.notice "$*" 2>/dev/null
    elif [ -c /dev/kmsg ]; then
        printf '<5>vmcontext: %s\n' "$*" 2>/dev/null >/dev/kmsg
    fi
    return 0
}
