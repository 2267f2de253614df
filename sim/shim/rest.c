/* Rest: which thread may run, and when the whole program has nothing left to do.
 *
 * A thread that waits is parked. One of the parked threads, while the others sleep, is the leader: it checks that no
 * thread of the process runs; then it releases the first parked thread (in the order in which they parked) whose wait is
 * over. So threads run one at a time, in an order that does not depend on the machine. If no wait is over, the process
 * is at rest: the leader tells the world the next deadline and waits for its word.
 *
 * A thread may also sleep in the kernel where no function here sees it (a mutex, a file). /proc says so. To notice,
 * one parked thread, the watcher, wakes now and then and tries to lead.
 *
 * Signals are blocked while a thread works in here and unblocked only where it sleeps, so that a handler finds no lock
 * held and ends the wait exactly if it ran.
 */
#include "shim.h"
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* PARKING: it can be released already, but still has to unlock what it waits without. */
enum thread_state { FREE, STARTING, RUNNING, PARKING, PARKED, ENDING };
struct thread {
    volatile enum thread_state state;
    pid_t tid;
    int wake_fd;
    pthread_t handle;
    uint32_t life;                              /* counts the threads that had this slot */
};

static struct thread threads[THREADS_MAX];
static int threads_high;                        /* no slot from here on is in use */
static __thread struct thread *self __attribute__((tls_model("initial-exec")));
static struct wait *first, **last = &first;     /* the parked, oldest first */
static volatile int list_lock, leading;
static struct thread *watcher;
static uint64_t rest_number;
static uint64_t releases;                       /* of parked threads */
static pthread_key_t end_key;
static volatile int signalled;                  /* look at the parked threads as well */
static int interrupting;                        /* some handler was installed without SA_RESTART */
volatile int object_waits;

/* A clock is read this often without a rest: the program probably waits for time to pass. (V8 reads it some ten thousand
 * times while it collects garbage.) */
#define SPINS 100000
/* Threads that all do so have this many turns before time passes. */
#define TURNS 16
static volatile unsigned spins;
/* The process computes this long (processor time) while another thread could run: let both. */
#define STUCK_NS 2000000000LL
#define WATCH_MIN_NS 100000LL
#define WATCH_MAX_NS 4000000LL

/* A spin lock: a thread that waits for it must not look asleep. */
static void lock(void)
{
    while (__atomic_exchange_n(&list_lock, 1, __ATOMIC_ACQUIRE))
        RAW(SYS_sched_yield);
}
static void unlock(void) { __atomic_store_n(&list_lock, 0, __ATOMIC_RELEASE); }

static void block_all(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    RAW(SYS_rt_sigprocmask, SIG_SETMASK, &all, before, 8);
}
static void restore(const sigset_t *before) { RAW(SYS_rt_sigprocmask, SIG_SETMASK, before, 0, 8); }

/* What the process has computed: unlike the time that passes, it does not depend on what else the machine does. */
static int64_t processor_ns(void)
{
    struct timespec t;
    RAW(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * SECOND_NS + t.tv_nsec;
}

/* ---- threads ---- */

static struct thread *thread_new(enum thread_state state, pid_t tid)
{
    struct thread *t = NULL;
    lock();
    for (int i = 0; i < THREADS_MAX && !t; i++)
        if (threads[i].state == FREE) {
            t = &threads[i];
            if (i >= threads_high)
                threads_high = i + 1;
        }
    if (t) {
        t->tid = tid;
        t->handle = 0;
        t->life++;
        t->wake_fd = t->wake_fd > 0 ? t->wake_fd : -1;
        t->state = state;
    }
    unlock();
    return t;
}

static struct thread *me(void)
{
    if (!self) {
        pid_t tid = (pid_t)RAW(SYS_gettid);
        /* A thread that was not made by pthread_create may have been found by `strangers`. */
        for (int i = 0; i < threads_high && !self; i++)
            if (threads[i].state == RUNNING && threads[i].tid == tid)
                self = &threads[i];
        if (!self)
            self = thread_new(RUNNING, tid);
        if (!self)
            abort();
    }
    return self;
}

static int wake_fd(struct thread *t)
{
    if (t->wake_fd < 0)
        t->wake_fd = move_up((int)RAW(SYS_eventfd2, 0, EFD_NONBLOCK | EFD_CLOEXEC));
    return t->wake_fd;
}

static void ended(void *of)
{
    struct thread *t = of;
    t->state = ENDING;
}

struct start { void *(*run)(void *); void *with; struct wait until_chosen; };

static int at_once(struct wait *w)
{
    (void)w;
    return 1;
}

/* A new thread runs when the one that made it rests. It was put among the parked by the one that made it, so that
 * threads start in the order in which they were made. */
static void *begin(void *of)
{
    struct start *s = of, copy;
    block_all(&s->until_chosen.before);
    self = s->until_chosen.thread;
    self->tid = (pid_t)RAW(SYS_gettid);
    pthread_setspecific(end_key, self);
    s->until_chosen.mask = &s->until_chosen.before;
    while (park_finish(&s->until_chosen))
        ;
    copy = *s;
    free(s);
    return copy.run(copy.with);
}

static void put_in(struct wait *w, struct thread *t, enum thread_state state);
static void take_out(struct wait *w);

EXPORT int pthread_create(pthread_t *into, const pthread_attr_t *how, void *(*run)(void *), void *with)
{
    if (!simulated())
        return REAL(pthread_create)(into, how, run, with);
    me();
    struct start *s = malloc(sizeof *s);
    struct thread *t = s ? thread_new(STARTING, 0) : NULL;
    if (!t) {
        free(s);
        return EAGAIN;
    }
    *s = (struct start){run, with, {.deadline_ns = FOREVER, .ready = at_once, .restarts = 2}};
    sigset_t before;
    block_all(&before);
    put_in(&s->until_chosen, t, PARKED);
    restore(&before);
    int r = REAL(pthread_create)(into, how, begin, s);
    if (r) {
        block_all(&before);
        lock();
        take_out(&s->until_chosen);
        t->state = FREE;
        unlock();
        restore(&before);
        free(s);
    } else {
        /* It does not run before this thread rests. */
        t->handle = *into;
    }
    return r;
}

/* It wakes those who join it in the kernel before it vanishes. */
static int is_gone(const struct thread *t)
{
    return t->state == FREE || (t->state == ENDING && RAW(SYS_tgkill, real_pid, t->tid, 0) != 0);
}

static int joined_is_gone(struct wait *w)
{
    const struct thread *t = w->object;
    return t->life != w->value || is_gone(t);
}

/* Parked, a thread that joins goes on when it is its turn. Asleep in the kernel, it would go on at once, beside others. */
EXPORT int pthread_join(pthread_t handle, void **result)
{
    for (int i = 0; simulated() && i < threads_high; i++) {
        struct thread *t = &threads[i];
        if (t->state == FREE || t->handle != handle || t == me())
            continue;
        struct wait w = {.deadline_ns = FOREVER, .ready = joined_is_gone, .object = t, .value = t->life, .restarts = 2};
        if (!joined_is_gone(&w))
            park(&w);
        break;
    }
    return REAL(pthread_join)(handle, result);
}

/* ---- is everybody asleep? ---- */

static char state_of(pid_t tid)
{
    char path[48], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    long fd = RAW(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return 'X';
    long n = RAW(SYS_read, fd, text, sizeof text - 1);
    RAW(SYS_close, fd);
    if (n <= 0)
        return 'X';
    text[n] = 0;
    char *after_name = strrchr(text, ')');
    return after_name && after_name[1] ? after_name[2] : 'X';
}

/* Threads made behind our back (clone, a timer with SIGEV_THREAD). */
static void strangers(int known)
{
    struct stat s;
    if (RAW(SYS_newfstatat, AT_FDCWD, "/proc/self/task", &s, 0) || (int)s.st_nlink - 2 == known)
        return;
    long fd = RAW(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    struct entry { uint64_t ino, off; uint16_t size; uint8_t type; char name[]; };
    char room[8192] __attribute__((aligned(8)));
    for (long n; (n = RAW(SYS_getdents64, fd, room, sizeof room)) > 0;)
        for (long at = 0; at < n;) {
            struct entry *e = (struct entry *)(room + at);
            at += e->size;
            pid_t tid = atoi(e->name);
            int found = tid == 0;
            for (int i = 0; i < threads_high && !found; i++)
                /* One that has not begun is there without its number: this may be it. */
                found = threads[i].state != FREE && (threads[i].tid == tid || !threads[i].tid);
            if (!found)
                thread_new(RUNNING, tid);
        }
    RAW(SYS_close, fd);
}

/* How often threads other than this one have gone to sleep. */
static long switches(void)
{
    struct rusage all, mine;
    RAW(SYS_getrusage, RUSAGE_SELF, &all);
    RAW(SYS_getrusage, RUSAGE_THREAD, &mine);
    return all.ru_nvcsw + all.ru_nivcsw - mine.ru_nvcsw - mine.ru_nivcsw;
}

static int asleep_now(struct thread *mine)
{
    int known = 0, running = 0;
    if (calls_under_way())
        return 0;
    for (int i = 0; i < threads_high; i++) {
        struct thread *t = &threads[i];
        switch (t->state) {
        case FREE:
            continue;
        case STARTING:
        case PARKING:
            return 0;
        case ENDING:
            if (!is_gone(t))
                return 0;
            t->state = FREE;
            continue;
        case RUNNING:
            running += t != mine;
            break;
        case PARKED:
            running += signalled && t != mine;
            break;
        }
        known++;
    }
    strangers(known);
    if (!running)
        return 1;
    long before = switches();
    for (int i = 0; i < threads_high; i++) {
        struct thread *t = &threads[i];
        if (t->state == ENDING || t->state == PARKING) /* since it was looked at above */
            return 0;
        if (t == mine || !(t->state == RUNNING || (signalled && t->state == PARKED && t->tid)))
            continue;
        if (!t->tid) /* chosen, but not yet begun */
            return 0;
        char s = state_of(t->tid);
        if (s == 'R' || s == 'D')
            return 0;
        if (s == 'X')
            t->state = FREE;
    }
    /* A thread that woke another after we looked at that other has gone to sleep since: it counts. One that began to ask
     * the world meanwhile sleeps only until the answer. */
    return !calls_under_way() && switches() == before;
}

static int asleep(struct thread *mine)
{
    for (int tries = 0; tries < 16; tries++) {
        if (asleep_now(mine))
            return 1;
        RAW(SYS_sched_yield);
    }
    return 0;
}

/* ---- waits ---- */

static void put_in(struct wait *w, struct thread *t, enum thread_state state)
{
    wake_fd(t);
    w->thread = t;
    w->released = w->woken = 0;
    w->next = NULL;
    lock();
    *last = w;
    last = &w->next;
    if (w->object)
        object_waits++;
    t->state = state;
    unlock();
}

void park_begin(struct wait *w)
{
    struct thread *t = me();
    spins = 0;
    for (nfds_t i = 0; i < w->count && w->count < 64; i++)
        writes_wait |= w->fds[i].events & POLLOUT;
    block_all(&w->before);
    if (!w->mask)
        w->mask = &w->before;
    put_in(w, t, PARKING);
}

/* The lock is held. */
static void take_out(struct wait *w)
{
    struct wait **at = &first;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    if (last == &w->next)
        last = at;
    if (w->object)
        object_waits--;
    w->thread->state = RUNNING;
    if (watcher == w->thread)
        watcher = NULL;
}

static void release(struct wait *w, struct thread *mine)
{
    lock();
    struct thread *t = w->thread;
    take_out(w);
    releases++;
    int other = first != NULL;
    int watched = watcher != NULL;
    struct thread *next_watcher = first ? first->thread : NULL;
    w->released = 1;
    /* From here on `w` may be gone. */
    unlock();
    uint64_t one = 1;
    if (t != mine)
        RAW(SYS_write, t->wake_fd, &one, 8);
    else if (other && !watched)
        RAW(SYS_write, next_watcher->wake_fd, &one, 8);
}

/* The first parked thread whose wait is over. Called when nobody runs. */
static struct wait *first_ready(void)
{
    static struct pollfd fds[4096];
    static int in_use;
    nfds_t n = 0;
    struct wait *w;
    if (__atomic_exchange_n(&in_use, 1, __ATOMIC_ACQUIRE))
        return NULL;
    lock();
    for (w = first; w; w = w->next)
        if (n + w->count <= sizeof fds / sizeof *fds) {
            memcpy(fds + n, w->fds, w->count * sizeof *fds);
            n += w->count;
        }
    if (n)
        raw_poll(fds, n);
    nfds_t at = 0;
    for (w = first; w; w = w->next) {
        int over = w->woken || passed(w) || (w->ready && w->ready(w));
        if (at + w->count <= n)
            for (nfds_t i = 0; i < w->count && n; i++)
                over |= fds[at++].revents != 0;
        else if (w->count)
            over |= raw_poll(w->fds, w->count) > 0;
        if (over)
            break;
    }
    unlock();
    __atomic_store_n(&in_use, 0, __ATOMIC_RELEASE);
    return w;
}

static int64_t next_deadline(void)
{
    int64_t next = timers_next();
    lock();
    for (struct wait *w = first; w; w = w->next)
        if (due_ns(w) < next)
            next = due_ns(w);
    unlock();
    return next;
}

static void told(char *message)
{
    char id[ID_BYTES];
    int error;
    if (sscanf(message, "reset %23s", id) == 1)
        control_send("%s %s", tcp_reset(id), id);
    else if (sscanf(message, "fail %23s %d", id, &error) == 2)
        tcp_failed(id, error);
}

enum outcome { MINE, OTHER, NOT_ASLEEP, INTERRUPTED };

/* What the leader does. It returns when a thread was released, when one runs, or when a signal ended its own wait. */
static enum outcome lead(struct wait *mine)
{
    struct thread *t = mine->thread;
    for (;;) {
        if (!asleep(t))
            return NOT_ASLEEP;
        struct wait *w = first_ready();
        if (!w && timers_fire())
            continue;
        if (w) {
            release(w, t);
            return w == mine ? MINE : OTHER;
        }
        struct timespec zero = {0, 0};
        if (RAW(SYS_ppoll, NULL, 0, &zero, mine->mask, 8) == -EINTR)
            return INTERRUPTED;
        signalled = 0;
        int64_t deadline = next_deadline();
        long before = switches();
        uint64_t number = ++rest_number;
        const char *more = writes_wait ? " full" : "";
        if (deadline == FOREVER)
            control_send("rest %llu -%s", (unsigned long long)number, more);
        else
            control_send("rest %llu %lld%s", (unsigned long long)number, (long long)deadline, more);
        for (int again = 0; !again;) {
            struct pollfd p = {control_fd, POLLIN, 0};
            if (RAW(SYS_ppoll, &p, 1, 0, mine->mask, 8) == -EINTR) {
                control_send("busy %llu", (unsigned long long)number);
                return INTERRUPTED;
            }
            char message[256];
            unsigned long long n;
            if (control_receive(message, sizeof message) < 0)
                continue;
            if (sscanf(message, "go %llu", &n) == 1) {
                signalled |= strstr(message, "signalled") != NULL;
                again = n == number;
            } else if (sscanf(message, "check %llu", &n) == 1) {
                if (n != number)
                    continue;
                signalled = 1;
                int still = asleep(t) && switches() == before && !first_ready();
                control_send("%s %llu", still ? "still" : "busy", n);
                again = !still;
            } else {
                told(message);
            }
        }
    }
}

/* Where a thread sleeps that does not lead. */
static int doze(struct wait *w, int64_t ns)
{
    struct pollfd p = {w->thread->wake_fd, POLLIN, 0};
    struct timespec t = {ns / SECOND_NS, ns % SECOND_NS};
    long r = RAW(SYS_ppoll, &p, 1, ns == FOREVER ? NULL : &t, w->mask, 8);
    if (r > 0) {
        uint64_t n;
        RAW(SYS_read, p.fd, &n, 8);
    }
    return r == -EINTR ? -1 : 0;
}

/* A parked thread could run, but another has been running for long: perhaps it waits for this one without sleeping. */
static int help_the_stuck(struct wait *mine, int64_t *since)
{
    if (!*since)
        *since = processor_ns();
    if (processor_ns() - *since < STUCK_NS)
        return 0;
    *since = 0;
    struct wait *w = first_ready();
    if (w)
        release(w, mine->thread);
    return w == mine;
}

int park_finish(struct wait *w)
{
    struct thread *t = w->thread;
    int64_t nap = WATCH_MIN_NS, stuck_since = 0;
    int result = PARK_RELEASED;
    lock();
    if (!w->released)
        t->state = PARKED;
    unlock();
    while (!__atomic_load_n(&w->released, __ATOMIC_ACQUIRE)) {
        enum outcome outcome = NOT_ASLEEP;
        int led = !__atomic_exchange_n(&leading, 1, __ATOMIC_ACQUIRE);
        if (led) {
            if (__atomic_load_n(&w->released, __ATOMIC_ACQUIRE)) {
                __atomic_store_n(&leading, 0, __ATOMIC_RELEASE);
                break;
            }
            outcome = lead(w);
            if (outcome == NOT_ASLEEP && help_the_stuck(w, &stuck_since))
                outcome = MINE;
            __atomic_store_n(&leading, 0, __ATOMIC_RELEASE);
            if (outcome == MINE)
                break;
            if (outcome == OTHER) {
                nap = WATCH_MIN_NS;
                stuck_since = 0;
            }
        }
        if (outcome != INTERRUPTED) {
            lock();
            if (!watcher && !w->released)
                watcher = t;
            int watch = watcher == t;
            unlock();
            if (doze(w, watch ? nap : FOREVER) == 0) {
                nap = nap * 2 > WATCH_MAX_NS ? WATCH_MAX_NS : nap * 2;
                continue;
            }
        }
        /* A handler ran, or the thread was cancelled. */
        if (w->restarts > interrupting) {
            restore(&w->before);
            pthread_testcancel();
            block_all(&w->before);
            continue;
        }
        lock();
        if (!w->released) {
            take_out(w);
            result = PARK_INTERRUPTED;
        }
        unlock();
        break;
    }
    if (result == PARK_INTERRUPTED) {
        restore(&w->before);
        if (!w->object)
            pthread_testcancel();
        return result;
    }
    restore(&w->before);
    return result;
}

int park(struct wait *w)
{
    const sigset_t *mask = w->mask;
    park_begin(w);
    int r = park_finish(w);
    w->mask = mask;
    return r;
}

int wake_object(const void *object, int how_many)
{
    int n = 0;
    sigset_t before;
    if (!object_waits)
        return 0;
    block_all(&before);
    lock();
    for (struct wait *w = first; w && n < how_many; w = w->next)
        if (w->object == object && !w->woken) {
            w->woken = 1;
            n++;
        }
    unlock();
    restore(&before);
    return n;
}

/* A program that reads the clock again and again waits for another thread, or for the clock to move. So the others have
 * their turn first; if none could run, or all have had theirs, some time passes. */
void spin(void)
{
    static int64_t turns_at;
    static int turns;
    if (__atomic_add_fetch(&spins, 1, __ATOMIC_RELAXED) < SPINS)
        return;
    spins = 0;
    int error = errno;
    uint64_t before = releases;
    if (turns_at != now_ns()) {
        turns_at = now_ns();
        turns = 0;
    }
    if (first && turns++ < TURNS) {
        struct wait w = {.deadline_ns = FOREVER, .ready = at_once, .restarts = 2};
        park(&w);
    }
    /* Its own is the last. */
    if (releases - before <= 1)
        control_call(-1, NULL, 0, "spin");
    errno = error;
}

void signal_sent(void) { signalled = 1; }

void handler_installed(const struct sigaction *a)
{
    if (a->sa_handler != SIG_DFL && a->sa_handler != SIG_IGN && !(a->sa_flags & SA_RESTART))
        interrupting = 1;
}

void rest_start(void)
{
    pthread_key_create(&end_key, ended);
    me();
}

/* Only the thread that forked lives on in the child. */
void rest_after_fork(void)
{
    struct thread *mine = self;
    for (int i = 0; i < threads_high; i++) {
        if (threads[i].wake_fd > 0) {
            RAW(SYS_close, threads[i].wake_fd);
            kind_forget(threads[i].wake_fd);
        }
        threads[i].wake_fd = -1;
        if (&threads[i] != mine)
            threads[i].state = FREE;
    }
    if (mine) {
        mine->tid = (pid_t)RAW(SYS_gettid);
        mine->state = RUNNING;
    }
    first = NULL;
    last = &first;
    list_lock = leading = 0;
    watcher = NULL;
    object_waits = 0;
    rest_number = 0;
    spins = 0;
}
