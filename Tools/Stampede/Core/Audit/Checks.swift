// What must hold after a sale, judged from the evidence alone.
import Models

/// One rule and how the evidence stands to it.
struct Finding: Sendable, Equatable {
    let name: String
    let rule: String
    /// How many things were looked at.
    let examined: Int
    /// How many of them break the rule.
    let wrong: Int
    /// What else there is to say.
    let note: String
    /// A few of what is wrong.
    let examples: [String]

    init(
        _ name: String, _ rule: String, examined: Int, wrong: Int, note: String = "", examples: [String] = []
    ) {
        self.name = name
        self.rule = rule
        self.examined = examined
        self.wrong = wrong
        self.note = note
        self.examples = examples
    }
}

enum Checks {
    static func findings(_ evidence: Evidence) -> [Finding] {
        [
            settled(evidence), decided(evidence), answered(evidence), lives(evidence), shown(evidence),
            supply(evidence),
            unsold(evidence),
            soldOut(evidence), limit(evidence), holds(evidence), holdTimes(evidence), wallets(evidence), paid(evidence),
            authorised(evidence),
            ledger(evidence), balances(evidence),
            money(evidence), told(evidence), delivered(evidence), dead(evidence),
        ]
    }

    /// Orders that the rule concerns and that break it, with the first few of them.
    private static func count(
        _ evidence: Evidence, concerned: (OrderFacts) -> Bool, wrong: (OrderFacts) -> Bool
    ) -> (examined: Int, wrong: Int, examples: [String]) {
        var examined = 0
        var wrongs = 0
        var examples: [String] = []
        for (number, facts) in evidence.orders.facts.enumerated() where !facts.contains(.past) && concerned(facts) {
            examined += 1
            guard wrong(facts) else { continue }
            wrongs += 1
            if examples.count < 5 { examples.append(evidence.orders.ids[number].description) }
        }
        return (examined, wrongs, examples)
    }

    private static func settled(_ evidence: Evidence) -> Finding {
        let open = evidence.outstanding.filter { $0.value > 0 }.sorted { $0.key < $1.key }
        return Finding(
            "settled", "nothing is left to process or to publish", examined: evidence.outstanding.count,
            wrong: open.count,
            examples: open.map { "\($0.key): \($0.value.grouped)" })
    }

    private static func decided(_ evidence: Evidence) -> Finding {
        let counted = count(evidence) { _ in
            true
        } wrong: { facts in
            let isKnown = !facts.isDisjoint(with: [.ordered, .accepted]) || !evidence.ordersLog.isWhole
            return facts.isDisjoint(with: .anyDecision) || facts.contains(.decidedTwice) || !isKnown
        }
        let note =
            evidence.ordersLog.isWhole
            ? "" : "the log holds the last \(evidence.ordersLog.records.grouped) records of orders alone"
        return Finding(
            "decided", "every order has one decision, and every decision an order", examined: counted.examined,
            wrong: counted.wrong + evidence.unreadable, note: note, examples: counted.examples)
    }

    private static func answered(_ evidence: Evidence) -> Finding {
        let isWhole = evidence.reservationsLog.isWhole
        let counted = count(evidence) { facts in
            !facts.isDisjoint(with: .anyDecision.union(.anyAnswer))
        } wrong: { facts in
            let answers = facts.intersection(.anyAnswer).rawValue.nonzeroBitCount
            if answers > 1 { return true }
            guard isWhole else { return false }
            // Cancelled before it was decided: its end is its answer.
            if answers == 0 { return !facts.isSuperset(of: [.released, .saidReleased]) }
            // What was said last is what the schema says now.
            if facts.contains(.refused) { return !facts.contains(.saidRejected) }
            if facts.contains(.waiting) { return !facts.contains(.saidWaitlisted) || facts.contains(.saidPromoted) }
            if facts.contains(.held) { return facts.isDisjoint(with: [.saidReserved, .saidPromoted]) }
            if facts.contains(.confirmed) { return !facts.contains(.saidConfirmed) }
            return facts.isDisjoint(with: [.saidReleased, .saidWaitEnded])
        }
        return Finding(
            "answered", "the topic says of every order once what the schema says", examined: counted.examined,
            wrong: counted.wrong,
            note: isWhole ? "" : "the log holds the last \(evidence.reservationsLog.records.grouped) answers alone",
            examples: counted.examples)
    }

    /// As somebody sees it who has the topic alone and honours the numbers.
    private static func lives(_ evidence: Evidence) -> Finding {
        let gaps = evidence.reservationsLog.isWhole ? evidence.lives.incomplete : []
        let contradicted = evidence.lives.contradicted(by: evidence.orders)
        let wrong = evidence.lives.contradictions + gaps + contradicted
        return Finding(
            "lives", "events of an order are numbered without a gap, no two alike; the last says what is so",
            examined: evidence.lives.count, wrong: wrong.count, examples: wrong.prefix(5).map(\.description))
    }

    private static func holdTimes(_ evidence: Evidence) -> Finding {
        let wrong = evidence.stock.filter { stock in
            guard let shortest = evidence.shortestHoldMicroseconds[stock.line] else { return false }
            return shortest < (stock.holdSeconds - 1) * 1_000_000
        }
        return Finding(
            "hold times", "every hold lasts as long as the sale says, from the decision on",
            examined: evidence.shortestHoldMicroseconds.count, wrong: wrong.count,
            examples: wrong.prefix(5).map {
                let seconds = Double(evidence.shortestHoldMicroseconds[$0.line] ?? 0) / 1_000_000
                return "\(describe($0.line)): \(seconds) s of \($0.holdSeconds) s"
            })
    }

    private static func wallets(_ evidence: Evidence) -> Finding {
        Finding(
            "wallets", "no payment failed for want of a wallet that was there", examined: evidence.noWallet,
            wrong: evidence.noWalletWithWallet)
    }

    private static func shown(_ evidence: Evidence) -> Finding {
        let counted = count(evidence) {
            $0.contains(.accepted)
        } wrong: { facts in
            if facts.contains(.refused) { return !facts.contains(.shownRejected) }
            if facts.contains(.waiting) { return !facts.contains(.shownWaitlisted) }
            if facts.contains(.held) { return !facts.contains(.shownReserved) }
            if facts.contains(.confirmed) { return !facts.contains(.shownConfirmed) }
            if facts.contains(.released) { return facts.isDisjoint(with: [.shownReleased, .shownRejected]) }
            return true
        }
        return Finding(
            "shown", "every buyer's order shows its decision", examined: counted.examined, wrong: counted.wrong,
            examples: counted.examples)
    }

    private static func supply(_ evidence: Evidence) -> Finding {
        var wrong: [String] = []
        for stock in evidence.stock {
            let accounted = stock.pool + stock.leased + stock.held + stock.confirmed
            if stock.supply != accounted {
                wrong.append(
                    "\(describe(stock.line)): \(stock.supply.grouped) units, \(accounted.grouped) accounted for")
            } else if let offered = evidence.offered[stock.line], offered != stock.supply {
                wrong.append("\(describe(stock.line)): \(offered.grouped) offered, \(stock.supply.grouped) counted")
            }
        }
        let sold = evidence.stock.reduce(0) { $0 + $1.confirmed + $1.held }
        let supply = evidence.stock.reduce(0) { $0 + $1.supply }
        return Finding(
            "supply", "sold + held + free = supply: no phone too many, none lost", examined: evidence.stock.count,
            wrong: wrong.count, note: "\(sold.grouped) of \(supply.grouped) phones are gone",
            examples: Array(wrong.prefix(5)))
    }

    private static func unsold(_ evidence: Evidence) -> Finding {
        let wrong = evidence.stock.filter { $0.waiting > 0 && $0.pool + $0.leased > 0 }
        return Finding(
            "unsold", "nothing is free while somebody waits for it", examined: evidence.stock.count, wrong: wrong.count,
            note: "\(evidence.stock.reduce(0) { $0 + $1.waiting }.grouped) wait",
            examples: wrong.prefix(5).map {
                "\(describe($0.line)): \(($0.pool + $0.leased).grouped) free, \($0.waiting.grouped) wait"
            })
    }

    private static func soldOut(_ evidence: Evidence) -> Finding {
        var wrong: [String] = []
        for stock in evidence.stock {
            let said = evidence.soldOutSaid[stock.line] ?? 0
            if evidence.reservationsLog.isWhole, stock.soldOutCount != said {
                wrong.append("\(describe(stock.line)): sold out \(stock.soldOutCount) times, said \(said) times")
            } else if let news = evidence.lastNews[stock.line], news.isSoldOut != stock.isSoldOut {
                wrong.append("\(describe(stock.line)): its last news, \(news.revision), is not so any more")
            } else if stock.isSoldOut != evidence.shownSoldOut.contains(stock.line) {
                wrong.append("\(describe(stock.line)): shown otherwise")
            } else if stock.isSoldOut, !stock.isClosed, stock.waiting == 0, stock.pool + stock.leased > 0 {
                wrong.append("\(describe(stock.line)): \((stock.pool + stock.leased).grouped) free")
            }
        }
        return Finding(
            "sold out", "said as often as it was so, and shown while it is so", examined: evidence.stock.count,
            wrong: wrong.count, examples: Array(wrong.prefix(5)))
    }

    private static func limit(_ evidence: Evidence) -> Finding {
        Finding(
            "limit", "no buyer has more than one live order in a sale", examined: evidence.liveOrders,
            wrong: evidence.buyersOverLimit)
    }

    private static func holds(_ evidence: Evidence) -> Finding {
        Finding(
            "holds", "every reserved order is paid or released when its hold ends",
            examined: evidence.stock.reduce(0) { $0 + Int($1.held + $1.confirmed) }, wrong: evidence.overdue,
            note: evidence.awaitingPayment == 0 ? "" : "\(evidence.awaitingPayment.grouped) are still held")
    }

    private static func paid(_ evidence: Evidence) -> Finding {
        let counted = count(evidence) { facts in
            !facts.isDisjoint(with: [.captured, .refunded, .confirmed])
        } wrong: { facts in
            if facts.contains(.wrongAmount) { return true }
            if facts.contains(.refunded) { return facts.contains(.confirmed) || !facts.contains(.released) }
            return facts.contains(.captured) != facts.contains(.confirmed)
        }
        return Finding(
            "paid", "every phone is paid with its price, and nothing else is", examined: counted.examined,
            wrong: counted.wrong, examples: counted.examples)
    }

    private static func authorised(_ evidence: Evidence) -> Finding {
        let publishers = evidence.publishers.map { ($0.key?.text ?? "nobody", $0.value) }.sorted { $0.0 < $1.0 }
        return Finding(
            "authorised", "an authorisation pays its owner's orders in the app and those of whom it names",
            examined: evidence.authorised, wrong: evidence.unauthorised.count,
            note: publishers.isEmpty
                ? "" : "orders of " + publishers.map { "\($0.0): \($0.1.grouped)" }.joined(separator: ", "),
            examples: evidence.unauthorised.prefix(5).map(\.description))
    }

    private static func ledger(_ evidence: Evidence) -> Finding {
        let wrong = evidence.ledger.filter { $0.sum != 0 }
        return Finding(
            "ledger", "the ledger sums to zero", examined: evidence.ledger.reduce(0) { $0 + $1.transfers },
            wrong: wrong.count + evidence.transfersUnbalanced,
            examples: wrong.map { "\($0.currency): \($0.sum.grouped)" })
    }

    private static func balances(_ evidence: Evidence) -> Finding {
        Finding(
            "balances", "every balance is the sum of its postings, no wallet is below zero",
            examined: evidence.accounts,
            wrong: evidence.balancesWrong + evidence.balancesBelowZero)
    }

    private static func money(_ evidence: Evidence) -> Finding {
        let isRight =
            evidence.capturedAmount == evidence.confirmedAmount && evidence.capturedAmount == evidence.proceedsAmount
        return Finding(
            "money", "payments, brands' accounts and sold phones come to one amount", examined: 3,
            wrong: isRight ? 0 : 1,
            note: evidence.capturedAmount.grouped,
            examples: isRight
                ? []
                : [
                    "payments \(evidence.capturedAmount.grouped), accounts \(evidence.proceedsAmount.grouped), "
                        + "phones \(evidence.confirmedAmount.grouped)"
                ])
    }

    private static func told(_ evidence: Evidence) -> Finding {
        let counted = count(evidence) { facts in
            !facts.subtracting([.ordered, .accepted, .refused, .saidRejected, .shownRejected, .shownUndecided]).isEmpty
        } wrong: { facts in
            if facts.contains(.toldTwice) { return true }
            let wasReserved = !facts.isDisjoint(with: [.held, .confirmed, .saidReserved, .saidPromoted, .captured])
            let wasWaitlisted = !facts.isDisjoint(with: [.waiting, .saidWaitlisted])
            let wasReleased = facts.contains(.saidReleased)
            return facts.contains(.toldReserved) != wasReserved || facts.contains(.toldWaitlisted) && !wasWaitlisted
                || wasWaitlisted && !facts.contains(.toldWaitlisted)
                || facts.contains(.toldRefunded) != facts.contains(.refunded)
                || facts.contains(.toldPaid) != !facts.isDisjoint(with: [.captured, .refunded])
                || wasReleased && facts.isDisjoint(with: [.toldReleased, .toldRefunded])
                || facts.contains(.toldReleased) && !facts.contains(.released)
        }
        return Finding(
            "told", "every buyer was told once of everything that happened to the order", examined: counted.examined,
            wrong: counted.wrong, examples: counted.examples)
    }

    private static func delivered(_ evidence: Evidence) -> Finding {
        var wrong: [String] = []
        if evidence.told != evidence.messages {
            wrong.append("\(evidence.told.count.grouped) told, \(evidence.messages.count.grouped) messages")
        }
        if evidence.broadcasts != evidence.posts {
            wrong.append("\(evidence.broadcasts.count.grouped) broadcasts, \(evidence.posts.count.grouped) posts")
        }
        if evidence.olderWords > 0 { wrong.append("\(evidence.olderWords.grouped) messages behind newer ones") }
        let overtaken = evidence.overtaken == 0 ? "" : ", \(evidence.overtaken.grouped) overtaken"
        return Finding(
            "delivered", "every notification is one message in the chat, none behind a newer one of its order",
            examined: evidence.told.count + evidence.overtaken + evidence.broadcasts.count, wrong: wrong.count,
            note: "\(evidence.messages.count.grouped) messages, \(evidence.posts.count.grouped) posts\(overtaken)",
            examples: wrong)
    }

    /// Not wrong in itself: a broken record is where it belongs. Worth a look all the same.
    private static func dead(_ evidence: Evidence) -> Finding {
        let dead = evidence.dead.filter { $0.value > 0 }.sorted { $0.key < $1.key }
        return Finding(
            "dead letters", "what could not be processed, for a person to look at",
            examined: dead.reduce(0) { $0 + $1.value }, wrong: 0,
            note: dead.map { "\($0.key): \($0.value.grouped)" }.joined(separator: ", "))
    }

    private static func describe(_ line: Evidence.StockLine) -> String { "\(line.sale) \(line.batch) \(line.variant)" }
}
