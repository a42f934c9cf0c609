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

pg_admin() { PGPASSWORD=$(secret postgres) "$(pg_programs)/psql" --no-psqlrc --quiet --tuples-only --no-align \
    --set=ON_ERROR_STOP=1 --host=127.0.0.1 --port="$POSTGRES_PORT" --username=stampede "$@"; }

pg_answers() { PGCONNECT_TIMEOUT=2 pg_admin --dbname=postgres --command='SELECT 1' >/dev/null 2>&1; }

start_postgres() {
    running postgres.supervisor >/dev/null && return
    # Postgres refuses to run as root: there it runs as the user that its package made.
    as_user postgres "$state/."
    secret postgres >/dev/null
    if [[ ! -f $pg_data/PG_VERSION ]]; then
        own_folder "$pg_data" postgres
        # The file is for initdb alone, which reads it as the server's user.
        local password=$state/postgres.password
        (umask 077 && secret postgres >"$password")
        ((EUID != 0)) || chown postgres: "$password"
        (cd / && "${prefix[@]}" "$(pg_programs)/initdb" --pgdata="$pg_data" --username=stampede \
            --pwfile="$password" --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8) >"$logs/initdb.log" 2>&1 ||
            fail 70 "Postgres made no cluster: $(tail -n 3 "$logs/initdb.log")"
        rm -f "$password"
        [[ ! -f ${SETTINGS_DIR:-}/postgresql.conf ]] || cat "$SETTINGS_DIR/postgresql.conf" >>"$pg_data/postgresql.conf"
    fi
    # fsync and synchronous_commit stay on: what was answered is kept.
    STOP_SIGNAL=INT start postgres "${prefix[@]}" "$(pg_programs)/postgres" -D "$pg_data" \
        -c listen_addresses=127.0.0.1 -c port="$POSTGRES_PORT" -c unix_socket_directories= \
        -c max_connections=100 -c shared_buffers=256MB -c max_wal_size=4GB -c checkpoint_timeout=15min \
        -c wal_compression=on -c jit=off -c log_min_messages=warning -c log_line_prefix='%m [%p] %u '
    wait_until 60 postgres pg_answers
}

# pg_dsn ROLE: what a service connects with, or with SERVICE_owner who may change its tables.
pg_dsn() { say "postgresql://$1:$(secret "postgres-$1")@127.0.0.1:$POSTGRES_PORT/$pg_database"; }

# Makes the database with a schema and two roles for each service that may touch nothing else, and the newest tables in
# each. Harmless when they are there.
prepare_database() {
    local service
    if [[ $(pg_admin --dbname=postgres --command="SELECT count(*) FROM pg_database WHERE datname = '$pg_database'") == 0 ]]; then
        pg_admin --dbname=postgres --command="CREATE DATABASE $pg_database"
    fi
    for service in "${services[@]}"; do
        printf '\\set service %s\n\\set password %s\n\\set owner_password %s\n' "$service" \
            "$(secret "postgres-$service")" "$(secret "postgres-${service}_owner")"
        cat "$root/deploy/postgres/service.sql"
    done | pg_admin --dbname="$pg_database" --set=database="$pg_database" 2>>"$logs/postgres-prepare.log" ||
        fail 70 "the schemas could not be made: $(tail -n 3 "$logs/postgres-prepare.log")"
    local -A migrating=()
    for service in "${services[@]}"; do
        (
            as_user "${users[$service]}" "$programs/$service"
            STAMPEDE_POSTGRES_DSN=$(pg_dsn "${service}_owner")
            export STAMPEDE_POSTGRES_DSN
            exec "${prefix[@]}" "$programs/$service" migrate
        ) >"$logs/$service-migrate.log" 2>&1 &
        migrating[$service]=$!
    done
    for service in "${services[@]}"; do
        wait "${migrating[$service]}" ||
            fail 70 "the schema $service was not brought up to date: $(tail -n 3 "$logs/$service-migrate.log")"
    done
}

# For a broker that starts empty: what services remember of another log would be of no use.
forget_database() {
    pg_admin --dbname=postgres --command="DROP DATABASE IF EXISTS $pg_database WITH (FORCE)" 2>/dev/null
}
