import Security
import Testing

/// Serialized: one of them fills the queue that all share.
@Suite(.serialized) struct PasswordHashTests {
    @Test func aPasswordFitsItsHashAndNoOtherDoes() async throws {
        let hash = try await PasswordHash.make("correct horse battery staple")
        #expect(hash.hasPrefix("$argon2id$v=19$m=19456,t=2,p=1$"))
        #expect(try await PasswordHash.verify("correct horse battery staple", against: hash))
        #expect(try await !PasswordHash.verify("correct horse battery stapl", against: hash))
        #expect(try await !PasswordHash.verify("", against: hash))
    }

    @Test(arguments: ["", "é", "汉字🐎", "\u{0}", "with\u{0}zero", String(repeating: "x", count: 1024)])
    func anyTextIsAPassword(password: String) async throws {
        let hash = try await PasswordHash.make(password)
        #expect(try await PasswordHash.verify(password, against: hash))
        let other = password.isEmpty ? "x" : String(password.dropLast())
        #expect(try await !PasswordHash.verify(other, against: hash))
    }

    @Test func theSamePasswordHasAnotherHashEachTime() async throws {
        async let one = PasswordHash.make("secret")
        async let two = PasswordHash.make("secret")
        #expect(try await one != two)
    }

    @Test func whereThereIsNoHashNothingFits() async throws {
        #expect(try await !PasswordHash.verify("secret", against: nil))
    }

    @Test(arguments: [
        "", "secret", "$argon2i$v=19$m=65536,t=2,p=1$c2FsdHNhbHQ$", "$argon2id$", String(repeating: "$", count: 500),
    ])
    func whatIsNoHashOfOursFitsNothing(hash: String) async throws {
        #expect(try await !PasswordHash.verify("secret", against: hash))
        #expect(PasswordHash.isOutdated(hash))
    }

    @Test func todaysHashIsNotOutdated() async throws {
        #expect(!PasswordHash.isOutdated(try await PasswordHash.make("secret")))
    }

    @Test func aPasswordTooLongIsRefusedBeforeItCosts() async {
        let long = String(repeating: "x", count: PasswordHash.passwordBytesMax + 1)
        await #expect(throws: PasswordHash.Failure.tooLong) { try await PasswordHash.make(long) }
    }

    @Test func aRushIsRefusedBeyondTheBoundAndTheRestIsServed() async {
        let askers = PasswordHash.waitingMax * 3
        let outcomes = await withTaskGroup(of: PasswordHash.Failure?.self) { group in
            for _ in 0..<askers {
                group.addTask {
                    do throws(PasswordHash.Failure) {
                        _ = try await PasswordHash.verify("secret", against: nil)
                        return nil
                    } catch {
                        return error
                    }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        let served = outcomes.count { $0 == nil }
        let refused = outcomes.count { $0 == .busy }
        #expect(served >= PasswordHash.waitingMax)
        #expect(refused > 0)
        #expect(served + refused == askers)
    }
}
