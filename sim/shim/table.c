/* What each descriptor of the program is.
 *
 * The table is a cache. The kernel holds the truth: the world's end of an internet socket is bound to an abstract name
 * that carries the socket's id, so a process that got the descriptor by fork, exec or a Unix socket can find out. */
#include "shim.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static uint8_t kinds[DESCRIPTORS_MAX];
static struct sock *sock_at[DESCRIPTORS_MAX];
static struct sock socks[SOCKETS_MAX];
static int socks_high;
static unsigned made; /* ids given out */

static int in_table(int fd) { return fd >= 0 && fd < DESCRIPTORS_MAX; }

void kind_set(int fd, enum kind kind)
{
    if (in_table(fd))
        kinds[fd] = (uint8_t)kind;
}

void kind_forget(int fd)
{
    if (in_table(fd)) {
        kinds[fd] = KIND_UNKNOWN;
        sock_at[fd] = NULL;
    }
}

static struct sock *slot(void)
{
    for (int i = 0; i < SOCKETS_MAX; i++)
        if (!__atomic_exchange_n(&socks[i].used, 1, __ATOMIC_ACQ_REL)) {
            memset((char *)&socks[i] + sizeof(int), 0, sizeof *socks - sizeof(int));
            if (i >= socks_high)
                socks_high = i + 1;
            return &socks[i];
        }
    return NULL;
}

static void put(int fd, struct sock *s)
{
    s->references = 1;
    s->fd = fd;
    sock_at[fd] = s;
    kinds[fd] = s->type == SOCK_STREAM ? KIND_TCP : KIND_UDP;
}

struct sock *sock_new(int fd, int type, int family)
{
    struct sock *s = in_table(fd) ? slot() : NULL;
    if (!s)
        return NULL;
    s->type = type;
    s->family = family;
    snprintf(s->id, sizeof s->id, "%d.%u", own_index(), __atomic_add_fetch(&made, 1, __ATOMIC_RELAXED));
    put(fd, s);
    return s;
}

/* An internet socket that this process did not make. */
static int inherited(int fd)
{
    struct sockaddr_un u;
    socklen_t length = sizeof u;
    size_t name = strlen(control_name);
    memset(&u, 0, sizeof u);
    if (RAW(SYS_getpeername, fd, &u, &length) || u.sun_family != AF_UNIX ||
        length < offsetof(struct sockaddr_un, sun_path) + name + 3)
        return 0;
    const char *p = u.sun_path;
    if (p[0] || memcmp(p + 1, control_name, name) || p[1 + name] != '/')
        return 0;
    int type = 0;
    socklen_t size = sizeof type;
    RAW(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &size);
    struct sock *s = slot();
    if (!s)
        return 0;
    s->type = type == SOCK_STREAM ? SOCK_STREAM : SOCK_DGRAM;
    snprintf(s->id, sizeof s->id, "%.*s", (int)(length - offsetof(struct sockaddr_un, sun_path) - name - 2), p + 2 + name);
    if (sock_names(s)) {
        s->used = 0;
        return 0;
    }
    put(fd, s);
    return 1;
}

enum kind kind_of(int fd)
{
    if (!in_table(fd))
        return KIND_OTHER;
    if (kinds[fd] != KIND_UNKNOWN)
        return (enum kind)kinds[fd];
    struct stat s;
    if (RAW(SYS_fstat, fd, &s))
        return KIND_OTHER;
    if (S_ISSOCK(s.st_mode) && inherited(fd))
        return (enum kind)kinds[fd];
    /* Pipes, terminals, sockets; and what has no file type: eventfd and its like. */
    int may_block = S_ISFIFO(s.st_mode) || S_ISCHR(s.st_mode) || S_ISSOCK(s.st_mode) || !(s.st_mode & S_IFMT);
    kinds[fd] = may_block ? KIND_BLOCKING : KIND_OTHER;
    return (enum kind)kinds[fd];
}

struct sock *sock_of(int fd)
{
    if (!simulated())
        return NULL;
    enum kind k = kind_of(fd);
    return k == KIND_TCP || k == KIND_UDP ? sock_at[fd] : NULL;
}

struct sock *sock_by_id(const char *id)
{
    for (int i = 0; i < socks_high; i++)
        if (socks[i].used && !strcmp(socks[i].id, id))
            return &socks[i];
    return NULL;
}

int blocking(int fd) { return !(RAW(SYS_fcntl, fd, F_GETFL) & O_NONBLOCK); }

void no_blocking(int fd)
{
    long flags = RAW(SYS_fcntl, fd, F_GETFL);
    RAW(SYS_fcntl, fd, F_SETFL, flags | O_NONBLOCK);
}

void table_copy(int from, int to)
{
    if (!in_table(to) || from == to)
        return;
    kinds[to] = KIND_UNKNOWN;
    sock_at[to] = NULL;
    if (!in_table(from))
        return;
    struct sock *s = kinds[from] == KIND_TCP || kinds[from] == KIND_UDP ? sock_at[from] : NULL;
    if (kinds[from] != KIND_OWN)
        kinds[to] = kinds[from];
    sock_at[to] = s;
    if (s)
        __atomic_add_fetch(&s->references, 1, __ATOMIC_RELAXED);
}

/* The descriptor is about to be closed. */
void table_drop(int fd)
{
    if (!in_table(fd))
        return;
    struct sock *s = kinds[fd] == KIND_TCP || kinds[fd] == KIND_UDP ? sock_at[fd] : NULL;
    if (kinds[fd] == KIND_TIMER)
        timer_forget(fd);
    kind_forget(fd);
    if (!s)
        return;
    if (__atomic_sub_fetch(&s->references, 1, __ATOMIC_ACQ_REL) > 0) {
        for (int i = 0; s->fd == fd && i < DESCRIPTORS_MAX; i++)
            if (sock_at[i] == s)
                s->fd = i;
        return;
    }
    if (s->linger_zero && s->type == SOCK_STREAM && s->state == CONNECTED)
        control_call(-1, NULL, 0, "abort %s", s->id);
    s->used = 0;
}

static int is_own(int fd) { return simulated() && in_table(fd) && kinds[fd] == KIND_OWN; }

EXPORT int close(int fd)
{
    if (is_own(fd)) {
        errno = EBADF;
        return -1;
    }
    if (simulated())
        table_drop(fd);
    return (int)SYS(SYS_close, fd);
}

static int close_between(unsigned from, unsigned to, unsigned flags)
{
    for (unsigned fd = from; fd <= to && fd < DESCRIPTORS_MAX; fd++) {
        if (is_own((int)fd)) {
            if (fd > from && SYS(SYS_close_range, from, fd - 1, flags))
                return -1;
            from = fd + 1;
        } else if (!(flags & 4 /* CLOSE_RANGE_CLOEXEC */)) {
            table_drop((int)fd);
        }
    }
    return from > to ? 0 : (int)SYS(SYS_close_range, from, to, flags);
}

EXPORT int close_range(unsigned from, unsigned to, int flags)
{
    if (!simulated() || from > to)
        return (int)SYS(SYS_close_range, from, to, flags);
    return close_between(from, to, (unsigned)flags);
}

EXPORT void closefrom(int from)
{
    if (simulated())
        close_between(from < 0 ? 0 : (unsigned)from, ~0U, 0);
    else
        SYS(SYS_close_range, from < 0 ? 0 : from, ~0U, 0);
}

static int copied(int from, int to)
{
    if (simulated() && to >= 0)
        table_copy(from, to);
    return to;
}

EXPORT int dup(int fd) { return copied(fd, (int)SYS(SYS_dup, fd)); }

EXPORT int dup3(int from, int to, int flags)
{
    if (is_own(to)) {
        errno = EBADF;
        return -1;
    }
    int r = (int)SYS(SYS_dup3, from, to, flags);
    if (r >= 0 && simulated()) {
        table_drop(to);
        table_copy(from, to);
    }
    return r;
}

EXPORT int dup2(int from, int to)
{
    if (from == to)
        return SYS(SYS_fcntl, from, F_GETFD) < 0 ? -1 : to;
    return dup3(from, to, 0);
}

static int control_of_file(int fd, int command, long value)
{
    int r = (int)SYS(SYS_fcntl, fd, command, value);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? copied(fd, r) : r;
}

EXPORT int fcntl(int fd, int command, ...)
{
    __builtin_va_list v;
    __builtin_va_start(v, command);
    long value = __builtin_va_arg(v, long);
    __builtin_va_end(v);
    return control_of_file(fd, command, value);
}

EXPORT int fcntl64(int fd, int command, ...)
{
    __builtin_va_list v;
    __builtin_va_start(v, command);
    long value = __builtin_va_arg(v, long);
    __builtin_va_end(v);
    return control_of_file(fd, command, value);
}
