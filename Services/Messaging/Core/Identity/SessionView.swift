// Sessions and their tokens as they are shown.
import JSON
import Models

struct SessionView: JSONWritable {
    let session: Session
    /// Whether it is the one that asks.
    let isCurrent: Bool

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("sessionId", session.sessionId)
            $0.field("device", session.device)
            $0.field("createdAt", session.createdAt)
            $0.field("lastUsedAt", session.lastUsedAt)
            $0.field("expiresAt", session.expiresAt)
            $0.field("isCurrent", isCurrent)
        }
    }
}

extension SessionTokens: JSONWritable {
    func write(to writer: inout JSONWriter) { writer.object { writeMembers(to: &$0) } }

    fileprivate func writeMembers(to writer: inout JSONWriter) {
        writer.field("accessToken", access)
        writer.field("refreshToken", refresh)
        writer.field("expiresInSeconds", expiresInSeconds)
    }
}

extension SignedIn: JSONWritable {
    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("account", AccountView(account: account))
            tokens.writeMembers(to: &$0)
        }
    }
}
