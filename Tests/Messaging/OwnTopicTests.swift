// The compacted topics that messaging owns end with what its schema says.
import JSON
import Kafka
import Models
import Observability
import Postgres
import Security
import TestSupport
import Testing

@testable import MessagingCore

@Suite(.timeLimit(.minutes(2))) struct OwnTopicTests {
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
        // A key that is valid and not of this schema is nobody's to withdraw; one that is, is published again.
        let foreign = try SigningKey.generate()
        try await chat.publish(
            .keys,
            [
                (
                    Array(foreign.keyID.utf8),
                    VerificationKey(keyId: foreign.keyID, jwk: foreign.publicJWK, notAfter: .distantFuture)
                )
            ])
        let pool = try chat.pool()
        let own = try #require(
            try await pool.query("SELECT key_id FROM keys LIMIT 1").column(0, as: String.self).first)
        await pool.close()
        var batch = RecordBatch()
        batch.append(topic: Topic.keys.name, key: Array(own.utf8), value: nil, headers: [])
        try await chat.producer.send(batch)
        let back = try await records(chat, .keys, of: own) { records in
            records.contains { $0.value == nil } && records.last?.value != nil
        }
        #expect(back.count >= 3)
        let kept = try await records(chat, .keys, of: foreign.keyID) { !$0.isEmpty }
        #expect(kept.count == 1 && kept[0].value != nil)
        _ = await chat.service.stop()
    }
}
