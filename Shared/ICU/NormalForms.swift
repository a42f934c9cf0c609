// Unicode's normal forms: texts that look the same are the same bytes in one of them.
import CICU

public enum NormalForms {
    /// NFC.
    public static func composed(_ text: String) -> String { normalized(text, isComposed: true) }

    /// NFD.
    public static func decomposed(_ text: String) -> String { normalized(text, isComposed: false) }

    private static func normalized(_ text: String, isComposed: Bool) -> String {
        // ASCII is in both forms.
        if text.utf8.allSatisfy({ $0 < 0x80 }) { return text }
        let count = text.utf8.count
        // ICU's data is part of it: what could fail is memory, and then the text is what it was.
        let normal = try? written(bytesExpected: 2 * count) { (out, capacity) in
            stampede_normalized(text, count, isComposed ? 1 : 0, out, capacity)
        }
        return normal ?? text
    }
}
