// The root of an installation's trust in tests.
import Security

public enum TestRoot {
    /// As messaging would be given it.
    public static let text = "the root secret of a test's installation"

    public static func secret() throws -> RootSecret {
        guard let root = RootSecret(text) else { throw TooShort() }
        return root
    }

    /// As verifiers would be.
    public static func keys() throws -> String { try secret().publicKey }

    private struct TooShort: Error {}
}
