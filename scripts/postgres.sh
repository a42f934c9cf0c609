# shellcheck shell=bash
# The private Postgres: a cluster under the state folder, on loopback only, with a schema and a role for each service.

pg_data=$state/postgres

# Where Debian keeps the newest server's programs.
pg_programs() {
    local found
    found=$(printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)
    [[ -x $found ]] || fail 69 "no Postgres server under /usr/lib/postgresql"
    dirname "$found"
}

# as_postgres: the words to put before a command. Postgres refuses to run as root, so there it runs as the user that
# its package made.
as_postgres() {
    pg_prefix=()
    ((EUID == 0)) || return 0
    pg_prefix=(setpriv --reuid=postgres --regid=postgres --init-groups)
    "${pg_prefix[@]}" stat "$state/." >/dev/null 2>&1 && return
    # The checkout is in a folder that only root may enter, such as /root. Of root's powers the server needs one.
    local power
    for power in dac_read_search dac_override; do
        pg_prefix=(setpriv --reuid=postgres --regid=postgres --init-groups "--inh-caps=+$power" "--ambient-caps=+$power")
        "${pg_prefix[@]}" stat "$state/." >/dev/null 2>&1 && return
    done
    fail 69 "user postgres may not enter $root; move the checkout to a folder that it may, or be another user than root"
}

pg_admin() { PGPASSWORD=$(secret postgres) "$(pg_programs)/psql" --no-psqlrc --quiet --tuples-only --no-align \
    --set=ON_ERROR_STOP=1 --host=127.0.0.1 --port="$POSTGRES_PORT" --username=stampede "$@"; }

pg_answers() { PGCONNECT_TIMEOUT=2 pg_admin --dbname=postgres --command='SELECT 1' >/dev/null 2>&1; }

start_postgres() {
    running postgres.supervisor >/dev/null && return
    as_postgres
    secret postgres >/dev/null
    if [[ ! -f $pg_data/PG_VERSION ]]; then
        mkdir -p "$pg_data"
        chmod 700 "$pg_data"
        ((EUID != 0)) || chown postgres: "$pg_data"
        # The file is for initdb alone, which reads it as the server's user.
        local password=$state/postgres.password
        (umask 077 && secret postgres >"$password")
        ((EUID != 0)) || chown postgres: "$password"
        (cd / && "${pg_prefix[@]}" "$(pg_programs)/initdb" --pgdata="$pg_data" --username=stampede \
            --pwfile="$password" --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8) >"$logs/initdb.log" 2>&1 ||
            fail 70 "Postgres made no cluster: $(tail -n 3 "$logs/initdb.log")"
        rm -f "$password"
        [[ ! -f ${SETTINGS_DIR:-}/postgresql.conf ]] || cat "$SETTINGS_DIR/postgresql.conf" >>"$pg_data/postgresql.conf"
    fi
    # fsync and synchronous_commit stay on: what was answered is kept.
    STOP_SIGNAL=INT start postgres "${pg_prefix[@]}" "$(pg_programs)/postgres" -D "$pg_data" \
        -c listen_addresses=127.0.0.1 -c port="$POSTGRES_PORT" -c unix_socket_directories= \
        -c max_connections=100 -c shared_buffers=256MB -c max_wal_size=4GB -c checkpoint_timeout=15min \
        -c wal_compression=on -c jit=off -c log_min_messages=warning -c log_line_prefix='%m [%p] %u '
    wait_until 60 postgres pg_answers
}

# pg_dsn SERVICE: what the service connects with.
pg_dsn() { say "postgresql://$1:$(secret "postgres-$1")@127.0.0.1:$POSTGRES_PORT/$pg_database"; }

# Makes the database with a schema and a role each that may touch nothing else. Harmless when it is there.
prepare_database() {
    local service
    if [[ $(pg_admin --dbname=postgres --command="SELECT count(*) FROM pg_database WHERE datname = '$pg_database'") == 0 ]]; then
        pg_admin --dbname=postgres --command="CREATE DATABASE $pg_database"
    fi
    for service in "${services[@]}"; do
        printf '\\set service %s\n\\set password %s\n' "$service" "$(secret "postgres-$service")"
        cat "$root/deploy/postgres/service.sql"
    done | pg_admin --dbname="$pg_database" --set=database="$pg_database" 2>>"$logs/postgres-prepare.log" ||
        fail 70 "the schemas could not be made: $(tail -n 3 "$logs/postgres-prepare.log")"
}

# For a broker that starts empty: what services remember of another log would be of no use.
forget_database() {
    pg_admin --dbname=postgres --command="DROP DATABASE IF EXISTS $pg_database WITH (FORCE)" 2>/dev/null
}
