// A message as it is shown, in answers and in event streams.
import JSON
import Models

struct MessageView: JSONWritable {
    let message: MessageSent
    let sales: SaleTables

    func write(to writer: inout JSONWriter) {
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
            $0.field("card", optional: sales.card(message.kind, of: message.saleId))
        }
    }
}
