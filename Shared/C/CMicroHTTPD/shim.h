// libmicrohttpd, with its functions of "..." named for Swift.
#include <microhttpd.h>

#include <netdb.h>
#include <netinet/tcp.h>

typedef void *(*stampede_target_function)(void *context, const char *target, struct MHD_Connection *connection);
typedef size_t (*stampede_unescape_function)(void *context, struct MHD_Connection *connection, char *text);

// A daemon that listens to nothing, is given its connections, and is run by its owner's thread.
static inline struct MHD_Daemon *stampede_start_daemon(
    void *context, unsigned int connections_max, size_t connection_bytes, MHD_AccessHandlerCallback handle,
    stampede_target_function target, stampede_unescape_function unescape, MHD_RequestCompletedCallback completed,
    MHD_NotifyConnectionCallback connection) {
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_TURBO | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, handle,
        context, MHD_OPTION_CONNECTION_LIMIT, connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT, connection_bytes,
        MHD_OPTION_CONNECTION_TIMEOUT, 0U, MHD_OPTION_URI_LOG_CALLBACK, target, context,
        MHD_OPTION_UNESCAPE_CALLBACK, unescape, context, MHD_OPTION_NOTIFY_COMPLETED, completed, context,
        MHD_OPTION_NOTIFY_CONNECTION, connection, context, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
}

static inline const union MHD_ConnectionInfo *stampede_connection_info(
    struct MHD_Connection *connection, enum MHD_ConnectionInfoType type) {
    return MHD_get_connection_info(connection, type);
}

// The descriptor to wait on, or -1.
static inline int stampede_daemon_epoll(struct MHD_Daemon *daemon) {
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
    return info ? info->epoll_fd : -1;
}

// The same of accept4.
int accept4(int descriptor, struct sockaddr *address, socklen_t *length, int flags);
