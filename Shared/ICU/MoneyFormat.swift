// Amounts of money as the readers of a language write them.
import CICU
import Synchronization

/// Writes amounts of any currency in one language: `CN¥1,999.00`, `1.999,00 CN¥`.
public final class MoneyFormat: Sendable {
    private let language: String
    /// By currency, from the first amount on.
    private let formatters = Mutex<[String: Formatter]>([:])

    /// There are half as many currencies; of codes that somebody made up no more are kept.
    private static let formattersMax = 300

    /// - Parameter language: by BCP 47.
    public init(language: String) { self.language = language }

    /// - Parameters:
    ///   - currency: by ISO 4217.
    ///   - minorDigits: how many digits of the amount stand behind the point, and all of them are shown: Unicode would round
    ///     some currencies to what people have in their purses. Always the same for a currency.
    public func format(
        minorUnits amount: Int64, currency: String, minorDigits: Int
    ) throws(ICUError) -> String {
        let formatter = try formatter(currency, minorDigits)
        return try written(bytesExpected: 64) { (out, capacity) in
            stampede_money_format(formatter.handle, amount, out, capacity)
        }
    }

    private func formatter(_ currency: String, _ minorDigits: Int) throws(ICUError) -> Formatter {
        if let formatter = formatters.withLock({ $0[currency] }) { return formatter }
        guard let handle = stampede_money_open(language, currency, Int32(minorDigits)) else {
            throw ICUError("\(currency) is no currency that ICU can write")
        }
        let formatter = Formatter(handle)
        formatters.withLock {
            if $0.count >= Self.formattersMax { $0 = [:] }
            $0[currency] = formatter
        }
        return formatter
    }

    private final class Formatter: Sendable {
        /// `nonisolated(unsafe)`: it never changes once it is made, so any number of threads may use it.
        nonisolated(unsafe) let handle: OpaquePointer

        init(_ handle: OpaquePointer) { self.handle = handle }

        deinit { stampede_money_close(handle) }
    }
}
