# shellcheck shell=sh
# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# The site's limits: protected files stay those of the image, the payload's user is no administrator, time is limited,
# and secrets do not stay.

MANIFEST=$LIBRARY/protected.list

# list_protected ROOT: digest (or the link's target) and path of every protected file, sorted.
list_protected() (
    cd "$1" || exit 1
    # The patterns are of the tree's paths, not of this system's.
    set -f
    # shellcheck disable=SC2086
    set -- $VMCONTEXT_PROTECTED
    set +f
    for pattern in "$@"; do
        for path in ./${pattern#/}; do
            if [ -L "$path" ]; then
                printf 'link:%s  %s\n' "$(readlink "$path")" "$path"
            elif [ -d "$path" ]; then
                find "$path" -type f -exec sha256sum {} +
            elif [ -f "$path" ]; then
                sha256sum "$path"
            fi
        done
    done | sed 's|  \./| /|' | sort -u
)

# Returns 1 where a protected file was changed, added or removed.
verify_protected() {
    if [ ! -f "$MANIFEST" ]; then
        say "There is no list of protected files: nothing is verified."
        return 0
    fi
    # Without a file between, since a full file system must not look like one in which nothing was changed.
    changed=$(list_protected / | cat - "$MANIFEST" | sort | uniq -u | cut -d ' ' -f 2- | sort -u | head -n 5 | tr '\n' ' ')
    [ -n "$changed" ] || return 0
    say "LIMITS: protected files are not those of the image: $changed"
    return 1
}

payload_user() {
    printf '%s\n' "${CONTEXT_PAYLOAD_USER:-$VMCONTEXT_PAYLOAD_USER}"
}

# Says why the user may not run the payload; nothing where it may.
objection_to() {
    case "$1" in
        '' | *[!a-z0-9_-]* | [!a-z_]*) echo "'$1' is no name of a user" && return ;;
    esac
    entry=$(sed -n "s/^$1:/&/p" /etc/passwd | head -n 1)
    [ -n "$entry" ] || entry=$(getent passwd "$1" 2>/dev/null)
    number=$(printf '%s\n' "$entry" | cut -d : -f 3)
    least=$(sed -n 's/^UID_MIN[[:space:]]*\([0-9]*\).*/\1/p' /etc/login.defs 2>/dev/null | head -n 1)
    if [ -z "$entry" ]; then
        echo "the user $1 does not exist"
        return
    fi
    case "$number" in
        '' | *[!0-9]* | ???????????*) echo "the user $1 has no number" && return ;;
    esac
    if [ "$number" -lt "${least:-1000}" ]; then
        echo "the user $1 is one of the system"
    else
        for group in $(id -Gn "$1" 2>/dev/null); do
            case " $VMCONTEXT_ADMIN_GROUPS " in
                *" $group "*) echo "the user $1 is in the group $group" && return ;;
            esac
        done
    fi
}

within_limits() {
    verdict=0
    verify_protected || verdict=1
    user=$(payload_user)
    if [ -n "$user" ]; then
        why=$(objection_to "$user")
        if [ -n "$why" ]; then
            say "LIMITS: the payload must not run: $why."
            verdict=1
        fi
    fi
    [ $verdict -ne 0 ] || return 0
    if [ "$VMCONTEXT_ENFORCE" = yes ]; then
        say "LIMITS: payload and batch clients are not started."
        return 1
    fi
    say "LIMITS: the image is told not to enforce them."
}

# payload.sh runs as the payload's user, without the variables of the disk, some of which are secrets.
start_payload() {
    [ -f "$CONTEXT_DIR/payload.sh" ] || return 0
    user=$(payload_user)
    if [ -z "$user" ] || [ -n "$(objection_to "$user")" ]; then
        say "LIMITS: the payload has no user to run as."
        return 1
    fi
    mkdir -p "$STATE/payload" && chmod 0711 "$STATE/payload" || return 1
    cp "$CONTEXT_DIR/payload.sh" "$STATE/payload/payload.sh" && chmod 0644 "$STATE/payload/payload.sh" || return 1
    if has_carriage_returns "$STATE/payload/payload.sh"; then
        say "payload.sh has the line ends CR LF, and is not run."
        return 1
    fi
    begin=.
    shell=$(interpreter "$STATE/payload/payload.sh")
    # One in another language is executed.
    [ -n "$shell" ] || { begin='exec' && chmod 0755 "$STATE/payload/payload.sh"; }
    # busybox finds its own sh without a path.
    case "$shell" in /*) ;; *) shell=/bin/sh ;; esac
    # su asks PAM whether the account is in order, which one without a password need not be.
    switch=su
    ! command -v runuser >/dev/null 2>&1 || switch=runuser
    (
        unset CONTEXT_DIR
        umask 022
        cd / && exec $switch -s "$shell" -c "$begin $STATE/payload/payload.sh" "$user"
    ) </dev/null >>"${VMCONTEXT_LOG%.log}-payload.log" 2>&1 &
    say "The payload was started as $user."
}

start_services() {
    if [ -d /run/systemd/system ]; then
        systemctl --no-block start hepix-context.target || say "hepix-context.target cannot be started."
    fi
    for service in $VMCONTEXT_SERVICES; do
        "/etc/init.d/$service" start || say "The service $service cannot be started."
    done
}

# The site ends instances from outside; this is the second line. Counted from the first start of the instance.
start_ttl() {
    hours=$CONTEXT_TTL
    [ "$VMCONTEXT_TTL" = yes ] && [ -n "$hours" ] || return 0
    case "$hours" in
        *[!0-9]* | ???????*) say "TTL is no number of hours." && return 0 ;;
    esac
    # A number that begins with 0 is an octal one to the shell.
    hours=${hours#"${hours%%[!0]*}"}
    hours=${hours:-0}
    now=$(date +%s)
    known=''
    since=''
    [ ! -f "$STATE/ttl" ] || read -r since known <"$STATE/ttl"
    case "$since" in '' | *[!0-9]* | 0*) known='' since='' ;; esac
    if [ "$known" != "$INSTANCE" ] || [ -z "$since" ]; then
        since=$now
        printf '%s %s\n' "$since" "$INSTANCE" >"$STATE/ttl"
    fi
    minutes=$(((since + hours * 3600 - now + 59) / 60))
    [ $minutes -gt 0 ] || minutes=0
    say "This machine shuts down in $minutes minutes (TTL)."
    # sysvinit's shutdown would wait, and meanwhile refuse every other one, such as the site's.
    (
        trap '' HUP
        if [ -d /run/systemd/system ] && shutdown -h "+$minutes"; then
            exit 0
        fi
        sleep $((minutes * 60))
        shutdown -h now || poweroff
    ) </dev/null >/dev/null 2>&1 &
}

wipe_copy() {
    [ -d "$CONTEXT_DIR" ] || return 0
    case "$VMCONTEXT_WIPE" in
        none) return 0 ;;
        all)
            find "$CONTEXT_DIR" -type f ! -name prolog.sh ! -name epilog.sh | while IFS= read -r file; do
                wipe "$file"
            done
            ;;
        *)
            wipe_listed
            find "$CONTEXT_DIR" -type f -exec grep -l 'PRIVATE KEY-----' {} \; | while IFS= read -r file; do
                wipe "$file"
            done
            ;;
    esac
}

wipe_listed() {
    [ -f "$CONTEXT_DIR/secrets.list" ] || return 0
    secret_names=' '
    while read -r kind name; do
        case "$kind $name" in
            *..* | *' /'*) ;;
            'file '*) wipe "$CONTEXT_DIR/$name" ;;
            'variable '*) secret_names="$secret_names$name " ;;
        esac
    done <"$CONTEXT_DIR/secrets.list"
    if [ "$secret_names" != ' ' ] && [ -f "$CONTEXT_DIR/context.sh" ]; then
        kept=yes
        keep_public "$secret_names" || kept=no
        wipe "$CONTEXT_DIR/context.sh"
        rm -f "$STATE/output"
        [ $kept = no ] || mv "$STATE/context.new" "$CONTEXT_DIR/context.sh"
    fi
}

# Says context.sh anew without the named variables; values may have several lines, and each is asked for in a process of
# its own, which no other value changes. It has a limit, as context.sh may have begun to wait for something.
keep_public() {
    # shellcheck disable=SC2016
    limited sh -c '
        secret=$1
        context=$2
        sed -n "s/^\([A-Z_][A-Z0-9_]*\)=.*/\1/p" "$context" | sort -u | while read -r variable; do
            case "$secret" in *" $variable "*) continue ;; esac
            kept=$(
                set -- "$variable" "$context"
                unset "$1"
                . "$2" >/dev/null 2>&1 </dev/null
                eval "[ -z \"\${$1+x}\" ] || printf %sx \"\${$1-}\""
            )
            [ -n "$kept" ] || continue
            printf "%s\n" "${kept%x}" | sed -e "s/$3/$3\\\\$3$3/g" -e "1s/^/$variable=$3/" -e "\$s/\$/$3/" || exit 1
        done
    ' keep "$1" "$CONTEXT_DIR/context.sh" "'" && mv "$STATE/output" "$STATE/context.new"
}

# On the disk as well, not only in what the system would have written there had the file stayed.
wipe() {
    [ -f "$1" ] || return 0
    size=$(wc -c <"$1")
    blocks=$(((size + 4095) / 4096))
    if [ $blocks -gt 0 ] && ! dd if=/dev/zero of="$1" bs=4096 count=$blocks conv=notrunc,fsync 2>/dev/null; then
        dd if=/dev/zero of="$1" bs=4096 count=$blocks conv=notrunc 2>/dev/null
        sync
    fi
    rm -f "$1"
}
