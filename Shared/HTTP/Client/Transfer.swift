// One request under way in libcurl.
import CCurl
import Foundation
import Runtime

/// `@unchecked Sendable`: made by the caller, handed over once, then touched on the client's loop only.
final class Transfer: @unchecked Sendable {
    typealias Continuation = UnsafeContinuation<Result<ClientResponse, HTTPClientError>, Never>

    let request: ClientRequest
    /// Scheme, host and port: what a connection can be shared for.
    let host: String
    let deadline: Double
    /// Who waits for the whole answer; nil for an event stream.
    var continuation: Continuation?
    /// Who reads the answer as it comes.
    let follower: EventFollower?

    var easy: UnsafeMutableRawPointer?
    var fields: UnsafeMutablePointer<curl_slist>?
    /// Where the loop keeps it.
    var index = 0
    var isDone = false
    var isPaused = false
    private(set) var status = 0
    private(set) var headers = HeaderFields()
    private(set) var headerBytes = 0
    private(set) var body: [UInt8] = []
    private(set) var failure: HTTPClientError?

    /// Fields of an answer beyond this break it off.
    private static let headerBytesMax = 256 << 10

    init(_ request: ClientRequest, follower: EventFollower? = nil) {
        self.request = request
        self.follower = follower
        host = Self.host(of: request.url)
        deadline = EventLoop.now() + request.timeoutSeconds
    }

    /// `https://shop.example:8443` of `https://shop.example:8443/hooks?x=1`; empty for what is not such a URL.
    private static func host(of url: String) -> String {
        let utf8 = url.utf8
        guard url.hasPrefix("http://") || url.hasPrefix("https://"), let colon = utf8.firstIndex(of: UInt8(ascii: ":"))
        else { return "" }
        let start = utf8.index(colon, offsetBy: 3)
        let end = utf8[start...].firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") } ?? utf8.endIndex
        return start == end ? "" : String(url[..<end])
    }

    /// What cannot be sent, if anything.
    var invalidity: HTTPClientError? {
        if host.isEmpty { return .invalidRequest("not an absolute http or https URL") }
        if !RawResponse.isSafe(request.url) { return .invalidRequest("a control character in the URL") }
        for (name, value) in request.headers {
            guard !name.isEmpty, name.utf8.allSatisfy(RequestHead.isToken), RawResponse.isSafe(value) else {
                return .invalidRequest("a header field with a character that it may not have")
            }
        }
        return nil
    }

    func finish(_ result: Result<ClientResponse, HTTPClientError>) {
        isDone = true
        continuation?.resume(returning: result)
        continuation = nil
    }

    // MARK: Called by libcurl, on the loop

    static let writeFunction: stampede_data_function = { bytes, size, count, context in
        guard let bytes, let context else { return 0 }
        let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
        return transfer.bodyCame(UnsafeRawBufferPointer(start: bytes, count: size * count))
    }

    static let headerFunction: stampede_data_function = { bytes, size, count, context in
        guard let bytes, let context else { return 0 }
        let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
        return transfer.headerCame(UnsafeRawBufferPointer(start: bytes, count: size * count))
    }

    private func bodyCame(_ bytes: UnsafeRawBufferPointer) -> Int {
        if let follower {
            guard status == 200 else { return bytes.count }
            if follower.isBehind {
                isPaused = true
                return Int(CURL_WRITEFUNC_PAUSE)
            }
            guard follower.came(bytes) else {
                failure = .responseTooLarge(bytesMax: EventParser.eventBytesMax)
                return 0
            }
            return bytes.count
        }
        guard body.count + bytes.count <= request.responseBytesMax else {
            failure = .responseTooLarge(bytesMax: request.responseBytesMax)
            return 0
        }
        body.append(contentsOf: bytes)
        return bytes.count
    }

    private func headerCame(_ line: UnsafeRawBufferPointer) -> Int {
        headerBytes += line.count
        guard headerBytes <= Self.headerBytesMax else {
            failure = .responseTooLarge(bytesMax: Self.headerBytesMax)
            return 0
        }
        if line.starts(with: "HTTP/".utf8) {
            // The status line; of the last response where informational ones came before.
            headers = HeaderFields()
            let digits = line.drop { $0 != UInt8(ascii: " ") }.dropFirst().prefix(3)
            status = digits.reduce(0) { $0 * 10 + Int($1 &- 48) }
        } else if let colon = line.firstIndex(of: UInt8(ascii: ":")) {
            func isSpace(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 || byte == 13 || byte == 10 }
            var end = line.endIndex
            while end > colon + 1, isSpace(line[end - 1]) { end -= 1 }
            var start = colon + 1
            while start < end, isSpace(line[start]) { start += 1 }
            headers.append(
                name: UnsafeRawBufferPointer(rebasing: line[..<colon]),
                value: UnsafeRawBufferPointer(rebasing: line[start..<end]))
        }
        return line.count
    }
}
