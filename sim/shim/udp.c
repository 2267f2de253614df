/* UDP: each datagram is one record behind a header of 40 bytes that says between whom it travels (PROTOCOL.md). */
#include "shim.h"
#include <alloca.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>

#define PAYLOAD_MAX 65507
enum { HAS_LOCAL = 1, IS_ERROR = 2 };
struct header {
    uint8_t family, flags;
    uint16_t remote_port;       /* network byte order, as the other numbers */
    uint8_t remote[16];
    uint16_t local_port;
    uint8_t traffic_class;      /* of an error: its errno */
    uint8_t hop_limit;
    uint8_t local[16];
};
_Static_assert(sizeof(struct header) == 40, "the header's size is part of the protocol");

static int fail(int error)
{
    errno = error;
    return -1;
}

int udp_connect(int fd, struct sock *s, const struct sockaddr *address, socklen_t length)
{
    (void)fd;
    struct address a;
    char text[80], reply[128], ip[64];
    unsigned port;
    if (address && length >= sizeof(sa_family_t) && address->sa_family == AF_UNSPEC) {
        s->peer.family = 0;
        int error = control_call(-1, NULL, 0, "connect %s - 0 0", s->id);
        return error ? fail(error) : 0;
    }
    int error = address_read(&a, address, length);
    if (error)
        return fail(error);
    address_text(&a, text, sizeof text);
    error = control_call(-1, reply, sizeof reply, "connect %s %s 0", s->id, text);
    if (error)
        return fail(error);
    if (sscanf(reply, "%63s %u", ip, &port) == 2)
        address_parse(&s->local, ip, port);
    s->peer = a;
    if (s->state == FRESH)
        s->state = BOUND;
    return 0;
}

static void control_put(struct msghdr *m, size_t *used, int level, int type, const void *data, size_t size)
{
    if (!m->msg_control || *used + CMSG_SPACE(size) > m->msg_controllen) {
        m->msg_flags |= MSG_CTRUNC;
        return;
    }
    struct cmsghdr *c = (struct cmsghdr *)((char *)m->msg_control + *used);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), data, size);
    *used += CMSG_SPACE(size);
}

/* The control messages that the program asked for. */
static void controls(const struct sock *s, const struct header *h, struct msghdr *m)
{
    size_t used = 0;
    int class = h->traffic_class, hops = h->hop_limit;
    uint8_t tos = h->traffic_class;
    if (option_get(s, SOL_SOCKET, SO_TIMESTAMP, 0)) {
        int64_t ns = wall_ns();
        struct timeval t = {ns / SECOND_NS, ns % SECOND_NS / 1000};
        control_put(m, &used, SOL_SOCKET, SO_TIMESTAMP, &t, sizeof t);
    }
    if (option_get(s, SOL_SOCKET, SO_TIMESTAMPNS, 0)) {
        int64_t ns = wall_ns();
        struct timespec t = {ns / SECOND_NS, ns % SECOND_NS};
        control_put(m, &used, SOL_SOCKET, SO_TIMESTAMPNS, &t, sizeof t);
    }
    if (h->family == 4 && option_get(s, IPPROTO_IP, IP_PKTINFO, 0)) {
        struct in_pktinfo i = {.ipi_ifindex = 2};
        memcpy(&i.ipi_addr, h->local, 4);
        memcpy(&i.ipi_spec_dst, h->local, 4);
        control_put(m, &used, IPPROTO_IP, IP_PKTINFO, &i, sizeof i);
    }
    if (s->family == AF_INET6 && option_get(s, IPPROTO_IPV6, IPV6_RECVPKTINFO, 0)) {
        struct in6_pktinfo i = {.ipi6_ifindex = 2};
        if (h->family == 6) {
            memcpy(&i.ipi6_addr, h->local, 16);
        } else {
            i.ipi6_addr.s6_addr[10] = i.ipi6_addr.s6_addr[11] = 0xff;
            memcpy(&i.ipi6_addr.s6_addr[12], h->local, 4);
        }
        control_put(m, &used, IPPROTO_IPV6, IPV6_PKTINFO, &i, sizeof i);
    }
    if (h->family == 4 && option_get(s, IPPROTO_IP, IP_RECVTOS, 0))
        control_put(m, &used, IPPROTO_IP, IP_TOS, &tos, sizeof tos);
    if (h->family == 4 && option_get(s, IPPROTO_IP, IP_RECVTTL, 0))
        control_put(m, &used, IPPROTO_IP, IP_TTL, &hops, sizeof hops);
    if (h->family == 6 && option_get(s, IPPROTO_IPV6, IPV6_RECVTCLASS, 0))
        control_put(m, &used, IPPROTO_IPV6, IPV6_TCLASS, &class, sizeof class);
    if (h->family == 6 && option_get(s, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 0))
        control_put(m, &used, IPPROTO_IPV6, IPV6_HOPLIMIT, &hops, sizeof hops);
    m->msg_controllen = used;
}

ssize_t udp_receive(int fd, struct sock *s, struct msghdr *user, int flags)
{
    if (flags & MSG_ERRQUEUE)
        return fail(EAGAIN);
    size_t count = user->msg_iovlen, room = 0;
    if (count > 1024)
        return fail(EMSGSIZE);
    struct iovec *parts = alloca((count + 1) * sizeof *parts);
    struct header h;
    memset(&h, 0, sizeof h);
    parts[0] = (struct iovec){&h, sizeof h};
    for (size_t i = 0; i < count; i++) {
        parts[i + 1] = user->msg_iov[i];
        room += user->msg_iov[i].iov_len;
    }
    for (;;) {
        struct msghdr m = {.msg_iov = parts, .msg_iovlen = count + 1};
        long r = RAW(SYS_recvmsg, fd, &m, (flags & MSG_PEEK) | MSG_DONTWAIT | MSG_TRUNC);
        if (r == -EAGAIN && !(flags & MSG_DONTWAIT) && blocking(fd)) {
            int error = wait_for(fd, POLLIN, s->receive_timeout_ns);
            if (error)
                return fail(error);
            continue;
        }
        if (r < (long)sizeof h)
            return fail(r < 0 ? (int)-r : ENETDOWN);
        if (h.flags & IS_ERROR) {
            if (flags & MSG_PEEK)
                RAW(SYS_recvfrom, fd, &h, sizeof h, MSG_DONTWAIT, 0, 0);
            return fail(h.traffic_class);
        }
        size_t size = (size_t)r - sizeof h;
        struct address a = {.family = h.family == 6 ? AF_INET6 : AF_INET, .port = ntohs(h.remote_port)};
        memcpy(a.bytes, h.remote, 16);
        user->msg_flags = size > room ? MSG_TRUNC : 0;
        if (user->msg_name)
            address_write(&a, s, user->msg_name, &user->msg_namelen);
        if (user->msg_control)
            controls(s, &h, user);
        return (ssize_t)(size > room && !(flags & MSG_TRUNC) ? room : size);
    }
}

/* The source address that a control message asks for, and the traffic class. */
static void wishes(const struct msghdr *user, struct header *h)
{
    for (struct cmsghdr *c = user->msg_control ? CMSG_FIRSTHDR(user) : NULL; c; c = CMSG_NXTHDR((struct msghdr *)user, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo i;
            memcpy(&i, CMSG_DATA(c), sizeof i);
            memcpy(h->local, &i.ipi_spec_dst, 4);
            h->flags |= i.ipi_spec_dst.s_addr ? HAS_LOCAL : 0;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo i;
            memcpy(&i, CMSG_DATA(c), sizeof i);
            if (IN6_IS_ADDR_V4MAPPED(&i.ipi6_addr))
                memcpy(h->local, &i.ipi6_addr.s6_addr[12], 4);
            else
                memcpy(h->local, &i.ipi6_addr, 16);
            h->flags |= IN6_IS_ADDR_UNSPECIFIED(&i.ipi6_addr) ? 0 : HAS_LOCAL;
        } else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) ||
                   (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)) {
            h->traffic_class = *CMSG_DATA(c);
        } else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) ||
                   (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT)) {
            h->hop_limit = *CMSG_DATA(c);
        }
    }
}

ssize_t udp_send(int fd, struct sock *s, const struct msghdr *user, int flags)
{
    struct address to = s->peer;
    if (user->msg_name) {
        int error = address_read(&to, user->msg_name, user->msg_namelen);
        if (error)
            return fail(error);
    }
    if (!to.family)
        return fail(user->msg_name ? EINVAL : EDESTADDRREQ);
    if (s->family == AF_INET && to.family == AF_INET6)
        return fail(EAFNOSUPPORT);
    size_t count = user->msg_iovlen, size = 0;
    if (count > 1024)
        return fail(EMSGSIZE);
    struct iovec *parts = alloca((count + 1) * sizeof *parts);
    for (size_t i = 0; i < count; i++) {
        parts[i + 1] = user->msg_iov[i];
        size += user->msg_iov[i].iov_len;
    }
    if (size > PAYLOAD_MAX)
        return fail(EMSGSIZE);
    if (s->state == FRESH) {
        struct address any = {.family = s->family};
        int error = sock_bind(s, &any);
        if (error)
            return fail(error);
    }
    struct header h = {.family = to.family == AF_INET6 ? 6 : 4,
                       .remote_port = htons(to.port),
                       .local_port = htons(s->local.port),
                       .traffic_class = (uint8_t)(to.family == AF_INET6 ? option_get(s, IPPROTO_IPV6, IPV6_TCLASS, 0)
                                                                        : option_get(s, IPPROTO_IP, IP_TOS, 0)),
                       .hop_limit = (uint8_t)(to.family == AF_INET6 ? option_get(s, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 64)
                                                                    : option_get(s, IPPROTO_IP, IP_TTL, 64))};
    memcpy(h.remote, to.bytes, 16);
    wishes(user, &h);
    parts[0] = (struct iovec){&h, sizeof h};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = count + 1};
    for (int tries = 0;; tries++) {
        long r = RAW(SYS_sendmsg, fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (r >= 0)
            return (ssize_t)size;
        if (r != -EAGAIN)
            return fail(r == -EPIPE ? ENETDOWN : (int)-r);
        /* UDP does not wait for the network: the world takes at once what it has not. */
        if (tries == 0 && !control_call(-1, NULL, 0, "flush %s", s->id))
            continue;
        return fail(flags & MSG_DONTWAIT || !blocking(fd) ? EAGAIN : ENOBUFS);
    }
}

int udp_first_bytes(int fd)
{
    struct header h;
    long r = RAW(SYS_recvfrom, fd, &h, sizeof h, MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC, 0, 0);
    return r > (long)sizeof h ? (int)(r - (long)sizeof h) : 0;
}
