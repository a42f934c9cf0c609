// Conversations as they are shown to one of their members.
import JSON
import Models

/// A conversation that was opened.
struct ConversationView: JSONWritable {
    let conversation: Conversation
    let reader: AccountID

    func write(to writer: inout JSONWriter) {
        writer.object {
            conversation.writeMembers(to: &$0, reader)
            $0.name("with")
            $0.object { $0.field("accountId", conversation.other(than: reader)) }
        }
    }
}

/// A conversation in a list.
struct ConversationSummaryView: JSONWritable {
    let summary: ConversationSummary
    let reader: AccountID
    let sales: SaleTables

    func write(to writer: inout JSONWriter) {
        writer.object {
            summary.conversation.writeMembers(to: &$0, reader)
            $0.name("with")
            $0.object {
                $0.field("accountId", summary.conversation.other(than: reader))
                $0.field("kind", optional: summary.otherKind?.rawValue)
                $0.field("displayName", optional: summary.otherName)
            }
            $0.field("lastMessage", optional: summary.lastMessage.map { MessageView(message: $0, sales: sales) })
        }
    }
}

extension Conversation {
    fileprivate func writeMembers(to writer: inout JSONWriter, _ reader: AccountID) {
        writer.field("conversationId", conversationId)
        writer.field("lastSequence", lastSequence)
        writer.field("readSequence", read(by: reader))
        writer.field("createdAt", createdAt)
        writer.field("changedAt", changedAt)
    }
}
