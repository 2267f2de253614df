/* Reading and writing, whatever the descriptor is. */
#include "shim.h"
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Waits until a read would not block, where the descriptor is one that can block. Returns 0, or EINTR. */
static int before_read(int fd)
{
    if (!simulated() || kind_of(fd) == KIND_OTHER || !blocking(fd))
        return 0;
    return wait_for(fd, POLLIN, 0);
}

/* A descriptor that the table took for a socket, but which stdio closed and somebody else opened since. */
static int was_stale(int fd, ssize_t r)
{
    if (r >= 0 || errno != ENOTSOCK)
        return 0;
    kind_forget(fd);
    return 1;
}

/* Descriptors that came with a message are new. */
static void new_descriptors(struct msghdr *m, ssize_t r)
{
    if (r < 0 || !simulated() || !m->msg_control)
        return;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
            kind_forget(fd);
        }
    }
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
    struct sock *s = sock_of(fd);
    if (s) {
        ssize_t r = s->type == SOCK_STREAM ? tcp_receive(fd, s, m, flags) : udp_receive(fd, s, m, flags);
        if (!was_stale(fd, r))
            return r;
    }
    if (!(flags & MSG_DONTWAIT) && before_read(fd)) {
        errno = EINTR;
        return -1;
    }
    ssize_t r = SYS(SYS_recvmsg, fd, m, flags);
    new_descriptors(m, r);
    return r;
}

EXPORT ssize_t recvfrom(int fd, void *restrict into, size_t size, int flags, struct sockaddr *restrict from,
                        socklen_t *restrict length)
{
    if (sock_of(fd)) {
        struct iovec part = {into, size};
        struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_name = from, .msg_namelen = length ? *length : 0};
        ssize_t r = recvmsg(fd, &m, flags);
        if (r >= 0 && length)
            *length = m.msg_namelen;
        return r;
    }
    if (!(flags & MSG_DONTWAIT) && before_read(fd)) {
        errno = EINTR;
        return -1;
    }
    return SYS(SYS_recvfrom, fd, into, size, flags, from, length);
}

EXPORT ssize_t recv(int fd, void *into, size_t size, int flags) { return recvfrom(fd, into, size, flags, NULL, NULL); }

EXPORT ssize_t readv(int fd, const struct iovec *parts, int count)
{
    if (sock_of(fd)) {
        struct msghdr m = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
        return recvmsg(fd, &m, 0);
    }
    if (simulated() && kind_of(fd) == KIND_CHANCE) {
        ssize_t sum = 0;
        for (int i = 0; i < count; i++) {
            chance_fill(parts[i].iov_base, parts[i].iov_len);
            sum += (ssize_t)parts[i].iov_len;
        }
        return sum;
    }
    if (before_read(fd)) {
        errno = EINTR;
        return -1;
    }
    return SYS(SYS_readv, fd, parts, count);
}

EXPORT ssize_t read(int fd, void *into, size_t size)
{
    if (simulated() && kind_of(fd) != KIND_OTHER) {
        struct iovec part = {into, size};
        enum kind k = kind_of(fd);
        if (k == KIND_TCP || k == KIND_UDP || k == KIND_CHANCE)
            return readv(fd, &part, 1);
        if (before_read(fd)) {
            errno = EINTR;
            return -1;
        }
    }
    return SYS(SYS_read, fd, into, size);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    struct sock *s = sock_of(fd);
    if (s) {
        ssize_t r = s->type == SOCK_STREAM ? tcp_send(fd, s, m, flags) : udp_send(fd, s, m, flags);
        if (!was_stale(fd, r))
            return r;
    }
    return SYS(SYS_sendmsg, fd, m, flags);
}

EXPORT ssize_t sendto(int fd, const void *from, size_t size, int flags, const struct sockaddr *to, socklen_t length)
{
    if (sock_of(fd)) {
        struct iovec part = {(void *)from, size};
        struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_name = (void *)to, .msg_namelen = length};
        return sendmsg(fd, &m, flags);
    }
    return SYS(SYS_sendto, fd, from, size, flags, to, length);
}

EXPORT ssize_t send(int fd, const void *from, size_t size, int flags) { return sendto(fd, from, size, flags, NULL, 0); }

EXPORT ssize_t writev(int fd, const struct iovec *parts, int count)
{
    if (sock_of(fd)) {
        struct msghdr m = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
        return sendmsg(fd, &m, 0);
    }
    return SYS(SYS_writev, fd, parts, count);
}

EXPORT ssize_t write(int fd, const void *from, size_t size)
{
    if (simulated() && kind_of(fd) >= KIND_TCP) {
        struct iovec part = {(void *)from, size};
        return writev(fd, &part, 1);
    }
    return SYS(SYS_write, fd, from, size);
}

EXPORT int sendmmsg(int fd, struct mmsghdr *all, unsigned count, int flags)
{
    if (!sock_of(fd))
        return (int)SYS(SYS_sendmmsg, fd, all, count, flags);
    unsigned done = 0;
    for (; done < count; done++) {
        ssize_t r = sendmsg(fd, &all[done].msg_hdr, flags);
        if (r < 0)
            break;
        all[done].msg_len = (unsigned)r;
    }
    return done || !count ? (int)done : -1;
}

EXPORT int recvmmsg(int fd, struct mmsghdr *all, unsigned count, int flags, struct timespec *timeout)
{
    struct sock *s = sock_of(fd);
    if (!s)
        return (int)SYS(SYS_recvmmsg, fd, all, count, flags, timeout);
    int64_t until = timeout ? after(nanoseconds(timeout)) : FOREVER;
    unsigned done = 0;
    for (; done < count && (!done || now_ns() <= until); done++) {
        int now = done && (flags & MSG_WAITFORONE) ? MSG_DONTWAIT : 0;
        ssize_t r = recvmsg(fd, &all[done].msg_hdr, (flags & ~MSG_WAITFORONE) | now);
        if (r < 0)
            break;
        all[done].msg_len = (unsigned)r;
    }
    return done || !count ? (int)done : -1;
}

/* What a compiler makes of these calls where it knows the buffer's size. */
EXPORT ssize_t __read_chk(int fd, void *into, size_t size, size_t room)
{
    if (size > room)
        abort();
    return read(fd, into, size);
}

EXPORT ssize_t __recv_chk(int fd, void *into, size_t size, size_t room, int flags)
{
    if (size > room)
        abort();
    return recv(fd, into, size, flags);
}

EXPORT ssize_t __recvfrom_chk(int fd, void *restrict into, size_t size, size_t room, int flags,
                              struct sockaddr *restrict from, socklen_t *restrict length)
{
    if (size > room)
        abort();
    return recvfrom(fd, into, size, flags, from, length);
}
