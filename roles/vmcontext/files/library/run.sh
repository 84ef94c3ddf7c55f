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

# Output goes to a file first: a daemon that the script starts may keep it open, and must not hold up the boot.
run_script() {
    shell=$(interpreter "$1")
    if [ -n "$shell" ]; then
        limited "$shell" "$LIBRARY/source.sh" source "$@"
    else
        chmod u+x "$1"
        limited sh "$LIBRARY/source.sh" execute "$@"
    fi
    result=$?
    cat "$STATE/output"
    cat "$STATE/output" >>"$VMCONTEXT_LOG"
    rm -f "$STATE/output"
    if [ "$late" = yes ]; then
        say "${1##*/} took longer than $VMCONTEXT_TIME_LIMIT s and was ended."
    fi
    return $result
}

# What never ends must not hold up the boot for ever. The signal comes from `alarm_after`, and ends the waiting even
# for a process that nothing can end, such as one that waits for a dead server of files.
late=no
trap 'late=yes' ALRM

limited() {
    late=no
    group=
    ! command -v setsid >/dev/null 2>&1 || group=-
    ${group:+setsid} "$@" </dev/null >"$STATE/output" 2>&1 &
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
    for off in $VMCONTEXT_DISABLED $(context_value VMCONTEXT_SKIP); do
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

# The value that context.sh gives a variable, found in a process of its own.
context_value() {
    [ -f "$CONTEXT_DIR/context.sh" ] || return 0
    sh -c 'unset "$1"; . "$2" >/dev/null 2>&1; eval "printf %s \"\${$1-}\""' value "$1" "$CONTEXT_DIR/context.sh" </dev/null
}

context_sets() {
    sh -c 'unset "$1"; . "$2" >/dev/null 2>&1; eval "[ -n \"\${$1+x}\" ]"' sets "$1" "$CONTEXT_DIR/context.sh" </dev/null
}

# What the instance is known by: its identifier, or the digest of what it was given.
instance_id() {
    for name in HEPIX_INSTANCE_ID VMID; do
        value=$(context_value "$name")
        if [ -n "$value" ]; then
            printf '%s\n' "$value"
            return 0
        fi
    done
    (cd "$CONTEXT_DIR" && find . -type f | sort | while IFS= read -r file; do
        digest "$file"
        printf '%s\n' "$file"
    done) >"$STATE/contents"
    digest "$STATE/contents"
    rm -f "$STATE/contents"
}

digest() {
    for tool in sha256sum sha1sum cksum; do
        if command -v $tool >/dev/null 2>&1; then
            $tool <"$1" | cut -d ' ' -f 1
            return 0
        fi
    done
}
