// The root of an installation's trust in tests.
import Security

package enum TestRoot {
    /// As messaging would be given it.
    package static let text = "the root secret of a test's installation"

    package static func secret() throws -> RootSecret {
        guard let root = RootSecret(text) else { throw TooShort() }
        return root
    }

    /// As verifiers would be.
    package static func keys() throws -> String { try secret().publicKey }

    private struct TooShort: Error {}
}
