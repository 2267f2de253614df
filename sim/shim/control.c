/* The connection to the world: hello, one-way messages, and calls that are answered. PROTOCOL.md has the details. */
#include "shim.h"
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/un.h>

const struct page *page;
const char *control_name;
int control_fd = -1;
pid_t real_pid;
static int calls_fd = -1;
static int index_here, index_parent;
static char host[65];
static volatile int calls;
static pthread_mutex_t call_lock = PTHREAD_MUTEX_INITIALIZER;

#define PAGE_MAGIC 0x31656d6974726c67ULL /* "glrtime1", little-endian */

/* The world ended, or broke the protocol: the program must not go on in real time. */
static void lost(const char *why)
{
    char text[160];
    int n = snprintf(text, sizeof text, "glare shim: %s\n", why);
    RAW(SYS_write, 2, text, n);
    RAW(SYS_exit_group, 125);
}

int move_up(int fd)
{
    long up = RAW(SYS_fcntl, fd, F_DUPFD_CLOEXEC, OWN_DESCRIPTORS_FROM);
    for (int from = OWN_DESCRIPTORS_FROM; up == -EINVAL && from > 64; from -= 64)
        up = RAW(SYS_fcntl, fd, F_DUPFD_CLOEXEC, from - 64);
    if (up < 0)
        lost("no descriptor left for the world");
    RAW(SYS_close, fd);
    kind_set((int)up, KIND_OWN);
    return (int)up;
}

int own_index(void) { return index_here; }
int parent_index(void) { return index_parent; }
int calls_under_way(void) { return calls; }
const char *host_name(void) { return host; }

static int send_with(int to, const char *text, size_t size, int fd)
{
    struct iovec part = {(void *)text, size};
    char room[CMSG_SPACE(sizeof(int))] = {0};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        m.msg_control = room;
        m.msg_controllen = sizeof room;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    long r;
    do r = RAW(SYS_sendmsg, to, &m, MSG_NOSIGNAL);
    while (r == -EINTR);
    return r < 0 ? (int)r : 0;
}

void control_send(const char *format, ...)
{
    char text[512];
    va_list v;
    va_start(v, format);
    int n = vsnprintf(text, sizeof text, format, v);
    va_end(v);
    if (send_with(control_fd, text, (size_t)n, -1))
        lost("the world is gone");
}

ssize_t control_receive(char *into, size_t size)
{
    long r = RAW(SYS_recvfrom, control_fd, into, size - 1, MSG_DONTWAIT, 0, 0);
    if (r == 0 || (r < 0 && r != -EAGAIN && r != -EINTR))
        lost("the world is gone");
    if (r < 0)
        return -1;
    into[r] = 0;
    return r;
}

/* Asks, and waits for the answer. Returns 0 with the answer's words behind "ok", or the errno of the refusal. */
int control_call(int fd, char *reply, size_t size, const char *format, ...)
{
    char text[1024], answer[4096];
    sigset_t all, before;
    va_list v;
    va_start(v, format);
    int n = vsnprintf(text, sizeof text, format, v);
    va_end(v);
    sigfillset(&all);
    /* A handler that runs in the middle of a call might call as well. */
    RAW(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
    __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_lock(&call_lock);
    if (send_with(calls_fd, text, (size_t)n, fd))
        lost("the world is gone");
    long r;
    do r = RAW(SYS_recvfrom, calls_fd, answer, sizeof answer - 1, 0, 0, 0);
    while (r == -EINTR);
    if (r <= 0)
        lost("the world is gone");
    pthread_mutex_unlock(&call_lock);
    __atomic_sub_fetch(&calls, 1, __ATOMIC_SEQ_CST);
    RAW(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, 8);
    answer[r] = 0;
    if (!strncmp(answer, "ok", 2)) {
        if (reply && size) {
            const char *rest = answer[2] == ' ' ? answer + 3 : answer + 2;
            snprintf(reply, size, "%s", rest);
        }
        return 0;
    }
    int error = 0;
    if (sscanf(answer, "error %d", &error) != 1 || error <= 0)
        lost("an answer that is neither ok nor error");
    return error;
}

/* Waits for the world's welcome, which carries the page. */
static void welcome(void)
{
    char text[256], room[CMSG_SPACE(sizeof(int))];
    struct iovec part = {text, sizeof text - 1};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
    long r;
    do r = RAW(SYS_recvmsg, control_fd, &m, MSG_CMSG_CLOEXEC);
    while (r == -EINTR);
    if (r <= 0)
        lost("the world did not answer the hello");
    text[r] = 0;
    unsigned long long seed;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (sscanf(text, "welcome %d %d %llu %64s", &index_here, &index_parent, &seed, host) != 4 || !c ||
        c->cmsg_type != SCM_RIGHTS)
        lost("the world's welcome is not understood");
    int fd;
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    void *at = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
    RAW(SYS_close, fd);
    if (at == MAP_FAILED || ((const struct page *)at)->magic != PAGE_MAGIC)
        lost("the world's page is not understood");
    chance_seed(seed);
    page = at;
}

void control_open(const char *how)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t length = strlen(control_name);
    if (length > sizeof to.sun_path - 2)
        lost("GLARE_SHIM is too long");
    memcpy(to.sun_path + 1, control_name, length);
    long fd = RAW(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || RAW(SYS_connect, fd, &to, offsetof(struct sockaddr_un, sun_path) + 1 + length))
        lost("the world cannot be reached");
    control_fd = move_up((int)fd);
    int pair[2];
    if (RAW(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        lost("no descriptor left for the world");
    calls_fd = move_up(pair[0]);
    real_pid = (pid_t)RAW(SYS_getpid);
    char text[128];
    int n = snprintf(text, sizeof text, "hello %d %d %ld %s", PROTOCOL_VERSION, real_pid, RAW(SYS_getppid), how);
    if (send_with(control_fd, text, (size_t)n, pair[1]))
        lost("the world is gone");
    RAW(SYS_close, pair[1]);
    welcome();
}

void control_forget(void)
{
    RAW(SYS_close, control_fd);
    RAW(SYS_close, calls_fd);
    kind_forget(control_fd);
    kind_forget(calls_fd);
    calls = 0;
    pthread_mutex_init(&call_lock, 0);
    munmap((void *)page, 4096);
    page = NULL;
}

/* What the world has started ends with it, even if it computes and asks nothing. It also must not become another program
 * meanwhile: without the world there is no library to preload, and the program would go on in real time, on real sockets.
 * The world kills its programs before its thread ends. */
static void end_with_the_world(long world)
{
    RAW(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
    if (RAW(SYS_getppid) != world)
        lost("the world is gone");
}

__attribute__((constructor(101))) static void start(void)
{
    control_name = getenv("GLARE_SHIM");
    if (!control_name || !*control_name || page)
        return;
    /* The environment may be overwritten by the program (a server that sets its title). */
    static char copy[128];
    snprintf(copy, sizeof copy, "%s", control_name);
    control_name = copy;
    long parent = RAW(SYS_getppid);
    control_open("start");
    if (index_parent == 0)
        end_with_the_world(parent);
    rest_start();
}
