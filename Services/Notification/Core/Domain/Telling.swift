// What the tellings of one batch have in common.
import Models

/// The head of the recipe from which notifications are rendered. A code is the language to tell in, or `untold`.
struct Telling: Sendable, Equatable, Codable {
    /// The names of what is sold, as they were.
    var goods: [Goods]
    var toldAt: Timestamp

    static let untold = UInt8.max
}
