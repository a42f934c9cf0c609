// The answers of the library's own parser, made ours.
//
// What is no HTTP the library refuses by itself, with a page of HTML, and tells nobody before. It queues its page by the
// function by which its owner queues answers, `MHD_queue_response`: the one defined here is called in its place, since a
// program's own functions come before those of the libraries it is linked with.
import CMicroHTTPD
import Glibc

enum ParserAnswers {
    typealias Queue = @convention(c) (OpaquePointer?, UInt32, OpaquePointer?) -> MHD_Result

    /// The library's own `MHD_queue_response`. This is what answers go out by.
    static let queue: Queue = {
        let next = UnsafeMutableRawPointer(bitPattern: -1)  // RTLD_NEXT
        guard let function = dlsym(next, "MHD_queue_response") else {
            return { _, _, _ in .NO }
        }
        return unsafeBitCast(function, to: Queue.self)
    }()

    /// - Parameter status: of the library's answer. One that is none of ours is told as 400, or 500.
    static func problem(_ status: Int) -> Problem {
        switch status {
        case 413: Problem(413, type: "payload-too-large", title: "The body is too large")
        case 414: .targetTooLong()
        case 431: Problem(431, type: "header-fields-too-large", title: "The header fields are too large")
        case 501: Problem(501, type: "not-implemented", title: "Not implemented")
        case 505: .versionNotSupported()
        case 500...: .internalError()
        default:
            Problem(
                400, type: "bad-request", title: "The request is not valid",
                detail: "The request is not HTTP/1.1 as RFC 9112 has it.")
        }
    }

    /// Answers in the place of the library, which then closes its side.
    fileprivate static func replace(
        _ handle: OpaquePointer?, _ status: UInt32, _ response: OpaquePointer?
    ) -> MHD_Result {
        guard let handle, let info = stampede_connection_info(handle, .CONNECTION_INFO_SOCKET_CONTEXT),
            let context = info.pointee.socket_context
        else { return queue(handle, status, response) }
        let connection = Unmanaged<ServerConnection>.fromOpaque(context).takeUnretainedValue()
        connection.parserRefused(status: Int(status))
        return .NO
    }
}

@_cdecl("MHD_queue_response")
public func answerOfTheParser(_ handle: OpaquePointer?, _ status: UInt32, _ response: OpaquePointer?) -> UInt32 {
    ParserAnswers.replace(handle, status, response).rawValue
}
