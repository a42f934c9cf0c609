// What the notifications of one batch have in common.
import Models

/// The head of what the outbox keeps of a batch in place of its notifications, which are rendered from it and the log. A
/// record's code says its reader's language by its place in `languages`, or `none`.
struct DeferredNotifications: Sendable, Equatable, Codable {
    /// The names of what is sold, as they were.
    var names: [ProductNames]
    var decidedAt: Timestamp
    /// By BCP 47.
    var languages: [String]

    /// Nobody is told of the record, or was before.
    static let none = UInt8.max

    /// The language of a record with that code.
    func language(code: UInt8, in catalogue: TemplateCatalogue) -> Language? {
        languages.indices.contains(Int(code)) ? catalogue.language(for: languages[Int(code)]) : nil
    }

    init(names: [ProductNames], decidedAt: Timestamp, languages: [String]) {
        self.names = names
        self.decidedAt = decidedAt
        self.languages = languages
    }

    /// As versions before this one read and wrote it.
    private enum CodingKeys: String, CodingKey {
        case names = "goods"
        case decidedAt = "toldAt"
        case languages
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        names = try container.decode([ProductNames].self, forKey: .names)
        decidedAt = try container.decode(Timestamp.self, forKey: .decidedAt)
        // Of a version that knew two.
        languages = try container.decodeIfPresent([String].self, forKey: .languages) ?? ["en", "zh"]
    }
}
