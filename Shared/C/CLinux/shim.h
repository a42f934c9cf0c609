// What the event loop needs of Linux and Swift's Glibc module leaves out.
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

// glibc declares it for _GNU_SOURCE only.
int pthread_setname_np(pthread_t thread, const char *name);
