// Amounts as people write them, by the rules of Unicode's CLDR for the two languages.
import Models

extension Money {
    /// `CN¥1,999.00` in English, `¥1,999.00` in Chinese.
    func text(in language: Language) -> String {
        let digits = Self.fractionDigits[currency.code] ?? 2
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

    /// Currencies whose minor unit is not a hundredth (ISO 4217).
    private static let fractionDigits = [
        "BHD": 3, "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "IQD": 3, "ISK": 0, "JOD": 3, "JPY": 0, "KMF": 0, "KRW": 0,
        "KWD": 3, "LYD": 3, "OMR": 3, "PYG": 0, "RWF": 0, "TND": 3, "UGX": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0,
        "XPF": 0,
    ]

    /// Signs that readers of a language know.
    private static let symbols: [String: (english: String, chinese: String)] = [
        "AUD": ("A$", "AU$"), "BRL": ("R$", "R$"), "CAD": ("CA$", "CA$"), "CNY": ("CN¥", "¥"), "EUR": ("€", "€"),
        "GBP": ("£", "£"), "HKD": ("HK$", "HK$"), "INR": ("₹", "₹"), "JPY": ("¥", "JP¥"), "KRW": ("₩", "₩"),
        "MXN": ("MX$", "MX$"), "NZD": ("NZ$", "NZ$"), "PHP": ("₱", "₱"), "TWD": ("NT$", "NT$"), "USD": ("$", "US$"),
        "VND": ("₫", "₫"),
    ]
}
