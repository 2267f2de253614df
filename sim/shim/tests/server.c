/* A TCP server with epoll: what it sees of its clients, line by line. Commands come as the first byte. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void name(const char *what, int fd, int (*get)(int, struct sockaddr *, socklen_t *))
{
    struct sockaddr_storage s;
    socklen_t n = sizeof s;
    char ip[64] = "-";
    if (get(fd, (void *)&s, &n)) { printf("%s %s\n", what, strerrorname_np(errno)); return; }
    if (s.ss_family == AF_INET) inet_ntop(AF_INET, &((struct sockaddr_in *)&s)->sin_addr, ip, 64);
    else inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&s)->sin6_addr, ip, 64);
    printf("%s %s %d\n", what, ip, ntohs(((struct sockaddr_in *)&s)->sin_port));
}
static int bound(int family, int port, int v6only, int reuseport)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in six[2] = {0};
    struct sockaddr_in *a = six;
    struct sockaddr_in6 *b = (void *)six;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, 4);
    if (reuseport) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, 4);
    if (family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, 4);
    a->sin_family = family; a->sin_port = htons(port);
    int r = bind(fd, (void *)a, family == AF_INET ? sizeof *a : sizeof *b);
    if (r) { printf("bind %d %s\n", port, strerrorname_np(errno)); close(fd); return -1; }
    r = listen(fd, 16);
    printf("listens %d %d\n", port, r);
    return fd;
}
int main(void)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    int ep = epoll_create1(0), l[4], one = 1;
    l[0] = bound(AF_INET6, 8080, 0, 0);
    l[1] = bound(AF_INET, 8080, 0, 0);          /* taken by the dual-stack one */
    l[1] = bound(AF_INET, 9090, 0, 1);
    l[2] = bound(AF_INET, 9090, 0, 1);          /* SO_REUSEPORT */
    l[3] = bound(AF_INET, 0, 0, 0);
    name("auto", l[3], getsockname);
    for (int i = 0; i < 4; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.fd = l[i]};
        epoll_ctl(ep, EPOLL_CTL_ADD, l[i], &e);
    }
    for (;;) {
        struct epoll_event out[8];
        int n = epoll_wait(ep, out, 8, -1);
        for (int i = 0; i < n; i++) {
            int fd = out[i].data.fd, listening = 0;
            socklen_t size = sizeof listening;
            getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size);
            if (listening) {
                struct sockaddr_storage s; socklen_t sl = sizeof s;
                for (int c; (c = accept4(fd, (void *)&s, &sl, SOCK_NONBLOCK)) >= 0;) {
                    printf("accepted by %d as %d\n", fd, c);
                    name("peer", c, getpeername); name("local", c, getsockname);
                    printf("nodelay %d\n", setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, 4));
                    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = c};
                    epoll_ctl(ep, EPOLL_CTL_ADD, c, &e);
                }
                continue;
            }
            int waiting = 0, error = 0; size = 4;
            ioctl(fd, FIONREAD, &waiting);
            printf("event %x waiting %d\n", out[i].events, waiting);
            for (;;) {
                static char b[1 << 20];
                ssize_t r = recv(fd, b, sizeof b, 0);
                if (r < 0 && errno == EAGAIN) break;
                if (r <= 0) {
                    printf("%d read %zd %s\n", fd, r, r ? strerrorname_np(errno) : "-");
                    if (r < 0) { getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size); printf("SO_ERROR %d\n", error); }
                    r = send(fd, "late", 4, MSG_NOSIGNAL);
                    printf("late send %zd %s\n", r, r < 0 ? strerrorname_np(errno) : "-");
                    close(fd);
                    break;
                }
                printf("%d got %zd %.8s\n", fd, r, b);
                if (*b == 'e') write(fd, b, r);
                if (*b == 'q') { struct linger g = {1, 0}; setsockopt(fd, SOL_SOCKET, SO_LINGER, &g, sizeof g); close(fd); break; }
                if (*b == 'h') { write(fd, "half", 4); shutdown(fd, SHUT_WR); }
                if (*b == 'c') { close(fd); break; }
                if (*b == 'x') { for (int k = 0; k < 4; k++) close(l[k]); }
                if (*b == 'b') {
                    ssize_t sum = 0;
                    while ((r = write(fd, b, 10000)) > 0) sum += r;
                    printf("wrote until %s: %d\n", strerrorname_np(errno), sum > 65536 && sum < 400000);
                    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = fd};
                    epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
                }
            }
        }
    }
}
