/* Clocks: all of them show the world's time. */
#include "shim.h"
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timeb.h>
#include <sys/times.h>
#include <unistd.h>

int64_t nanoseconds(const struct timespec *t)
{
    int64_t ns;
    if (t->tv_sec < 0)
        return 0;
    if (__builtin_mul_overflow((int64_t)t->tv_sec, SECOND_NS, &ns) || __builtin_add_overflow(ns, t->tv_nsec, &ns))
        return FOREVER;
    return ns;
}

int valid_timespec(const struct timespec *t) { return t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < SECOND_NS; }

static int is_wall(clockid_t c) { return c == CLOCK_REALTIME || c == CLOCK_REALTIME_COARSE || c == CLOCK_TAI; }

void wait_until(struct wait *w, clockid_t clock, const struct timespec *absolute)
{
    w->deadline_ns = absolute ? nanoseconds(absolute) : FOREVER;
    w->on_wall = is_wall(clock);
}

int passed(const struct wait *w) { return due_ns(w) <= now_ns(); }

static struct timespec show(int64_t ns) { return (struct timespec){ns / SECOND_NS, ns % SECOND_NS}; }

/* The clocks of processor time show it too: real ones would differ between two runs. */
EXPORT int clock_gettime(clockid_t clock, struct timespec *into)
{
    if (!simulated())
        return (int)SYS(SYS_clock_gettime, clock, into);
    spin();
    *into = show(is_wall(clock) ? wall_ns() : now_ns());
    return 0;
}

EXPORT int gettimeofday(struct timeval *restrict into, void *restrict zone)
{
    if (!simulated())
        return (int)SYS(SYS_gettimeofday, into, zone);
    spin();
    struct timespec t = show(wall_ns());
    *into = (struct timeval){t.tv_sec, t.tv_nsec / 1000};
    if (zone)
        memset(zone, 0, sizeof(struct timezone));
    return 0;
}

EXPORT time_t time(time_t *into)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (into)
        *into = t.tv_sec;
    return t.tv_sec;
}

EXPORT int timespec_get(struct timespec *into, int base)
{
    if (base != TIME_UTC)
        return 0;
    return clock_gettime(CLOCK_REALTIME, into) ? 0 : base;
}

EXPORT int ftime(struct timeb *into)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    *into = (struct timeb){.time = t.tv_sec, .millitm = (unsigned short)(t.tv_nsec / 1000000)};
    return 0;
}

/* The wall clock is the scenario's. */
EXPORT int clock_settime(clockid_t clock, const struct timespec *to)
{
    if (!simulated())
        return (int)SYS(SYS_clock_settime, clock, to);
    errno = EPERM;
    return -1;
}

EXPORT int settimeofday(const struct timeval *to, const struct timezone *zone)
{
    if (!simulated())
        return (int)SYS(SYS_settimeofday, to, zone);
    errno = EPERM;
    return -1;
}

EXPORT clock_t clock(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * CLOCKS_PER_SEC + t.tv_nsec / (SECOND_NS / CLOCKS_PER_SEC);
}

EXPORT clock_t times(struct tms *into)
{
    if (!simulated())
        return SYS(SYS_times, into);
    clock_t t = now_ns() / (SECOND_NS / sysconf(_SC_CLK_TCK));
    if (into)
        *into = (struct tms){.tms_utime = t};
    return t;
}

EXPORT int getrusage(__rusage_who_t who, struct rusage *into)
{
    int r = (int)SYS(SYS_getrusage, who, into);
    if (!simulated() || r)
        return r;
    struct timespec t = show(now_ns());
    memset(into, 0, sizeof *into);
    into->ru_utime = (struct timeval){t.tv_sec, t.tv_nsec / 1000};
    return 0;
}
