// As whom a command publishes orders.
import Foundation
import Models
import Security

extension Option {
    static let publisher = [
        Option("as", "NAME", "prove that NAME publishes, whom reservation knows (STAMPEDE_PUBLISHER)"),
        Option("key-file", "FILE", "where NAME's secret is, 64 hexadecimal digits (STAMPEDE_PUBLISHER_SECRET)"),
    ]
}

extension Settings {
    /// The key of whom the arguments name, or else the environment; nil where neither names anybody.
    func publisher(_ arguments: Arguments) throws(UsageError) -> PublisherKey? {
        let (variable, secretVariable) = ("STAMPEDE_PUBLISHER", "STAMPEDE_PUBLISHER_SECRET")
        let own = optionalValue(variable)
        guard let given = arguments["as"] ?? own else {
            guard arguments["key-file"] == nil else { throw UsageError("--key-file needs --as") }
            return nil
        }
        guard let name = PublisherName(given) else {
            throw UsageError("'\(given)' is no publisher's name: expected \(PublisherName.expectation)")
        }
        guard name != .messaging else { throw UsageError("\(name) is the app itself: order there") }
        let secret: String
        let source: String
        if let file = arguments["key-file"] {
            guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
                throw UsageError("\(file) cannot be read")
            }
            (secret, source) = (text.trimmingCharacters(in: .whitespacesAndNewlines), file)
        } else {
            // The environment's secret is that of the environment's publisher.
            guard given == own else { throw UsageError("--as \(name) needs --key-file") }
            (secret, source) = (try value(secretVariable), secretVariable)
        }
        guard let key = PublisherKey(name, hexadecimal: secret) else {
            throw UsageError("\(source): expected \(2 * PublisherKey.secretBytes) hexadecimal digits")
        }
        return key
    }
}
