// Publishers that tests play, and what the services are told of them.
import Models
import Security

package enum TestPublishers {
    /// The app.
    package static let messaging = key("messaging", 1)
    package static let partner = key("partner", 2)
    package static let other = key("other", 3)
    /// Nobody has told the services of it.
    package static let unknown = key("unknown", 4)
    /// Has the partner's name and not its secret.
    package static let impostor = key("partner", 5)

    /// What the services are told, by the key of their configuration.
    package static let settings = [
        "STAMPEDE_PUBLISHERS": "messaging=\(digits(1))\npartner=\(digits(2))\nother=\(digits(3))\n",
        "STAMPEDE_ORDER_SECRET": digits(1),
    ]

    private static func digits(_ number: UInt8) -> String { String(repeating: "0\(number)", count: 32) }

    private static func key(_ name: String, _ number: UInt8) -> PublisherKey {
        guard let name = PublisherName(name) else { preconditionFailure("a publisher's name") }
        return PublisherKey(name, secret: [UInt8](repeating: number, count: PublisherKey.secretBytes))
    }
}
