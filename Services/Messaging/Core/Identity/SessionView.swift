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

/// A refresh token that goes into a cookie is nowhere in the answer, where a script could read it.
struct TokensView: JSONWritable {
    let tokens: SessionTokens
    let place: RefreshTokenPlace

    func write(to writer: inout JSONWriter) { writer.object { writeMembers(to: &$0) } }

    fileprivate func writeMembers(to writer: inout JSONWriter) {
        writer.field("accessToken", tokens.access)
        writer.field("refreshToken", optional: place == .body ? tokens.refresh : nil)
        writer.field("expiresInSeconds", tokens.expiresInSeconds)
    }
}

struct SignedInView: JSONWritable {
    let signedIn: SignedIn
    let place: RefreshTokenPlace

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("account", AccountView(account: signedIn.account))
            TokensView(tokens: signedIn.tokens, place: place).writeMembers(to: &$0)
        }
    }
}
