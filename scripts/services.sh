# shellcheck shell=bash
# The five services, and the file that says how to reach them.

# A stack that runs on one broker cannot be told to run on another.
require_same_broker() {
    local wanted=$broker_kind:${KAFKA_BOOTSTRAP_SERVERS:-}
    if running "messaging.supervisor" >/dev/null && [[ -s $run/broker.kind && $(<"$run/broker.kind") != "$wanted" ]]; then
        fail 64 "the stack runs on another broker ($(<"$run/broker.kind")); 'make down' first"
    fi
    say "$wanted" >"$run/broker.kind"
}

# Every port that is about to be used is free, or the error says which is not and how to choose another.
require_ports() {
    local service instance
    taken=()
    note_port gateway "$GATEWAY_PORT" GATEWAY_PORT
    note_port postgres "$POSTGRES_PORT" POSTGRES_PORT
    note_broker_ports
    for service in "${services[@]}"; do
        for ((instance = 0; instance < $(instances "$service"); instance++)); do
            note_port "$(process "$service" "$instance")" "$(port "$service" "$instance")" "${service^^}_PORT"
        done
    done
    require_none_taken
}

# publisher NAME: the secret by which NAME proves that it published an order.
publisher() { secret "publisher-$1" 32; }

# Whom reservation believes: the app, and who publishes from here. Lines that somebody adds stay.
write_publishers() {
    local name file=$state/secrets/publishers
    (
        umask 077
        {
            for name in messaging rush; do say "$name=$(publisher "$name")"; done
            grep --no-messages --invert-match --extended-regexp '^(messaging|rush)=' "$file" || true
        } >"$file.new"
        mv "$file.new" "$file"
    )
}

start_services() {
    local service instance name
    # The folder is there once a secret is.
    publisher messaging >/dev/null
    write_publishers
    local root_keys
    root_keys=$(root_keys)
    for service in "${services[@]}"; do
        for ((instance = 0; instance < $(instances "$service"); instance++)); do
            name=$(process "$service" "$instance")
            running "$name.supervisor" >/dev/null && continue
            write_service_environment "$service" "$instance" "$name"
            as_user "${users[$service]}" "$programs/$service"
            start "$name" "${prefix[@]}" "$programs/$service"
        done
    done
    for service in "${services[@]}"; do
        for ((instance = 0; instance < $(instances "$service"); instance++)); do
            wait_until 60 "$(process "$service" "$instance")" ready "$(port "$service" "$instance")"
        done
    done
}

ready() { curl --silent --fail --max-time 2 --output /dev/null "http://127.0.0.1:$1/health/ready"; }

# STAMPEDE_KAFKA_… and STAMPEDE_LOG_LEVEL of the caller reach every service; what differs stands in this file, for
# secrets do not belong on command lines.
write_service_environment() {
    (
        umask 077
        {
            say "KAFKA_BOOTSTRAP_SERVERS=$KAFKA_BOOTSTRAP_SERVERS"
            say "STAMPEDE_POSTGRES_DSN=$(pg_dsn "$1")"
            say "STAMPEDE_HTTP_PORT=$(port "$1" "$2")"
            say "STAMPEDE_INSTANCE=$3"
            embedded_settings
            case $1 in
            messaging)
                say "STAMPEDE_OPERATOR_SECRET=$(secret operator)"
                say "STAMPEDE_ROOT_SECRET=$(secret root)"
                say "STAMPEDE_ORDER_SECRET=$(publisher messaging)"
                ;;
            catalog | reservation | payment) say "STAMPEDE_ROOT_KEYS=$root_keys" ;;
            esac
            [[ $1 != reservation ]] ||
                printf 'STAMPEDE_PUBLISHERS=%q\n' "$(paste --serial --delimiters=, "$state/secrets/publishers")"
        } >"$run/$3.environment"
    )
}

# By what the services tell messaging's keys from others'.
root_keys() { STAMPEDE_ROOT_SECRET=$(secret root) "$programs/stampede" keys root; }

# librdkafka's mock cluster lets a question for more records wait its full time, whatever comes meanwhile: half a second
# by default, at every step of an order's way.
embedded_settings() { [[ $broker_kind != embedded ]] || say "STAMPEDE_KAFKA_FETCH_WAIT_MAX_MS=25"; }

# The demonstration, by `stampede demo`: who can sign in is said when they can.
start_demo() {
    (umask 077 && sed '/_DSN=/d' "$state/environment" >"$run/demo.environment")
    running demo.supervisor >/dev/null || : >"$logs/demo.log"
    start demo "$programs/stampede" demo --environment "$state/environment"
    wait_until 60 demo grep --quiet '^sign in' "$logs/demo.log"
}

# What a client needs. lib.sh keeps all of it from who starts a stack.
write_environment() {
    local service shared
    mapfile -t shared < <(say "KAFKA_BOOTSTRAP_SERVERS=$KAFKA_BOOTSTRAP_SERVERS" && embedded_settings)
    (
        umask 077
        {
            printf '%s\n' "${shared[@]}"
            # A broker that was given stays given.
            [[ $broker_kind == given ]] || (IFS=, && say "STACK_WROTE=${shared[*]}")
            say "STAMPEDE_GATEWAY_URL=http://127.0.0.1:$GATEWAY_PORT"
            say "STAMPEDE_OPERATOR_SECRET=$(secret operator)"
            say "STAMPEDE_PUBLISHER=rush"
            say "STAMPEDE_PUBLISHER_SECRET=$(publisher rush)"
            for service in "${services[@]}"; do
                say "${service^^}_POSTGRES_DSN=$(pg_dsn "$service")"
                say "${service^^}_OWNER_POSTGRES_DSN=$(pg_dsn "${service}_owner")"
            done
        } >"$state/environment.new"
        mv "$state/environment.new" "$state/environment"
    )
}
