#!/bin/sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# vmcontext: once prologue
# Tells CernVM-FS the site's proxies and the repositories: CVMFS_HTTP_PROXY, CVMFS_REPOSITORIES, CVMFS_QUOTA_LIMIT.
[ "$2" = start ] && [ -n "${CVMFS_HTTP_PROXY-}${CVMFS_REPOSITORIES-}${CVMFS_QUOTA_LIMIT-}" ] || exit 0
file=/etc/cvmfs/default.local
[ -d "${file%/*}" ] || { echo "There is no CernVM-FS to configure." && exit 1; }
cp "$file" "$file.new" 2>/dev/null || true >"$file.new" || exit 1
for name in CVMFS_HTTP_PROXY CVMFS_REPOSITORIES CVMFS_QUOTA_LIMIT; do
    eval "value=\${$name-}"
    [ -n "$value" ] || continue
    case "$value" in
        *[!A-Za-z0-9.:/\;\|,_@~+-]*) echo "$name has characters that it must not have." && rm -f "$file.new" && exit 1 ;;
    esac
    { grep -v "^$name=" "$file.new"; echo "$name='$value'"; } >"$file.newer" && mv -f "$file.newer" "$file.new" || exit 1
done
chmod 0644 "$file.new" && mv -f "$file.new" "$file"
