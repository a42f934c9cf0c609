// What verifiers are configured with, from what messaging is.
import Security

struct KeysRootCommand: Command {
    static let description = CommandDescription(
        "keys root", "the root key that belongs to messaging's root secret",
        options: [],
        details: """
            Reads STAMPEDE_ROOT_SECRET (any text of \(RootSecret.bytesMin) bytes or more that nobody can guess) and prints what \
            STAMPEDE_ROOT_KEYS of catalog, reservation and payment is to be. It is no secret.
            """)

    private let root: RootSecret

    init(_ arguments: Arguments, _ settings: Settings) throws {
        guard let root = RootSecret(try settings.value("STAMPEDE_ROOT_SECRET")) else {
            throw UsageError("STAMPEDE_ROOT_SECRET: expected at least \(RootSecret.bytesMin) random bytes")
        }
        self.root = root
    }

    func run(_ console: Console) async throws -> ExitCode {
        console.print(root.publicKey)
        return .success
    }
}
