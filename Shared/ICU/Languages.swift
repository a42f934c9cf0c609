// Language tags (BCP 47), by Unicode's data.
import CICU
import Synchronization

public enum Languages {
    /// Whether the whole text is a tag. The caller has checked its alphabet and its length.
    public static func isTag(_ text: String) -> Bool { stampede_language_is_tag(text) != 0 }

    /// In which languages to look for a text for somebody who asks for one, best first: the language itself, as it is written
    /// where it is spoken, without its region: `zh-TW`, `zh-Hant-TW`, `zh-Hant`, `zh`. In the spelling of BCP 47 (`zh-Hans-CN`),
    /// however the tag is spelt.
    public static func fallbacks(for tag: String) -> [String] {
        if let tags = found.withLock({ $0[tag] }) { return tags }
        let tags = find(tag)
        found.withLock {
            if $0.count >= foundMax { $0 = [:] }
            $0[tag] = tags
        }
        return tags
    }

    /// ICU takes some 30 microseconds for one, and is asked for each message.
    private static let found = Mutex<[String: [String]]>([:])
    /// People ask for some hundred, unless somebody makes them up.
    private static let foundMax = 1000

    private static func find(_ tag: String) -> [String] {
        let text = try? written(bytesExpected: 160) { (out, capacity) in
            stampede_language_fallbacks(tag, out, capacity)
        }
        let tags = (text ?? "").split(separator: " ").map(String.init)
        // Unicode has Cantonese, zh-yue, as a language of its own: yue. Who reads it reads zh as well.
        let primary = tag.prefix { $0 != "-" && $0 != "_" }.lowercased()
        return tags.contains(primary) || primary.isEmpty ? tags : tags + [primary]
    }
}
