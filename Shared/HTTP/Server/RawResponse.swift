// Responses written without the library: refusals that must not wait for a body, and the heads of event streams.
import CMicroHTTPD
import Foundation

enum RawResponse {
    /// Status line, fields, `Connection: close` and the body if it is one of bytes.
    static func bytes(_ response: HTTPResponse, requestID: String, withoutBody: Bool = false) -> [UInt8] {
        var text =
            "HTTP/1.1 \(response.status) \(String(cString: MHD_get_reason_phrase_for(UInt32(response.status))))\r\n"
        text += "Date: \(date())\r\nConnection: close\r\nX-Request-Id: \(requestID)\r\n"
        for (name, value) in response.headers where isSafe(name) && isSafe(value) { text += "\(name): \(value)\r\n" }
        guard case .bytes(let body) = response.body else { return Array((text + "\r\n").utf8) }
        text += "Content-Length: \(body.count)\r\n\r\n"
        return Array(text.utf8) + (withoutBody ? [] : body)
    }

    /// A refusal of what has no request yet, or none that could be read.
    static func bytes(_ problem: Problem, requestID: String) -> [UInt8] {
        bytes(problem.response(traceID: requestID).withCachingForbidden, requestID: requestID)
    }

    /// No control character, so that a value cannot become two fields.
    static func isSafe(_ text: String) -> Bool { text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 9 } }

    /// IMF-fixdate (RFC 9110, 5.6.7), in English whatever the process's locale.
    private static func date() -> String {
        var seconds = time(nil)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return
            "\(days[Int(parts.tm_wday)]), \(two(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(parts.tm_year + 1900) "
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT"
    }
}

extension HTTPResponse {
    /// The same response, which no cache may keep unless it says itself what caches may do: tokens and errors are for those
    /// who asked for them.
    var withCachingForbidden: HTTPResponse {
        if headers.contains(where: { HeaderFields.equal($0.0.utf8, "cache-control".utf8) }) { return self }
        return with("Cache-Control", "no-store")
    }
}
