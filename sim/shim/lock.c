/* Waits of threads for one another: condition variables, semaphores, timed locks, futexes.
 *
 * All of them, timed or not, are parked: so the order in which threads go on is the shim's, not the machine's. Plain
 * locks are left to libc; a thread that sleeps in one is seen through /proc. */
#include "shim.h"
#include <limits.h>
#include <linux/futex.h>
#include <semaphore.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <unistd.h>

static int fail(int error)
{
    errno = error;
    return -1;
}

/* ---- condition variables ---- */

static int cond_wait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t clock, const struct timespec *until)
{
    struct wait w = {.object = c};
    wait_until(&w, clock, until);
    if (until && !valid_timespec(until))
        return EINVAL;
    park_begin(&w);
    int error = pthread_mutex_unlock(m);
    if (error)
        wake_object(c, INT_MAX);
    int r = park_finish(&w);
    if (error)
        return error;
    pthread_mutex_lock(m);
    if (r)
        pthread_testcancel(); /* with the mutex held, as the standard asks */
    return !w.woken && passed(&w) ? ETIMEDOUT : 0;
}

EXPORT int pthread_cond_wait(pthread_cond_t *restrict c, pthread_mutex_t *restrict m)
{
    return simulated() ? cond_wait(c, m, CLOCK_MONOTONIC, NULL) : REAL(pthread_cond_wait)(c, m);
}

/* glibc keeps the clock that pthread_condattr_setclock chose in bit 1 of the word of flags. */
static clockid_t clock_of(const pthread_cond_t *c)
{
#if __GLIBC_PREREQ(2, 25)
    return c->__data.__wrefs & 2 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
#else
#error "the layout of pthread_cond_t is not known"
#endif
}

EXPORT int pthread_cond_timedwait(pthread_cond_t *restrict c, pthread_mutex_t *restrict m,
                                  const struct timespec *restrict until)
{
    return simulated() ? cond_wait(c, m, clock_of(c), until) : REAL(pthread_cond_timedwait)(c, m, until);
}

EXPORT int pthread_cond_clockwait(pthread_cond_t *restrict c, pthread_mutex_t *restrict m, clockid_t clock,
                                  const struct timespec *restrict until)
{
    return simulated() ? cond_wait(c, m, clock, until) : REAL(pthread_cond_clockwait)(c, m, clock, until);
}

EXPORT int pthread_cond_signal(pthread_cond_t *c)
{
    if (simulated() && wake_object(c, 1))
        return 0;
    return REAL(pthread_cond_signal)(c);
}

EXPORT int pthread_cond_broadcast(pthread_cond_t *c)
{
    if (simulated())
        wake_object(c, INT_MAX);
    return REAL(pthread_cond_broadcast)(c);
}

/* The calls of C11 are the same objects in glibc. */
static int as_thrd(int error)
{
    return error == 0 ? thrd_success : error == ETIMEDOUT ? thrd_timedout : error == EBUSY ? thrd_busy : thrd_error;
}
EXPORT int cnd_wait(cnd_t *c, mtx_t *m) { return as_thrd(pthread_cond_wait((void *)c, (void *)m)); }
EXPORT int cnd_timedwait(cnd_t *restrict c, mtx_t *restrict m, const struct timespec *restrict until)
{
    return as_thrd(pthread_cond_timedwait((void *)c, (void *)m, until));
}
EXPORT int cnd_signal(cnd_t *c) { return as_thrd(pthread_cond_signal((void *)c)); }
EXPORT int cnd_broadcast(cnd_t *c) { return as_thrd(pthread_cond_broadcast((void *)c)); }
EXPORT int thrd_sleep(const struct timespec *t, struct timespec *left)
{
    int error = clock_nanosleep(CLOCK_MONOTONIC, 0, t, left);
    return error == 0 ? 0 : error == EINTR ? -1 : -2;
}

/* ---- semaphores ---- */

static int can_take(struct wait *w)
{
    int value = 0;
    sem_getvalue((sem_t *)w->object, &value);
    return value > 0;
}

static int sem_until(sem_t *s, clockid_t clock, const struct timespec *until)
{
    struct wait w = {.ready = can_take, .object = s, .restarts = !until};
    wait_until(&w, clock, until);
    for (;;) {
        if (!sem_trywait(s))
            return 0;
        if (errno != EAGAIN)
            return -1;
        if (until && !valid_timespec(until))
            return fail(EINVAL);
        if (passed(&w))
            return fail(ETIMEDOUT);
        if (park(&w))
            return fail(EINTR);
    }
}

EXPORT int sem_wait(sem_t *s) { return simulated() ? sem_until(s, CLOCK_MONOTONIC, NULL) : REAL(sem_wait)(s); }
EXPORT int sem_timedwait(sem_t *restrict s, const struct timespec *restrict until)
{
    return simulated() ? sem_until(s, CLOCK_REALTIME, until) : REAL(sem_timedwait)(s, until);
}
EXPORT int sem_clockwait(sem_t *restrict s, clockid_t clock, const struct timespec *restrict until)
{
    return simulated() ? sem_until(s, clock, until) : REAL(sem_clockwait)(s, clock, until);
}

/* ---- timed locks: tried again each virtual millisecond ---- */

static int again_in_a_millisecond(const struct wait *whole)
{
    struct wait w = {.deadline_ns = after(1000000)};
    if (due_ns(whole) < w.deadline_ns)
        w.deadline_ns = due_ns(whole);
    park(&w);
    return passed(whole);
}

#define TIMED(name, object_type, once)                                                                                 \
    static int name##_until(object_type *o, clockid_t clock, const struct timespec *until)                             \
    {                                                                                                                  \
        struct wait whole = {.deadline_ns = 0};                                                                        \
        wait_until(&whole, clock, until);                                                                              \
        int error;                                                                                                     \
        while ((error = once) == EBUSY)                                                                                \
            if (again_in_a_millisecond(&whole))                                                                        \
                return ETIMEDOUT;                                                                                      \
        return error;                                                                                                  \
    }
TIMED(mutex, pthread_mutex_t, pthread_mutex_trylock(o))
TIMED(read, pthread_rwlock_t, pthread_rwlock_tryrdlock(o))
TIMED(write, pthread_rwlock_t, pthread_rwlock_trywrlock(o))

EXPORT int pthread_mutex_timedlock(pthread_mutex_t *restrict m, const struct timespec *restrict until)
{
    return simulated() ? mutex_until(m, CLOCK_REALTIME, until) : REAL(pthread_mutex_timedlock)(m, until);
}
EXPORT int pthread_mutex_clocklock(pthread_mutex_t *restrict m, clockid_t clock, const struct timespec *restrict until)
{
    return simulated() ? mutex_until(m, clock, until) : REAL(pthread_mutex_clocklock)(m, clock, until);
}
EXPORT int mtx_timedlock(mtx_t *restrict m, const struct timespec *restrict until)
{
    return as_thrd(pthread_mutex_timedlock((void *)m, until));
}
EXPORT int pthread_rwlock_timedrdlock(pthread_rwlock_t *restrict l, const struct timespec *restrict until)
{
    return simulated() ? read_until(l, CLOCK_REALTIME, until) : REAL(pthread_rwlock_timedrdlock)(l, until);
}
EXPORT int pthread_rwlock_timedwrlock(pthread_rwlock_t *restrict l, const struct timespec *restrict until)
{
    return simulated() ? write_until(l, CLOCK_REALTIME, until) : REAL(pthread_rwlock_timedwrlock)(l, until);
}
EXPORT int pthread_rwlock_clockrdlock(pthread_rwlock_t *restrict l, clockid_t c, const struct timespec *restrict until)
{
    return simulated() ? read_until(l, c, until) : REAL(pthread_rwlock_clockrdlock)(l, c, until);
}
EXPORT int pthread_rwlock_clockwrlock(pthread_rwlock_t *restrict l, clockid_t c, const struct timespec *restrict until)
{
    return simulated() ? write_until(l, c, until) : REAL(pthread_rwlock_clockwrlock)(l, c, until);
}

/* pthread_tryjoin_np collects the thread, so it must be this thread that calls it. */
static int join_until(pthread_t t, void **result, clockid_t clock, const struct timespec *until)
{
    struct wait whole = {.deadline_ns = 0};
    wait_until(&whole, clock, until);
    int error;
    while ((error = pthread_tryjoin_np(t, result)) == EBUSY)
        if (again_in_a_millisecond(&whole))
            return ETIMEDOUT;
    return error;
}
EXPORT int pthread_timedjoin_np(pthread_t t, void **result, const struct timespec *until)
{
    return simulated() ? join_until(t, result, CLOCK_REALTIME, until) : REAL(pthread_timedjoin_np)(t, result, until);
}
EXPORT int pthread_clockjoin_np(pthread_t t, void **result, clockid_t clock, const struct timespec *until)
{
    return simulated() ? join_until(t, result, clock, until) : REAL(pthread_clockjoin_np)(t, result, clock, until);
}

/* ---- futexes and other calls through syscall() ---- */

static int word_changed(struct wait *w) { return __atomic_load_n((const uint32_t *)w->object, __ATOMIC_SEQ_CST) != w->value; }

static long futex_wait(uint32_t *word, int operation, uint32_t value, const struct timespec *t)
{
    int command = operation & FUTEX_CMD_MASK;
    struct wait w = {.deadline_ns = FOREVER, .ready = word_changed, .object = word, .value = value};
    if (t && !valid_timespec(t))
        return fail(EINVAL);
    if (t && command == FUTEX_WAIT)
        w.deadline_ns = after(nanoseconds(t));
    else if (t)
        wait_until(&w, operation & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC, t);
    if (word_changed(&w))
        return fail(EAGAIN);
    if (passed(&w))
        return fail(ETIMEDOUT);
    /* Between the look at the word and park_begin another thread may change it: `ready` looks again. */
    if (park(&w))
        return fail(EINTR);
    return !w.woken && !word_changed(&w) && passed(&w) ? fail(ETIMEDOUT) : 0;
}

EXPORT long syscall(long number, ...)
{
    va_list v;
    va_start(v, number);
    long a = va_arg(v, long), b = va_arg(v, long), c = va_arg(v, long), d = va_arg(v, long), e = va_arg(v, long),
         f = va_arg(v, long);
    va_end(v);
    if (!simulated())
        return sys6(number, a, b, c, d, e, f);
    switch (number) {
    case SYS_futex: {
        int command = (int)b & FUTEX_CMD_MASK;
        if (command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET)
            return futex_wait((uint32_t *)a, (int)b, (uint32_t)c, (const struct timespec *)d);
        if (command == FUTEX_WAKE || command == FUTEX_WAKE_BITSET) {
            int here = wake_object((void *)a, (int)c);
            if (here >= (int)c)
                return here;
            long there = sys6(number, a, b, c - here, d, e, f);
            return there < 0 ? (here ? here : there) : here + there;
        }
        if (command == FUTEX_REQUEUE || command == FUTEX_CMP_REQUEUE || command == FUTEX_WAKE_OP)
            wake_object((void *)a, INT_MAX); /* a wake too many is allowed */
        break;
    }
    case SYS_clock_gettime:
        return clock_gettime((clockid_t)a, (struct timespec *)b);
    case SYS_gettimeofday:
        return gettimeofday((struct timeval *)a, (void *)b);
    case SYS_clock_nanosleep: {
        int error = clock_nanosleep((clockid_t)a, (int)b, (const struct timespec *)c, (struct timespec *)d);
        return error ? fail(error) : 0;
    }
    case SYS_nanosleep:
        return nanosleep((const struct timespec *)a, (struct timespec *)b);
    case SYS_getrandom:
        chance_fill((void *)a, (size_t)b);
        return b;
    case SYS_getpid:
        return virtual_pid(own_index());
    case SYS_kill:
    case SYS_tgkill:
        signal_sent();
        return sys6(number, pid_of_virtual((pid_t)a), b, c, d, e, f);
    case SYS_epoll_pwait2: {
        extern int epoll_pwait2(int, void *, int, const struct timespec *, const sigset_t *);
        return epoll_pwait2((int)a, (void *)b, (int)c, (const void *)d, (const void *)e);
    }
    case SYS_epoll_pwait: {
        extern int epoll_pwait(int, void *, int, int, const sigset_t *);
        return epoll_pwait((int)a, (void *)b, (int)c, (int)d, (const void *)e);
    }
    case SYS_ppoll:
        return ppoll((void *)a, (nfds_t)b, (const void *)c, (const void *)d);
    case SYS_read:
        return read((int)a, (void *)b, (size_t)c);
    case SYS_write:
        return write((int)a, (const void *)b, (size_t)c);
    case SYS_close:
        return close((int)a);
    case SYS_close_range: {
        extern int close_range(unsigned, unsigned, int);
        return close_range((unsigned)a, (unsigned)b, (int)c);
    }
    case SYS_accept4:
        return accept4((int)a, (void *)b, (void *)c, (int)d);
    case SYS_sched_yield:
        spin();
        break;
    case 425 /* io_uring_setup */:
    case 426:
    case 427:
        return fail(ENOSYS);
    }
    return sys6(number, a, b, c, d, e, f);
}
