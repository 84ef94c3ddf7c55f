# shellcheck shell=sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# source.sh {source|execute} SCRIPT ARGUMENT...: run by the shell of a script, as a process of its own. It sources
# context.sh, then the script, as the book has it; a script in another language than the shell's is executed.
# What context.sh does to the search path does not stay, so that the script finds its programs.
vmcontext_path=$PATH
if [ -f "$CONTEXT_DIR/context.sh" ]; then
    set -a
    # shellcheck disable=SC1091
    . "$CONTEXT_DIR/context.sh"
    set +a
fi
PATH=$vmcontext_path
CONTEXT_DIR=/var/lib/hepix/context
export PATH CONTEXT_DIR
unset IFS ENV BASH_ENV CDPATH LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT vmcontext_path
umask 022
cd / || exit 1
[ "$1" = source ] || { shift && exec "$@"; }
VMCONTEXT_SCRIPT=$2
shift 2
# shellcheck disable=SC1090
. "$VMCONTEXT_SCRIPT"
