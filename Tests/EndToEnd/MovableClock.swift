// A clock that jumps, for one program of a stack alone: a small library between the program and the C library adds seconds
// to what the clock of the day says. Debian's libfaketime moves timers of the monotonic clock as well, which no real jump
// does: Swift's sleeps lasted for minutes, or no time at all.
import Foundation

@testable import StampedeCore

extension Stack {
    static let withMovableClocks = Settings.Service.allCases.map(\.rawValue) + ["postgres"]

    private static let source = """
        #define _GNU_SOURCE
        #include <errno.h>
        #include <fcntl.h>
        #include <pthread.h>
        #include <stdlib.h>
        #include <sys/mman.h>
        #include <sys/syscall.h>
        #include <sys/time.h>
        #include <threads.h>
        #include <time.h>
        #include <unistd.h>

        /* Other libraries ask for the time before this one is set up. */
        static long offset(void) {
            static volatile const long *seconds;
            if (!seconds) {
                int file = open(getenv("CLOCK_OFFSET_FILE"), O_RDONLY | O_CLOEXEC);
                void *page = mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
                if (page == MAP_FAILED) abort();
                close(file);
                seconds = page;
            }
            return *seconds;
        }

        int clock_gettime(clockid_t clock, struct timespec *time) {
            int result = syscall(SYS_clock_gettime, clock, time);
            if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) time->tv_sec += offset();
            return result;
        }

        int timespec_get(struct timespec *time, int base) {
            return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, time) == 0 ? base : 0;
        }

        int gettimeofday(struct timeval *restrict time, void *restrict zone) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            time->tv_sec = now.tv_sec;
            time->tv_usec = now.tv_nsec / 1000;
            return 0;
        }

        time_t time(time_t *stored) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            if (stored) *stored = now.tv_sec;
            return now.tv_sec;
        }

        /* Who waits until a time of this clock waits for as long as it meant to: librdkafka does so. */
        int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
            struct timespec there = *until;
            there.tv_sec -= offset();
            int result = pthread_cond_clockwait(
                (pthread_cond_t *)condition, (pthread_mutex_t *)mutex, CLOCK_REALTIME, &there);
            return result == 0 ? thrd_success : result == ETIMEDOUT ? thrd_timedout : thrd_error;
        }
        """

    /// Before the programs start. False where no C compiler is at hand: Swift's toolchain brings one.
    func makeClocksMovable() async throws -> Bool {
        let library = "\(folder)/settings/clock.so"
        let arguments = ["clang", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", library]
        let compiled = try await run("/usr/bin/env", arguments, input: Self.source)
        guard compiled.code == 0 else {
            print("SKIPPED: clocks that jump; clang cannot be run: \(compiled.errors)")
            return false
        }
        for program in Self.withMovableClocks {
            let file = clockFile(of: program)
            try Data(count: MemoryLayout<Int>.size).write(to: URL(fileURLWithPath: file))
            try add("LD_PRELOAD=\(library)", "CLOCK_OFFSET_FILE=\(file)", to: "\(program).environment")
        }
        return true
    }

    func moveClock(of program: String, bySeconds seconds: Int) throws {
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: clockFile(of: program)))
        // In place: the program has the file mapped.
        try withUnsafeBytes(of: seconds) { try file.write(contentsOf: Data($0)) }
        try file.close()
    }

    private func clockFile(of program: String) -> String { "\(folder)/settings/\(program).clock" }
}
