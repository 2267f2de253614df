/* The shim: preloaded into an unmodified program, it makes the program a machine of a simulated world.
 *
 * Three ideas carry everything else:
 *   - Time is a number in a page that the world writes (time.c). It stands still while the program runs.
 *   - Each wait of a thread is a `struct wait` (rest.c). Threads that wait are parked; one at a time is released.
 *     When all are parked and none is ready, the program is at rest and the world may move time.
 *   - Each internet socket is one end of a Unix socket pair whose other end the world holds (table.c), so that
 *     readiness, blocking, inheritance and the end of a process are the kernel's business and need no emulation.
 *
 * PROTOCOL.md says what passes between the shim and the world. Where the variable GLARE_SHIM is not set, every
 * function here passes its call on.
 */
#ifndef GLARE_SHIM_H
#define GLARE_SHIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
#define PROTOCOL_VERSION 1
#define FOREVER INT64_MAX
#define SECOND_NS 1000000000LL

/* Descriptors of the shim's own lie above this number, so that the program's numbers do not shift. */
#define OWN_DESCRIPTORS_FROM 900
/* Internet sockets with a higher number are refused (EMFILE). */
#define DESCRIPTORS_MAX 65536
#define SOCKETS_MAX 16384
#define THREADS_MAX 1024
#define ID_BYTES 24

/* ---- control.c: the world ---- */

/* What the world and all processes of one machine share. The world alone writes it. */
struct page {
    uint64_t magic;
    int64_t now_ns;    /* since the world began */
    int64_t wall_ns;   /* to be added for the wall clock; a clock jump changes it */
};
extern const struct page *page; /* null: no world, pass everything on */
extern const char *control_name;
extern int control_fd;
static inline int simulated(void) { return __builtin_expect(page != NULL, 1); }

void control_open(const char *how);                       /* connects and says hello; `how` is start or fork */
void control_forget(void);                                /* in the child of a fork, before control_open */
void control_send(const char *format, ...) __attribute__((format(printf, 1, 2)));
ssize_t control_receive(char *into, size_t size);         /* one message, without waiting; 0: the world is gone */
int control_call(int fd, char *reply, size_t size, const char *format, ...) __attribute__((format(printf, 4, 5)));
int calls_under_way(void);
int own_index(void);                                      /* the process's number on its machine, from 1 */
int parent_index(void);                                   /* 0: started by the world */
int move_up(int fd);                                      /* out of the program's range */
const char *host_name(void);
extern pid_t real_pid;

/* ---- rest.c: parked threads ---- */

struct wait {
    int64_t deadline_ns;             /* FOREVER: none */
    int on_wall;                     /* the deadline is one of the wall clock: a clock jump moves it */
    struct pollfd *fds;              /* ready when one of them is */
    nfds_t count;
    int (*ready)(struct wait *);     /* or when this says so; called while no thread runs */
    const void *object;              /* the condition variable, semaphore or futex word waited for */
    uint32_t value;
    int woken;                       /* by a thread that signalled the object */
    const sigset_t *mask;            /* signals blocked during the wait; null: those blocked at its beginning */
    int restarts;                    /* 1: a handler with SA_RESTART does not end the wait; 2: no handler does */
    /* Of rest.c alone. */
    int released;
    struct thread *thread;
    struct wait *next;
    sigset_t before;
};
enum { PARK_RELEASED = 0, PARK_INTERRUPTED = -1 };
void park_begin(struct wait *w);                          /* from here on a signal to the object is not lost */
int park_finish(struct wait *w);
int park(struct wait *w);
int wake_object(const void *object, int how_many);        /* marks waits as woken; returns their number */
extern volatile int object_waits;                         /* how many wait for an object just now */
void spin(void);                                          /* counts calls without rest; moves time when there are many */
void rest_after_fork(void);
void rest_start(void);
void signal_sent(void);                                   /* a parked thread may be about to run a handler */
void handler_installed(const struct sigaction *action);

/* ---- timer.c ---- */
int64_t timers_next(void);
int timers_fire(void);                                    /* returns whether one fired */
int timer_read_reset(int fd);
void timer_forget(int fd);
void timers_after_fork(void);

/* ---- table.c: descriptors ---- */

enum kind { KIND_UNKNOWN, KIND_OTHER, KIND_BLOCKING, KIND_OWN, KIND_CHANCE, KIND_TIMER, KIND_TCP, KIND_UDP };
enum state { FRESH, BOUND, LISTENING, CONNECTING, CONNECTED, FAILED };
struct address { int family; uint16_t port; uint8_t bytes[16]; };  /* family AF_INET or AF_INET6; 0: none */
struct option { int level, name, value; };
struct sock {
    int used, references, fd, type, family, state, error, reset, write_shut, linger_zero, v6_only;
    char id[ID_BYTES];
    struct address local, peer;
    int64_t receive_timeout_ns, send_timeout_ns;          /* 0: none */
    struct option options[24];
    int option_count;
};
enum kind kind_of(int fd);                                /* looks at the descriptor where it is not known */
struct sock *sock_of(int fd);                             /* null: not an internet socket */
struct sock *sock_new(int fd, int type, int family);
struct sock *sock_by_id(const char *id);
void kind_set(int fd, enum kind kind);
void kind_forget(int fd);
void table_copy(int from, int to);
void table_drop(int fd);
int blocking(int fd);
void no_blocking(int fd);

/* ---- address.c ---- */
int address_read(struct address *into, const struct sockaddr *from, socklen_t length);
void address_write(const struct address *from, const struct sock *s, struct sockaddr *into, socklen_t *length);
void address_text(const struct address *a, char *into, size_t size);      /* "198.51.100.7 5000" */
int address_parse(struct address *into, const char *ip, unsigned port);
int sock_names(struct sock *s);                           /* asks the world for the addresses of an inherited socket */

/* ---- tcp.c, udp.c ---- */
int tcp_connect(int fd, struct sock *s, const struct address *to);
void tcp_connect_settle(int fd, struct sock *s);
ssize_t tcp_receive(int fd, struct sock *s, struct msghdr *m, int flags);
ssize_t tcp_send(int fd, struct sock *s, const struct msghdr *m, int flags);
const char *tcp_reset(const char *id);                    /* the world aborts a connection; returns the answer's word */
void tcp_failed(const char *id, int error);
extern volatile int writes_wait;                          /* a buffer was full: tell the world to look after it */
int udp_connect(int fd, struct sock *s, const struct sockaddr *a, socklen_t length);
ssize_t udp_receive(int fd, struct sock *s, struct msghdr *m, int flags);
ssize_t udp_send(int fd, struct sock *s, const struct msghdr *m, int flags);
int udp_first_bytes(int fd);
int sock_bind(struct sock *s, const struct address *a);
int wait_for(int fd, short events, int64_t timeout_ns);   /* 0, or EAGAIN, or EINTR */
int option_get(const struct sock *s, int level, int name, int otherwise);

/* ---- chance.c ---- */
void chance_seed(uint64_t seed);
void chance_fill(void *into, size_t size);
pid_t virtual_pid(int index);
pid_t pid_of_virtual(pid_t pid);
int chance_open(const char *path, int flags);             /* -2: not a source of chance */

/* ---- process.c ---- */
void process_after_fork(void);

/* ---- symbols.c ---- */
void *real(const char *name);                             /* the next library's function of this name */
#define REAL(name) ({ static __typeof__(&name) f_; if (!f_) f_ = (__typeof__(&name))real(#name); f_; })

/* ---- time.c ---- */
static inline int64_t now_ns(void) { return __atomic_load_n(&page->now_ns, __ATOMIC_ACQUIRE); }
static inline int64_t wall_ns(void) { return now_ns() + __atomic_load_n(&page->wall_ns, __ATOMIC_ACQUIRE); }
static inline int64_t after(int64_t ns) { int64_t t; return __builtin_add_overflow(now_ns(), ns, &t) ? FOREVER : t; }
int64_t nanoseconds(const struct timespec *t);            /* saturates */
void wait_until(struct wait *w, clockid_t clock, const struct timespec *absolute); /* null: no deadline */
int passed(const struct wait *w);
static inline int64_t due_ns(const struct wait *w)
{
    if (!w->on_wall || w->deadline_ns == FOREVER)
        return w->deadline_ns;
    int64_t due = w->deadline_ns - __atomic_load_n(&page->wall_ns, __ATOMIC_ACQUIRE);
    return due < 0 ? 0 : due;
}
int valid_timespec(const struct timespec *t);

/* ---- raw system calls: nothing here may pass through a function that this library replaces ---- */
long raw6(long n, long a, long b, long c, long d, long e, long f);
long sys6(long n, long a, long b, long c, long d, long e, long f); /* sets errno */
#define RAW(n, ...) RAW_(n, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define RAW_(n, a, b, c, d, e, f, ...) raw6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYS(n, ...) SYS_X(n, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define SYS_X(n, a, b, c, d, e, f, ...) sys6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

int raw_poll(struct pollfd *fds, nfds_t n); /* without waiting; negative: -errno */
#endif
