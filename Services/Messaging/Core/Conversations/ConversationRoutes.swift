// Routes of direct conversations.
import HTTP
import JSON
import Models
import Postgres
import Security
import ServiceKit

struct ConversationRoutes: Sendable {
    let postgres: PostgresPool
    let sales: SaleTables
    let commands: ConversationCommands

    func open(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let (other, handle) = try request.json { (json) throws(JSONError) -> (AccountID?, String?) in
            try json.onlyMembers(["accountId", "handle"])
            guard json["handle"] != nil else { return (try json.identifier("accountId", of: AccountID.self), nil) }
            guard json["accountId"] == nil else {
                throw JSONError(path: "handle", expected: "nothing where there is an accountId")
            }
            return (nil, try json.string("handle", bytesMax: AccountRules.handleBytes.upperBound))
        }
        let (conversation, isNew) =
            if let other { try await commands.open(caller.sub, with: other) } else {
                try await commands.open(caller.sub, withHandle: handle ?? "")
            }
        let view = ConversationView(conversation: conversation, reader: caller.sub)
        return .json(isNew ? 201 : 200, JSONWriter.document(view))
            .with("Location", "/v1/conversations/\(conversation.conversationId)/messages")
    }

    func list(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let page = try Page(request.query, of: "conversations", [caller.sub.description])
        let before = try page.position { TimedPosition<ConversationID>($0) }
        let summaries = try ConversationStatements.summaries(
            try await postgres.query(
                ConversationStatements.list(of: caller.sub, before: before, countMax: page.limit + 1)))
        let views = summaries.map { ConversationSummaryView(summary: $0, reader: caller.sub, sales: sales) }
        let slice = page.slice(views) {
            let conversation = $0.summary.conversation
            return TimedPosition(time: conversation.changedAt, id: conversation.conversationId).description
        }
        return .json(200, JSONWriter.document(slice))
    }

    func read(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
        let sequence = try request.json { (json) throws(JSONError) in
            try json.onlyMembers(["sequence"])
            return try json.integer("sequence", in: 0...9_007_199_254_740_991)
        }
        try await commands.read(try request.identifier("id"), by: caller.sub, upTo: sequence)
        return .empty()
    }
}

extension ConversationCommands.Refusal: ProblemConvertible {
    var problem: Problem {
        switch self {
        case .withOneself: .unprocessable(fields: [FieldProblem("accountId", expected: "another's account")])
        case .noAccount: .unprocessable(fields: [FieldProblem("accountId", expected: "an account")])
        case .noHandle: .unprocessable(fields: [FieldProblem("handle", expected: "somebody's handle")])
        case .noConversation: .notFound()
        }
    }
}
