// What libmicrohttpd calls: static functions that find the loop and the connection and pass on. All of them run on the
// loop's thread, from inside `MHD_run` and `MHD_add_connection`.
import CMicroHTTPD
import Glibc

enum DaemonCallbacks {
    private static func loop(_ context: UnsafeMutableRawPointer?) -> ServerLoop? {
        context.map { Unmanaged<ServerLoop>.fromOpaque($0).takeUnretainedValue() }
    }

    private static func connection(_ context: UnsafeMutableRawPointer?) -> ServerConnection? {
        context.map { Unmanaged<ServerConnection>.fromOpaque($0).takeUnretainedValue() }
    }

    /// The request line has come. What is returned is the request's context in the calls after.
    static let target: stampede_target_function = { context, target, handle in
        guard let loop = loop(context), let handle, let target,
            let info = stampede_connection_info(handle, .CONNECTION_INFO_SOCKET_CONTEXT),
            let socketContext = info.pointee.socket_context
        else { return nil }
        if let connection = connection(socketContext) { loop.targetCame(connection, target) }
        return socketContext
    }

    /// Called after the head, for each piece of the body, after the body, and after each resumption.
    static let handle: MHD_AccessHandlerCallback = { context, _, _, method, version, data, count, requestContext in
        guard let loop = loop(context), let connection = connection(requestContext?.pointee), let count, let method
        else { return .NO }
        if connection.phase == .head {
            return loop.headCame(
                connection, method: String(cString: method), version: version.map { String(cString: $0) } ?? "")
        }
        guard count.pointee > 0, let data else { return loop.requestCame(connection) }
        let piece = UnsafeRawBufferPointer(start: data, count: count.pointee)
        count.pointee = 0
        return loop.bodyCame(connection, piece)
    }

    /// The answer has been sent, or never will be.
    static let completed: MHD_RequestCompletedCallback = { context, _, requestContext, reason in
        guard let loop = loop(context), let connection = connection(requestContext?.pointee) else { return }
        loop.requestEnded(connection, well: reason == .REQUEST_TERMINATED_COMPLETED_OK)
    }

    static let connection: MHD_NotifyConnectionCallback = { context, handle, socketContext, event in
        guard let loop = loop(context), let handle, let socketContext else { return }
        if event == .CONNECTION_NOTIFY_STARTED {
            guard let connection = loop.connectionCame(handle) else { return }
            socketContext.pointee = Unmanaged.passRetained(connection).toOpaque()
        } else if let pointer = socketContext.pointee {
            loop.connectionEnded(Unmanaged<ServerConnection>.fromOpaque(pointer).takeRetainedValue())
            socketContext.pointee = nil
        }
    }

    /// Leaves every escape as it is: paths and queries are decoded by `RequestTarget`.
    static let unescape: stampede_unescape_function = { _, _, text in text.map { strlen($0) } ?? 0 }

    /// Copies one header field.
    static let field: MHD_KeyValueIteratorN = { context, _, name, nameCount, value, valueCount in
        guard let head = context?.assumingMemoryBound(to: RequestHead.self) else { return .NO }
        // A field without a name comes as a null pointer, and is refused as such.
        head.pointee.append(
            name: UnsafeRawBufferPointer(start: name, count: name == nil ? 0 : nameCount),
            value: UnsafeRawBufferPointer(start: value, count: value == nil ? 0 : valueCount))
        return .YES
    }
}
