# shellcheck shell=bash
# What the benchmarks of deciding share: Postgres, a broker with its topics, and the reservation service alone.
STACK_DIR=${STACK_DIR:-$(cd "$here/.." && pwd -P)/.local/bench}
export STACK_DIR
# shellcheck source=lib.sh
source "$here/lib.sh"
# shellcheck source=postgres.sh
source "$here/postgres.sh"
# shellcheck source=broker.sh
source "$here/broker.sh"

"$here/packages" --bench
[[ ${BUILD:-yes} == no ]] || "$here/build"
choose_broker
taken=()

end_bench() {
    stop redis
    "$here/down" >/dev/null
    rm -rf "$STACK_DIR"
}
trap end_bench EXIT
trap 'exit 130' INT TERM

# begin_bench [OPTION…]: an empty Postgres, an empty broker, and topics made with these options of `topics create`.
begin_bench() {
    rm -rf "$STACK_DIR"
    make_state
    note_port postgres "$POSTGRES_PORT" POSTGRES_PORT
    note_broker_ports
    require_none_taken
    start_postgres
    prepare_database
    start_broker
    "$programs/stampede" topics create "$@" >/dev/null
    RESERVATION_POSTGRES_DSN=$(pg_dsn reservation)
    export RESERVATION_POSTGRES_DSN
}

# bench OPTION…: decides a backlog by $decider, and prints what it measured as JSON.
decider=$programs/reservation
bench() {
    "$programs/stampede" bench --json --program "$decider" --log "$logs/reservation.log" "$@"
}

# field NAME JSON
field() { jq --raw-output ".$1" <<<"$2"; }
# ratio A B: with two digits.
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", b == 0 ? 0 : a / b }'; }
# middle NUMBER…: the median, of an even count the lower one.
middle() { printf '%s\n' "$@" | sort --numeric-sort | sed -n "$((($# + 1) / 2))p"; }
