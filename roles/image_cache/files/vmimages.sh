#!/bin/sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# The command vmimages of this environment, wherever it lies.
exec "$(dirname "$(readlink -f "$0")")/python3" -I -m vmimages.main "$@"
