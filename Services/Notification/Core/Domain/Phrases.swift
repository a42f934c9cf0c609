// What is said, in each language. Every sentence of the service stands here.
import Models

enum Phrases {
    /// What a reader is told, in the reader's language; a broadcast, which all read, in every language.
    static func text(for occasion: Occasion, goods: Goods?, at time: Timestamp, in language: Language) -> LocalizedText
    {
        let languages = occasion.accountId == nil ? Language.allCases : [language]
        let texts = languages.map { ($0.tag, sentence(for: occasion, goods: goods, at: time, in: $0)) }
        guard let text = LocalizedText(Dictionary(uniqueKeysWithValues: texts)) else {
            preconditionFailure("from one to all of the languages, which are few")
        }
        return text
    }

    /// - Parameters:
    ///   - goods: nil when the catalogue no longer knows the sale.
    ///   - time: when it happened, by the log.
    static func sentence(for occasion: Occasion, goods: Goods?, at time: Timestamp, in language: Language) -> String {
        let name = goods?.name(variant: occasion.variant, in: language)
        switch language {
        case .english: return english(occasion.what, name ?? "an article of this sale", at: time)
        case .chinese: return chinese(occasion.what, name ?? "本次活动的商品", at: time)
        }
    }

    // MARK: English

    private static func english(_ what: Occasion.What, _ goods: String, at time: Timestamp) -> String {
        switch what {
        case .reserved(let price, let holdUntil, let promoted):
            let opening = promoted ? "One came free and is reserved for you" : "Reserved for you"
            let amount = price.text(in: .english)
            let span = Span(from: time, to: holdUntil).english
            return "\(opening): \(goods). Please pay \(amount) within \(span), by \(clock(holdUntil)) UTC."
        case .waitlisted:
            return "All are taken for now. You are on the waiting list for \(goods): "
                + "what comes free goes to whoever has waited longest."
        case .soldOut:
            return "Sold out: \(goods). Thank you to everyone who took part."
        case .paid(let amount):
            return "Paid: \(amount.text(in: .english)) for \(goods). It is yours."
        case .refunded(let amount, let reason):
            let why =
                switch reason {
                case .cancelled: "the order was cancelled"
                case .expired, .paidTooLate: "the payment came after the hold had run out"
                case .paymentFailed: "the payment could not be completed"
                }
            return "\(amount.text(in: .english)) for \(goods) went back to your wallet: \(why)."
        case .released(let reason):
            switch reason {
            case .cancelled: return "Your order is cancelled: \(goods)."
            case .expired, .paidTooLate: return "Your hold has ended, it was not paid in time: \(goods)."
            case .paymentFailed: return "Your hold has ended, your wallet could not pay: \(goods)."
            }
        }
    }

    // MARK: Chinese

    private static func chinese(_ what: Occasion.What, _ goods: String, at time: Timestamp) -> String {
        switch what {
        case .reserved(let price, let holdUntil, let promoted):
            let opening = promoted ? "有名额空出，已为您预留" : "已为您预留"
            let amount = price.text(in: .chinese)
            let span = Span(from: time, to: holdUntil).chinese
            return "\(opening)\(goods)。请在\(span)内（UTC \(clock(holdUntil))前）支付\(amount)。"
        case .waitlisted:
            return "\(goods)暂时已订满，您已进入候补名单；如有空出，将按先后顺序为您预留。"
        case .soldOut:
            return "\(goods)已售罄，感谢大家的参与。"
        case .paid(let amount):
            return "支付成功：\(goods)，\(amount.text(in: .chinese))。商品已归您所有。"
        case .refunded(let amount, let reason):
            let why =
                switch reason {
                case .cancelled: "订单已取消"
                case .expired, .paidTooLate: "付款时预留已过期"
                case .paymentFailed: "付款未能完成"
                }
            return "\(why)，\(goods)的款项\(amount.text(in: .chinese))已退回您的钱包。"
        case .released(let reason):
            switch reason {
            case .cancelled: return "您的订单已取消：\(goods)。"
            case .expired, .paidTooLate: return "未在规定时间内付款，预留已取消：\(goods)。"
            case .paymentFailed: return "钱包付款未成功，预留已取消：\(goods)。"
            }
        }
    }

    /// `12:15`, rounded down: whoever pays by then is in time.
    private static func clock(_ time: Timestamp) -> String { String(time.description.dropFirst(11).prefix(5)) }
}

/// How long something lasts, in the largest unit that does not promise too much.
private struct Span {
    let seconds: Int64

    init(from start: Timestamp, to end: Timestamp) { seconds = max(0, (end - start).components.seconds) }

    private var rounded: (count: Int64, unit: Unit) {
        if seconds >= 2 * 86_400 { return (seconds / 86_400, .day) }
        if seconds >= 2 * 3600 { return (seconds / 3600, .hour) }
        // What was decided at 12:00:00.004 with 15 minutes is 15 minutes, although 4 ms are gone.
        if seconds >= 59 { return ((seconds + 1) / 60, .minute) }
        return (seconds, .second)
    }

    private enum Unit { case day, hour, minute, second }

    var english: String {
        let (count, unit) = rounded
        let name =
            switch unit {
            case .day: "day"
            case .hour: "hour"
            case .minute: "minute"
            case .second: "second"
            }
        return count == 1 ? "1 \(name)" : "\(count) \(name)s"
    }

    var chinese: String {
        let (count, unit) = rounded
        switch unit {
        case .day: return "\(count)天"
        case .hour: return "\(count)小时"
        case .minute: return "\(count)分钟"
        case .second: return "\(count)秒"
        }
    }
}
