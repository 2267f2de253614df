/* Timers that run beside the threads: timerfd, alarm, setitimer(ITIMER_REAL).
 *
 * A timerfd is an eventfd: its counter, its readiness and what a read returns are the same; the shim adds to it. */
#include "shim.h"
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct timer { int used, fd, on_wall; int64_t due_ns, interval_ns; };
static struct timer timers[1024];
static int timers_high;
static struct timer alarm_timer; /* its signal is SIGALRM */

static int64_t due(const struct timer *t)
{
    if (t->due_ns == FOREVER || !t->on_wall)
        return t->due_ns;
    int64_t d = t->due_ns - __atomic_load_n(&page->wall_ns, __ATOMIC_ACQUIRE);
    return d < 0 ? 0 : d;
}

static struct timer *timer_of(int fd)
{
    for (int i = 0; i < timers_high; i++)
        if (timers[i].used && timers[i].fd == fd)
            return &timers[i];
    return NULL;
}

void timer_forget(int fd)
{
    struct timer *t = timer_of(fd);
    if (t)
        t->used = 0;
}

int64_t timers_next(void)
{
    int64_t next = alarm_timer.used ? due(&alarm_timer) : FOREVER;
    for (int i = 0; i < timers_high; i++)
        if (timers[i].used && due(&timers[i]) < next)
            next = due(&timers[i]);
    return next;
}

/* How often a timer has expired by now; it is set to its next expiry. */
static uint64_t expire(struct timer *t)
{
    int64_t late = now_ns() - due(t);
    if (t->due_ns == FOREVER || late < 0)
        return 0;
    uint64_t times = 1;
    if (t->interval_ns) {
        times += (uint64_t)(late / t->interval_ns);
        t->due_ns += (int64_t)times * t->interval_ns;
    } else {
        t->due_ns = FOREVER;
    }
    return times;
}

int timers_fire(void)
{
    int fired = 0;
    for (int i = 0; i < timers_high; i++) {
        uint64_t times = timers[i].used ? expire(&timers[i]) : 0;
        if (times)
            fired |= RAW(SYS_write, timers[i].fd, &times, 8) == 8;
    }
    if (alarm_timer.used && expire(&alarm_timer)) {
        alarm_timer.used = alarm_timer.due_ns != FOREVER;
        signal_sent();
        RAW(SYS_kill, real_pid, SIGALRM);
        fired = 1;
    }
    return fired;
}

/* Timers of a timerfd go on in the parent, which shares the descriptor; an alarm is not inherited. */
void timers_after_fork(void)
{
    timers_high = 0;
    memset(timers, 0, sizeof timers);
    alarm_timer.used = 0;
}

EXPORT int timerfd_create(int clock, int flags)
{
    if (!simulated())
        return (int)SYS(SYS_timerfd_create, clock, flags);
    if (flags & ~(TFD_NONBLOCK | TFD_CLOEXEC)) {
        errno = EINVAL;
        return -1;
    }
    int slot = 0;
    while (slot < timers_high && timers[slot].used)
        slot++;
    if (slot == (int)(sizeof timers / sizeof *timers)) {
        errno = ENFILE;
        return -1;
    }
    int fd = (int)SYS(SYS_eventfd2, 0, flags);
    if (fd < 0)
        return fd;
    timers[slot] = (struct timer){1, fd, clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM, FOREVER, 0};
    if (slot >= timers_high)
        timers_high = slot + 1;
    kind_set(fd, KIND_TIMER);
    return fd;
}

static struct timespec span(int64_t ns) { return (struct timespec){ns / SECOND_NS, ns % SECOND_NS}; }

static void show(const struct timer *t, struct itimerspec *into)
{
    memset(into, 0, sizeof *into);
    if (t->due_ns != FOREVER) {
        int64_t left = due(t) - now_ns();
        into->it_value = span(left > 0 ? left : 1);
    }
    into->it_interval = span(t->interval_ns);
}

EXPORT int timerfd_gettime(int fd, struct itimerspec *into)
{
    struct timer *t = simulated() ? timer_of(fd) : NULL;
    if (!t)
        return (int)SYS(SYS_timerfd_gettime, fd, into);
    show(t, into);
    return 0;
}

EXPORT int timerfd_settime(int fd, int flags, const struct itimerspec *to, struct itimerspec *old)
{
    struct timer *t = simulated() ? timer_of(fd) : NULL;
    if (!t)
        return (int)SYS(SYS_timerfd_settime, fd, flags, to, old);
    if (!valid_timespec(&to->it_value) || !valid_timespec(&to->it_interval)) {
        errno = EINVAL;
        return -1;
    }
    if (old)
        show(t, old);
    struct pollfd p = {fd, POLLIN, 0};
    uint64_t pending;
    if (raw_poll(&p, 1) == 1)
        RAW(SYS_read, fd, &pending, 8);
    int64_t value = nanoseconds(&to->it_value), now = t->on_wall ? wall_ns() : now_ns();
    if (!value)
        t->due_ns = FOREVER;
    else if (flags & TFD_TIMER_ABSTIME)
        t->due_ns = value;
    else if (__builtin_add_overflow(now, value, &t->due_ns))
        t->due_ns = FOREVER;
    t->interval_ns = nanoseconds(&to->it_interval);
    return 0;
}

static int64_t of_timeval(const struct timeval *t) { return t->tv_sec * SECOND_NS + t->tv_usec * 1000; }
static struct timeval to_timeval(int64_t ns) { return (struct timeval){ns / SECOND_NS, ns % SECOND_NS / 1000}; }

EXPORT int getitimer(__itimer_which_t which, struct itimerval *into)
{
    if (!simulated() || which != ITIMER_REAL)
        return (int)SYS(SYS_getitimer, which, into);
    memset(into, 0, sizeof *into);
    if (alarm_timer.used) {
        into->it_value = to_timeval(due(&alarm_timer) - now_ns());
        into->it_interval = to_timeval(alarm_timer.interval_ns);
    }
    return 0;
}

EXPORT int setitimer(__itimer_which_t which, const struct itimerval *to, struct itimerval *old)
{
    if (!simulated() || which != ITIMER_REAL)
        return (int)SYS(SYS_setitimer, which, to, old);
    if (old)
        getitimer(which, old);
    int64_t value = of_timeval(&to->it_value);
    alarm_timer = (struct timer){value != 0, -1, 0, value ? after(value) : FOREVER, of_timeval(&to->it_interval)};
    return 0;
}

EXPORT unsigned alarm(unsigned seconds)
{
    struct itimerval old, to = {.it_value = {.tv_sec = seconds}};
    setitimer(ITIMER_REAL, &to, &old);
    return (unsigned)(old.it_value.tv_sec + (old.it_value.tv_usec != 0));
}
