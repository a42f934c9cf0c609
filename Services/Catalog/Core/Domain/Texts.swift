import Models

extension LocalizedText {
    /// What is wrong with texts that people are to read: those that say nothing.
    func faults(_ field: String) -> [Fault] {
        byLocale.sorted { $0.key < $1.key }.compactMap { tag, text in
            text.allSatisfy(\.isWhitespace) ? Fault("\(field).\(tag)", "a text that says something") : nil
        }
    }
}
