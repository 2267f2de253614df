/* UDP in all its calls. A test host at 203.0.113.9 echoes. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    int fd = socket(AF_INET, SOCK_DGRAM, 0), one = 1, n;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(5000)}, echo = {.sin_family = AF_INET, .sin_port = htons(7)}, from;
    inet_pton(AF_INET, "203.0.113.9", &echo.sin_addr);
    socklen_t l = sizeof from;
    char b[70000] = {0};
    printf("bind %d\n", bind(fd, (void *)&a, sizeof a));
    int other = socket(AF_INET, SOCK_DGRAM, 0);
    int r = bind(other, (void *)&a, sizeof a); printf("taken %d %s\n", r, strerrorname_np(errno));
    printf("sendto %zd\n", sendto(fd, "hello", 5, 0, (void *)&echo, sizeof echo));
    printf("recvfrom %zd", recvfrom(fd, b, sizeof b, 0, (void *)&from, &l)); printf(" %s %d %s\n", b, ntohs(from.sin_port), inet_ntoa(from.sin_addr));
    setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, 4); setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &one, 4);
    char c[256]; struct iovec v[2] = {{b, 3}, {b + 10, 100}};
    struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = v, .msg_iovlen = 2};
    sendto(fd, "abcdef", 6, 0, (void *)&echo, sizeof echo);
    m.msg_control = c; m.msg_controllen = sizeof c;
    printf("recvmsg %zd %.3s %.3s\n", recvmsg(fd, &m, 0), b, b + 10);
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
        if (h->cmsg_type == IP_PKTINFO) printf("pktinfo %s\n", inet_ntoa(((struct in_pktinfo *)CMSG_DATA(h))->ipi_addr));
        else printf("ttl %d\n", *(int *)CMSG_DATA(h));
    struct mmsghdr mm[3]; struct iovec w[3]; char q[3][20];
    memset(mm, 0, sizeof mm);
    for (int i = 0; i < 3; i++) { w[i] = (struct iovec){"xyz", (size_t)i + 1}; mm[i].msg_hdr = (struct msghdr){.msg_iov = &w[i], .msg_iovlen = 1, .msg_name = &echo, .msg_namelen = sizeof echo}; }
    printf("sendmmsg %d\n", sendmmsg(fd, mm, 3, 0));
    struct pollfd p = {fd, POLLIN, 0}; poll(&p, 1, 1000); ioctl(fd, FIONREAD, &n); printf("FIONREAD %d\n", n);
    usleep(1000);
    for (int i = 0; i < 3; i++) { w[i] = (struct iovec){q[i], 20}; mm[i].msg_hdr = (struct msghdr){.msg_iov = &w[i], .msg_iovlen = 1}; }
    r = recvmmsg(fd, mm, 3, MSG_WAITFORONE, 0); printf("recvmmsg %d:", r); for (int i = 0; i < r; i++) printf(" %u", mm[i].msg_len); printf("\n");
    sendto(fd, "truncated", 9, 0, (void *)&echo, sizeof echo);
    v[0].iov_len = 4; m.msg_iovlen = 1; m.msg_control = 0;
    printf("short %zd", recvmsg(fd, &m, 0)); printf(" %d\n", (m.msg_flags & MSG_TRUNC) != 0);
    r = (int)sendto(fd, b, 65508, 0, (void *)&echo, sizeof echo); printf("too long %d %s\n", r, strerrorname_np(errno));
    r = (int)sendto(fd, "", 0, 0, (void *)&echo, sizeof echo); printf("empty %d", r); printf(" %zd\n", recv(fd, b, 10, 0));
    int sent = 0; for (int i = 0; i < 3000; i++) sent += sendto(fd, b, 1200, MSG_DONTWAIT, (void *)&echo, sizeof echo) == 1200;
    printf("burst %d\n", sent); usleep(50000); while (recv(fd, b, sizeof b, MSG_DONTWAIT) > 0) ;
    int con = socket(AF_INET, SOCK_DGRAM, 0);
    r = (int)write(con, "x", 1); printf("no address %d %s\n", r, strerrorname_np(errno));
    printf("connect %d\n", connect(con, (void *)&echo, sizeof echo)); l = sizeof from; getsockname(con, (void *)&from, &l);
    printf("local %s %d\n", inet_ntoa(from.sin_addr), ntohs(from.sin_port));
    write(con, "by write", 8); printf("by read %zd\n", read(con, b, 100));
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_port = htons(4999)}; inet_pton(AF_INET, "127.0.0.1", &self.sin_addr);
    int un = socket(AF_INET, SOCK_DGRAM, 0); connect(un, (void *)&self, sizeof self); send(un, "?", 1, 0);
    r = (int)recv(un, b, 10, 0); printf("unreachable %d %s\n", r, strerrorname_np(errno));
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(6000)}, f6; int s6 = socket(AF_INET6, SOCK_DGRAM, 0);
    printf("bind6 %d\n", bind(s6, (void *)&six, sizeof six));
    self.sin_port = htons(6000); sendto(un = socket(AF_INET, SOCK_DGRAM, 0), "to six", 6, 0, (void *)&self, sizeof self);
    l = sizeof f6; char ip[64]; r = (int)recvfrom(s6, b, 100, 0, (void *)&f6, &l); printf("six %d %s\n", r, inet_ntop(AF_INET6, &f6.sin6_addr, ip, 64));
    struct timeval tv = {0, 70000}; setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    struct timespec t, u; clock_gettime(CLOCK_MONOTONIC, &t); r = (int)recv(fd, b, 9, 0); int e = errno; clock_gettime(CLOCK_MONOTONIC, &u);
    printf("timeout %d %s %ld\n", r, strerrorname_np(e), (u.tv_sec - t.tv_sec) * 1000 + (u.tv_nsec - t.tv_nsec) / 1000000);
    return 0;
}
