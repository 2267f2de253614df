/* Waits for descriptors, time, signals and children. */
#include "shim.h"
#include <alloca.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int fail(int error)
{
    errno = error;
    return -1;
}

static int64_t after_ms(int ms) { return ms < 0 ? FOREVER : after(ms * 1000000LL); }

/* ---- epoll ---- */

static int epoll_until(int ep, struct epoll_event *into, int max, int64_t deadline_ns, const sigset_t *mask)
{
    struct pollfd p = {ep, POLLIN, 0};
    struct wait w = {.deadline_ns = deadline_ns, .fds = &p, .count = 1, .mask = mask};
    for (;;) {
        int r = (int)SYS(SYS_epoll_pwait, ep, into, max, 0, mask, 8);
        if (r != 0)
            return r;
        if (passed(&w)) {
            spin();
            return 0;
        }
        if (park(&w))
            return fail(EINTR);
    }
}

EXPORT int epoll_pwait(int ep, struct epoll_event *into, int max, int ms, const sigset_t *mask)
{
    return simulated() ? epoll_until(ep, into, max, after_ms(ms), mask)
                       : (int)SYS(SYS_epoll_pwait, ep, into, max, ms, mask, 8);
}

EXPORT int epoll_wait(int ep, struct epoll_event *into, int max, int ms) { return epoll_pwait(ep, into, max, ms, NULL); }

EXPORT int epoll_pwait2(int ep, struct epoll_event *into, int max, const struct timespec *t, const sigset_t *mask)
{
    if (!simulated())
        return (int)SYS(SYS_epoll_pwait2, ep, into, max, t, mask, 8);
    if (t && !valid_timespec(t))
        return fail(EINVAL);
    return epoll_until(ep, into, max, t ? after(nanoseconds(t)) : FOREVER, mask);
}

/* ---- poll and select ---- */

static int poll_until(struct pollfd *fds, nfds_t count, int64_t deadline_ns, const sigset_t *mask)
{
    struct wait w = {.deadline_ns = deadline_ns, .fds = fds, .count = count, .mask = mask};
    for (;;) {
        int r = raw_poll(fds, count);
        if (r != 0)
            return r < 0 ? fail(-r) : r;
        if (passed(&w)) {
            spin();
            return 0;
        }
        if (park(&w))
            return fail(EINTR);
    }
}

EXPORT int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *t, const sigset_t *mask)
{
    if (!simulated()) {
        struct timespec copy = t ? *t : (struct timespec){0, 0};
        return (int)SYS(SYS_ppoll, fds, count, t ? &copy : NULL, mask, 8);
    }
    if (t && !valid_timespec(t))
        return fail(EINVAL);
    return poll_until(fds, count, t ? after(nanoseconds(t)) : FOREVER, mask);
}

EXPORT int poll(struct pollfd *fds, nfds_t count, int ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    return ppoll(fds, count, ms < 0 ? NULL : &t, NULL);
}

EXPORT int __poll_chk(struct pollfd *fds, nfds_t count, int ms, size_t room)
{
    if (count * sizeof *fds > room)
        abort();
    return poll(fds, count, ms);
}

EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *t, const sigset_t *mask, size_t room)
{
    if (count * sizeof *fds > room)
        abort();
    return ppoll(fds, count, t, mask);
}

static int select_now(int high, fd_set *r, fd_set *w, fd_set *e)
{
    struct timespec zero = {0, 0};
    return (int)SYS(SYS_pselect6, high, r, w, e, &zero, NULL);
}

static int select_until(int high, fd_set *r, fd_set *w, fd_set *e, int64_t deadline_ns, const sigset_t *mask)
{
    /* A set may be larger than fd_set says. */
    size_t bytes = ((size_t)(high > 0 ? high : 0) + 63) / 64 * 8, count = 0;
    fd_set *sets[] = {r, w, e}, *kept[3] = {NULL, NULL, NULL};
    struct pollfd *fds = alloca(((size_t)(high > 0 ? high : 0) + 1) * sizeof *fds);
    for (int i = 0; i < 3; i++)
        if (sets[i]) {
            kept[i] = alloca(bytes + 8);
            memcpy(kept[i], sets[i], bytes);
        }
    for (int fd = 0; fd < high; fd++) {
        static const short events[] = {POLLIN, POLLOUT, POLLPRI};
        short wanted = 0;
        for (int i = 0; i < 3; i++)
            if (kept[i] && (((const unsigned long *)kept[i])[fd / 64] >> (fd % 64) & 1))
                wanted |= events[i];
        if (wanted)
            fds[count++] = (struct pollfd){fd, wanted, 0};
    }
    struct wait park_for = {.deadline_ns = deadline_ns, .fds = fds, .count = count, .mask = mask};
    for (;;) {
        int n = select_now(high, r, w, e);
        if (n != 0)
            return n;
        if (passed(&park_for)) {
            spin();
            return 0;
        }
        if (park(&park_for))
            return fail(EINTR);
        for (int i = 0; i < 3; i++)
            if (sets[i])
                memcpy(sets[i], kept[i], bytes);
    }
}

EXPORT int pselect(int high, fd_set *restrict r, fd_set *restrict w, fd_set *restrict e,
                   const struct timespec *restrict t, const sigset_t *restrict mask)
{
    if (!simulated()) {
        struct timespec copy = t ? *t : (struct timespec){0, 0};
        struct { const sigset_t *mask; size_t size; } with = {mask, 8};
        return (int)SYS(SYS_pselect6, high, r, w, e, t ? &copy : NULL, &with);
    }
    if (t && !valid_timespec(t))
        return fail(EINVAL);
    return select_until(high, r, w, e, t ? after(nanoseconds(t)) : FOREVER, mask);
}

/* Linux writes the time that is left back. */
EXPORT int select(int high, fd_set *restrict r, fd_set *restrict w, fd_set *restrict e, struct timeval *restrict t)
{
    struct timespec copy = {t ? t->tv_sec : 0, t ? t->tv_usec * 1000 : 0};
    int64_t until = t && simulated() ? after(nanoseconds(&copy)) : FOREVER;
    int n = pselect(high, r, w, e, t ? &copy : NULL, NULL);
    if (t && simulated()) {
        int64_t left = until - now_ns();
        left = left < 0 ? 0 : left;
        *t = (struct timeval){left / SECOND_NS, left % SECOND_NS / 1000};
    }
    return n;
}

/* ---- sleeps ---- */

EXPORT int clock_nanosleep(clockid_t clock, int flags, const struct timespec *t, struct timespec *left)
{
    if (!simulated())
        return (int)-RAW(SYS_clock_nanosleep, clock, flags, t, left);
    if (!valid_timespec(t))
        return EINVAL;
    struct wait w = {.deadline_ns = after(nanoseconds(t))};
    if (flags & TIMER_ABSTIME)
        wait_until(&w, clock, t);
    while (!passed(&w))
        if (park(&w)) {
            int64_t ns = due_ns(&w) - now_ns();
            if (left && !(flags & TIMER_ABSTIME))
                *left = ns > 0 ? (struct timespec){ns / SECOND_NS, ns % SECOND_NS} : (struct timespec){0, 0};
            return EINTR;
        }
    return 0;
}

EXPORT int nanosleep(const struct timespec *t, struct timespec *left)
{
    if (!simulated())
        return (int)SYS(SYS_nanosleep, t, left);
    int error = clock_nanosleep(CLOCK_MONOTONIC, 0, t, left);
    return error ? fail(error) : 0;
}

EXPORT int usleep(useconds_t us)
{
    struct timespec t = {us / 1000000, us % 1000000 * 1000L};
    return nanosleep(&t, NULL);
}

EXPORT unsigned sleep(unsigned seconds)
{
    struct timespec t = {seconds, 0}, left = {0, 0};
    return nanosleep(&t, &left) ? (unsigned)left.tv_sec + (left.tv_nsec != 0) : 0;
}

/* A program that yields in a loop waits for another thread or for time. */
EXPORT int sched_yield(void)
{
    if (simulated())
        spin();
    return (int)SYS(SYS_sched_yield);
}

/* ---- signals ---- */

EXPORT int sigsuspend(const sigset_t *mask)
{
    if (!simulated())
        return (int)SYS(SYS_rt_sigsuspend, mask, 8);
    struct wait w = {.deadline_ns = FOREVER, .mask = mask};
    while (!park(&w))
        ;
    return fail(EINTR);
}

EXPORT int pause(void)
{
    if (!simulated())
        return (int)SYS(SYS_ppoll, NULL, 0, NULL, NULL, 8);
    struct wait w = {.deadline_ns = FOREVER};
    while (!park(&w))
        ;
    return fail(EINTR);
}

EXPORT int sigtimedwait(const sigset_t *restrict set, siginfo_t *restrict info, const struct timespec *restrict t)
{
    static const struct timespec zero = {0, 0};
    if (!simulated())
        return (int)SYS(SYS_rt_sigtimedwait, set, info, t, 8);
    if (t && !valid_timespec(t))
        return fail(EINVAL);
    int fd = (int)SYS(SYS_signalfd4, -1, set, 8, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return fd;
    fd = move_up(fd);
    struct pollfd p = {fd, POLLIN, 0};
    struct wait w = {.deadline_ns = t ? after(nanoseconds(t)) : FOREVER, .fds = &p, .count = 1};
    int r;
    for (;;) {
        r = (int)SYS(SYS_rt_sigtimedwait, set, info, &zero, 8);
        if (r > 0 || errno != EAGAIN)
            break;
        if (passed(&w)) {
            r = fail(EAGAIN);
            break;
        }
        if (park(&w)) {
            r = fail(EINTR);
            break;
        }
    }
    int error = errno;
    RAW(SYS_close, fd);
    kind_forget(fd);
    errno = error;
    return r;
}

EXPORT int sigwaitinfo(const sigset_t *restrict set, siginfo_t *restrict info) { return sigtimedwait(set, info, NULL); }

EXPORT int sigwait(const sigset_t *restrict set, int *restrict number)
{
    if (!simulated())
        return REAL(sigwait)(set, number);
    int r;
    do r = sigtimedwait(set, NULL, NULL);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return errno;
    *number = r;
    return 0;
}

EXPORT int sigaction(int number, const struct sigaction *restrict to, struct sigaction *restrict old)
{
    if (simulated() && to)
        handler_installed(to);
    return REAL(sigaction)(number, to, old);
}

/* ---- children ---- */

static int child_changed(struct wait *w)
{
    const struct { idtype_t type; id_t id; int options; } *what = w->object;
    siginfo_t i;
    memset(&i, 0, sizeof i);
    long r = RAW(SYS_waitid, what->type, what->id, &i, what->options | WNOHANG | WNOWAIT, NULL);
    return r < 0 || i.si_pid != 0;
}

/* Waits until a wait for children would not block. */
static int for_child(idtype_t type, id_t id, int options)
{
    struct { idtype_t type; id_t id; int options; } what = {type, id, options};
    struct wait w = {.deadline_ns = FOREVER, .ready = child_changed, .object = &what, .restarts = 1};
    while (!child_changed(&w))
        if (park(&w))
            return EINTR;
    return 0;
}

EXPORT pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
    if (simulated() && !(options & WNOHANG)) {
        idtype_t type = pid == -1 ? P_ALL : pid > 0 ? P_PID : P_PGID;
        id_t id = pid == -1 ? 0 : pid > 0 ? (id_t)pid : pid == 0 ? (id_t)RAW(SYS_getpgid, 0) : (id_t)-pid;
        int states = WEXITED | (options & WUNTRACED ? WSTOPPED : 0) | (options & (WCONTINUED | __WALL | __WCLONE));
        if (for_child(type, id, states))
            return fail(EINTR);
    }
    pid_t r = (pid_t)SYS(SYS_wait4, pid, status, options, usage);
    if (simulated() && usage && r > 0)
        memset(usage, 0, sizeof *usage);
    return r;
}

EXPORT pid_t wait3(int *status, int options, struct rusage *usage) { return wait4(-1, status, options, usage); }
EXPORT pid_t waitpid(pid_t pid, int *status, int options) { return wait4(pid, status, options, NULL); }
EXPORT pid_t wait(int *status) { return wait4(-1, status, 0, NULL); }

EXPORT int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    if (simulated() && !(options & WNOHANG) && for_child(type, id, options & ~(WNOHANG | WNOWAIT)))
        return fail(EINTR);
    return (int)SYS(SYS_waitid, type, id, info, options, NULL);
}
