#!/bin/sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# links.sh {present|absent} {check|apply} DIRECTORY: the links of the run levels in a directory with rc0.d to rc6.d, as
# chkconfig would make them by the headers 2345 2 91 and 2345 99 2. Prints each link that it changes, or would change.
set -u
cd "$3" || exit 1

one() {
    link=rc$3.d/$4
    if [ "$1" = present ] && [ "$(readlink "$link" 2>/dev/null)" != "$5" ]; then
        echo "$link"
        [ "$2" = check ] || ln -sf "$5" "$link" || exit 1
    elif [ "$1" = absent ] && [ -L "$link" ]; then
        echo "$link"
        [ "$2" = check ] || rm -f "$link" || exit 1
    fi
}

for level in 0 1 2 3 4 5 6; do
    case $level in
        [2-5]) prologue=S02 epilogue=S99 ;;
        *) prologue=K91 epilogue=K02 ;;
    esac
    one "$1" "$2" $level "${prologue}vmcontext.prologue" ../init.d/vmcontext.prologue
    one "$1" "$2" $level "${epilogue}vmcontext.epilogue" ../init.d/vmcontext.epilogue
done
