// Amounts as people write them, by the rules of Unicode's CLDR for the two languages.
import Models

extension Money {
    /// `CN¥1,999.00` in English, `¥1,999.00` in Chinese.
    func text(in language: Language) -> String {
        let digits = currency.minorDigits
        var (whole, fraction) = (amount.magnitude, UInt64(0))
        var scale: UInt64 = 1
        for _ in 0..<digits { scale *= 10 }
        (whole, fraction) = whole.quotientAndRemainder(dividingBy: scale)
        var text = amount < 0 ? "-" : ""
        if let symbol = Self.symbols[currency.code] {
            text += language == .english ? symbol.english : symbol.chinese
        } else {
            // A code is set apart by a space that does not break.
            text += "\(currency.code)\u{A0}"
        }
        text += Self.grouped(whole)
        if digits > 0 {
            let padded = String(fraction)
            text += "." + String(repeating: "0", count: digits - padded.count) + padded
        }
        return text
    }

    private static func grouped(_ number: UInt64) -> String {
        var digits = String(number)
        var index = digits.count - 3
        while index > 0 {
            digits.insert(",", at: digits.index(digits.startIndex, offsetBy: index))
            index -= 3
        }
        return digits
    }

    /// Signs that readers of a language know.
    private static let symbols: [String: (english: String, chinese: String)] = [
        "AUD": ("A$", "AU$"), "BRL": ("R$", "R$"), "CAD": ("CA$", "CA$"), "CNY": ("CN¥", "¥"), "EUR": ("€", "€"),
        "GBP": ("£", "£"), "HKD": ("HK$", "HK$"), "INR": ("₹", "₹"), "JPY": ("¥", "JP¥"), "KRW": ("₩", "₩"),
        "MXN": ("MX$", "MX$"), "NZD": ("NZ$", "NZ$"), "PHP": ("₱", "₱"), "TWD": ("NT$", "NT$"), "USD": ("$", "US$"),
        "VND": ("₫", "₫"),
    ]
}
