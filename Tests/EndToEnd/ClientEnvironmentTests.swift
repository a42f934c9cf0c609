// The file that says what a client needs: a shell may export all of it and start a stack as any other shell does.
import Testing

@Suite struct ClientEnvironmentTests {
    /// Shell functions that write the file, and look from a shell that has exported it.
    private static let prologue = """
        source broker.sh
        source postgres.sh
        source services.sh
        pg_database=trial
        # looking FILE SCRIPT: a new shell that exported what FILE says.
        looking() {
            env -i PATH="$PATH" STACK_DIR="$STACK_DIR" CONFIGURATION=debug bash -c '
                set -a
                source "$0"
                set +a
                for file in lib broker postgres services; do source "$file.sh"; done
                eval "$1"' "$@"
        }

        """

    @Test func whatClientsAreToldReachesNoScript() async throws {
        let (code, output) = try await Scripts.run(
            Self.prologue + """
                broker_kind=embedded KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:1234
                write_environment
                looking /dev/null 'compgen -e' | sort >"$STACK_DIR/expected"
                looking "$state/environment" 'compgen -e' | sort | diff "$STACK_DIR/expected" -
                """)
        #expect(code == 0, "\(output)")
    }

    @Test func theBrokerThatWasStartedIsNotTakenForOneThatWasGiven() async throws {
        let (code, output) = try await Scripts.run(
            Self.prologue + """
                expect() { [[ $1 == "$2" ]] || fail 70 "expected $2, got $1"; }
                broker_kind=embedded KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:1234
                write_environment
                look='choose_broker; say "$broker_kind ${KAFKA_BOOTSTRAP_SERVERS:-}"'
                expect "$(looking "$state/environment" "$look")" "embedded "
                # Whoever names another, or gave the one that is written, has chosen.
                echo KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:4321 | cat "$state/environment" - >"$STACK_DIR/changed"
                expect "$(looking "$STACK_DIR/changed" "$look")" "given 127.0.0.1:4321"
                broker_kind=given KAFKA_BOOTSTRAP_SERVERS=one:9092,two:9092
                write_environment
                expect "$(looking "$state/environment" "$look")" "given one:9092,two:9092"
                """)
        #expect(code == 0, "\(output)")
    }

    @Test func aServiceIsStartedWithTheSameEnvironment() async throws {
        let (code, output) = try await Scripts.run(
            Self.prologue + """
                broker_kind=embedded KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:1234
                write_environment
                publisher messaging >/dev/null
                write_publishers
                look='broker_kind=kafka KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:5678 pg_database=stampede root_keys=none
                    write_service_environment "$2" 0 "$2"
                    RESTART=no start "$2" bash -c "env; sleep 1000"
                    until grep -q ^STAMPEDE_INSTANCE= "$logs/$2.log"; do sleep 0.02; done
                    stop "$2"
                    grep -v "^_=" "$logs/$2.log" | sort
                    rm "$logs/$2.log"'
                for service in "${services[@]}"; do
                    looking /dev/null "$look" "$service" >"$STACK_DIR/expected"
                    grep -q "^STAMPEDE_POSTGRES_DSN=" "$STACK_DIR/expected"
                    looking "$state/environment" "$look" "$service" | diff "$STACK_DIR/expected" -
                done
                """)
        #expect(code == 0, "\(output)")
    }
}
