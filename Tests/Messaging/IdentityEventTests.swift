// The compacted topics that messaging owns end with what its schema says.
import JSON
import Kafka
import Models
import Observability
import Postgres
import Security
import ServiceKit
import TestSupport
import Testing

@testable import MessagingCore

@Suite(.timeLimit(.minutes(2))) struct IdentityEventTests {
    /// The records of a key in their order, once they fit.
    private func records(
        _ chat: Chat, _ topic: Topic, of key: String, until fits: ([ConsumedRecord]) -> Bool
    ) async throws -> [ConsumedRecord] {
        let kafka = KafkaConfiguration(bootstrapServers: chat.broker.bootstrapServers, clientID: "test")
        let reader = try await TopicReader(
            kafka, topic: topic.name, from: .beginning, log: chat.service.context.log,
            metrics: chat.service.context.metrics)
        var found: [ConsumedRecord] = []
        while !fits(found), let batches = try await reader.next(recordsMax: 1000) {
            found += batches.joined().filter { $0.key?.elementsEqual(key.utf8) == true }
        }
        await reader.close()
        return found
    }

    private func revision(_ record: ConsumedRecord) -> Int64? {
        (try? JSONParser.parse(Array(record.value ?? ByteView([])), Account.init(json:)))?.revision
    }

    @Test func anOlderRecordOfAnAccountIsPublishedOver() async throws {
        let chat = try await Chat.shared()
        let token = try await chat.operatorToken()
        let subject = "subject-\(NotificationID.random())"
        var account = ""
        for name in ["Old", "New"] {
            let body =
                #"{"issuer":"own","sessions":false,"accounts":[{"subject":"\#(subject)","displayName":"\#(name)","locale":"zh","#
                + #""authorisations":[{"payeeId":"\#(subject.suffix(36))","limit":{"amount":5,"currency":"CNY"}}]}]}"#
            let answer = try await chat.call(.post, "/v1/operator/accounts", body, token: token)
            account = try #require(answer.items.first?["accountId"]?.string)
        }
        let first = try await records(chat, .accounts, of: account) { $0.contains { revision($0) == 2 } }
        let older = try #require(first.first { revision($0) == 1 }?.value)
        let newest = try JSONParser.parse(
            Array(try #require(first.last { revision($0) == 2 }?.value)), Account.init(json:))
        #expect(newest.displayName == "New" && newest.authorisations.count == 1)
        let copy = try JSONParser.parse(Array(older), Account.init(json:))
        let before = first.count
        try await chat.publish(.accounts, copy.accountId, copy)
        let all = try await records(chat, .accounts, of: account) {
            $0.count > before + 1 && revision($0[$0.count - 1]) == 2
        }
        let last = try JSONParser.parse(Array(try #require(all.last?.value)), Account.init(json:))
        #expect(last.revision == 2 && last.displayName == "New" && last.authorisations == newest.authorisations)
    }

    @Test func aKeyThatComesBehindItsWithdrawalIsWithdrawnAgain() async throws {
        // One of its own: for a moment its tokens are of no key.
        let chat = try await Chat()
        let key = try SigningKey.generate()
        let past = VerificationKey(keyId: key.keyID, jwk: key.publicJWK, notAfter: .now().adding(seconds: -10))
        try await chat.publish(.keys, [(Array(key.keyID.utf8), past)])
        let ended = try await records(chat, .keys, of: key.keyID) { $0.last.map { $0.value == nil } ?? false }
        #expect(ended.count == 2)
        // A key that is valid, proven and not of this schema is nobody's to withdraw; one that nobody proved is withdrawn, and
        // one of this schema is published again.
        let (foreign, forged) = (try SigningKey.generate(), try SigningKey.generate())
        let root = try TestRoot.secret()
        for (key, prove) in [(foreign, root.proof), (forged, { _ in "x" })] {
            let published = VerificationKey(
                keyId: key.keyID, jwk: key.publicJWK, notAfter: .distantFuture, provenBy: prove)
            try await chat.publish(.keys, [(Array(key.keyID.utf8), published)])
        }
        _ = try await records(chat, .keys, of: forged.keyID) { $0.last.map { $0.value == nil } ?? false }
        let pool = try chat.pool()
        let own = try #require(
            try await pool.query("SELECT key_id FROM signing_keys LIMIT 1").column(0, as: String.self).first)
        await pool.close()
        var batch = RecordBatch()
        batch.append(topic: Topic.keys.name, key: Array(own.utf8), value: nil, headers: [])
        try await chat.producer.send(batch)
        let back = try await records(chat, .keys, of: own) { records in
            records.contains { $0.value == nil } && records.last?.value != nil
        }
        #expect(back.count >= 3)
        // Somebody else's words under its name are published over, too.
        let other = VerificationKey(keyId: own, jwk: forged.publicJWK, notAfter: .distantFuture, provenBy: { _ in "x" })
        try await chat.publish(.keys, [(Array(own.utf8), other)])
        let good = try #require(back.last?.value)
        let kind = try JSONParser.parse(Array(good), VerificationKey.init(json:))
        _ = try await records(chat, .keys, of: own) { records in
            records.count > back.count + 1
                && (try? JSONParser.parse(Array(records.last?.value ?? ByteView([])), VerificationKey.init(json:)))
                    == kind
        }
        let kept = try await records(chat, .keys, of: foreign.keyID) { !$0.isEmpty }
        #expect(kept.count == 1 && kept[0].value != nil)
        _ = await chat.service.stop()
    }

    @Test func anOlderRecordBehindADeletionIsPublishedOver() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let body = #"{"password":"\#(Chat.password)"}"#
        #expect(try await chat.call(.delete, "/v1/accounts/me", body, token: alice.token).status == 204)
        let account = try await chat.find(.accounts, Account.self) { account, _ in account.accountId == alice.id }
        let deleted = Array(AccountDeleted.type.utf8)
        func isDeletion(_ record: ConsumedRecord?) -> Bool { record?.header("ce_type").map { Array($0) } == deleted }
        let before = try await records(chat, .accounts, of: alice.id.description) { isDeletion($0.last) }.count
        try await chat.publish(.accounts, alice.id, account)
        let all = try await records(chat, .accounts, of: alice.id.description) {
            $0.count > before + 1 && isDeletion($0.last)
        }
        #expect(!isDeletion(all[all.count - 2]))
    }

    @Test func aKeyThatAVersionBeforeStoredAsItIsIsSealedAndGoesOnVerifying() async throws {
        let chat = try await Chat()
        let pool = try chat.pool()
        _ = await chat.service.stop()
        // As the version before left it: one plain key and no other.
        let key = try SigningKey.generate()
        let until = Timestamp.now().adding(seconds: 86_400)
        let plain = try key.exportPrivateJWK()
        try await pool.execute("DELETE FROM signing_keys")
        try await pool.execute(
            """
            INSERT INTO keys (key_id, jwk, private_jwk, signs_until, not_after)
            VALUES (\(key.keyID), \(key.publicJWK), \(plain), \(until), \(until))
            """)
        let now = Timestamp.now().microseconds / 1_000_000
        let token = try key.sign(
            claims: AccessClaims(sub: .random(), kind: .person, sid: .random(), iat: now, exp: now + 600))
        let again = try await RunningService.start(
            MessagingService.self, environment: Chat.environment(chat.broker, chat.database))
        #expect(try await chat.call(.get, "/v1/brands", token: token, port: again.httpPort).status == 200)
        let row = try #require(try await pool.query("SELECT key_id, sealed FROM signing_keys").first)
        #expect(try row.get(0, as: String.self) == key.keyID)
        let sealed: [UInt8] = try row.get(1)
        #expect(sealed.count > plain.utf8.count && !String(decoding: sealed, as: UTF8.self).contains("\"d\""))
        #expect(try TestRoot.secret().open(sealed) == Array(plain.utf8))
        #expect(try await pool.query("SELECT 1 FROM keys").isEmpty)
        // It signs, and says so with its proof.
        let bob = try await chat.call(.post, "/v1/accounts", Chat.signUp("sealed-bob"), port: again.httpPort)
        let header = try #require(bob["accessToken"]?.string?.split(separator: ".").first)
        #expect(String(decoding: Base64URL.decode(String(header)) ?? [], as: UTF8.self).contains(key.keyID))
        #expect(await again.stop())

        // Another root secret opens none: it makes a key of its own, and tokens of the sealed one go on to work.
        let other = try await RunningService.start(
            MessagingService.self,
            environment: Chat.environment(chat.broker, chat.database).merging([
                "STAMPEDE_ROOT_SECRET": "another root secret of the same installation"
            ]) { $1 })
        #expect(try await chat.call(.get, "/v1/brands", token: token, port: other.httpPort).status == 200)
        let carol = try await chat.call(.post, "/v1/accounts", Chat.signUp("sealed-carol"), port: other.httpPort)
        let new = try #require(carol["accessToken"]?.string?.split(separator: ".").first)
        #expect(!String(decoding: Base64URL.decode(String(new)) ?? [], as: UTF8.self).contains(key.keyID))
        #expect(await other.stop())
        await pool.close()
    }
}
