// A P-256 key as a JSON Web Key (RFC 7517), held by cjose.
import CCJose
import JSON

/// Owns one cjose key. `@unchecked Sendable`: the key is never changed after `init`, cjose and OpenSSL only read it to
/// sign and verify, and its reference count is touched by `init` and `deinit` alone.
final class ECKey: @unchecked Sendable {
    let handle: OpaquePointer

    private init(owning handle: OpaquePointer) { self.handle = handle }

    deinit { cjose_jwk_release(handle) }

    /// A new private key.
    static func random() throws(TokenError) -> ECKey {
        var error = cjose_err()
        guard let handle = cjose_jwk_create_EC_random(CJOSE_JWK_EC_P_256, &error) else { throw .init(error) }
        return ECKey(owning: handle)
    }

    /// Reads a key. What is not P-256, or private where public is wanted, or the other way round, is refused.
    init(jwk: String, isPrivate: Bool) throws(TokenError) {
        let fields: (kty: String?, crv: String?, hasPrivatePart: Bool)
        do {
            fields = try JSONParser.parse(jwk.utf8) { json throws(JSONError) in
                (json["kty"]?.stringValue, json["crv"]?.stringValue, json["d"] != nil)
            }
        } catch {
            throw .invalidKey
        }
        guard fields.kty == "EC", fields.crv == "P-256", fields.hasPrivatePart == isPrivate else { throw .invalidKey }
        var error = cjose_err()
        guard let handle = cjose_jwk_import(jwk, jwk.utf8.count, &error) else { throw .invalidKey }
        self.handle = handle
    }

    /// The key as a JSON Web Key; `private` includes what must be kept secret.
    func jwk(private isPrivate: Bool) throws(TokenError) -> String {
        var error = cjose_err()
        guard let text = cjose_jwk_to_json(handle, isPrivate, &error) else { throw .init(error) }
        defer { cjose_get_dealloc()?(text) }
        return String(cString: text)
    }

    /// The thumbprint (RFC 7638): a name that the key itself determines.
    func thumbprint() throws(TokenError) -> String {
        do {
            let (x, y) = try JSONParser.parse(try jwk(private: false).utf8) { json throws(JSONError) in
                (try json.string("x"), try json.string("y"))
            }
            let canonical = #"{"crv":"P-256","kty":"EC","x":"\#(x)","y":"\#(y)"}"#
            return Base64URL.encode(Digest.sha256(canonical.utf8))
        } catch let error as TokenError {
            throw error
        } catch {
            throw .invalidKey
        }
    }
}

extension TokenError {
    /// What cjose said, which is its own words and no data.
    init(_ error: cjose_err) {
        self = .library(error.message.map { String(cString: $0) } ?? "unknown error")
    }
}
