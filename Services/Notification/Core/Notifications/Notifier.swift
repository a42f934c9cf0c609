// Notifies readers of what happened to their orders and payments.
import EventPipeline
import ICU
import JSON
import Models
import Observability
import Postgres
import Security

/// Applies batches of `reservations` or `payments`: each event notifies each reader once.
struct Notifier: EventHandler {
    /// Of rejected orders nothing is told here: the order's card and the post that it is sold out say it. Nor of what is to
    /// be had again: the sale itself shows it, and one phone is no news to everybody.
    static let reservationTypes = [OrderReserved.type, OrderWaitlisted.type, OrderReleased.type, SaleSoldOut.type]
    static let paymentTypes = [PaymentCaptured.type, PaymentRefunded.type]

    let types: [String]
    let templates: TemplateCatalogue
    let products: ProductNameTable
    let delivered: Counter

    func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws {
        let events: [Incoming<NotifiableEvent>] = batch.read(unit, only: types, Self.event)
        if events.isEmpty { return }
        let names = try names(of: events)
        let ids = events.map { NotificationID.derived($0.value, eventID: $0.id) }
        let rows = try await unit.transaction.pipeline([
            ReaderStatements.locales(of: events.compactMap(\.value.accountId)),
            DeliveredStatements.insert(ids, events.map(\.value), at: unit.now),
        ])
        var new = Set(try rows[1].column(0, as: NotificationID.self))
        unit.count(delivered, new.count)
        if new.isEmpty { return }
        let locales = try ReaderStatements.locales(rows[0])

        let languages = templates.languages.map(\.tag)
        let codes = Dictionary(zip(languages, UInt8(0)...), uniquingKeysWith: { first, _ in first })
        var deferred = DeferredRecords(
            head: DeferredNotifications(names: names, decidedAt: unit.now, languages: languages),
            firstOffset: batch.firstOffset,
            codes: Array(repeating: DeferredNotifications.none, count: Int(batch.nextOffset - batch.firstOffset)))
        // An event that stands in the batch twice is told by its first.
        for (event, id) in zip(events, ids) where new.remove(id) != nil {
            let locale = event.value.accountId.flatMap { locales[$0] }
            let language = locale.map(templates.language(for:)) ?? templates.standard
            deferred.codes[Int(event.offset - batch.firstOffset)] = codes[language.tag] ?? DeferredNotifications.none
        }
        unit.publish(rendering: try deferred.encoded())
    }

    func render(_ batch: EventBatch, deferred bytes: [UInt8], into outgoing: inout Outgoing) throws {
        let deferred = try DeferredRecords<DeferredNotifications>(encoded: bytes)
        let names = Dictionary(deferred.head.names.map { ($0.saleId, $0) }, uniquingKeysWith: { first, _ in first })
        var texts = TextCache(templates: templates)
        let events: [Incoming<NotifiableEvent>] = batch.events(of: types, Self.event)
        for incoming in events {
            guard let code = deferred.code(at: incoming.offset),
                let language = deferred.head.language(code: code, in: templates)
            else { continue }
            let event = incoming.value
            let id = NotificationID.derived(event, eventID: incoming.id)
            let notification = Notification(
                notificationId: id, kind: event.kind, brandId: event.brandId, accountId: event.accountId,
                saleId: event.saleId, orderId: event.orderId,
                text: try texts.text(for: event, names: names[event.saleId], at: incoming.time, in: language),
                orderRevision: event.orderRevision)
            outgoing.publish(
                .notifications, key: event.accountId ?? event.brandId, id: id.description,
                time: deferred.head.decidedAt,
                notification, cause: incoming.trace)
        }
    }

    private static func event(_ type: String, _ json: JSONValue) throws(JSONError) -> NotifiableEvent? {
        switch type {
        case OrderReserved.type: NotifiableEvent(try OrderReserved(json: json))
        case OrderWaitlisted.type: NotifiableEvent(try OrderWaitlisted(json: json))
        case OrderReleased.type: NotifiableEvent(try OrderReleased(json: json))
        case SaleSoldOut.type: NotifiableEvent(try SaleSoldOut(json: json))
        case PaymentCaptured.type: NotifiableEvent(try PaymentCaptured(json: json))
        case PaymentRefunded.type: NotifiableEvent(try PaymentRefunded(json: json))
        default: nil
        }
    }

    /// The names of what the events are about. A sale that is not known may be on its way: then the batch waits for it.
    private func names(of events: [Incoming<NotifiableEvent>]) throws -> [ProductNames] {
        var known: [ProductNames] = []
        var unknown: [SaleID] = []
        for sale in Set(events.map(\.value.saleId)) {
            if let found = products.names(of: sale) {
                known.append(found)
            } else if products.mayCome(sale) {
                unknown.append(sale)
            }
        }
        if !unknown.isEmpty {
            let (products, wanted) = (products, unknown)
            throw TryAgain(after: { try await products.catchUp(for: wanted) })
        }
        return known
    }
}

/// The texts of a batch: thousands of readers are told the same within a second.
private struct TextCache {
    private struct Key: Hashable {
        let what: NotifiableEvent.What
        let saleId: SaleID
        let variant: String?
        let time: Timestamp
        let language: String
    }

    let templates: TemplateCatalogue
    private var texts: [Key: LocalizedText] = [:]

    init(templates: TemplateCatalogue) { self.templates = templates }

    mutating func text(
        for event: NotifiableEvent, names: ProductNames?, at time: Timestamp, in language: Language
    ) throws(ICUError) -> LocalizedText {
        let (event, time) = (event.toTheSecond, time.toTheSecond)
        let key = Key(
            what: event.what, saleId: event.saleId, variant: event.variant, time: time, language: language.tag)
        if let text = texts[key] { return text }
        let text = try templates.text(for: event, names: names, at: time, in: language)
        texts[key] = text
        return text
    }
}
