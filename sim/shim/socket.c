/* Making, binding and connecting sockets. */
#include "shim.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* What the program may write before the world reads: a small fixed buffer for TCP, a large one for datagrams. */
#define TCP_BUFFER 65536
#define UDP_BUFFER (4 << 20)

static int fail(int error)
{
    errno = error;
    return -1;
}

/* A socket of the internet is one end of a pair; the world gets the other. */
EXPORT int socket(int family, int type, int protocol)
{
    int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC), flags = type & (SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (!simulated() || (family != AF_INET && family != AF_INET6))
        return (int)SYS(SYS_socket, family, type, protocol);
    if ((kind == SOCK_STREAM && protocol && protocol != IPPROTO_TCP) ||
        (kind == SOCK_DGRAM && protocol && protocol != IPPROTO_UDP))
        return fail(EPROTONOSUPPORT);
    if (kind != SOCK_STREAM && kind != SOCK_DGRAM)
        return fail(kind == SOCK_RAW ? EPERM : ESOCKTNOSUPPORT);
    int pair[2];
    if (SYS(SYS_socketpair, AF_UNIX, (kind == SOCK_STREAM ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC, 0, pair))
        return -1;
    struct sock *s = sock_new(pair[0], kind, family);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int error = s ? 0 : EMFILE, buffer = kind == SOCK_STREAM ? TCP_BUFFER : UDP_BUFFER;
    if (s) {
        int n = snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "%s/%s", control_name, s->id);
        RAW(SYS_bind, pair[1], &name, offsetof(struct sockaddr_un, sun_path) + 1 + n);
        if (RAW(SYS_setsockopt, pair[0], SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof buffer))
            RAW(SYS_setsockopt, pair[0], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
        error = control_call(pair[1], NULL, 0, "socket %s %s %d", s->id, kind == SOCK_STREAM ? "tcp" : "udp",
                             family == AF_INET ? 4 : 6);
    }
    RAW(SYS_close, pair[1]);
    if (error) {
        table_drop(pair[0]);
        RAW(SYS_close, pair[0]);
        return fail(error);
    }
    if (!(flags & SOCK_CLOEXEC))
        RAW(SYS_fcntl, pair[0], F_SETFD, 0);
    if (flags & SOCK_NONBLOCK)
        no_blocking(pair[0]);
    return pair[0];
}

/* The numbers of a pair are new: what was known of them is not. */
EXPORT int socketpair(int family, int type, int protocol, int pair[2])
{
    int r = (int)SYS(SYS_socketpair, family, type, protocol, pair);
    if (!r && simulated()) {
        kind_forget(pair[0]);
        kind_forget(pair[1]);
    }
    return r;
}

EXPORT int pipe2(int pair[2], int flags)
{
    int r = (int)SYS(SYS_pipe2, pair, flags);
    if (!r && simulated()) {
        kind_forget(pair[0]);
        kind_forget(pair[1]);
    }
    return r;
}

EXPORT int pipe(int pair[2]) { return pipe2(pair, 0); }

static int fresh(int fd)
{
    if (fd >= 0 && simulated())
        kind_forget(fd);
    return fd;
}

EXPORT int eventfd(unsigned value, int flags) { return fresh((int)SYS(SYS_eventfd2, value, flags)); }
EXPORT int epoll_create1(int flags) { return fresh((int)SYS(SYS_epoll_create1, flags)); }
EXPORT int epoll_create(int size) { return size > 0 ? epoll_create1(0) : fail(EINVAL); }

static int set_local(struct sock *s, const char *reply)
{
    char ip[64];
    unsigned port;
    return sscanf(reply, "%63s %u", ip, &port) == 2 ? address_parse(&s->local, ip, port) : EINVAL;
}

int sock_bind(struct sock *s, const struct address *a)
{
    char text[80], reply[128], flags[8] = "";
    address_text(a, text, sizeof text);
    if (option_get(s, SOL_SOCKET, SO_REUSEADDR, 0))
        strcat(flags, "a");
    if (option_get(s, SOL_SOCKET, SO_REUSEPORT, 0))
        strcat(flags, "p");
    if (s->family == AF_INET6 && option_get(s, IPPROTO_IPV6, IPV6_V6ONLY, 0))
        strcat(flags, "6");
    int error = control_call(-1, reply, sizeof reply, "bind %s %s %s", s->id, text, *flags ? flags : "-");
    if (error)
        return error;
    s->state = BOUND;
    return set_local(s, reply);
}

EXPORT int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    struct sock *s = sock_of(fd);
    if (!s)
        return (int)SYS(SYS_bind, fd, address, length);
    struct address a;
    int error = address_read(&a, address, length);
    if (!error && s->state != FRESH)
        error = EINVAL;
    if (!error && s->family == AF_INET && a.family == AF_INET6)
        error = EAFNOSUPPORT;
    if (!error)
        error = sock_bind(s, &a);
    return error ? fail(error) : 0;
}

EXPORT int listen(int fd, int backlog)
{
    struct sock *s = sock_of(fd);
    if (!s)
        return (int)SYS(SYS_listen, fd, backlog);
    if (s->type != SOCK_STREAM)
        return fail(EOPNOTSUPP);
    if (s->state == CONNECTING || s->state == CONNECTED)
        return fail(EINVAL);
    char reply[128];
    int error = control_call(-1, reply, sizeof reply, "listen %s %d", s->id, backlog);
    if (error)
        return fail(error);
    s->state = LISTENING;
    error = set_local(s, reply);
    return error ? fail(error) : 0;
}

EXPORT int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    struct sock *s = sock_of(fd);
    if (!s)
        return (int)SYS(SYS_connect, fd, address, length);
    if (s->type == SOCK_DGRAM)
        return udp_connect(fd, s, address, length);
    struct address a;
    int error = address_read(&a, address, length);
    return error ? fail(error) : tcp_connect(fd, s, &a);
}

int wait_for(int fd, short events, int64_t timeout_ns)
{
    struct pollfd p = {fd, events, 0};
    struct wait w = {.deadline_ns = timeout_ns ? after(timeout_ns) : FOREVER, .fds = &p, .count = 1, .restarts = 1};
    for (;;) {
        if (raw_poll(&p, 1) != 0)
            return 0;
        if (passed(&w))
            return EAGAIN;
        if (park(&w))
            return EINTR;
    }
}
