/* Names and interfaces: getaddrinfo, getifaddrs and their kind are answered by the world. */
#include "shim.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

static int is_local(const char *name)
{
    return !strcasecmp(name, "localhost") || !strcasecmp(name, "localhost.") || !strcasecmp(name, "ip6-localhost");
}

static int is_number(const char *name)
{
    unsigned char b[16];
    return inet_pton(AF_INET, name, b) == 1 || inet_pton(AF_INET6, name, b) == 1 || strchr(name, '%');
}

/* The addresses of a name, separated by spaces. */
static int resolve(const char *name, char *into, size_t size)
{
    if (is_local(name)) {
        snprintf(into, size, "127.0.0.1 ::1");
        return 0;
    }
    char clean[256];
    size_t n = 0;
    for (; name[n] && n < sizeof clean - 1; n++)
        clean[n] = name[n] > ' ' && name[n] < 127 ? name[n] : '?';
    clean[n] = 0;
    return control_call(-1, into, size, "resolve %s", clean);
}

EXPORT int getaddrinfo(const char *restrict name, const char *restrict service, const struct addrinfo *restrict hints,
                       struct addrinfo **restrict into)
{
    if (!simulated())
        return REAL(getaddrinfo)(name, service, hints, into);
    struct addrinfo ours = hints ? *hints : (struct addrinfo){.ai_flags = 0};
    ours.ai_flags &= ~(AI_ADDRCONFIG | AI_CANONNAME); /* which would look at the real machine */
    if (!name || !*name || is_number(name) || (ours.ai_flags & AI_NUMERICHOST))
        return REAL(getaddrinfo)(name, service, &ours, into);
    char all[2048], *at = all, *word;
    int error = resolve(name, all, sizeof all);
    if (error)
        return error == EAGAIN ? EAI_AGAIN : EAI_NONAME;
    struct addrinfo *list = NULL, **end = &list;
    ours.ai_flags = (ours.ai_flags & ~AI_V4MAPPED) | AI_NUMERICHOST;
    int last = EAI_NONAME;
    while ((word = strsep(&at, " "))) {
        if (!*word || (ours.ai_family == AF_INET && strchr(word, ':')) || (ours.ai_family == AF_INET6 && !strchr(word, ':')))
            continue;
        last = REAL(getaddrinfo)(word, service, &ours, end);
        while (*end)
            end = &(*end)->ai_next;
        if (last == EAI_SERVICE)
            break;
    }
    if (!list)
        return last;
    if (hints && (hints->ai_flags & AI_CANONNAME))
        list->ai_canonname = strdup(name);
    *into = list;
    return 0;
}

/* No name belongs to an address: the numbers are shown. */
EXPORT int getnameinfo(const struct sockaddr *restrict a, socklen_t length, char *restrict host, socklen_t host_size,
                       char *restrict service, socklen_t service_size, int flags)
{
    if (simulated() && host && (flags & NI_NAMEREQD))
        return EAI_NONAME;
    return REAL(getnameinfo)(a, length, host, host_size, service, service_size,
                             simulated() ? flags | NI_NUMERICHOST : flags);
}

EXPORT struct hostent *gethostbyname2(const char *name, int family)
{
    static struct hostent entry;
    static char bytes[16][16], *list[17], *aliases[1], kept[256];
    if (!simulated())
        return REAL(gethostbyname2)(name, family);
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM}, *all;
    if (getaddrinfo(name, NULL, &hints, &all)) {
        h_errno = HOST_NOT_FOUND;
        return NULL;
    }
    int n = 0;
    for (struct addrinfo *a = all; a && n < 16; a = a->ai_next, n++) {
        const void *from = family == AF_INET ? (void *)&((struct sockaddr_in *)a->ai_addr)->sin_addr
                                             : (void *)&((struct sockaddr_in6 *)a->ai_addr)->sin6_addr;
        memcpy(bytes[n], from, family == AF_INET ? 4 : 16);
        list[n] = bytes[n];
    }
    list[n] = NULL;
    freeaddrinfo(all);
    snprintf(kept, sizeof kept, "%s", name);
    entry = (struct hostent){kept, aliases, family, family == AF_INET ? 4 : 16, list};
    return &entry;
}

EXPORT struct hostent *gethostbyname(const char *name) { return gethostbyname2(name, AF_INET); }

/* ---- interfaces: "NAME INDEX ADDRESS PREFIX" for each address ---- */

struct one { struct ifaddrs i; struct sockaddr_in6 address, mask, broadcast; char name[IFNAMSIZ]; };

static void fill(struct one *o, const char *name, const struct address *a, unsigned prefix)
{
    uint8_t mask[16] = {0}, broadcast[16];
    int size = a->family == AF_INET ? 4 : 16;
    for (unsigned bit = 0; bit < prefix && bit < 8u * (unsigned)size; bit++)
        mask[bit / 8] |= (uint8_t)(0x80 >> (bit % 8));
    for (int i = 0; i < size; i++)
        broadcast[i] = (uint8_t)(a->bytes[i] | ~mask[i]);
    snprintf(o->name, sizeof o->name, "%s", name);
    struct sockaddr_in6 *into[] = {&o->address, &o->mask, &o->broadcast};
    const uint8_t *from[] = {a->bytes, mask, broadcast};
    for (int i = 0; i < 3; i++) {
        if (a->family == AF_INET) {
            struct sockaddr_in *four = (void *)into[i];
            four->sin_family = AF_INET;
            memcpy(&four->sin_addr, from[i], 4);
        } else {
            into[i]->sin6_family = AF_INET6;
            memcpy(&into[i]->sin6_addr, from[i], 16);
        }
    }
    if (a->family == AF_INET6 && a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80)
        o->address.sin6_scope_id = 2;
    int loop = !strcmp(name, "lo");
    o->i.ifa_name = o->name;
    o->i.ifa_flags = IFF_UP | IFF_RUNNING | (loop ? IFF_LOOPBACK : IFF_BROADCAST | IFF_MULTICAST);
    o->i.ifa_addr = (void *)&o->address;
    o->i.ifa_netmask = (void *)&o->mask;
    if (!loop && a->family == AF_INET)
        o->i.ifa_broadaddr = (void *)&o->broadcast;
}

EXPORT int getifaddrs(struct ifaddrs **into)
{
    if (!simulated())
        return REAL(getifaddrs)(into);
    char reply[4096], name[IFNAMSIZ], ip[64];
    unsigned index, prefix;
    int error = control_call(-1, reply, sizeof reply, "interfaces"), used, count = 0;
    if (error) {
        errno = error;
        return -1;
    }
    struct one *all = calloc(64, sizeof *all);
    if (!all)
        return -1;
    for (char *at = reply; count < 64 && sscanf(at, "%15s %u %63s %u%n", name, &index, ip, &prefix, &used) == 4; at += used) {
        struct address a;
        if (address_parse(&a, ip, 0))
            continue;
        fill(&all[count], name, &a, prefix);
        if (count)
            all[count - 1].i.ifa_next = &all[count].i;
        count++;
    }
    *into = count ? &all->i : NULL;
    if (!count)
        free(all);
    return 0;
}

EXPORT void freeifaddrs(struct ifaddrs *list)
{
    if (simulated())
        free(list);
    else
        REAL(freeifaddrs)(list);
}

EXPORT unsigned if_nametoindex(const char *wanted)
{
    if (!simulated())
        return REAL(if_nametoindex)(wanted);
    char reply[4096], name[IFNAMSIZ], ip[64];
    unsigned index, prefix;
    int used;
    if (!control_call(-1, reply, sizeof reply, "interfaces"))
        for (char *at = reply; sscanf(at, "%15s %u %63s %u%n", name, &index, ip, &prefix, &used) == 4; at += used)
            if (!strcmp(name, wanted))
                return index;
    errno = ENODEV;
    return 0;
}

EXPORT char *if_indextoname(unsigned wanted, char into[IF_NAMESIZE])
{
    if (!simulated())
        return REAL(if_indextoname)(wanted, into);
    char reply[4096], name[IFNAMSIZ], ip[64];
    unsigned index, prefix;
    int used;
    if (!control_call(-1, reply, sizeof reply, "interfaces"))
        for (char *at = reply; sscanf(at, "%15s %u %63s %u%n", name, &index, ip, &prefix, &used) == 4; at += used)
            if (index == wanted)
                return strcpy(into, name);
    errno = ENXIO;
    return NULL;
}

EXPORT int gethostname(char *into, size_t size)
{
    struct utsname u;
    if (SYS(SYS_uname, &u))
        return -1;
    const char *name = simulated() ? host_name() : u.nodename;
    if (strlen(name) >= size) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(into, name);
    return 0;
}

EXPORT int uname(struct utsname *into)
{
    int r = (int)SYS(SYS_uname, into);
    if (!r && simulated())
        snprintf(into->nodename, sizeof into->nodename, "%s", host_name());
    return r;
}
