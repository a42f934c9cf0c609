// The HTTP API as the rush and the demonstration use it: JSON in and out, patient where a server asks for patience.
import Foundation
import HTTP
import JSON

struct APIClient: Sendable {
    let client: HTTPClient
    let baseURL: String

    /// An answer that was not expected: what was asked, and what came.
    struct Refusal: Error, CustomStringConvertible {
        let method: HTTPMethod
        let path: String
        let status: Int
        let body: [UInt8]

        var description: String {
            "\(method.rawValue) \(path): \(status) \(RecordText.printable(body, bytesMax: 500))"
        }
    }

    private static let attemptsMax = 40

    /// Sends until it is answered with something else than "later" (429, 503, no connection), a bounded number of times,
    /// and reads the answer.
    func send<Answer>(
        _ method: HTTPMethod, _ path: String, token: String? = nil, headers: [(String, String)] = [],
        body: [UInt8] = [], retrying: Set<Int> = [429, 503],
        _ read: (JSONValue) throws(JSONError) -> Answer
    ) async throws -> Answer {
        let response = try await success(method, path, token: token, headers: headers, body: body, retrying: retrying)
        return try JSONParser.parse(response.body, read)
    }

    /// The same where the answer is not read.
    @discardableResult
    func success(
        _ method: HTTPMethod, _ path: String, token: String? = nil, headers: [(String, String)] = [],
        body: [UInt8] = [], retrying: Set<Int> = [429, 503]
    ) async throws -> ClientResponse {
        let response = try await response(method, path, token: token, headers: headers, body: body, retrying: retrying)
        guard (200...299).contains(response.status) else {
            throw Refusal(method: method, path: path, status: response.status, body: response.body)
        }
        return response
    }

    func response(
        _ method: HTTPMethod, _ path: String, token: String? = nil, headers: [(String, String)] = [],
        body: [UInt8] = [], retrying: Set<Int> = [429, 503]
    ) async throws -> ClientResponse {
        var fields = headers
        if let token { fields.append(("Authorization", "Bearer \(token)")) }
        if !body.isEmpty { fields.append(("Content-Type", "application/json")) }
        let request = ClientRequest(method, baseURL + path, headers: fields, body: body, timeoutSeconds: 60)
        for attempt in 1... {
            do {
                let response = try await client.send(request)
                guard retrying.contains(response.status), attempt < Self.attemptsMax else { return response }
                let seconds = response.header("Retry-After").flatMap(Double.init) ?? 0.25
                try await Task.sleep(for: .seconds(min(max(seconds, 0.1), 5)))
            } catch let error as HTTPClientError {
                guard error.isRetriable, attempt < Self.attemptsMax else { throw error }
                try await Task.sleep(for: .milliseconds(250))
            }
        }
        throw CommandError(.unavailable, "\(method.rawValue) \(path): no answer")
    }
}

extension JSONWriter {
    static func object(_ body: (inout JSONWriter) -> Void) -> [UInt8] {
        var writer = JSONWriter()
        writer.object(body)
        return writer.bytes
    }
}
