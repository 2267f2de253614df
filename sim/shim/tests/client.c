/* Outgoing TCP: refused, timed out, names, blocking and not; and a conversation between two programs. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static long long ms(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000 + t.tv_nsec / 1000000; }
static struct sockaddr_in to(const char *ip, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, ip, &a.sin_addr);
    return a;
}
static int go(const char *what, const char *ip, int port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = to(ip, port);
    long long t = ms();
    int r = connect(fd, (void *)&a, sizeof a);
    printf("%s %d %s after %lld\n", what, r, r ? strerrorname_np(errno) : "-", ms() - t);
    return fd;
}
int main(void)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    close(go("refused", "198.51.100.7", 81));
    close(go("timeout", "203.0.113.99", 80));
    close(go("unreachable", "127.0.0.1", 5));
    int fd = go("connects", "198.51.100.7", 8080);
    char b[100000] = "echo";
    struct sockaddr_in me; socklen_t n = sizeof me;
    getsockname(fd, (void *)&me, &n); printf("local %s %d\n", inet_ntoa(me.sin_addr), ntohs(me.sin_port));
    long long t = ms();
    write(fd, b, 4); ssize_t got = read(fd, b, 100); printf("read %zd after %lld\n", got, ms() - t);
    memset(b, 'e', sizeof b); t = ms();
    printf("write %zd\n", write(fd, b, 60000));
    size_t sum = 0; while (sum < 60000) sum += read(fd, b, sizeof b);
    printf("all %zu after %lld\n", sum, ms() - t);
    struct timeval tv = {0, 250000}; setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    t = ms(); ssize_t r = recv(fd, b, 10, 0); printf("SO_RCVTIMEO %zd %s after %lld\n", r, strerrorname_np(errno), ms() - t);
    write(fd, "q", 1); usleep(100000);
    r = read(fd, b, 10); printf("aborted %zd %s\n", r, r < 0 ? strerrorname_np(errno) : "-"); close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = to("198.51.100.7", 81);
    r = connect(fd, (void *)&a, sizeof a); printf("nonblocking %zd %s\n", r, strerrorname_np(errno));
    r = connect(fd, (void *)&a, sizeof a); printf("again %zd %s\n", r, strerrorname_np(errno));
    struct pollfd p = {fd, POLLOUT, 0}; poll(&p, 1, 0); printf("not yet %x\n", p.revents);
    poll(&p, 1, 1000); int e = 0; n = 4; getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n); printf("then %d %s\n", p.revents != 0, strerrorname_np(e));
    close(fd);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0); a = to("198.51.100.7", 8080);
    connect(fd, (void *)&a, sizeof a); p.fd = fd; p.revents = 0; poll(&p, 1, 1000); getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n);
    printf("nonblocking then %x %d\n", p.revents, e);
    r = connect(fd, (void *)&a, sizeof a); printf("again %zd %s\n", r, strerrorname_np(errno)); close(fd);
    struct addrinfo h = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *ai;
    int g = getaddrinfo("server.example", "8080", &h, &ai);
    printf("getaddrinfo %d %s %d\n", g, g ? "-" : inet_ntoa(((struct sockaddr_in *)ai->ai_addr)->sin_addr), g ? 0 : ntohs(((struct sockaddr_in *)ai->ai_addr)->sin_port));
    printf("unknown name %d\n", getaddrinfo("nowhere.example", "80", &h, &ai) == EAI_NONAME);
    struct ifaddrs *i, *j; getifaddrs(&i);
    for (j = i; j; j = j->ifa_next) if (j->ifa_addr->sa_family == AF_INET) printf("interface %s %s\n", j->ifa_name, inet_ntoa(((struct sockaddr_in *)j->ifa_addr)->sin_addr));
    freeifaddrs(i);
    char host[64]; gethostname(host, 64); printf("host %s\n", host);
    return 0;
}
