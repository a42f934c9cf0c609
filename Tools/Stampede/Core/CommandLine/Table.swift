// Aligned columns and small bars, for people.

struct Table {
    enum Alignment { case left, right }

    private let columns: [(title: String, alignment: Alignment)]
    private var rows: [[String]] = []

    init(_ columns: [(String, Alignment)]) { self.columns = columns.map { (title: $0.0, alignment: $0.1) } }

    mutating func add(_ cells: [String]) { rows.append(cells) }

    var text: String {
        let titles = columns.map(\.title)
        let widths = columns.indices.map { column in
            ([titles] + rows).map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        func line(_ cells: [String]) -> String {
            let padded = columns.indices.map { column in
                let cell = column < cells.count ? cells[column] : ""
                return columns[column].alignment == .left
                    ? cell.padded(to: widths[column]) : cell.padded(to: widths[column], onTheLeft: true)
            }
            var line = padded.joined(separator: "  ")
            while line.last == " " { line.removeLast() }
            return line
        }
        let rule = widths.map { String(repeating: "─", count: $0) }.joined(separator: "  ")
        return ([line(titles), rule] + rows.map(line)).joined(separator: "\n")
    }
}

/// A bar of eighths of a character, full at `most`.
func bar(_ value: Double, of most: Double, width: Int = 20) -> String {
    guard most > 0, value > 0 else { return "" }
    let eighths = Int((min(value / most, 1) * Double(width * 8)).rounded())
    let parts = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]
    return String(repeating: "█", count: eighths / 8) + parts[eighths % 8]
}

extension String {
    func padded(to width: Int, onTheLeft: Bool = false) -> String {
        let missing = String(repeating: " ", count: max(0, width - count))
        return onTheLeft ? missing + self : self + missing
    }
}

extension BinaryInteger {
    /// `1300000` as `1,300,000`.
    var grouped: String {
        let digits = String(magnitude)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return (self < 0 ? "-" : "") + text
    }
}

extension Double {
    /// With that many digits after the point.
    func fixed(_ digits: Int) -> String {
        var scale: Double = 1
        for _ in 0..<digits { scale *= 10 }
        let scaled = (self * scale).rounded()
        guard scaled.magnitude < 9e15 else { return "\(self)" }
        let whole = Int64(scaled.magnitude)
        let unit = Int64(scale)
        let sign = scaled < 0 ? "-" : ""
        guard digits > 0 else { return sign + String(whole) }
        return sign + String(whole / unit) + "." + String(whole % unit).leftFilled(to: digits)
    }
}

extension String {
    fileprivate func leftFilled(to width: Int) -> String { String(repeating: "0", count: max(0, width - count)) + self }
}
