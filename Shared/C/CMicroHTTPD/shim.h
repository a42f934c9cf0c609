// libmicrohttpd, and what the event loop needs of Linux.
#include <microhttpd.h>

#include <sys/epoll.h>
#include <sys/eventfd.h>

// glibc declares it for _GNU_SOURCE only.
#include <pthread.h>
int pthread_setname_np(pthread_t thread, const char *name);
