// What is said of an event: which template, with what in its places.
import ICU
import Models

extension TemplateCatalogue {
    /// What a reader is told, in the reader's language; a broadcast, which all read, in every language.
    func text(
        for event: NotifiableEvent, names: ProductNames?, at time: Timestamp, in language: Language
    ) throws(ICUError) -> LocalizedText {
        var texts: [String: String] = [:]
        for language in event.accountId == nil ? languages : [language] {
            texts[language.tag] = try language.sentence(for: event, names: names, at: time)
        }
        guard let text = LocalizedText(texts) else {
            preconditionFailure("from one to all of the languages, which are few")
        }
        return text
    }
}

extension Language {
    /// - Parameters:
    ///   - names: nil when the catalogue no longer knows the sale.
    ///   - time: when it happened, by the log.
    func sentence(for event: NotifiableEvent, names: ProductNames?, at time: Timestamp) throws(ICUError) -> String {
        let product = MessageFormat.Value.text(try self.product(names, variant: event.variant))
        switch event.what {
        case .reserved(let price, let holdUntil, let promoted):
            return try text(
                promoted ? .promoted : .reserved,
                [
                    ("product", product), ("price", .text(try text(price))),
                    ("timeLeft", .text(try text(TimeLeft(from: time, to: holdUntil)))),
                    // Rounded down to the minute: whoever pays by then is in time.
                    ("until", .time(milliseconds: holdUntil.microseconds / 1000)),
                ])
        case .waitlisted: return try text(.waitlisted, [("product", product)])
        case .soldOut: return try text(.soldOut, [("product", product)])
        case .paid(let amount): return try text(.paid, [("amount", .text(try text(amount))), ("product", product)])
        case .refunded(let amount, let reason):
            let template: Template =
                switch reason {
                case .cancelled: .refundedCancelled
                case .expired, .paidTooLate: .refundedExpired
                case .paymentFailed: .refundedPaymentFailed
                }
            return try text(template, [("amount", .text(try text(amount))), ("product", product)])
        case .released(let reason):
            let template: Template =
                switch reason {
                case .cancelled: .releasedCancelled
                case .expired, .paidTooLate: .releasedExpired
                case .paymentFailed: .releasedPaymentFailed
                }
            return try text(template, [("product", product)])
        }
    }

    /// `Mi 3 (silver, 16 GB)`.
    private func product(_ names: ProductNames?, variant: String?) throws(ICUError) -> String {
        guard let names else { return try text(.productUnknown) }
        let product = names.product.text(for: tag)
        guard let title = variant.flatMap({ names.variants[$0] })?.text(for: tag) else { return product }
        return try text(.productVariant, [("product", .text(product)), ("variant", .text(title))])
    }

    private func text(_ timeLeft: TimeLeft) throws(ICUError) -> String {
        try text(timeLeft.template, [("count", .number(timeLeft.count))])
    }
}

/// How long is left, in the largest unit that does not promise too much.
private struct TimeLeft {
    let count: Int64
    let template: Template

    init(from start: Timestamp, to end: Timestamp) {
        let seconds = max(0, (end - start).components.seconds)
        if seconds >= 2 * 86_400 {
            (count, template) = (seconds / 86_400, .daysLeft)
        } else if seconds >= 2 * 3600 {
            (count, template) = (seconds / 3600, .hoursLeft)
        } else if seconds >= 59 {
            // What was decided at 12:00:00.004 with 15 minutes is 15 minutes, although 4 ms are gone.
            (count, template) = ((seconds + 1) / 60, .minutesLeft)
        } else {
            (count, template) = (seconds, .secondsLeft)
        }
    }
}
