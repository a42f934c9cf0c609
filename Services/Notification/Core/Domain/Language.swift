import Models

/// The languages that readers are told in.
enum Language: UInt8, CaseIterable, Sendable {
    case english = 0
    case chinese = 1

    /// BCP 47.
    var tag: String {
        switch self {
        case .english: "en"
        case .chinese: "zh"
        }
    }

    /// The language for a reader who asks for a locale, `zh-Hans-CN`; English where we do not speak it.
    init(locale: String) {
        let primary = locale.prefix { $0 != "-" && $0 != "_" }.lowercased()
        self = Self.allCases.first { $0.tag == primary } ?? .english
    }
}
