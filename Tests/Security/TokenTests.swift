import Foundation
import Models
import Testing

@testable import Security

@Suite struct TokenTests {
    let key: SigningKey
    let verifier: TokenVerifier
    let now = Timestamp(seconds: 1_800_000_000)

    init() throws {
        key = try SigningKey.generate()
        verifier = TokenVerifier()
        try verifier.update(keyID: key.keyID, jwk: key.publicJWK)
    }

    func claims(
        _ number: UInt64 = 1, kind: AccountKind = .person, issued: Int64 = -10, expires: Int64 = 900,
        issuer: String = AccessClaims.standardIssuer
    ) -> AccessClaims {
        let seconds = now.microseconds / 1_000_000
        return AccessClaims(
            sub: AccountID(high: 1, low: number), kind: kind, sid: SessionID(high: 2, low: number),
            iat: seconds + issued, exp: seconds + expires, iss: issuer)
    }

    @Test(arguments: AccountKind.allCases)
    func whatWasSignedIsVerifiedAndSaysTheSame(kind: AccountKind) throws {
        let claims = claims(kind: kind)
        let token = try key.sign(claims: claims)
        #expect(try verifier.verify(token, now: now) == claims)
        // Once more, now from the table.
        #expect(try verifier.verify(token, now: now) == claims)
    }

    @Test func aTokenIsACompactJWSThatNamesAlgorithmAndKey() throws {
        let parts = try key.sign(claims: claims()).split(separator: ".", omittingEmptySubsequences: false)
        #expect(parts.count == 3)
        let bytes = try #require(Base64URL.decode(String(parts[0])))
        let header = try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: String])
        #expect(header == ["alg": "ES256", "kid": key.keyID, "typ": "JWT"])
        #expect(Base64URL.decode(String(parts[2]))?.count == 64)
    }

    @Test func aTokenOpensNothingFromTheSecondOfItsExpiry() throws {
        let claims = claims(expires: 60)
        let token = try key.sign(claims: claims)
        #expect(try verifier.verify(token, now: now.adding(seconds: 59)) == claims)
        // The table knows it, and must not outlive it.
        #expect(throws: TokenError.expired) { try verifier.verify(token, now: now.adding(seconds: 60)) }
        #expect(throws: TokenError.expired) {
            try TokenVerifier.with(key).verify(token, now: now.adding(seconds: 60))
        }
    }

    @Test func aClockThatIsBehindTurnsNobodyAway() throws {
        let claims = claims(issued: 300)
        #expect(try verifier.verify(try key.sign(claims: claims), now: now) == claims)
    }

    @Test func anotherIssuersTokenIsRefused() throws {
        let token = try key.sign(claims: claims(issuer: "somebody"))
        #expect(throws: TokenError.wrongIssuer) { try verifier.verify(token, now: now) }
    }

    @Test func aForeignKeysTokenIsRefused() throws {
        let foreign = try SigningKey.generate()
        let token = try foreign.sign(claims: claims())
        #expect(throws: TokenError.unknownKey) { try verifier.verify(token, now: now) }
    }

    @Test func aForeignKeyThatBearsAKnownNameIsRefused() throws {
        let foreign = try SigningKey.generate()
        let forger = TokenVerifier()
        // The name of ours, the key of theirs: what the header claims is not what is checked.
        try forger.update(keyID: foreign.keyID, jwk: key.publicJWK)
        let token = try foreign.sign(claims: claims())
        #expect(throws: TokenError.badSignature) { try forger.verify(token, now: now) }
    }

    @Test func aTokenIsAcceptedInOneSpellingOnly() throws {
        for number in UInt64(0)..<32 {
            let token = try key.sign(claims: claims(number))
            let parts = token.split(separator: ".").map(String.init)
            let signature = try #require(Base64URL.decode(parts[2]))
            #expect(try TokenVerifier.with(key).verify(token, now: now) == claims(number))
            // The other signature that fits: (r, n - s).
            let order: [UInt8] = [
                0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
            ]
            var (high, borrow) = ([UInt8](repeating: 0, count: 32), 0)
            for index in (0..<32).reversed() {
                let difference = Int(order[index]) - Int(signature[32 + index]) - borrow
                borrow = difference < 0 ? 1 : 0
                high[index] = UInt8(truncatingIfNeeded: difference)
            }
            let other = Base64URL.encode(signature.prefix(32) + high)
            let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
            let last = try #require(alphabet.firstIndex(of: Character(String(parts[2].suffix(1)))))
            var spellings = ["\(parts[0]).\(parts[1]).\(other)", "\(token).", " \(token)", "\(token) ", "\(token)\n"]
            // Unused bits, paddings, the other alphabet, white space, for each part.
            spellings += (1..<16).map { "\(token.dropLast())\(alphabet[last & ~15 | (last + $0) & 15])" }
            for index in parts.indices {
                for changed in ["\(parts[index])=", "\(parts[index])==", "\(parts[index]) ", "\n\(parts[index])"] {
                    var changedParts = parts
                    changedParts[index] = changed
                    spellings.append(changedParts.joined(separator: "."))
                }
            }
            let standard = token.replacing("-", with: "+").replacing("_", with: "/")
            if standard != token { spellings.append(standard) }
            for spelling in spellings {
                #expect(throws: TokenError.self, "\(spelling)") {
                    try TokenVerifier.with(key).verify(spelling, now: now)
                }
                #expect(throws: TokenError.self) { try verifier.verify(spelling, now: now) }
            }
        }
    }

    @Test func anEndedSessionsTokensAreRefusedUntilTheyRunOut() throws {
        let (ended, other) = (claims(1), claims(2))
        let tokens = [try key.sign(claims: ended), try key.sign(claims: other)]
        _ = try verifier.verify(tokens[0], now: now)
        verifier.refuse(ended.sid, until: now.adding(seconds: 900), now: now)
        // Whether it was known before or not.
        #expect(throws: TokenError.sessionEnded) { try verifier.verify(tokens[0], now: now) }
        let fresh = try TokenVerifier.with(key)
        fresh.refuse(ended.sid, until: now.adding(seconds: 900), now: now)
        #expect(throws: TokenError.sessionEnded) { try fresh.verify(tokens[0], now: now) }
        #expect(try verifier.verify(tokens[1], now: now) == other)
        // A withdrawn key of that name is nothing to it.
        verifier.remove(keyID: ended.sid.description)
        #expect(throws: TokenError.sessionEnded) { try verifier.verify(tokens[0], now: now) }
    }

    @Test func endedSessionsAreForgottenInTimeAndAreBounded() {
        let sessions = EndedSessions(sessionsMax: 2000)
        for index in UInt64(0)..<20_000 {
            sessions.insert(SessionID(high: 9, low: index), untilSeconds: 1000 + Int64(index), nowSeconds: 0)
            #expect(sessions.contains(SessionID(high: 9, low: index)))
            #expect(sessions.count <= 2000)
        }
        sessions.insert(SessionID(high: 8, low: 1), untilSeconds: 10, nowSeconds: 10)
        #expect(!sessions.contains(SessionID(high: 8, low: 1)))
        for index in UInt64(0)..<2000 {
            sessions.insert(SessionID(high: 7, low: index), untilSeconds: 60_000, nowSeconds: 50_000)
        }
        #expect(!sessions.contains(SessionID(high: 9, low: 19_999)))
    }

    @Test func everyChangedCharacterIsNoticed() throws {
        let token = try key.sign(claims: claims())
        let characters = Array(token)
        for index in stride(from: 0, to: characters.count, by: 7) {
            var changed = characters
            changed[index] = changed[index] == "A" ? "B" : "A"
            #expect(throws: TokenError.self, "changed at \(index)") {
                try TokenVerifier.with(key).verify(String(changed), now: now)
            }
            #expect(throws: TokenError.self) { try verifier.verify(String(changed), now: now) }
        }
    }

    @Test func anotherBodyUnderAGenuineSignatureIsRefused() throws {
        let genuine = try key.sign(claims: claims()).split(separator: ".")
        let body = try key.sign(claims: claims(kind: .operator)).split(separator: ".")[1]
        #expect(throws: TokenError.badSignature) {
            try verifier.verify("\(genuine[0]).\(body).\(genuine[2])", now: now)
        }
    }

    /// Each forged by somebody who has the public key and nothing else.
    @Test(arguments: ["none", "None", "HS256", "RS256", "ES384", ""])
    func anotherAlgorithmIsRefusedWhateverItIsSignedWith(algorithm: String) throws {
        let header = Base64URL.encode(#"{"alg":"\#(algorithm)","typ":"JWT","kid":"\#(key.keyID)"}"#.utf8)
        let body = try key.sign(claims: claims()).split(separator: ".")[1]
        let signed = "\(header).\(body)"
        let codes = [
            "", Base64URL.encode(Digest.hmacSHA256(key: key.publicJWK.utf8, signed.utf8)),
            Base64URL.encode([UInt8](repeating: 0, count: 64)),
        ]
        for code in codes {
            #expect(throws: TokenError.self) { try verifier.verify("\(signed).\(code)", now: now) }
        }
    }

    @Test func aSignatureOfZerosIsRefused() throws {
        let parts = try key.sign(claims: claims()).split(separator: ".")
        let zeros = Base64URL.encode([UInt8](repeating: 0, count: 64))
        #expect(throws: TokenError.badSignature) { try verifier.verify("\(parts[0]).\(parts[1]).\(zeros)", now: now) }
    }

    @Test func extensionsThatMustBeUnderstoodAreRefused() throws {
        let header = Base64URL.encode(#"{"alg":"ES256","kid":"\#(key.keyID)","crit":["exp"]}"#.utf8)
        let parts = try key.sign(claims: claims()).split(separator: ".")
        #expect(throws: TokenError.unsupportedAlgorithm) {
            try verifier.verify("\(header).\(parts[1]).\(parts[2])", now: now)
        }
    }

    @Test(arguments: [
        "", ".", "..", "...", "a.b.c", "é.é.é", "eyJhbGciOiJFUzI1NiJ9", "eyJhbGciOiJFUzI1NiJ9..",
        "bnVsbA.bnVsbA.bnVsbA",
        "\u{0}.\u{0}.\u{0}", String(repeating: "a", count: 100_000), String(repeating: ".", count: 2000),
    ])
    func whatIsNoTokenIsRefused(text: String) {
        #expect(throws: TokenError.self) { try verifier.verify(text, now: now) }
    }

    @Test func aWithdrawnKeysTokensAreRefusedAlsoThoseKnown() throws {
        let token = try key.sign(claims: claims())
        _ = try verifier.verify(token, now: now)
        verifier.remove(keyID: key.keyID)
        #expect(throws: TokenError.unknownKey) { try verifier.verify(token, now: now) }
    }

    @Test func aKeysTokensEndWithTheKey() throws {
        let token = try key.sign(claims: claims(expires: 900))
        try verifier.update(keyID: key.keyID, jwk: key.publicJWK, notAfter: now.adding(seconds: 30))
        #expect(try verifier.verify(token, now: now.adding(seconds: 29)).sub == AccountID(high: 1, low: 1))
        #expect(throws: TokenError.unknownKey) { try verifier.verify(token, now: now.adding(seconds: 30)) }
    }

    @Test func aTokenIssuedHereIsKnownWithoutAKey() throws {
        let verifier = TokenVerifier()
        let claims = claims()
        let token = try key.sign(claims: claims)
        verifier.remember(token, claims)
        #expect(try verifier.verify(token, now: now) == claims)
        // After its expiry the table answers no longer, and there is no key.
        #expect(throws: TokenError.unknownKey) { try verifier.verify(token, now: now.adding(seconds: 900)) }
    }

    @Test func theTableOfKnownTokensIsBoundedAndKeepsWhatIsUsed() {
        let table = TokenTable(tokensMax: 1000)
        let claims = claims()
        let seconds = now.microseconds / 1_000_000
        for index in 0..<20_000 {
            table.insert("token \(index)", claims, refusedFromSeconds: claims.exp, generation: table.generation)
            #expect(table.find("token 0", issuer: "stampede", nowSeconds: seconds) != nil)
            #expect(table.count <= 1000)
        }
        #expect(table.find("token 19999", issuer: "stampede", nowSeconds: seconds) == claims)
        #expect(table.find("token 1", issuer: "stampede", nowSeconds: seconds) == nil)
    }

    @Test func whatWasVerifiedByWithdrawnKeysIsNotRememberedLater() {
        let table = TokenTable(tokensMax: 10)
        let generation = table.generation
        table.removeAll()
        table.insert("token", claims(), refusedFromSeconds: .max, generation: generation)
        #expect(table.count == 0)
    }

    @Test func theNumberOfKeysIsBounded() throws {
        let verifier = TokenVerifier()
        for index in 0..<TokenVerifier.keysMax { try verifier.update(keyID: "\(index)", jwk: key.publicJWK) }
        #expect(throws: TokenError.tooManyKeys) { try verifier.update(keyID: "one more", jwk: key.publicJWK) }
        try verifier.update(keyID: "3", jwk: key.publicJWK)
        #expect(verifier.keys.withLock { $0.count } == TokenVerifier.keysMax)
    }

    @Test func aKeySurvivesStorage() throws {
        let again = try SigningKey(privateJWK: try key.exportPrivateJWK())
        #expect(again.keyID == key.keyID)
        #expect(again.publicJWK == key.publicJWK)
        let claims = claims()
        #expect(try verifier.verify(try again.sign(claims: claims), now: now) == claims)
    }

    @Test func thePublicKeyHoldsNothingPrivateAndTheKeyNeverShowsItself() throws {
        let object = try JSONSerialization.jsonObject(with: Data(key.publicJWK.utf8)) as? [String: Any]
        #expect(object?["d"] == nil)
        #expect(object?["kty"] as? String == "EC")
        #expect("\(key)" == "SigningKey(\(key.keyID))")
        #expect(String(reflecting: key) == "SigningKey(\(key.keyID))")
    }

    @Test func theKeysNameIsItsThumbprint() throws {
        // The EC key of RFC 7515, A.3, and its thumbprint as computed by the rule of RFC 7638.
        let jwk = """
            {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
             "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}
            """
        let canonical =
            #"{"crv":"P-256","kty":"EC","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#
        let key = try SigningKey(privateJWK: jwk)
        #expect(key.keyID == Base64URL.encode(Digest.sha256(canonical.utf8)))
    }

    @Test func aTokenThatNamesNoKeyIsRefusedThoughItsSignatureFits() throws {
        // The example of RFC 7515, A.3.
        let jwk = """
            {"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
             "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}
            """
        let token =
            "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
        try verifier.update(keyID: "", jwk: jwk)
        #expect(throws: TokenError.unknownKey) { try verifier.verify(token, now: now) }
    }

    @Test(arguments: [
        "", "{}", "null", "[]", #"{"kty":"oct","k":"AAAA"}"#, #"{"kty":"EC","crv":"P-256"}"#,
        #"{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}"#, #"{"kty":"EC","crv":"P-384","x":"AAAA","y":"AAAA"}"#,
        // Two coordinates that are on no curve.
        #"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}"#,
    ])
    func whatIsNoPublicKeyIsRefused(jwk: String) {
        #expect(throws: TokenError.invalidKey) { try verifier.update(keyID: "x", jwk: jwk) }
        #expect(throws: TokenError.invalidKey) { try SigningKey(privateJWK: jwk) }
    }

    @Test func aPrivateKeyIsNoPublicOne() throws {
        let jwk = try key.exportPrivateJWK()
        #expect(throws: TokenError.invalidKey) { try verifier.update(keyID: "x", jwk: jwk) }
    }

    @Test func manyTasksMaySignAndVerifyAtOnce() async throws {
        try await withThrowingTaskGroup { group in
            for task in UInt64(0)..<8 {
                group.addTask {
                    for index in UInt64(0)..<50 {
                        let claims = claims(task * 100 + index)
                        let verified = try verifier.verify(try key.sign(claims: claims), now: now)
                        #expect(verified == claims)
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}

extension TokenVerifier {
    /// A verifier that has seen no token yet.
    fileprivate static func with(_ key: SigningKey) throws(TokenError) -> TokenVerifier {
        let verifier = TokenVerifier()
        try verifier.update(keyID: key.keyID, jwk: key.publicJWK)
        return verifier
    }
}
