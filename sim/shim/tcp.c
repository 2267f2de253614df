/* TCP: streams, listeners, outgoing connections, aborts. */
#include "shim.h"
#include <alloca.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A connection that comes in is one record of this size on the listener, with the new descriptor. */
#define ACCEPT_BYTES 192

static int fail(int error)
{
    errno = error;
    return -1;
}

/* ---- connections that come in ---- */

EXPORT int accept4(int fd, struct sockaddr *restrict into, socklen_t *restrict length, int flags)
{
    struct sock *l = sock_of(fd);
    if (!l) {
        if (simulated() && kind_of(fd) == KIND_BLOCKING && blocking(fd) && wait_for(fd, POLLIN, 0))
            return fail(EINTR);
        int made = (int)SYS(SYS_accept4, fd, into, length, flags);
        if (made >= 0 && simulated())
            kind_forget(made);
        return made;
    }
    if (l->type != SOCK_STREAM)
        return fail(EOPNOTSUPP);
    if (l->state != LISTENING)
        return fail(EINVAL);
    for (;;) {
        char record[ACCEPT_BYTES + 1], room[CMSG_SPACE(sizeof(int))];
        struct iovec part = {record, ACCEPT_BYTES};
        struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
        long r = RAW(SYS_recvmsg, fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (r == -EAGAIN) {
            if (!blocking(fd))
                return fail(EAGAIN);
            int error = wait_for(fd, POLLIN, l->receive_timeout_ns);
            if (error)
                return fail(error);
            continue;
        }
        if (r <= 0)
            return fail(r ? (int)-r : EINVAL); /* 0: shut down by the program */
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        if (!c || c->cmsg_type != SCM_RIGHTS)
            return fail(m.msg_flags & MSG_CTRUNC ? EMFILE : EPROTO);
        int made;
        memcpy(&made, CMSG_DATA(c), sizeof made);
        record[r] = 0;
        char id[ID_BYTES], peer[64], local[64];
        unsigned peer_port, local_port;
        if (sscanf(record, "%23s %63s %u %63s %u", id, peer, &peer_port, local, &local_port) != 5)
            return fail(EPROTO);
        struct sock *s = sock_new(made, SOCK_STREAM, l->family);
        if (!s) {
            RAW(SYS_close, made);
            return fail(EMFILE);
        }
        memcpy(s->id, id, sizeof id);
        s->state = CONNECTED;
        address_parse(&s->peer, peer, peer_port);
        address_parse(&s->local, local, local_port);
        if (!(flags & SOCK_CLOEXEC))
            RAW(SYS_fcntl, made, F_SETFD, 0);
        if (flags & SOCK_NONBLOCK)
            no_blocking(made);
        int buffer = 65536;
        RAW(SYS_setsockopt, made, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
        address_write(&s->peer, s, into, length);
        return made;
    }
}

EXPORT int accept(int fd, struct sockaddr *restrict into, socklen_t *restrict length)
{
    return accept4(fd, into, length, 0);
}

/* ---- connections that go out ---- */

/* Until the connection stands the descriptor must not be writable: its buffer is filled, and the world takes the
 * filler out when the handshake is done. */
static long fill(int fd)
{
    static const char zeros[4096];
    long sum = 0, r;
    while ((r = RAW(SYS_sendto, fd, zeros, sizeof zeros, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0)) > 0)
        sum += r;
    return sum;
}

void tcp_connect_settle(int fd, struct sock *s)
{
    if (s->state != CONNECTING)
        return;
    struct pollfd p = {fd, POLLOUT, 0};
    if (raw_poll(&p, 1) <= 0)
        return;
    if (p.revents & (POLLERR | POLLHUP)) {
        s->state = FAILED;
        if (!s->error)
            s->error = ECONNREFUSED;
    } else {
        s->state = CONNECTED;
    }
}

static int outcome(int fd, struct sock *s)
{
    tcp_connect_settle(fd, s);
    if (s->state == CONNECTED)
        return 0;
    int error = s->error ? s->error : ECONNABORTED;
    s->error = 0;
    return fail(error);
}

int tcp_connect(int fd, struct sock *s, const struct address *to)
{
    tcp_connect_settle(fd, s);
    if (s->state == CONNECTED)
        return fail(EISCONN);
    if (s->state == LISTENING)
        return fail(EISCONN);
    if (s->state == FAILED)
        return outcome(fd, s);
    if (s->state == CONNECTING && !blocking(fd))
        return fail(EALREADY);
    if (s->state != CONNECTING) {
        char text[80], reply[128], ip[64];
        unsigned port;
        address_text(to, text, sizeof text);
        long filler = fill(fd);
        int error = control_call(-1, reply, sizeof reply, "connect %s %s %ld", s->id, text, filler);
        if (error)
            return fail(error);
        s->state = CONNECTING;
        s->peer = *to;
        if (sscanf(reply, "%63s %u", ip, &port) == 2)
            address_parse(&s->local, ip, port);
        if (!blocking(fd))
            return fail(EINPROGRESS);
    }
    int error = wait_for(fd, POLLOUT, s->send_timeout_ns);
    if (error)
        return fail(error == EAGAIN ? EINPROGRESS : error);
    return outcome(fd, s);
}

/* ---- what the world decides ---- */

/* A byte that the world has not read turns the end of its descriptor into ECONNRESET here: the kernel's own rule. */
const char *tcp_reset(const char *id)
{
    struct sock *s = sock_by_id(id);
    if (!s)
        return "unknown";
    s->reset = 1;
    RAW(SYS_sendto, s->fd, "!", 1, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
    return "poisoned";
}

void tcp_failed(const char *id, int error)
{
    struct sock *s = sock_by_id(id);
    if (s)
        s->error = error;
}

/* ---- bytes ---- */

volatile int writes_wait;

static int not_connected(int fd, struct sock *s)
{
    tcp_connect_settle(fd, s);
    if (s->state == FAILED && s->error) {
        int error = s->error;
        s->error = 0;
        return error;
    }
    return s->state == FRESH || s->state == BOUND || s->state == LISTENING ? ENOTCONN : 0;
}

ssize_t tcp_receive(int fd, struct sock *s, struct msghdr *user, int flags)
{
    int error = s->state == CONNECTED ? 0 : not_connected(fd, s);
    user->msg_namelen = 0;
    user->msg_controllen = 0;
    user->msg_flags = 0;
    if (error)
        return fail(error);
    if (flags & (MSG_ERRQUEUE | MSG_OOB))
        return fail(flags & MSG_OOB ? EINVAL : EAGAIN);
    struct iovec first = {user->msg_iovlen ? user->msg_iov[0].iov_base : NULL,
                          user->msg_iovlen ? user->msg_iov[0].iov_len : 0};
    size_t done = 0;
    int all = (flags & MSG_WAITALL) && user->msg_iovlen == 1 && !(flags & (MSG_PEEK | MSG_DONTWAIT)) && blocking(fd);
    for (;;) {
        struct msghdr m = {.msg_iov = all ? &first : user->msg_iov, .msg_iovlen = user->msg_iovlen};
        long r = RAW(SYS_recvmsg, fd, &m, (flags & (MSG_PEEK | MSG_TRUNC)) | MSG_DONTWAIT);
        if (r > 0) {
            done += (size_t)r;
            if (!all || (size_t)r == first.iov_len)
                return (ssize_t)done;
            first.iov_base = (char *)first.iov_base + r;
            first.iov_len -= (size_t)r;
            continue;
        }
        if (r == -EAGAIN && !(flags & MSG_DONTWAIT) && blocking(fd)) {
            error = wait_for(fd, POLLIN, s->receive_timeout_ns);
            if (!error)
                continue;
            return done ? (ssize_t)done : fail(error);
        }
        if (done)
            return (ssize_t)done;
        if (r == 0 && s->reset == 1) {
            s->reset = 2;
            return fail(ECONNRESET);
        }
        if (r == -ECONNRESET)
            s->reset = 2;
        return r < 0 ? fail((int)-r) : 0;
    }
}

static int broken(int fd, struct sock *s, int flags)
{
    int error = 0;
    socklen_t size = sizeof error;
    RAW(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == ECONNRESET) {
        s->reset = 2;
        return fail(ECONNRESET);
    }
    if (!(flags & MSG_NOSIGNAL)) {
        long tid = RAW(SYS_gettid);
        RAW(SYS_tgkill, real_pid, tid, SIGPIPE);
    }
    return fail(EPIPE);
}

ssize_t tcp_send(int fd, struct sock *s, const struct msghdr *user, int flags)
{
    int error = s->state == CONNECTED ? 0 : not_connected(fd, s);
    if (error)
        return fail(error == ENOTCONN ? EPIPE : error);
    size_t count = user->msg_iovlen, done = 0;
    if (count > 1024)
        return fail(EMSGSIZE);
    struct iovec *parts = alloca((count + 1) * sizeof *parts);
    memcpy(parts, user->msg_iov, count * sizeof *parts);
    int waits = !(flags & MSG_DONTWAIT) && blocking(fd);
    for (;;) {
        struct msghdr m = {.msg_iov = parts, .msg_iovlen = count};
        long r = RAW(SYS_sendmsg, fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (r >= 0) {
            done += (size_t)r;
            while (count && (size_t)r >= parts->iov_len) {
                r -= (long)parts->iov_len;
                parts++;
                count--;
            }
            writes_wait |= count != 0;
            if (!count || !waits)
                return (ssize_t)done;
            parts->iov_base = (char *)parts->iov_base + r;
            parts->iov_len -= (size_t)r;
            continue;
        }
        writes_wait |= r == -EAGAIN;
        if (r == -EAGAIN && waits) {
            error = wait_for(fd, POLLOUT, s->send_timeout_ns);
            if (!error)
                continue;
            return done ? (ssize_t)done : fail(error);
        }
        if (done)
            return (ssize_t)done;
        return r == -EPIPE ? broken(fd, s, flags) : fail((int)-r);
    }
}

EXPORT int shutdown(int fd, int how)
{
    struct sock *s = sock_of(fd);
    if (!s)
        return (int)SYS(SYS_shutdown, fd, how);
    if (s->type == SOCK_DGRAM)
        return s->peer.family ? 0 : fail(ENOTCONN);
    tcp_connect_settle(fd, s);
    if (s->state != CONNECTED && s->state != LISTENING && s->state != CONNECTING)
        return fail(ENOTCONN);
    return (int)SYS(SYS_shutdown, fd, how);
}
