// Everything that an audit judges by, gathered from the five schemas and the log.
import Models

struct Evidence: Sendable {
    var orders = OrderTable()

    /// How much of a topic the log still holds.
    struct Log: Sendable, Equatable {
        var records = 0
        /// Older records are gone: the embedded broker keeps little, and real ones not forever.
        var isWhole = true
    }
    var ordersLog = Log()
    var reservationsLog = Log()
    /// Records of `orders` that say an order was placed, cannot be read, and are not among the dead letters.
    var unreadable = 0
    /// Dead letters by topic.
    var dead: [String: Int] = [:]

    /// One variant of one batch, as reservation counts it.
    struct Stock: Sendable, Hashable {
        let line: StockLine
        let supply: Int64
        let pool: Int64
        let leased: Int64
        let held: Int64
        let waiting: Int64
        let confirmed: Int64
        /// Raised supply sells out again.
        let soldOutCount: Int
        let isSoldOut: Bool
        /// The batch has ended: what comes back is not to be had.
        let isClosed: Bool
        let holdSeconds: Int64
    }
    struct StockLine: Sendable, Hashable {
        let sale: SaleID
        let batch: Int
        let variant: String
    }
    var stock: [Stock] = []
    /// Units as catalog offers them, for published sales.
    var offered: [StockLine: Int64] = [:]
    /// How often each line was said to be sold out.
    var soldOutSaid: [StockLine: Int] = [:]
    /// The newest that was said of each line: its revision, and whether it sold out.
    var lastNews: [StockLine: LineNews] = [:]
    /// Lines that catalog shows as sold out.
    var shownSoldOut: Set<StockLine> = []

    struct LineNews: Sendable, Equatable {
        let revision: Int
        let isSoldOut: Bool
    }

    /// What the log says of each order, by the numbers of its events.
    var lives = OrderLives()
    /// From the decision to the end of the hold, the least that was said of each line.
    var shortestHoldMicroseconds: [StockLine: Int64] = [:]
    /// Payments that failed for want of a wallet, and those of them whose buyer had one.
    var noWallet = 0
    var noWalletWithWallet = 0

    var liveOrders = 0
    /// Buyers with more than one live order in a sale.
    var buyersOverLimit = 0
    /// Reserved, within their hold, not yet paid.
    var awaitingPayment = 0
    /// Reserved, and their hold ended long ago.
    var overdue = 0

    struct Ledger: Sendable, Equatable {
        let currency: String
        let sum: Int64
        let transfers: Int
    }
    var ledger: [Ledger] = []
    var transfersUnbalanced = 0
    var accounts = 0
    /// Ledger accounts whose balance is not the sum of their postings.
    var balancesWrong = 0
    var balancesBelowZero = 0
    /// What the brands took in and did not give back, by payments and by their accounts.
    var capturedAmount: Int64 = 0
    var proceedsAmount: Int64 = 0
    /// Payments by standing authorisations, and the orders that those were not for: of neither their owners in the app nor
    /// the publisher that they named.
    var authorised = 0
    var unauthorised: [OrderID] = []
    /// Orders of the log by who proved to have placed them; without a name: nobody did.
    var publishers: [PublisherName?: Int] = [:]
    /// What the confirmed orders cost, by reservation's prices.
    var confirmedAmount: Int64 = 0

    /// Without those that were overtaken.
    var told = IdentifierSum()
    /// Told when the chat had said something newer of the same order: no message.
    var overtaken = 0
    /// Messages that tell of an order what is older than what the message before them told.
    var olderWords = 0
    var messages = IdentifierSum()
    var broadcasts = IdentifierSum()
    var posts = IdentifierSum()

    /// What a service has not processed or published yet, by what it is.
    var outstanding: [String: Int64] = [:]
}
