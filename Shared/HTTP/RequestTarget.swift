// The request line's target (RFC 9112, 3.2) taken apart: untrusted bytes in, path segments and query fields out.

enum RequestTarget {
    /// Where a target's parts are in its bytes.
    struct Parts: Equatable {
        /// Starts with a slash.
        let path: Range<Int>
        let query: Range<Int>
    }

    /// Finds path and query of a target in origin form (`/path?query`) or absolute form (`http://host/path?query`).
    /// Nil for what is neither, and for bytes that a target must percent-encode.
    static func parse(_ target: [UInt8]) -> Parts? {
        guard target.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "#") && $0 != UInt8(ascii: "\\") })
        else { return nil }
        var start = 0
        if target.first != UInt8(ascii: "/") {
            let lowercase = target.prefix(8).map(HeaderFields.lowercase)
            let schemeCount =
                lowercase.starts(with: "http://".utf8) ? 7 : lowercase.elementsEqual("https://".utf8) ? 8 : 0
            guard schemeCount > 0, let slash = target[schemeCount...].firstIndex(of: UInt8(ascii: "/")),
                slash > schemeCount, !target[schemeCount..<slash].contains(UInt8(ascii: "?"))
            else { return nil }
            start = slash
        }
        let end = target[start...].firstIndex(of: UInt8(ascii: "?")) ?? target.count
        return Parts(path: start..<end, query: min(end + 1, target.count)..<target.count)
    }

    /// Decodes one segment of a path. Nil for what no segment of ours may be: a broken escape, not UTF-8, a control
    /// character, a slash in disguise, `.` and `..` in any disguise.
    static func segment(_ bytes: ArraySlice<UInt8>) -> String? {
        guard let text = decode(bytes, plusIsSpace: false), text != ".", text != "..",
            text.utf8.allSatisfy({
                $0 >= 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: "\\")
            })
        else { return nil }
        return text
    }

    /// The fields of `a=1&b=two+words`, decoded; the first of a name wins. What cannot be decoded is left out.
    static func fields(ofQuery query: String) -> [String: String] {
        var fields: [String: String] = [:]
        for pair in query.utf8.split(separator: UInt8(ascii: "&"), maxSplits: fieldsMax) {
            let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = decode(parts[0], plusIsSpace: true), !name.isEmpty,
                let value = parts.count > 1 ? decode(parts[1], plusIsSpace: true) : ""
            else { continue }
            if fields[name] == nil { fields[name] = value }
        }
        return fields
    }

    /// A query of more fields than this is read no further.
    static let fieldsMax = 256

    /// Percent-decodes. Nil for a broken escape or for what is not UTF-8.
    static func decode(_ text: some Collection<UInt8>, plusIsSpace: Bool) -> String? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        var iterator = text.makeIterator()
        while let byte = iterator.next() {
            switch byte {
            case UInt8(ascii: "%"):
                guard let high = iterator.next().flatMap(hexadecimal), let low = iterator.next().flatMap(hexadecimal)
                else { return nil }
                bytes.append(high << 4 | low)
            case UInt8(ascii: "+") where plusIsSpace: bytes.append(UInt8(ascii: " "))
            default: bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func hexadecimal(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
