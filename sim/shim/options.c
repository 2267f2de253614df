/* Socket options and ioctl. Options that steer a real network are kept and shown again, and steer nothing. */
#include "shim.h"
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <linux/sockios.h>

static int fail(int error)
{
    errno = error;
    return -1;
}

int option_get(const struct sock *s, int level, int name, int otherwise)
{
    for (int i = 0; i < s->option_count; i++)
        if (s->options[i].level == level && s->options[i].name == name)
            return s->options[i].value;
    return otherwise;
}

static void option_put(struct sock *s, int level, int name, int value)
{
    for (int i = 0; i < s->option_count; i++)
        if (s->options[i].level == level && s->options[i].name == name) {
            s->options[i].value = value;
            return;
        }
    if (s->option_count < (int)(sizeof s->options / sizeof *s->options))
        s->options[s->option_count++] = (struct option){level, name, value};
}

static int64_t of_timeval(const void *value, socklen_t length)
{
    struct timeval t = {0, 0};
    memcpy(&t, value, length < sizeof t ? length : sizeof t);
    return t.tv_sec * SECOND_NS + t.tv_usec * 1000;
}

EXPORT int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    struct sock *s = sock_of(fd);
    if (!s)
        return (int)SYS(SYS_setsockopt, fd, level, name, value, length);
    int number = 0;
    if (value)
        memcpy(&number, value, length < sizeof number ? length : sizeof number);
    if (level == SOL_SOCKET && name == SO_LINGER) {
        struct linger l = {0, 0};
        if (length < sizeof l)
            return fail(EINVAL);
        memcpy(&l, value, sizeof l);
        s->linger_zero = l.l_onoff && l.l_linger == 0;
        return 0;
    }
    if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO)) {
        *(name == SO_RCVTIMEO ? &s->receive_timeout_ns : &s->send_timeout_ns) = of_timeval(value, length);
        return 0;
    }
    /* Segmentation by the kernel: the program falls back to single datagrams. */
    if (s->type == SOCK_DGRAM && level == IPPROTO_UDP && (name == UDP_SEGMENT || name == UDP_GRO))
        return fail(ENOPROTOOPT);
    if (s->type == SOCK_DGRAM && level == IPPROTO_TCP)
        return fail(ENOPROTOOPT);
    if (level == SOL_SOCKET && name == SO_ZEROCOPY)
        return fail(EOPNOTSUPP);
    option_put(s, level, name, number);
    return 0;
}

static int give(void *into, socklen_t *length, const void *from, socklen_t size)
{
    if (*length > size)
        *length = size;
    memcpy(into, from, *length);
    return 0;
}

static int give_int(void *into, socklen_t *length, int value) { return give(into, length, &value, sizeof value); }

static int pending_error(int fd, struct sock *s)
{
    int error = 0;
    socklen_t size = sizeof error;
    int connecting = s->state == CONNECTING;
    if (s->type == SOCK_STREAM)
        tcp_connect_settle(fd, s);
    RAW(SYS_getsockopt, fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (s->state == FAILED) {
        int why = s->error;
        s->error = 0;
        return why ? why : connecting ? ECONNREFUSED : 0;
    }
    if (s->reset == 1 && error == ECONNRESET)
        s->reset = 2;
    return error;
}

EXPORT int getsockopt(int fd, int level, int name, void *restrict into, socklen_t *restrict length)
{
    struct sock *s = sock_of(fd);
    if (!s)
        return (int)SYS(SYS_getsockopt, fd, level, name, into, length);
    int otherwise = 0;
    if (level == SOL_SOCKET) {
        switch (name) {
        case SO_TYPE:
            return give_int(into, length, s->type);
        case SO_DOMAIN:
            return give_int(into, length, s->family);
        case SO_PROTOCOL:
            return give_int(into, length, s->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP);
        case SO_ACCEPTCONN:
            return give_int(into, length, s->state == LISTENING);
        case SO_ERROR:
            return give_int(into, length, pending_error(fd, s));
        case SO_SNDBUF:
        case SO_RCVBUF: {
            int set = option_get(s, level, name, 0);
            return give_int(into, length, set ? 2 * set : s->type == SOCK_STREAM ? 131072 : 212992);
        }
        case SO_LINGER: {
            struct linger l = {s->linger_zero, 0};
            return give(into, length, &l, sizeof l);
        }
        case SO_RCVTIMEO:
        case SO_SNDTIMEO: {
            int64_t ns = name == SO_RCVTIMEO ? s->receive_timeout_ns : s->send_timeout_ns;
            struct timeval t = {ns / SECOND_NS, ns % SECOND_NS / 1000};
            return give(into, length, &t, sizeof t);
        }
        case SO_PEERCRED:
            return fail(ENOPROTOOPT);
        }
    } else if (level == IPPROTO_TCP && s->type == SOCK_STREAM) {
        if (name == TCP_INFO) {
            struct tcp_info i;
            memset(&i, 0, sizeof i);
            i.tcpi_state = s->state == CONNECTED ? TCP_ESTABLISHED : s->state == LISTENING ? TCP_LISTEN : TCP_CLOSE;
            i.tcpi_snd_mss = i.tcpi_rcv_mss = i.tcpi_advmss = 1460;
            return give(into, length, &i, sizeof i);
        }
        if (name == TCP_CONGESTION)
            return give(into, length, "cubic", 6);
        otherwise = name == TCP_MAXSEG ? 1460 : 0;
    } else if ((level == IPPROTO_IP && name == IP_TTL) || (level == IPPROTO_IPV6 && name == IPV6_UNICAST_HOPS)) {
        otherwise = 64;
    } else if ((level == IPPROTO_IP && name == IP_MTU) || (level == IPPROTO_IPV6 && name == IPV6_MTU)) {
        otherwise = 1500;
    }
    return give_int(into, length, option_get(s, level, name, otherwise));
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list v;
    va_start(v, request);
    void *with = va_arg(v, void *);
    va_end(v);
    struct sock *s = sock_of(fd);
    if (s && request == FIONREAD && s->type == SOCK_DGRAM) {
        *(int *)with = udp_first_bytes(fd);
        return 0;
    }
    /* The interfaces of the real machine are none of the program's; getifaddrs shows the simulated ones. */
    if (s && request >= SIOCADDRT && request <= SIOCGIFMAP)
        return fail(ENODEV);
    return (int)SYS(SYS_ioctl, fd, request, with);
}
