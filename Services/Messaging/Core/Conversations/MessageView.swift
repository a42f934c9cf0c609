// How things look in answers and in event streams.
import HTTP
import JSON
import Models

/// Writes what readers get. A goods card is drawn from the sale as it is now.
struct Representation: Sendable {
    let tables: SaleTables

    func event(_ change: StreamChange, id: String) -> EncodedEvent {
        var writer = JSONWriter(capacity: 512)
        switch change.subject {
        case .message(let message):
            write(message, to: &writer)
            return EncodedEvent(id: id, event: "message", data: writer.bytes)
        case .post(let post):
            write(post, to: &writer)
            return EncodedEvent(id: id, event: "post", data: writer.bytes)
        case .order(let order):
            Self.write(order, to: &writer)
            return EncodedEvent(id: id, event: "order", data: writer.bytes)
        }
    }

    func write(_ message: MessageSent, to writer: inout JSONWriter) {
        writer.object {
            $0.field("messageId", message.messageId)
            $0.field("conversationId", message.conversationId)
            $0.field("sequence", message.sequence)
            $0.field("senderId", message.senderId)
            $0.field("recipientId", message.recipientId)
            $0.field("kind", message.kind.rawValue)
            $0.field("text", message.text)
            $0.field("saleId", optional: message.saleId)
            $0.field("orderId", optional: message.orderId)
            $0.field("sentAt", message.sentAt)
            if message.kind == .goodsCard { writeCard(of: message.saleId, to: &$0) }
        }
    }

    func write(_ post: BrandPosted, to writer: inout JSONWriter) {
        writer.object {
            $0.field("messageId", post.messageId)
            $0.field("brandId", post.brandId)
            $0.field("sequence", post.sequence)
            $0.field("kind", post.kind.rawValue)
            $0.field("text", post.text)
            $0.field("saleId", optional: post.saleId)
            $0.field("sentAt", post.sentAt)
            if post.kind == .goodsCard { writeCard(of: post.saleId, to: &$0) }
        }
    }

    /// What a card shows: left out once the sale is withdrawn.
    private func writeCard(of saleID: SaleID?, to writer: inout JSONWriter) {
        guard let sale = saleID.flatMap({ tables.sale($0) }) else { return }
        writer.name("card")
        writer.object {
            $0.field("saleId", sale.saleId)
            $0.field("brandId", sale.brandId)
            $0.field("productId", sale.productId)
            $0.field("title", sale.title)
            $0.field("productName", optional: tables.product(sale.productId)?.name)
            $0.name("batches")
            $0.array { writer in
                for batch in sale.batches {
                    writer.object {
                        $0.field("number", batch.number)
                        $0.field("opensAt", batch.opensAt)
                        $0.field("closesAt", optional: batch.closesAt)
                        $0.name("lines")
                        $0.array { writer in
                            for line in batch.lines {
                                writer.object {
                                    $0.field("variant", line.variant)
                                    $0.field("price", line.price)
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    static func write(_ order: StoredOrder, to writer: inout JSONWriter) {
        writer.object {
            $0.field("orderId", order.orderID)
            $0.field("clientOrderId", optional: order.clientOrderID)
            $0.field("saleId", order.saleID)
            $0.field("brandId", order.brandID)
            $0.field("buyerId", order.buyerID)
            $0.field("batch", optional: order.batch)
            $0.field("variant", optional: order.variant)
            $0.field("status", order.status)
            $0.field("reason", optional: order.reason)
            $0.field("acceptedAt", order.acceptedAt)
            $0.field("decidedAt", optional: order.decidedAt)
            $0.field("holdUntil", optional: order.holdUntil)
            $0.field("cancellationRequestedAt", optional: order.cancelledAt)
        }
    }

    /// An account as its owner sees it.
    static func write(_ account: Account, to writer: inout JSONWriter) {
        writer.object {
            $0.field("accountId", account.accountId)
            $0.field("kind", account.kind.rawValue)
            $0.field("handle", optional: account.handle)
            $0.field("displayName", account.displayName)
            $0.field("locale", account.locale)
            $0.field("createdAt", account.createdAt)
        }
    }

    /// An account as others see it.
    static func writeProfile(_ account: Account, to writer: inout JSONWriter) {
        writer.object {
            $0.field("accountId", account.accountId)
            $0.field("kind", account.kind.rawValue)
            $0.field("handle", optional: account.handle)
            $0.field("displayName", account.displayName)
        }
    }

    func write(_ summary: MessageStorage.Summary, for reader: AccountID, to writer: inout JSONWriter) {
        let conversation = summary.conversation
        writer.object {
            Self.writeMembers(of: conversation, to: &$0)
            $0.name("with")
            $0.object {
                $0.field("accountId", conversation.other(than: reader))
                $0.field("kind", optional: summary.otherKind)
                $0.field("displayName", optional: summary.otherName)
            }
            if let message = summary.lastMessage {
                $0.name("lastMessage")
                write(message, to: &$0)
            }
        }
    }

    static func write(_ conversation: Conversation, for reader: AccountID, to writer: inout JSONWriter) {
        writer.object {
            writeMembers(of: conversation, to: &$0)
            $0.name("with")
            $0.object { $0.field("accountId", conversation.other(than: reader)) }
        }
    }

    private static func writeMembers(of conversation: Conversation, to writer: inout JSONWriter) {
        writer.field("conversationId", conversation.conversationID)
        writer.field("lastSequence", conversation.lastSequence)
        writer.field("createdAt", conversation.createdAt)
        writer.field("changedAt", conversation.changedAt)
    }

    /// A list and where it goes on.
    static func page<Item>(
        _ items: [Item], next: String?, _ write: (Item, inout JSONWriter) -> Void
    ) -> HTTPResponse {
        var writer = JSONWriter(capacity: 1024)
        writer.object {
            $0.name("items")
            $0.array { writer in
                for item in items { write(item, &writer) }
            }
            $0.field("nextCursor", optional: next)
        }
        return .json(200, writer.bytes)
    }

    static func document(_ status: Int = 200, _ write: (inout JSONWriter) -> Void) -> HTTPResponse {
        var writer = JSONWriter(capacity: 512)
        write(&writer)
        return .json(status, writer.bytes)
    }
}
