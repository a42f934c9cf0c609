import Foundation
import HTTP
import JSON
import Models
import Postgres
import ServiceKit
import TestSupport
import Testing

@testable import MessagingCore

/// One reader's open stream.
private final class Following: Sendable {
    private let events: AsyncStream<ServerSentEvent>
    private let task: Task<Void, Never>

    init(_ chat: Chat, _ token: String, since: String? = nil, query: String = "", port: UInt16? = nil) {
        var headers = [("Authorization", "Bearer \(token)")]
        if let since { headers.append(("Last-Event-ID", since)) }
        let request = ClientRequest(
            .get, "http://127.0.0.1:\(port ?? chat.service.httpPort)/v1/events\(query)", headers: headers)
        let (stream, continuation) = AsyncStream.makeStream(of: ServerSentEvent.self)
        events = stream
        task = Task {
            do { for try await event in chat.http.events(request) { continuation.yield(event) } } catch {}
            continuation.finish()
        }
    }

    /// The next events until one fits, it included.
    func until(_ what: String, _ fits: @escaping @Sendable (ServerSentEvent) -> Bool) async throws -> [ServerSentEvent]
    {
        try await withThrowingTaskGroup(of: [ServerSentEvent]?.self) { group in
            group.addTask { [events] in
                var seen: [ServerSentEvent] = []
                for await event in events {
                    seen.append(event)
                    if fits(event) { return seen }
                }
                return nil
            }
            group.addTask {
                try await Task.sleep(for: .seconds(30))
                return nil
            }
            defer { group.cancelAll() }
            guard let seen = try await group.next() ?? nil else { throw NeverCame(what: what) }
            return seen
        }
    }

    @discardableResult
    func ready() async throws -> [ServerSentEvent] { try await until("ready") { $0.event == "ready" } }

    func close() { task.cancel() }

    deinit { task.cancel() }
}

extension ServerSentEvent {
    fileprivate var json: DocumentTree { (try? DocumentTree(json: data.utf8)) ?? .null }
    fileprivate var text: String? { json["text"]?.string }
    fileprivate var messageId: String? { json["messageId"]?.string }
}

extension [ServerSentEvent] {
    /// The texts in their order. What was heard last may come once more when others' messages were stored in the same
    /// transaction: an ID never claims a part of one.
    fileprivate func texts(besides heard: Set<String>) -> [String] {
        compactMap(\.text).filter { !heard.contains($0) }
    }
}

@Suite struct StreamTests {
    private func conversation(_ chat: Chat, _ one: Chat.Member, _ other: Chat.Member) async throws -> String {
        let answer = try await chat.call(
            .post, "/v1/conversations", #"{"accountId":"\#(other.id)"}"#, token: one.token)
        return "/v1/conversations/\(try #require(answer["conversationId"]?.string))/messages"
    }

    private func say(_ chat: Chat, _ path: String, _ text: String, _ member: Chat.Member) async throws {
        let body = #"{"clientMessageId":"\#(UUID().uuidString)","kind":"text","text":"\#(text)"}"#
        #expect(try await chat.call(.post, path, body, token: member.token).status == 201)
    }

    @Test func aMessageReachesBothOfAConversationAndNobodyElse() async throws {
        let chat = try await Chat.shared()
        let (alice, bob, eve) = (
            try await chat.person("alice"), try await chat.person("bob"), try await chat.person("eve")
        )
        let path = try await conversation(chat, alice, bob)
        let eves = try await conversation(chat, eve, bob)
        let streams = [alice, bob, eve].map { Following(chat, $0.token) }
        for stream in streams { try await stream.ready() }
        try await say(chat, path, "hello", alice)
        try await say(chat, eves, "the end", eve)
        let document = try await streams[1].until("the end") { $0.text == "the end" }
        #expect(document.map(\.text) == ["hello", "the end"])
        #expect(document[0].event == "message")
        // What a stream carries is what the history shows.
        let history = try await chat.call(.get, path, token: bob.token)
        #expect(history.items == [document[0].json])
        #expect(try await streams[0].until("hello") { $0.text == "hello" }.count == 1)
        #expect(try await streams[2].until("the end") { $0.text == "the end" }.count == 1)
    }

    @Test func aStreamGoesOnWhereItStoodWithNothingLost() async throws {
        let chat = try await Chat.shared()
        let (alice, bob) = (try await chat.person("alice"), try await chat.person("bob"))
        let path = try await conversation(chat, alice, bob)
        let first = Following(chat, bob.token)
        try await first.ready()
        try await say(chat, path, "1", alice)
        let seen = try await first.until("1") { $0.text == "1" }
        let position = try #require(seen.last?.id)
        first.close()
        for number in 2...30 { try await say(chat, path, "\(number)", alice) }
        let second = Following(chat, bob.token, since: position)
        let missed = try await second.ready()
        #expect(missed.texts(besides: ["1"]) == (2...30).map(String.init))
        try await say(chat, path, "31", alice)
        #expect(try await second.until("31") { $0.text == "31" }.compactMap(\.text) == ["31"])

        // From any event on, what came after it: each ID is a place of its own.
        let middle = try #require(missed.first { $0.text == "15" }?.id)
        let third = Following(chat, bob.token, since: middle)
        #expect(try await third.ready().texts(besides: ["15"]) == (16...31).map(String.init))
    }

    /// Readers come and go at random while others write: together they hear everything.
    @Test func whoKeepsComingBackHearsEverythingInTheEnd() async throws {
        let chat = try await Chat.shared()
        let bob = try await chat.person("bob")
        var paths: [(Chat.Member, String)] = []
        for _ in 0..<4 {
            let friend = try await chat.person("friend")
            paths.append((friend, try await conversation(chat, friend, bob)))
        }
        let total = 4 * 40
        let start = Following(chat, bob.token)
        var position = try await start.ready().last?.id
        start.close()
        let writing = Task { [paths] in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (friend, path) in paths {
                    group.addTask { for index in 0..<40 { try await say(chat, path, "\(index)", friend) } }
                }
                try await group.waitForAll()
            }
        }
        var heard: Set<String> = []
        var visits = 0
        while heard.count < total, visits < 500 {
            visits += 1
            let stream = Following(chat, bob.token, since: position)
            let last = visits % 3 == 0 ? 1 : visits % 7
            let events = try await stream.until("an event") { [last] event in
                last == 0 ? event.event == "ready" : event.event == "ready" || event.json["sequence"]?.integer ?? 0 >= 0
            }
            for event in events {
                if let id = event.messageId { heard.insert(id) }
                position = event.id
            }
            stream.close()
        }
        try await writing.value
        let stream = Following(chat, bob.token, since: position)
        for event in try await stream.ready() { if let id = event.messageId { heard.insert(id) } }
        #expect(heard.count == total)
    }

    @Test func aTransactionThatCommitsLateIsNotLost() async throws {
        let chat = try await Chat.shared()
        let (alice, bob) = (try await chat.person("alice"), try await chat.person("bob"))
        let path = try await conversation(chat, alice, bob)
        let slow = try await conversation(chat, try await chat.person("slow"), bob)
        let slowId = try #require(ConversationID(String(slow.split(separator: "/")[2])))
        let pool = try chat.pool()
        let stream = Following(chat, bob.token)
        try await stream.ready()
        // A transaction that has its number, and commits only after a later one was given out.
        let position = try await pool.transaction { transaction in
            try await transaction.execute(
                """
                INSERT INTO messages (conversation_id, sequence, message_id, sender_id, recipient_id, kind, body, sent_at)
                VALUES (\(slowId), 1, \(MessageID.random()), \(AccountID.random()), \(bob.id), 'text', 'late', now())
                """)
            try await say(chat, path, "early", alice)
            let events = try await stream.until("early") { $0.text == "early" }
            return events.last?.id
        }
        #expect(try await stream.until("late") { $0.text == "late" }.count == 1)
        // Nor for one who comes back with the position of the early one.
        try await pool.execute(
            """
            UPDATE conversations SET newest_in = (SELECT max(changed_in) FROM messages WHERE conversation_id = \(slowId))
            WHERE conversation_id = \(slowId)
            """)
        let again = Following(chat, bob.token, since: position)
        #expect(try await again.ready().texts(besides: ["early"]) == ["late"])
        await pool.close()
    }

    @Test func ordersAndPostsComeLiveAndOnReturn() async throws {
        let chat = try await Chat.shared()
        let (brand, alice, follower, other) = (
            try await chat.brand(), try await chat.person("alice"), try await chat.person("follower"),
            try await chat.person("other")
        )
        let sale = try await chat.sale(of: brand.id)
        try await chat.call(.put, "/v1/brands/\(brand.id)/follow", token: follower.token)
        let streams = [alice, follower, other].map { Following(chat, $0.token) }
        var positions: [String?] = []
        for stream in streams { positions.append(try await stream.ready().last?.id) }
        let placed = try await chat.call(.post, "/v1/orders", chat.order(sale.saleId), token: alice.token)
        let id = try #require(placed["orderId"]?.string)
        let line = OrderLine(
            orderId: try #require(OrderID(id)), saleId: sale.saleId, batch: 1, variant: "mi3-silver-16",
            buyerId: alice.id, brandId: brand.id)
        try await chat.publish(.reservations, alice.id, OrderRejected(line: line, reason: .soldOut))
        let orders = try await streams[0].until("rejected") { $0.json["status"]?.string == "rejected" }
        #expect(orders.allSatisfy { $0.event == "order" && $0.json["orderId"]?.string == id })
        #expect(orders.first?.json["status"]?.string == "accepted" || orders.count == 1)

        // The brand's post concerns those who follow it and those who ordered.
        let body =
            #"{"clientMessageId":"1","kind":"goodsCard","text":{"en":"More on Friday"},"saleId":"\#(sale.saleId)"}"#
        #expect(try await chat.call(.post, "/v1/brands/\(brand.id)/posts", body, token: brand.token).status == 201)
        for stream in streams.prefix(2) {
            let events = try await stream.until("the post") { $0.event == "post" }
            #expect(events.last?.json["card"]?["title"]?["en"]?.string == "Noon")
        }
        try await say(chat, try await conversation(chat, alice, other), "did you get it?", alice)
        #expect(try await streams[2].until("a message") { $0.event != "ready" }.map(\.event) == ["message"])

        let returned = try await Following(chat, alice.token, since: positions[0]).ready()
        #expect(returned.map(\.event) == ["order", "post", "message", "ready"])
        let followers = try await Following(chat, follower.token, since: positions[1]).ready()
        #expect(followers.map(\.event) == ["post", "ready"])
    }

    @Test func whatAnotherInstanceStoresReachesThisOnesReaders() async throws {
        // An installation of its own: a member that joins its groups and leaves would hold up others' events.
        let chat = try await Chat()
        let second = try await RunningService.start(
            MessagingService.self,
            environment: Chat.environment(chat.broker, chat.database).merging(["STAMPEDE_INSTANCE": "second"]) { $1 })
        let (alice, bob) = (try await chat.person("alice"), try await chat.person("bob"))
        let path = try await conversation(chat, alice, bob)
        // A token of one is good at the other, and what is stored there is heard here.
        let stream = Following(chat, bob.token)
        try await stream.ready()
        let body = #"{"clientMessageId":"1","kind":"text","text":"from the other side"}"#
        let sent = try await chat.call(.post, path, body, token: alice.token, port: second.httpPort)
        #expect(sent.status == 201)
        #expect(try await stream.until("the message") { $0.event == "message" }.last?.text == "from the other side")
        // And it is the same message here.
        #expect(try await chat.call(.post, path, body, token: alice.token).status == 200)
        #expect(await second.stop())
        stream.close()
        #expect(await chat.service.stop())
    }

    @Test func anIDThatIsNoneIsRefusedAndDisturbsNobody() async throws {
        let chat = try await Chat.shared()
        let (alice, bob) = (try await chat.person("alice"), try await chat.person("bob"))
        let path = try await conversation(chat, alice, bob)
        let stream = Following(chat, bob.token)
        let id = try #require(try await stream.ready().last?.id)
        let history = String(id.prefix { $0 != ":" })
        let other = String(history.reversed())
        let hostile = [
            "nonsense", "1:2", "1:1:", "999999999999:999999999999:", "\(history):999999999999:999999999999:",
            "\(history):1:9223372036854775807:", "\(history):4294967296:4294967296:", "\(history):9:3:",
            "\(history):1:4294967296:4294967295", "\(other == history ? "0000000000000000" : other)\(id.dropFirst(16))",
        ]
        for id in hostile {
            let answer = try await chat.call(
                .get, "/v1/events", token: alice.token, headers: [("Last-Event-ID", id)])
            #expect(answer.status == 400, "\(id)")
            #expect(answer.wrongFields == ["Last-Event-ID"])
        }
        #expect(try await chat.call(.get, "/v1/events?after=nonsense", token: alice.token).wrongFields == ["after"])
        #expect(try await chat.call(.get, "/v1/events").status == 401)
        // From the first transaction on is a long way and no fault.
        let all = try await Following(chat, bob.token, since: "\(history):1:1:").ready()
        #expect(all.map(\.event) == ["ready"])
        try await say(chat, path, "still here", alice)
        #expect(try await stream.until("it") { $0.text == "still here" }.compactMap(\.text) == ["still here"])
    }

    /// A restored row bears the number of a transaction of the cluster it comes from, which this one has not reached.
    @Test func whatWasRestoredFromAnotherClusterIsNotNewWhenItsNumberIsReached() async throws {
        let chat = try await Chat.shared()
        let (alice, bob) = (try await chat.person("alice"), try await chat.person("bob"))
        let path = try await conversation(chat, alice, bob)
        for number in 1...3 { try await say(chat, path, "old \(number)", alice) }
        let pool = try chat.pool()
        try await pool.execute(
            """
            UPDATE messages SET changed_in = (pg_current_xact_id()::text::bigint + 30)::text::xid8
            WHERE recipient_id = \(bob.id)
            """)
        let stream = Following(chat, bob.token)
        let position = try await stream.ready().last?.id
        for _ in 0..<60 { _ = try await pool.query("SELECT pg_current_xact_id()::text") }
        try await say(chat, path, "new", alice)
        #expect(try await stream.until("new") { $0.text == "new" }.compactMap(\.text) == ["new"])
        #expect(try await Following(chat, bob.token, since: position).ready().compactMap(\.text) == ["new"])
        await pool.close()
    }

    /// The tables in new files are what a restore leaves, whichever cluster it goes to.
    @Test func aPositionOfTheTablesBeforeTheyWereRestoredIsRefusedAndStreamsEnd() async throws {
        let chat = try await Chat()
        let bob = try await chat.person("bob")
        let stream = Following(chat, bob.token)
        let position = try #require(try await stream.ready().last?.id)
        let pool = try chat.pool()
        try await pool.execute("VACUUM FULL messages")
        await #expect(throws: NeverCame.self) { try await stream.until("anything") { _ in true } }
        let answer = try await chat.call(
            .get, "/v1/events", token: bob.token, headers: [("Last-Event-ID", position)])
        #expect(answer.status == 400)
        try await Following(chat, bob.token).ready()
        await pool.close()
        #expect(await chat.service.stop())
    }

    @Test func whoMissedMuchGetsAllOfItInOrder() async throws {
        let chat = try await Chat.shared()
        let (alice, bob) = (try await chat.person("alice"), try await chat.person("bob"))
        let path = try await conversation(chat, alice, bob)
        let id = try #require(ConversationID(String(path.split(separator: "/")[2])))
        let first = Following(chat, bob.token)
        let position = try await first.ready().last?.id
        first.close()
        let pool = try chat.pool()
        try await pool.transaction { transaction in
            try await transaction.execute(
                """
                INSERT INTO messages (conversation_id, sequence, message_id, sender_id, recipient_id, kind, body, sent_at)
                SELECT \(id), n, ('00000000-0000-7000-8000-' || substr(md5(\(id)::text || n), 1, 12))::uuid, \(alice.id),
                    \(bob.id), 'text', n || repeat('.', 1000), now()
                FROM generate_series(1, 3000) AS n
                """)
            try await transaction.execute(
                """
                UPDATE conversations SET last_sequence = 3000, newest_in = pg_current_xact_id()
                WHERE conversation_id = \(id)
                """)
        }
        let missed = try await Following(chat, bob.token, since: position).ready()
        #expect(missed.count == 3001)
        #expect(Set(missed.compactMap { $0.json["sequence"]?.integer }) == Set(1...3000))
        await pool.close()
    }

    @Test func whoseReturnTakesTooLongIsRefusedAndNobodyWaitsForIt() async throws {
        // Of its own: nobody else waits for the table.
        let chat = try await Chat()
        let (alice, bob) = (try await chat.person("alice"), try await chat.person("bob"))
        let stream = Following(chat, alice.token)
        let position = try #require(try await stream.ready().last?.id)
        let pool = try chat.pool()
        // Who comes back to where the database still stands is asked for nothing, so it moves on first.
        _ = try await pool.query("SELECT pg_current_xact_id()::text")
        let refused = try await pool.transaction { transaction in
            // Looking for what was missed waits for this; what is new does not need it.
            try await transaction.execute("LOCK TABLE conversations IN ACCESS EXCLUSIVE MODE")
            async let returning = chat.call(
                .get, "/v1/events", token: bob.token, headers: [("Last-Event-ID", position)])
            try await Task.sleep(for: .milliseconds(200))
            for number in 1...3 {
                try await pool.execute(
                    """
                    INSERT INTO messages
                        (conversation_id, sequence, message_id, sender_id, recipient_id, kind, body, sent_at)
                    VALUES (\(ConversationID.random()), 1, \(MessageID.random()), \(bob.id), \(alice.id), 'text',
                        \("live \(number)"), now())
                    """)
                let heard = try await stream.until("live \(number)") { $0.text == "live \(number)" }
                #expect(heard.compactMap(\.text) == ["live \(number)"])
            }
            return try await returning
        }
        #expect(refused.status == 400)
        #expect(refused.wrongFields == ["Last-Event-ID"])
        await pool.close()
    }

    @Test(arguments: ["Last-Event-ID", "after"]) func anEmptyPositionIsFromNowOn(field: String) async throws {
        let chat = try await Chat.shared()
        let (alice, bob) = (try await chat.person("alice"), try await chat.person("bob"))
        let path = try await conversation(chat, alice, bob)
        try await say(chat, path, "before", alice)
        let stream =
            field == "after" ? Following(chat, bob.token, query: "?after=") : Following(chat, bob.token, since: "")
        try await stream.ready()
        try await say(chat, path, "after", alice)
        let heard = try await stream.until("what is said now") { $0.text == "after" }
        #expect(!heard.contains { $0.text == "before" })
    }

    @Test func aMemberHasSoManyStreamsAndNoMore() async throws {
        let chat = try await Chat.shared()
        let (alice, bob) = (try await chat.person("alice"), try await chat.person("bob"))
        let path = try await conversation(chat, alice, bob)
        var streams: [Following] = []
        for _ in 0..<ConnectedReaders.streamsOfAccountMax {
            let stream = Following(chat, bob.token)
            try await stream.ready()
            streams.append(stream)
        }
        try await say(chat, path, "all hear it", alice)
        for stream in streams { _ = try await stream.until("it") { $0.text == "all hear it" } }
    }
}
