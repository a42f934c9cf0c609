// Programs that start others, under scripts/supervise: when the first of them dies, nothing is left that would stand in
// the way of the next.
import Testing

@Suite struct SupervisorTests {
    @Test func aKilledGatewayComesBackOnItsPortAndNothingOfItIsLeftWhenItIsStopped() async throws {
        let (code, output) = try await Scripts.run(
            """
            source gateway.sh
            start_gateway
            first=$(running gateway.pid)
            until_true has_members "$first" $(($(nproc) + 1))
            kill -KILL "$first"
            until_true another gateway "$first"
            [[ -z $(members "$first") ]]
            until_true answers "$GATEWAY_PORT"
            second=$(running gateway.pid)
            sleep 1
            [[ $(running gateway.pid) == "$second" ]] || fail 70 "it ended again: $(reason gateway)"
            ./down
            [[ -z $(members "$second") ]]
            ! answers "$GATEWAY_PORT"
            """)
        #expect(code == 0, "\(output)")
    }

    /// The broker and the services run as users of their own, and pass through folders that are made on the way to theirs.
    @Test func foldersThatAreMadeOnTheWayToTheStateLetOtherUsersPass() async throws {
        let (code, output) = try await Scripts.run(
            """
            unset run logs
            folder=$STACK_DIR/new/further
            (
                STACK_DIR=$folder
                source lib.sh
                make_state
            )
            [[ $(stat -c %a "$STACK_DIR/new") == 711 ]] || fail 70 "$(stat -c %a "$STACK_DIR/new")"
            if ((EUID == 0)); then expected=711; else expected=700; fi
            [[ $(stat -c %a "$folder") == "$expected" ]] || fail 70 "$(stat -c %a "$folder")"
            [[ $(stat -c %a "$folder/run") == 700 ]]
            """)
        #expect(code == 0, "\(output)")
    }

    /// It lives when it is looked for, and does not a moment later.
    @Test func whatADyingProgramStartedIsEndedToo() async throws {
        let (code, output) = try await Scripts.run(
            """
            start forker /bin/bash -c 'sleep 1000 & sleep 1000; :'
            supervisor=$(running forker.supervisor) program=$(running forker.pid) alive=$(<"$run/forker.pid")
            until_true has_members "$program" 3
            kill -STOP "$supervisor"
            kill -KILL "$supervisor" "$program"
            eval "true_$(declare -f identity)"
            until_true eval '[[ -z $(true_identity "$program") ]]'
            identity() {
                if [[ $1 == "$program" && ! -e $STACK_DIR/seen ]]; then
                    : >"$STACK_DIR/seen"
                    say "$alive"
                else
                    true_identity "$1"
                fi
            }
            stop forker
            [[ -e $STACK_DIR/seen && -z $(members "$program") ]] || fail 70 "left: $(members "$program")"
            """)
        #expect(code == 0, "\(output)")
    }

    /// Whoever is killed, and in whichever order.
    @Test func aProgramWhoseSupervisorIsKilledIsEndedWithAllThatItStarted() async throws {
        for victims in ["$supervisor", "$supervisor $program", "$program $supervisor"] {
            let (code, output) = try await Scripts.run(
                """
                start forker /bin/bash -c 'sleep 1000 & trap "" TERM; sleep 1000; :'
                supervisor=$(running forker.supervisor) program=$(running forker.pid)
                until_true has_members "$program" 3
                kill -STOP "$supervisor"
                for victim in \(victims); do kill -KILL "$victim"; done
                stop forker
                [[ -z $(members "$program") ]] || fail 70 "left: $(members "$program")"
                """)
            #expect(code == 0, "\(victims): \(output)")
        }
    }
}
