# shellcheck shell=bash
# The broker: one that is given, an Apache Kafka of our own, or librdkafka's mock cluster in a process of its own.

# Sets broker_kind, and pg_database: what an embedded broker forgets at its end is not mixed with what is to be kept.
choose_broker() {
    if [[ -n ${KAFKA_BOOTSTRAP_SERVERS:-} ]]; then
        broker_kind=given pg_database=stampede
    elif [[ -n ${KAFKA_HOME:-} ]]; then
        broker_kind=kafka pg_database=stampede
        [[ -x $KAFKA_HOME/bin/kafka-server-start.sh ]] ||
            fail 69 "KAFKA_HOME=$KAFKA_HOME: no bin/kafka-server-start.sh in it"
    else
        broker_kind=embedded
        # shellcheck disable=SC2034 # read by postgres.sh
        pg_database=trial
    fi
}

note_broker_ports() {
    [[ $broker_kind == kafka ]] || return 0
    note_port broker "$KAFKA_PORT" KAFKA_PORT
    note_port broker "$((KAFKA_PORT + 1))" KAFKA_PORT
}

# Apache Kafka takes longest to start: it does so beside what else is started until `start_broker` waits for it.
begin_broker() {
    [[ $broker_kind == kafka ]] || return 0
    start_kafka &
    kafka_starting=$!
}

# Starts it where it does not run, and sets KAFKA_BOOTSTRAP_SERVERS.
start_broker() {
    case $broker_kind in
    given) ;;
    kafka)
        [[ -n ${kafka_starting:-} ]] || begin_broker
        wait "$kafka_starting"
        KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:$KAFKA_PORT
        ;;
    embedded)
        if ! running broker.supervisor >/dev/null; then
            own_folder "$state/broker" "${users[broker]}"
            rm -f "$state/broker/address"
            as_user "${users[broker]}" "$programs/stampede"
            RESTART=no start broker "${prefix[@]}" "$programs/stampede" broker --address-file "$state/broker/address"
            wait_until 20 broker test -s "$state/broker/address"
        fi
        KAFKA_BOOTSTRAP_SERVERS=$(<"$state/broker/address")
        ;;
    esac
    export KAFKA_BOOTSTRAP_SERVERS
}

start_kafka() {
    local data=$state/kafka properties=$state/kafka/server.properties
    running broker.supervisor >/dev/null && return
    mkdir -p "$data"
    sed -e "s#@PORT@#$KAFKA_PORT#g; s#@CONTROLLER_PORT@#$((KAFKA_PORT + 1))#g; s#@DATA@#$data/data#g" \
        "$root/deploy/kafka/server.properties" >"$properties"
    [[ ! -f ${SETTINGS_DIR:-}/kafka.properties ]] || cat "$SETTINGS_DIR/kafka.properties" >>"$properties"
    own_folder "$data" "${users[broker]}"
    as_user "${users[broker]}" "$properties"
    export LOG_DIR=$data/log KAFKA_HEAP_OPTS=${KAFKA_HEAP_OPTS:--Xms512m -Xmx512m}
    if [[ ! -f $data/data/meta.properties ]]; then
        # Sixteen bytes as Kafka writes them, none of which is taken for an option.
        "${prefix[@]}" "$KAFKA_HOME/bin/kafka-storage.sh" format --ignore-formatted --config "$properties" \
            --cluster-id "S$(head --bytes=16 /dev/urandom | basenc --base64url | cut --characters=2-22)" \
            >"$logs/kafka-format.log" 2>&1 ||
            fail 70 "Kafka made no storage: $(tail -n 3 "$logs/kafka-format.log")"
    fi
    STOP_SECONDS=40 start broker "${prefix[@]}" "$KAFKA_HOME/bin/kafka-server-start.sh" "$properties"
    wait_until 90 broker answers "$KAFKA_PORT"
}
