#!/bin/sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# vmcontext: once prologue
# Lets the owners of SSH_PUBLIC_KEY (or the book's SSH_PUB_KEY) log in as root, or as SSH_USER.
keys=${SSH_PUBLIC_KEY:-${SSH_PUB_KEY-}}
[ "$2" = start ] && [ -n "$keys" ] || exit 0
user=${SSH_USER:-root}
case "$user" in *[!a-z0-9_-]*) echo "SSH_USER is no name of a user." && exit 1 ;; esac
home=$(sed -n "s/^$user:[^:]*:[^:]*:[^:]*:[^:]*:\([^:]*\):.*/\1/p" /etc/passwd)
[ -n "$home" ] || { echo "There is no user $user." && exit 1; }
group=$(id -g "$user") || exit 1
directory=$home/.ssh
file=$directory/authorized_keys
# No link of the user's leads this writing elsewhere.
if [ -L "$directory" ] || [ -L "$file" ]; then
    echo "$file is, or lies in, a link."
    exit 1
fi
mkdir -p "$directory" && chmod 0700 "$directory" && chown "$user:$group" "$directory" || exit 1
touch "$file" && chmod 0600 "$file" && chown "$user:$group" "$file" || exit 1
printf '%s\n' "$keys" | while IFS= read -r key; do
    [ -z "$key" ] || grep -qxF -e "$key" "$file" || printf '%s\n' "$key" >>"$file"
done || exit 1
# Where SELinux rules, sshd may read only what has its label.
! command -v restorecon >/dev/null 2>&1 || restorecon -R "$directory"
