// A brand's post as it is shown, in answers and in event streams.
import JSON
import Models

struct PostView: JSONWritable {
    let post: BrandPosted
    let sales: SaleTables

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("messageId", post.messageId)
            $0.field("brandId", post.brandId)
            $0.field("sequence", post.sequence)
            $0.field("kind", post.kind.rawValue)
            $0.field("text", post.text)
            $0.field("saleId", optional: post.saleId)
            $0.field("sentAt", post.sentAt)
            $0.field("card", optional: sales.card(post.kind, of: post.saleId))
        }
    }
}
