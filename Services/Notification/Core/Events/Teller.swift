// Tells readers of what happened to their orders and payments.
import EventPipeline
import JSON
import Models
import Observability
import Postgres
import Security

/// Applies batches of `reservations` or `payments`: each event tells each reader once.
struct Teller: EventHandler {
    /// Of rejected orders nothing is told here: the order's card and the post that it is sold out say it. Nor of what is to
    /// be had again: the sale itself shows it, and one phone is no news to everybody.
    static let reservationTypes = [OrderReserved.type, OrderWaitlisted.type, OrderReleased.type, SaleSoldOut.type]
    static let paymentTypes = [PaymentCaptured.type, PaymentRefunded.type]

    let types: [String]
    let goods: GoodsTable
    let told: Counter

    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let events: [Incoming<Occasion>] = batch.read(step, only: types, Self.occasion)
        if events.isEmpty { return }
        let goods = try goodsOf(events)
        let ids = events.map { NotificationID.derived($0.value, eventID: $0.id) }
        let rows = try await step.transaction.pipeline([
            ReaderStatements.locales(of: events.compactMap(\.value.accountId)),
            ToldStatements.insert(ids, events.map(\.value), at: step.now),
        ])
        var new = Set(try rows[1].column(0, as: NotificationID.self))
        step.count(told, new.count)
        if new.isEmpty { return }
        let languages = try ReaderStatements.languages(rows[0])

        var recipe = Recipe(
            head: Telling(goods: goods, toldAt: step.now), firstOffset: batch.firstOffset,
            codes: Array(repeating: Telling.untold, count: Int(batch.nextOffset - batch.firstOffset)))
        // An event that stands in the batch twice is told by its first.
        for (event, id) in zip(events, ids) where new.remove(id) != nil {
            let language = event.value.accountId.flatMap { languages[$0] } ?? .english
            recipe.codes[Int(event.offset - batch.firstOffset)] = language.rawValue
        }
        step.publish(rendering: try recipe.encoded())
    }

    func render(_ batch: EventBatch, recipe bytes: [UInt8], into outgoing: inout Outgoing) throws {
        let recipe = try Recipe<Telling>(encoded: bytes)
        let goods = Dictionary(recipe.head.goods.map { ($0.saleId, $0) }, uniquingKeysWith: { first, _ in first })
        var texts = TextCache()
        let events: [Incoming<Occasion>] = batch.events(of: types, Self.occasion)
        for event in events {
            guard let language = recipe.code(at: event.offset).flatMap(Language.init) else { continue }
            let occasion = event.value
            let id = NotificationID.derived(occasion, eventID: event.id)
            let notification = Notification(
                notificationId: id, kind: occasion.kind, brandId: occasion.brandId, accountId: occasion.accountId,
                saleId: occasion.saleId, orderId: occasion.orderId,
                text: texts.text(for: occasion, goods: goods[occasion.saleId], at: event.time, in: language),
                orderRevision: occasion.orderRevision)
            outgoing.publish(
                .notifications, key: occasion.accountId ?? occasion.brandId, id: id.description,
                time: recipe.head.toldAt,
                notification, cause: event.trace)
        }
    }

    private static func occasion(_ type: String, _ json: JSONValue) throws(JSONError) -> Occasion? {
        switch type {
        case OrderReserved.type: Occasion(try OrderReserved(json: json))
        case OrderWaitlisted.type: Occasion(try OrderWaitlisted(json: json))
        case OrderReleased.type: Occasion(try OrderReleased(json: json))
        case SaleSoldOut.type: Occasion(try SaleSoldOut(json: json))
        case PaymentCaptured.type: Occasion(try PaymentCaptured(json: json))
        case PaymentRefunded.type: Occasion(try PaymentRefunded(json: json))
        default: nil
        }
    }

    /// The names of what the events are about. A sale that is not known may be on its way: then the batch waits for it.
    private func goodsOf(_ events: [Incoming<Occasion>]) throws -> [Goods] {
        var known: [Goods] = []
        var unknown: [SaleID] = []
        for sale in Set(events.map(\.value.saleId)) {
            if let found = goods.goods(of: sale) {
                known.append(found)
            } else if goods.mayCome(sale) {
                unknown.append(sale)
            }
        }
        if !unknown.isEmpty {
            let (goods, wanted) = (goods, unknown)
            throw TryAgain(after: { try await goods.catchUp(for: wanted) })
        }
        return known
    }
}

/// The texts of a batch: thousands of readers are told the same within a second.
private struct TextCache {
    private struct Key: Hashable {
        let what: Occasion.What
        let saleId: SaleID
        let variant: String?
        let time: Timestamp
        let language: Language
    }

    private var texts: [Key: LocalizedText] = [:]

    mutating func text(
        for occasion: Occasion, goods: Goods?, at time: Timestamp, in language: Language
    ) -> LocalizedText {
        let (occasion, time) = (occasion.toTheSecond, time.toTheSecond)
        let key = Key(
            what: occasion.what, saleId: occasion.saleId, variant: occasion.variant, time: time, language: language)
        if let text = texts[key] { return text }
        let text = Phrases.text(for: occasion, goods: goods, at: time, in: language)
        texts[key] = text
        return text
    }
}
