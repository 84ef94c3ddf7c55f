#!/bin/sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# vmcontext: once epilogue
# Installs the packages of the site's batch client from the context disk, without a package server.
packages=$CONTEXT_DIR/packages
[ "$2" = start ] && [ -d "$packages" ] || exit 0
failed=0
set -- "$packages"/*.rpm
if [ -f "$1" ]; then
    rpm -U --replacepkgs "$@" || failed=1
fi
set -- "$packages"/*.deb
if [ -f "$1" ]; then
    DEBIAN_FRONTEND=noninteractive dpkg -i "$@" || failed=1
fi
exit $failed
