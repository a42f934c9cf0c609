// The tokens that are known to be genuine.
import CSodium
import Models
import Synchronization

/// A bounded table from a token's digest to its claims.
///
/// The digest is SipHash-2-4 of 128 bits, a message authentication code, under a key that never leaves the process: nobody
/// can prepare two tokens that meet in the table, and guessing one that is in it is guessing 128 bits. Two halves bound it: the young one takes new entries, and when it is full it becomes the old one, whose
/// entries move back to the young one as they are used. What is not used for half a table's worth of others goes.
final class TokenTable: Sendable {
    private struct Key: Hashable {
        let high: UInt64
        let low: UInt64

        func hash(into hasher: inout Hasher) { hasher.combine(low) }
    }

    /// Without the issuer, which is the same for all.
    private struct Entry {
        let sub: AccountID
        let sid: SessionID
        let iat: Int64
        let exp: Int64
        let refusedFromSeconds: Int64
        let kind: AccountKind
    }

    private struct State {
        var young: [Key: Entry] = [:]
        var old: [Key: Entry] = [:]
        var generation: UInt64 = 0
    }

    private let half: Int
    private let secret = Random.bytes(Int(crypto_shorthash_siphashx24_KEYBYTES))
    private let state = Mutex(State())

    init(tokensMax: Int) { half = max(1, tokensMax / 2) }

    var count: Int { state.withLock { $0.young.count + $0.old.count } }

    /// Changes with every `removeAll`.
    var generation: UInt64 { state.withLock { $0.generation } }

    func removeAll() {
        state.withLock { state in
            state.young = [:]
            state.old = [:]
            state.generation += 1
        }
    }

    func find(_ token: String, issuer: String, nowSeconds: Int64) -> AccessClaims? {
        let key = key(token)
        let entry = state.withLock { state -> Entry? in
            if let entry = state.young[key] { return entry }
            guard let entry = state.old.removeValue(forKey: key) else { return nil }
            if nowSeconds < entry.refusedFromSeconds { insert(key, entry, into: &state) }
            return entry
        }
        guard let entry, nowSeconds < entry.refusedFromSeconds else { return nil }
        return AccessClaims(
            sub: entry.sub, kind: entry.kind, sid: entry.sid, iat: entry.iat, exp: entry.exp, iss: issuer)
    }

    /// Forgets the token at once when `generation` is no longer the table's.
    func insert(_ token: String, _ claims: AccessClaims, refusedFromSeconds: Int64, generation: UInt64) {
        let key = key(token)
        let entry = Entry(
            sub: claims.sub, sid: claims.sid, iat: claims.iat, exp: claims.exp, refusedFromSeconds: refusedFromSeconds,
            kind: claims.kind)
        state.withLock { state in
            guard state.generation == generation else { return }
            insert(key, entry, into: &state)
        }
    }

    private func insert(_ key: Key, _ entry: Entry, into state: inout State) {
        if state.young.count >= half {
            state.old = state.young
            state.young = [:]
        }
        state.young[key] = entry
    }

    private func key(_ token: String) -> Key {
        var digest: (UInt64, UInt64) = (0, 0)
        var token = token
        token.withUTF8 { input in
            withUnsafeMutableBytes(of: &digest) { output in
                guard let start = output.baseAddress else { return }
                _ = crypto_shorthash_siphashx24(start, input.baseAddress, UInt64(input.count), secret)
            }
        }
        return Key(high: digest.0, low: digest.1)
    }
}
