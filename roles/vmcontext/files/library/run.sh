# shellcheck shell=sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Run the disk's scripts and the image's hooks, each as a process of its own: what `exit`s ends only itself.

# The interpreter that the script's first line names; scripts of the book were written for bash.
interpreter() {
    first=
    IFS= read -r first <"$1"
    case "$first" in
        '#!'*bash*) command -v bash || command -v sh ;;
        '#!'*[/\ ]sh | '#!'*[/\ ]sh\ * | '#!'*[/\ ]dash* | '#!'*[/\ ]ash* | '#!'*[/\ ]ksh*) command -v sh ;;
        '#!'*) ;;
        *) command -v bash || command -v sh ;;
    esac
}

# Written on Windows: the shell would take the CR for a part of every last word.
has_carriage_returns() {
    first=
    IFS= read -r first <"$1"
    case "$first" in *"$(printf '\r')") return 0 ;; esac
    return 1
}

# Output goes to a file first: a daemon that the script starts may keep it open, and must not hold up the boot.
run_script() {
    if has_carriage_returns "$1"; then
        say "${1##*/} has the line ends CR LF, and is not run."
        return 1
    fi
    shell=$(interpreter "$1")
    if [ -n "$shell" ]; then
        limited "$shell" "$LIBRARY/source.sh" source "$@"
    else
        chmod u+x "$1"
        limited sh "$LIBRARY/source.sh" execute "$@"
    fi
    result=$?
    if [ -f "$STATE/output" ]; then
        cat "$STATE/output"
        cat "$STATE/output" 2>/dev/null >>"$VMCONTEXT_LOG"
        rm -f "$STATE/output"
    fi
    if [ "$late" = yes ]; then
        say "${1##*/} took longer than $VMCONTEXT_TIME_LIMIT s and was ended."
    fi
    return $result
}

# What never ends must not hold up the boot for ever. The signal comes from `alarm_after`, and ends the waiting even
# for a process that nothing can end, such as one that waits for a dead server of files.
late=no
trap 'late=yes' ALRM

# limited COMMAND ARGUMENT...: with what it says in $STATE/output, or nowhere when that cannot be written. Returns 124
# where it had to be ended.
limited() {
    late=no
    group=
    ! command -v setsid >/dev/null 2>&1 || group=-
    output=$STATE/output
    true 2>/dev/null >"$output" || output=/dev/null
    ${group:+setsid} "$@" </dev/null >"$output" 2>&1 &
    script=$!
    alarm=
    if [ "$VMCONTEXT_TIME_LIMIT" -gt 0 ]; then
        alarm_after "$VMCONTEXT_TIME_LIMIT" $$ </dev/null >/dev/null 2>&1 &
        alarm=$!
    fi
    wait $script
    result=$?
    if [ $late = yes ]; then
        result=124
        kill -TERM "$group$script" 2>/dev/null
        sleep 2
        kill -KILL "$group$script" 2>/dev/null
    fi
    # Gone for certain before the next script, whose alarm it would be taken for.
    if [ -n "$alarm" ]; then
        kill -TERM $alarm 2>/dev/null
        wait $alarm
    fi
    return $result
}

# alarm_after SECONDS PROCESS: nothing of it is left when it is told to end.
alarm_after() {
    trap '' ALRM
    nap=
    trap '[ -z "$nap" ] || kill $nap; exit 0' TERM
    sleep "$1" &
    nap=$!
    wait $nap && kill -ALRM "$2"
}

told() {
    what=$1
    shift
    if run_script "$@"; then
        say "$what DONE"
        return 0
    fi
    say "$what FAILED"
    return 1
}

switched_off() {
    for off in $VMCONTEXT_DISABLED $CONTEXT_VMCONTEXT_SKIP; do
        [ "$off" != "$1" ] || return 0
    done
    return 1
}

# run_hooks PHASE ACTION DONE: hooks that say "vmcontext: always" run in an instance that is done, too.
run_hooks() {
    failed=0
    for hook in /etc/vmcontext.d/*.sh; do
        [ -f "$hook" ] || continue
        name=${hook##*/}
        name=${name%.sh}
        if [ "$3" = yes ] && ! grep -q '^# vmcontext: always' "$hook"; then
            continue
        fi
        grep -q "^# vmcontext:.* $1" "$hook" || continue
        if switched_off "$name"; then
            say "The hook $name is switched off."
        elif ! run_script "$hook" "$1" "$2"; then
            say "The hook $name FAILED"
            failed=1
        fi
    done
    return $failed
}

# Finds out what context.sh says to this program itself, in a process of its own with a limit like every script's:
# into a variable of the same name with CONTEXT_ before it. Returns 1 where that process does not come to an end.
# shellcheck disable=SC2034
read_context() {
    CONTEXT_HEPIX_INSTANCE_ID='' CONTEXT_VMID='' CONTEXT_PAYLOAD_USER='' CONTEXT_TTL='' CONTEXT_VMCONTEXT_SKIP=''
    [ -f "$CONTEXT_DIR/context.sh" ] || return 0
    # shellcheck disable=SC2016
    limited sh -c '
        unset HEPIX_INSTANCE_ID VMID PAYLOAD_USER TTL VMCONTEXT_SKIP
        . "$1" >/dev/null 2>&1
        for name in HEPIX_INSTANCE_ID VMID PAYLOAD_USER TTL VMCONTEXT_SKIP; do
            eval "value=\${$name-}"
            printf "CONTEXT_%s=%s\n" "$name" "${value%%
*}"
        done
    ' context "$CONTEXT_DIR/context.sh"
    if [ $late = yes ]; then
        rm -f "$STATE/output"
        say "context.sh took longer than $VMCONTEXT_TIME_LIMIT s and was ended."
        return 1
    fi
    [ -f "$STATE/output" ] || return 0
    while IFS= read -r line; do
        value=${line#*=}
        case "${line%%=*}" in
            CONTEXT_HEPIX_INSTANCE_ID) CONTEXT_HEPIX_INSTANCE_ID=$value ;;
            CONTEXT_VMID) CONTEXT_VMID=$value ;;
            CONTEXT_PAYLOAD_USER) CONTEXT_PAYLOAD_USER=$value ;;
            CONTEXT_TTL) CONTEXT_TTL=$value ;;
            CONTEXT_VMCONTEXT_SKIP) CONTEXT_VMCONTEXT_SKIP=$value ;;
        esac
    done <"$STATE/output"
    rm -f "$STATE/output"
}

# What the instance is known by: its identifier, or the digest of what it was given.
instance_id() {
    value=${CONTEXT_HEPIX_INSTANCE_ID:-$CONTEXT_VMID}
    if [ -n "$value" ]; then
        printf '%s\n' "$value"
        return 0
    fi
    (cd "$CONTEXT_DIR" && find . -type f | sort | while IFS= read -r file; do
        digest <"$file"
        printf '%s\n' "$file"
    done) | digest
}

# Of standard input.
digest() {
    for tool in sha256sum sha1sum cksum; do
        if command -v $tool >/dev/null 2>&1; then
            $tool | cut -d ' ' -f 1
            return 0
        fi
    done
}
