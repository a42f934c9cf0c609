# shellcheck shell=bash
# What the scripts share: where things are, what they are called, and how a process is started, found and stopped.
# Every name below may be set from outside: `make up GATEWAY_PORT=9090`.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# Everything that runs keeps its files here: data, logs, process numbers, secrets.
state=${STACK_DIR:-$root/.local}
configuration=${CONFIGURATION:-release}
programs=$root/.build/$configuration
run=$state/run
logs=$state/log

# shellcheck disable=SC2034 # read by the scripts that source this file
services=(messaging catalog reservation payment notification)
# Whom root starts the broker and the services as, each as a user of its own: numbers that Debian and systemd give to nobody.
# shellcheck disable=SC2034
declare -A users=([broker]=61100 [messaging]=61101 [catalog]=61102 [reservation]=61103 [payment]=61104 [notification]=61105)

# What clients are told (write_environment) is no setting of a stack: services refuse it, and a shell may have exported it.
# Of what both read, STACK_WROTE has what was written: another value is somebody's choice.
forget_client_settings() {
    local setting name
    unset STAMPEDE_GATEWAY_URL STAMPEDE_OPERATOR_SECRET STAMPEDE_PUBLISHER STAMPEDE_PUBLISHER_SECRET
    for name in "${services[@]^^}"; do unset "${name}_POSTGRES_DSN" "${name}_OWNER_POSTGRES_DSN"; done
    for setting in ${STACK_WROTE:+${STACK_WROTE//,/ }}; do
        name=${setting%%=*}
        [[ ${!name:-} != "${setting#*=}" ]] || unset "$name"
    done
    unset STACK_WROTE
}
forget_client_settings

: "${GATEWAY_PORT:=8080}" "${MESSAGING_PORT:=8081}" "${CATALOG_PORT:=8082}" "${RESERVATION_PORT:=8083}"
: "${PAYMENT_PORT:=8084}" "${NOTIFICATION_PORT:=8085}" "${POSTGRES_PORT:=15432}" "${KAFKA_PORT:=19092}"
# How many of each run; the second one's port is 10 above the first's, and so on.
: "${MESSAGING_INSTANCES:=1}" "${CATALOG_INSTANCES:=1}" "${RESERVATION_INSTANCES:=1}"
: "${PAYMENT_INSTANCES:=1}" "${NOTIFICATION_INSTANCES:=1}"

say() { printf '%s\n' "$*"; }
# fail CODE MESSAGE: 64 wrong use, 69 something is missing or taken, 70 something broke, 73 a file cannot be made.
fail() {
    local code=$1
    shift
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit "$code"
}

# port NAME [INSTANCE]: NAME's port, instances counted from 0.
port() {
    local variable=${1^^}_PORT
    say $((${!variable} + 10 * ${2:-0}))
}

instances() {
    local variable=${1^^}_INSTANCES
    [[ ${!variable} =~ ^[0-9]+$ ]] || fail 64 "$variable=${!variable}: expected a number of instances"
    say "${!variable}"
}

# process NAME INSTANCE: what the process is called in run/ and log/: reservation, reservation-2, reservation-3.
process() { if (($2 == 0)); then say "$1"; else say "$1-$(($2 + 1))"; fi; }

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# note_port PROCESS PORT VARIABLE: adds to `taken` when another program than PROCESS listens there.
note_port() {
    running "$1.supervisor" >/dev/null || running "$1.pid" >/dev/null || ! answers "$2" ||
        taken+=("port $2 is taken (set $3 to another)")
}

require_none_taken() {
    ((${#taken[@]} == 0)) || fail 69 "$(printf '%s; ' "${taken[@]}" | sed 's/; $//')"
}

# identity PID: the process number with its start time, so that a reused number is not taken for the old process.
# Nothing where there is no such process, or only its remains.
identity() {
    local line fields
    { line=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
    read -ra fields <<<"${line##*) }"
    [[ ${fields[0]} == [ZX] ]] || say "$1 ${fields[19]}"
}

# make_state: the folders that everything runs in. What people write to each other passes through them: nobody else may
# read there. Whom root starts something as may pass through the outer one to what is theirs.
make_state() {
    # Programs that run as other users pass through what is made on the way here, and read nothing of it.
    if ! (umask 066 && mkdir -p "$state" && umask 077 && mkdir -p "$run" "$logs") 2>/dev/null ||
        [[ ! -w $run || ! -w $logs ]]; then
        fail 73 "$state cannot be written to; set STACK_DIR to a folder that can"
    fi
    chmod 700 "$run" "$logs"
    if ((EUID == 0)); then chmod 711 "$state"; else chmod 700 "$state"; fi
}

# as_user USER FILE: sets `prefix`, the words to put before a command that root starts, so that it runs as that user; no
# words for anybody else. FILE is what that user must be able to reach.
as_user() {
    prefix=()
    ((EUID == 0)) || return 0
    # Libraries look for files of their own below HOME, which here is root's.
    local user=(env HOME=/nonexistent setpriv "--reuid=$1" "--regid=$1")
    if [[ $1 == [0-9]* ]]; then user+=(--clear-groups); else user+=(--init-groups); fi
    prefix=("${user[@]}" --no-new-privs)
    "${prefix[@]}" stat "$2" >/dev/null 2>&1 && return
    # The checkout is in a folder that only root may enter, such as /root. Of root's powers that needs one.
    local power
    for power in dac_read_search dac_override; do
        prefix=("${user[@]}" --no-new-privs "--inh-caps=+$power" "--ambient-caps=+$power")
        "${prefix[@]}" stat "$2" >/dev/null 2>&1 && return
    done
    fail 69 "user $1 may not reach $2; move the checkout to a folder that it may, or be another user than root"
}

# own_folder FOLDER USER: a folder for that user alone, with all that is in it.
own_folder() {
    (umask 077 && mkdir -p "$1")
    chmod 700 "$1"
    ((EUID != 0)) || chown -R "$2:$2" "$1"
}

# running NAME: its process number, where the process that run/NAME names still runs.
running() {
    local pid started
    { read -r pid started <"$run/$1"; } 2>/dev/null || return 1
    [[ $(identity "$pid") == "$pid $started" ]] || return 1
    say "$pid"
}

# signal NAME PROCESS: also where it has just ended by itself.
signal() { kill "-$1" -- "$2" 2>/dev/null || true; }

# members GROUP: the processes of a process group, without what only remains of one.
members() {
    local file line fields
    for file in /proc/[0-9]*/stat; do
        { line=$(<"$file"); } 2>/dev/null || continue
        read -ra fields <<<"${line##*) }"
        [[ ${fields[2]:-} != "$1" || ${fields[0]} == [ZX] ]] || say "${line%% *}"
    done
}

# end_group GROUP SECONDS: asks whoever is left of it to end, kills it after the time, and returns when nobody is.
end_group() {
    local deadline=$((SECONDS + $2))
    [[ -n $(members "$1") ]] || return 0
    signal TERM "-$1"
    while [[ -n $(members "$1") ]]; do
        ((SECONDS < deadline)) || signal KILL "-$1"
        sleep 0.05
    done
}

# kill_left NAME: ends the program of a supervisor that was itself killed, and what that program has started: a
# supervised program leads a process group, whose number is no other's as long as one of it lives.
kill_left() {
    local pid started now
    { read -r pid started <"$run/$1.pid"; } 2>/dev/null || return 0
    # Asked once: it may be dying.
    now=$(identity "$pid")
    [[ -z $now || $now == "$pid $started" ]] || return 0
    end_group "$pid" 0
}

# start NAME COMMAND...: keeps the command running under scripts/supervise, whose environment run/NAME.environment
# adds to. Harmless when it runs already.
start() {
    running "$1.supervisor" >/dev/null && return
    kill_left "$1"
    rm -f "$run/$1.supervisor" "$run/$1.pid"
    # What the caller adds comes last, so it wins. All instances of a service share it.
    local added=${SETTINGS_DIR:-}/${1%-[0-9]*}.environment
    [[ ! -f $added ]] || (umask 077 && cat "$added" >>"$run/$1.environment")
    setsid "$root/scripts/supervise" "$@" </dev/null >>"$logs/supervisor.log" 2>&1 &
    # As long as it takes on a busy machine.
    until [[ -s $run/$1.pid ]]; do
        [[ -n $(identity $!) ]] || fail 70 "$1 was not started; see $logs/supervisor.log"
        sleep 0.02
    done
}

# stop NAME: asks, waits for its own time-out, then ends it. Harmless when it does not run.
stop() {
    local pid waited
    if pid=$(running "$1.supervisor"); then
        signal TERM "$pid"
        for ((waited = 0; waited < 600; waited++)); do
            running "$1.supervisor" >/dev/null || break
            sleep 0.05
        done
        if pid=$(running "$1.supervisor"); then signal KILL "$pid"; fi
    fi
    kill_left "$1"
    rm -f "$run/$1.supervisor" "$run/$1.pid" "$run/$1.environment"
}

# wait_until SECONDS NAME CONDITION...: until the condition holds, or NAME has ended for good.
wait_until() {
    local deadline=$((SECONDS + $1)) name=$2
    shift 2
    until "$@"; do
        running "$name.supervisor" >/dev/null || fail 70 "$name ended: $(reason "$name")"
        ((SECONDS < deadline)) || fail 70 "$name is not ready after a long wait: $(reason "$name")"
        sleep 0.1
    done
}

reason() {
    local log=$logs/$1.log
    if [[ -s $log ]]; then printf '%s\n(from %s)' "$(tail -n 3 "$log")" "$log"; else say "see $logs/supervisor.log"; fi
}

# secret NAME [BYTES]: a random word that stays the same as long as the state does, of 24 bytes, two digits each.
secret() {
    local file=$state/secrets/$1
    if [[ ! -s $file ]]; then
        (umask 077 && mkdir -p "$state/secrets" && head -c "${2:-24}" /dev/urandom | od -An -tx1 | tr -d ' \n' >"$file")
    fi
    cat "$file"
}
