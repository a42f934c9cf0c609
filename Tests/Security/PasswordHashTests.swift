import Testing

@testable import Security

/// Serialized: one of them fills the queue that all share.
@Suite(.serialized) struct PasswordHashTests {
    @Test func aPasswordFitsItsHashAndNoOtherDoes() async throws {
        let hash = try await PasswordHash.make("correct horse battery staple")
        #expect(hash.hasPrefix("$argon2id$v=19$m=19456,t=2,p=1$"))
        #expect(try await PasswordHash.verify("correct horse battery staple", against: hash) == .right)
        #expect(try await PasswordHash.verify("correct horse battery stapl", against: hash) == .wrong)
        #expect(try await PasswordHash.verify("", against: hash) == .wrong)
    }

    @Test(arguments: ["", "é", "汉字🐎", "\u{0}", "with\u{0}zero", String(repeating: "x", count: 1024)])
    func anyTextIsAPassword(password: String) async throws {
        let hash = try await PasswordHash.make(password)
        #expect(try await PasswordHash.verify(password, against: hash) == .right)
        let other = password.isEmpty ? "x" : String(password.dropLast())
        #expect(try await PasswordHash.verify(other, against: hash) == .wrong)
    }

    @Test func theSamePasswordHasAnotherHashEachTime() async throws {
        async let one = PasswordHash.make("secret")
        async let two = PasswordHash.make("secret")
        #expect(try await one != two)
    }

    @Test func whereThereIsNoHashNothingFits() async throws {
        #expect(try await PasswordHash.verify("secret", against: nil) == .wrong)
    }

    @Test(arguments: [
        "", "secret", "$argon2i$v=19$m=65536,t=2,p=1$c2FsdHNhbHQ$", "$argon2id$", String(repeating: "$", count: 500),
    ])
    func whatIsNoHashOfOursFitsNothing(hash: String) async throws {
        #expect(try await PasswordHash.verify("secret", against: hash) == .wrong)
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

    @Test func aPasswordIsOneInAnyUnicodeForm() async throws {
        let forms = ["\u{e4}pfel \u{ac00}", "a\u{308}pfel \u{1100}\u{1161}"]
        for made in forms {
            let hash = try await PasswordHash.make(made)
            for typed in forms { #expect(try await PasswordHash.verify(typed, against: hash) == .right) }
            // What is only alike is another one: a ligature, a full-width letter.
            #expect(try await PasswordHash.verify("\u{e4}pfel\u{3000}\u{ac00}", against: hash) == .wrong)
        }
    }

    @Test func aHashOfWhatWasTypedDecomposedFitsAndIsOutdated() async throws {
        // Made of the bytes as they came.
        let hash =
            "$argon2id$v=19$m=19456,t=2,p=1$0a3H66+t3cO6lHe5AT7wfg$dBChkOSa+XBhEw/KMrL/a7pV1x42S4Zni4wYpLjrZ6s"
        for typed in ["gro\u{df}e a\u{308}pfel", "gro\u{df}e \u{e4}pfel"] {
            #expect(try await PasswordHash.verify(typed, against: hash) == .rightAndOutdated)
        }
        #expect(try await PasswordHash.verify("grosse apfel", against: hash) == .wrong)
    }

    @Test func whoSignsUpByTheThousandLeavesOthersAThreadToSignInOn() async throws {
        let outcomes = await withTaskGroup(of: PasswordHash.Failure?.self) { group in
            for _ in 0..<PasswordHash.newWaitingMax * 3 {
                group.addTask {
                    do throws(PasswordHash.Failure) {
                        _ = try await PasswordHash.make("secret")
                        return nil
                    } catch {
                        return error
                    }
                }
            }
            var outcomes: [PasswordHash.Failure?] = []
            // The first is through: all that fit are waiting, and one who signs in is served before they are.
            outcomes.append(await group.next() ?? nil)
            await #expect(throws: Never.self) { try await PasswordHash.verify("secret", against: nil) }
            return await group.reduce(into: outcomes) { $0.append($1) }
        }
        #expect(outcomes.contains(.busy))
        #expect(outcomes.count { $0 == nil } >= PasswordHash.newWaitingMax)
    }
}
