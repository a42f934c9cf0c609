// Accounts as they are shown.
import JSON
import Models

/// An account as its owner sees it.
struct AccountView: JSONWritable {
    let account: Account

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("accountId", account.accountId)
            $0.field("kind", account.kind.rawValue)
            $0.field("handle", optional: account.handle)
            $0.field("displayName", account.displayName)
            $0.field("locale", account.locale)
            $0.field("createdAt", account.createdAt)
        }
    }
}

/// An account as others see it.
struct ProfileView: JSONWritable {
    let account: Account

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("accountId", account.accountId)
            $0.field("kind", account.kind.rawValue)
            $0.field("handle", optional: account.handle)
            $0.field("displayName", account.displayName)
        }
    }
}
