/* Each timed wait, with the virtual time that it took. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static int64_t now(clockid_t c)
{
    struct timespec t;
    clock_gettime(c, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static struct timespec in(clockid_t c, int64_t ns)
{
    ns += now(c);
    return (struct timespec){ns / 1000000000, ns % 1000000000};
}
static void *tick(void *with)
{
    usleep(2000);
    write(*(int *)with, &(uint64_t){7}, 8);
    return 0;
}
static void *hold(void *m)
{
    pthread_mutex_lock(m);
    usleep(50000);
    pthread_mutex_unlock(m);
    return 0;
}
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static sem_t sem;
static uint32_t word;
static void *wake(void *what)
{
    usleep(3000);
    switch ((intptr_t)what) {
    case 0: pthread_mutex_lock(&lock); pthread_cond_signal(&cond); pthread_mutex_unlock(&lock); break;
    case 1: sem_post(&sem); break;
    case 2: word = 1; syscall(SYS_futex, &word, FUTEX_WAKE, 1, 0, 0, 0); break;
    }
    return 0;
}
static volatile int alarms;
static void on_alarm(int s) { (void)s; alarms++; }

#define SHOW(name, call)                                                                                               \
    do {                                                                                                               \
        int64_t t_ = now(CLOCK_MONOTONIC);                                                                             \
        errno = 0;                                                                                                     \
        long r_ = (long)(call);                                                                                        \
        int e_ = errno;                                                                                                \
        printf("%s %ld %d %lld\n", name, r_, r_ < 0 ? e_ : 0, (long long)(now(CLOCK_MONOTONIC) - t_));                 \
    } while (0)

int main(void)
{
    pthread_t t;
    struct timespec ts = {0, 1500000}, r, m;
    struct timeval tv = {0, 2500};
    setvbuf(stdout, 0, _IOLBF, 0);
    SHOW("nanosleep", nanosleep(&ts, 0));
    SHOW("usleep", usleep(1234));
    SHOW("sleep", sleep(2));
    SHOW("clock_nanosleep", clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, 0));
    r = in(CLOCK_REALTIME, 7000000);
    SHOW("clock_nanosleep-wall", clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &r, 0));
    SHOW("thrd_sleep", thrd_sleep(&ts, 0));
    SHOW("poll", poll(0, 0, 15));
    SHOW("ppoll", ppoll(0, 0, &ts, 0));
    SHOW("select", select(0, 0, 0, 0, &tv));
    SHOW("pselect", pselect(0, 0, 0, 0, &ts, 0));
    int ep = epoll_create1(0), ev = eventfd(0, 0), tf = timerfd_create(CLOCK_MONOTONIC, 0), ep2 = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN}, out[4];
    SHOW("epoll_wait", epoll_wait(ep, out, 4, 11));
    SHOW("epoll_pwait", epoll_pwait(ep, out, 4, 12, 0));
    SHOW("epoll_pwait2", epoll_pwait2(ep, out, 4, &ts, 0));
    e.data.fd = ev; epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e);
    e.data.fd = ep; epoll_ctl(ep2, EPOLL_CTL_ADD, ep, &e);
    pthread_create(&t, 0, tick, &ev);
    SHOW("epoll-in-epoll", epoll_wait(ep2, out, 4, 1000));
    SHOW("epoll-eventfd", epoll_wait(ep, out, 4, 1000));
    pthread_join(t, 0);
    uint64_t n = 0; read(ev, &n, 8); printf("eventfd %llu\n", (unsigned long long)n);
    pthread_create(&t, 0, tick, &ev);
    SHOW("blocking-read", read(ev, &n, 8));
    pthread_join(t, 0);
    struct itimerspec its = {{0, 4000000}, {0, 10000000}}, got;
    timerfd_settime(tf, 0, &its, 0);
    timerfd_gettime(tf, &got); printf("timerfd_gettime %ld %ld\n", got.it_value.tv_nsec, got.it_interval.tv_nsec);
    SHOW("timerfd-read", read(tf, &n, 8)); printf("expired %llu\n", (unsigned long long)n);
    struct pollfd p = {tf, POLLIN, 0};
    SHOW("timerfd-poll", poll(&p, 1, 1000)); read(tf, &n, 8); printf("expired %llu\n", (unsigned long long)n);
    usleep(9000); SHOW("timerfd-many", read(tf, &n, 8)); printf("expired %llu\n", (unsigned long long)n);
    close(tf);
    pthread_mutex_lock(&lock);
    r = in(CLOCK_REALTIME, 21000000); m = in(CLOCK_MONOTONIC, 50000000);
    SHOW("cond_timedwait", pthread_cond_timedwait(&cond, &lock, &r));
    SHOW("cond_clockwait", pthread_cond_clockwait(&cond, &lock, CLOCK_MONOTONIC, &m));
    pthread_condattr_t a; pthread_cond_t mono; pthread_condattr_init(&a); pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&mono, &a); m = in(CLOCK_MONOTONIC, 6000000);
    SHOW("cond_timedwait-monotonic", pthread_cond_timedwait(&mono, &lock, &m));
    pthread_create(&t, 0, wake, (void *)0); r = in(CLOCK_REALTIME, 900000000);
    SHOW("cond-signalled", pthread_cond_timedwait(&cond, &lock, &r));
    pthread_mutex_unlock(&lock); pthread_join(t, 0);
    sem_init(&sem, 0, 0);
    r = in(CLOCK_REALTIME, 31000000); SHOW("sem_timedwait", sem_timedwait(&sem, &r));
    m = in(CLOCK_MONOTONIC, 32000000); SHOW("sem_clockwait", sem_clockwait(&sem, CLOCK_MONOTONIC, &m));
    pthread_create(&t, 0, wake, (void *)1); SHOW("sem_wait", sem_wait(&sem)); pthread_join(t, 0);
    ts = (struct timespec){0, 41000000};
    SHOW("futex", syscall(SYS_futex, &word, FUTEX_WAIT, 0, &ts, 0, 0));
    m = in(CLOCK_MONOTONIC, 42000000);
    SHOW("futex-bitset", syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, &m, 0, ~0));
    pthread_create(&t, 0, wake, (void *)2); SHOW("futex-woken", syscall(SYS_futex, &word, FUTEX_WAIT, 0, 0, 0, 0));
    pthread_join(t, 0);
    SHOW("futex-changed", syscall(SYS_futex, &word, FUTEX_WAIT, 0, &ts, 0, 0));
    pthread_create(&t, 0, hold, &lock); usleep(1000);
    r = in(CLOCK_REALTIME, 10000000); SHOW("mutex_timedlock", pthread_mutex_timedlock(&lock, &r));
    SHOW("mutex_lock", pthread_mutex_lock(&lock)); pthread_mutex_unlock(&lock);
    pthread_join(t, 0);
    signal(SIGALRM, on_alarm);
    struct itimerval it = {{0, 0}, {0, 5000}};
    setitimer(ITIMER_REAL, &it, 0);
    SHOW("pause", pause());
    ts = (struct timespec){10, 0}; struct timespec left;
    alarm(3); SHOW("interrupted", nanosleep(&ts, &left)); printf("left %ld alarms %d\n", (long)left.tv_sec, alarms);
    sigset_t set; sigemptyset(&set); sigaddset(&set, SIGUSR1); sigprocmask(SIG_BLOCK, &set, 0);
    ts = (struct timespec){0, 8000000}; SHOW("sigtimedwait", sigtimedwait(&set, 0, &ts));
    kill(getpid(), SIGUSR1); SHOW("sigtimedwait-pending", sigtimedwait(&set, 0, &ts));
    int64_t t0 = now(CLOCK_MONOTONIC); while (now(CLOCK_MONOTONIC) - t0 < 5000000) ;
    printf("spun %lld\n", (long long)(now(CLOCK_MONOTONIC) - t0));
    printf("wall %lld\n", (long long)now(CLOCK_REALTIME) / 1000000000);
    return 0;
}
