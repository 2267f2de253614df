/* Addresses: their text for the world, their form for the program, getsockname and getpeername. */
#include "shim.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

int address_read(struct address *into, const struct sockaddr *from, socklen_t length)
{
    memset(into, 0, sizeof *into);
    if (!from || length < sizeof(sa_family_t))
        return EINVAL;
    if (from->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *a = (const void *)from;
        into->family = AF_INET;
        into->port = ntohs(a->sin_port);
        memcpy(into->bytes, &a->sin_addr, 4);
        return 0;
    }
    if (from->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6) - 4) {
        const struct sockaddr_in6 *a = (const void *)from;
        into->port = ntohs(a->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&a->sin6_addr)) {
            into->family = AF_INET;
            memcpy(into->bytes, &a->sin6_addr.s6_addr[12], 4);
        } else {
            into->family = AF_INET6;
            memcpy(into->bytes, &a->sin6_addr, 16);
        }
        return 0;
    }
    return EAFNOSUPPORT;
}

/* In the form of the socket's family: an IPv4 address on an IPv6 socket is a mapped one. */
void address_write(const struct address *from, const struct sock *s, struct sockaddr *into, socklen_t *length)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(from->port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(from->port)};
    if (!into || !length)
        return;
    const void *form = &four;
    socklen_t size = sizeof four;
    memcpy(&four.sin_addr, from->bytes, 4);
    if (s->family == AF_INET6) {
        form = &six;
        size = sizeof six;
        if (from->family == AF_INET6) {
            memcpy(&six.sin6_addr, from->bytes, 16);
        } else if (from->family == AF_INET) {
            six.sin6_addr.s6_addr[10] = six.sin6_addr.s6_addr[11] = 0xff;
            memcpy(&six.sin6_addr.s6_addr[12], from->bytes, 4);
        }
    }
    memcpy(into, form, *length < size ? *length : size);
    *length = size;
}

void address_text(const struct address *a, char *into, size_t size)
{
    char ip[INET6_ADDRSTRLEN] = "-";
    if (a->family)
        inet_ntop(a->family, a->bytes, ip, sizeof ip);
    snprintf(into, size, "%s %u", ip, a->port);
}

int address_parse(struct address *into, const char *ip, unsigned port)
{
    memset(into, 0, sizeof *into);
    into->port = (uint16_t)port;
    if (inet_pton(AF_INET, ip, into->bytes) == 1)
        into->family = AF_INET;
    else if (inet_pton(AF_INET6, ip, into->bytes) == 1)
        into->family = AF_INET6;
    else
        return EINVAL;
    return 0;
}

int sock_names(struct sock *s)
{
    char reply[256], state[16], local[64], peer[64];
    unsigned local_port, peer_port;
    int family;
    if (control_call(-1, reply, sizeof reply, "name %s", s->id) ||
        sscanf(reply, "%15s %d %63s %u %63s %u", state, &family, local, &local_port, peer, &peer_port) != 6)
        return -1;
    s->family = family == 6 ? AF_INET6 : AF_INET;
    s->state = !strcmp(state, "listening")    ? LISTENING
               : !strcmp(state, "connecting") ? CONNECTING
               : !strcmp(state, "connected")  ? CONNECTED
               : !strcmp(state, "bound")      ? BOUND
                                              : FRESH;
    address_parse(&s->local, local, local_port);
    address_parse(&s->peer, peer, peer_port);
    return 0;
}

EXPORT int getsockname(int fd, struct sockaddr *restrict into, socklen_t *restrict length)
{
    struct sock *s = sock_of(fd);
    if (!s)
        return (int)SYS(SYS_getsockname, fd, into, length);
    address_write(&s->local, s, into, length);
    return 0;
}

EXPORT int getpeername(int fd, struct sockaddr *restrict into, socklen_t *restrict length)
{
    struct sock *s = sock_of(fd);
    if (!s)
        return (int)SYS(SYS_getpeername, fd, into, length);
    if (s->type == SOCK_STREAM)
        tcp_connect_settle(fd, s);
    if (!s->peer.family || (s->type == SOCK_STREAM && s->state != CONNECTED)) {
        errno = ENOTCONN;
        return -1;
    }
    address_write(&s->peer, s, into, length);
    return 0;
}
