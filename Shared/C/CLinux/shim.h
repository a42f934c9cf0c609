// What the event loop and threads need of Linux and Swift's Glibc module leaves out.
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

// glibc declares it for _GNU_SOURCE only.
int pthread_setname_np(pthread_t thread, const char *name);

// prctl takes as many arguments as its first one says, which Swift cannot call.
static inline int stampede_set_timer_slack(unsigned long nanoseconds) {
    return prctl(PR_SET_TIMERSLACK, nanoseconds, 0UL, 0UL, 0UL);
}

static inline int stampede_timer_slack(void) { return prctl(PR_GET_TIMERSLACK, 0UL, 0UL, 0UL, 0UL); }
