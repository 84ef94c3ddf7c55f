# shellcheck shell=sh disable=SC2034
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Settings of vmcontext; /etc/vmcontext.conf overrides them.

# A device to try before all others, and the labels to look for.
VMCONTEXT_DEVICE=
VMCONTEXT_LABELS=CONTEXT
# The file systems that a context disk may have.
VMCONTEXT_FILESYSTEMS='iso9660 vfat'
# How many seconds to wait for the disk, and when one is expected.
VMCONTEXT_WAIT=1
VMCONTEXT_EXPECTED=no
VMCONTEXT_EXPECTED_WAIT=10
# once (for each instance) or always (at each start).
VMCONTEXT_FREQUENCY=once
# Names of hooks in /etc/vmcontext.d that do not run, such as '20-hostname'.
VMCONTEXT_DISABLED=
# How many seconds a script or a hook may take; 0 is for ever.
VMCONTEXT_TIME_LIMIT=600
VMCONTEXT_LOG=/var/log/vmcontext.log
# secrets, all (but the scripts) or none: what is wiped from the copy of the disk after the epilogue.
VMCONTEXT_WIPE=secrets
# Whether an instance that crosses the site's limits starts neither payload nor batch clients.
VMCONTEXT_ENFORCE=yes
VMCONTEXT_PAYLOAD_USER=
VMCONTEXT_ADMIN_GROUPS='root wheel sudo admin adm disk docker lxd libvirt shadow'
# Services of sysvinit to start after the epilogue; systemd's hang on hepix-context.target.
VMCONTEXT_SERVICES=
# Whether the variable TTL shuts the machine down.
VMCONTEXT_TTL=yes
# Files and directories that sites do not change.
VMCONTEXT_PROTECTED='/usr/bin/gcc* /usr/bin/*-gcc* /usr/bin/cc /usr/bin/c89* /usr/bin/c99* /usr/bin/g++* /usr/bin/*-g++*
/usr/bin/c++* /usr/bin/cpp* /usr/bin/as /usr/bin/*-as /usr/bin/ld /usr/bin/ld.* /usr/bin/*-ld* /usr/bin/clang*
/usr/lib/gcc /usr/libexec/gcc /usr/bin/perl* /usr/lib*/libperl* /usr/lib/*/libperl* /usr/bin/python*
/usr/libexec/platform-python* /usr/lib*/libpython* /usr/lib/*/libpython* /usr/lib*/python*/*.py /boot/vmlinuz* /boot/xen*
/lib/modules/*/kernel /lib*/libc.so* /lib*/libc-* /lib*/ld-* /lib/*/libc.so* /lib/*/libc-* /lib/*/ld-*'
