# shellcheck shell=sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Prologue and epilogue: once for each instance unless the image says always; a phase that failed is tried again.

is_done() {
    [ "$VMCONTEXT_FREQUENCY" != always ] || return 1
    [ -f "$STATE/$1.done" ] && [ "$(cat "$STATE/$1.done")" = "$INSTANCE" ]
}

mark_done() {
    printf '%s\n' "$INSTANCE" >"$STATE/$1.done.new" && mv -f "$STATE/$1.done.new" "$STATE/$1.done"
}

# run_phase PHASE SCRIPT: the hooks, then the disk's script if there is one.
run_phase() {
    if is_done "$1"; then
        say "The $1 was done for the instance $INSTANCE."
        run_hooks "$1" start yes
        return 0
    fi
    rm -f "$STATE/$1.done"
    result_of_phase=0
    run_hooks "$1" start no || result_of_phase=1
    if [ -n "$2" ]; then
        told "The $1 (${2##*/})" "$2" start || result_of_phase=1
    fi
    [ $result_of_phase -ne 0 ] || mark_done "$1"
    return $result_of_phase
}

existing() {
    for name in "$@"; do
        if [ -f "$CONTEXT_DIR/$name" ]; then
            printf '%s\n' "$CONTEXT_DIR/$name"
            return 0
        fi
    done
}

prologue_start() {
    acquire_disk || return 0
    # Every script would source it first, and wait as long.
    read_context || return 1
    INSTANCE=$(instance_id)
    script=$(existing prolog.sh init.sh)
    # one-context runs it as well, and by its own rules.
    if [ "${script##*/}" = init.sh ] && [ -d /etc/one-context.d ]; then
        say "init.sh is left to one-context."
        script=
    fi
    run_phase prologue "$script"
}

epilogue_start() {
    result_of_epilogue=0
    again=yes
    INSTANCE=
    if ! have_disk; then
        read_context
    elif read_context; then
        INSTANCE=$(instance_id)
        is_done epilogue || again=no
        run_phase epilogue "$(existing epilog.sh)" || result_of_epilogue=1
        start_ttl
    else
        result_of_epilogue=1
    fi
    if [ $result_of_epilogue -ne 0 ] && [ -z "$INSTANCE" ]; then
        say "Payload and batch clients are not started without the variables."
    elif within_limits; then
        [ $again = yes ] || start_payload || result_of_epilogue=1
        start_services
    else
        # The phase is to be tried again: what is wrong may be mended.
        rm -f "$STATE/epilogue.done"
        result_of_epilogue=1
    fi
    wipe_copy
    return $result_of_epilogue
}

# Scripts of the book know no stop, and would do their work of the start again: those that do have a case for it.
phase_stop() {
    script=$(existing "$2")
    if [ -n "$script" ] && [ -f "$STATE/$1.done" ] && grep -q "stop[\"']\{0,1\})" "$script"; then
        told "The end of the $1 (${script##*/})" "$script" stop
    fi
}
