/* Chance: every source of random bytes that a program reaches through libc gives bytes of the world's seed.
 *
 * Not reachable from here: the instructions RDRAND, RDSEED and RDTSC (OPENSSL_ia32cap=~0x10 keeps OpenSSL from the
 * last), the kernel's AT_RANDOM bytes, and the layout of the address space, which the world fixes (PROTOCOL.md). */
#include "shim.h"
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t seed, drawn;

void chance_seed(uint64_t s)
{
    seed = s;
    drawn = 0;
}

/* SplitMix64 over a counter: threads that draw at once need no lock. */
static uint64_t draw(void)
{
    uint64_t z = seed + __atomic_add_fetch(&drawn, 1, __ATOMIC_RELAXED) * 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

void chance_fill(void *into, size_t size)
{
    uint8_t *p = into;
    while (size) {
        uint64_t word = draw();
        size_t n = size < 8 ? size : 8;
        memcpy(p, &word, n);
        p += n;
        size -= n;
    }
}

EXPORT ssize_t getrandom(void *into, size_t size, unsigned flags)
{
    if (!simulated())
        return SYS(SYS_getrandom, into, size, flags);
    chance_fill(into, size);
    return (ssize_t)size;
}

EXPORT int getentropy(void *into, size_t size)
{
    if (size > 256) {
        errno = EIO;
        return -1;
    }
    return getrandom(into, size, 0) == (ssize_t)size ? 0 : -1;
}

EXPORT uint32_t arc4random(void)
{
    uint32_t x;
    getrandom(&x, sizeof x, 0);
    return x;
}

EXPORT void arc4random_buf(void *into, size_t size) { getrandom(into, size, 0); }

EXPORT uint32_t arc4random_uniform(uint32_t bound)
{
    if (bound < 2)
        return 0;
    uint32_t least = -bound % bound, x;
    do x = arc4random();
    while (x < least);
    return x % bound;
}

/* A process sees a number that depends on the order of starts only. It is larger than any real one, so that kill
 * and its kind can tell them apart. Children are known to their parents by their real numbers. */
#define VIRTUAL_PID 4200000
pid_t virtual_pid(int index) { return VIRTUAL_PID + index; }

pid_t pid_of_virtual(pid_t pid)
{
    if (!simulated() || pid < VIRTUAL_PID || pid > VIRTUAL_PID + 65535)
        return pid < -VIRTUAL_PID && pid >= -VIRTUAL_PID - 65535 ? -pid_of_virtual(-pid) : pid;
    if (pid == virtual_pid(own_index()))
        return real_pid;
    char reply[64];
    if (control_call(-1, reply, sizeof reply, "pid %d", pid - VIRTUAL_PID))
        return pid;
    return (pid_t)atoi(reply);
}

EXPORT pid_t getpid(void) { return simulated() ? virtual_pid(own_index()) : (pid_t)RAW(SYS_getpid); }

EXPORT pid_t getppid(void)
{
    if (!simulated())
        return (pid_t)RAW(SYS_getppid);
    return parent_index() ? virtual_pid(parent_index()) : 1;
}

/* A file whose contents are `size` bytes of chance, or the text given. */
static int file_of(const char *text, size_t size, int flags)
{
    long fd = RAW(SYS_memfd_create, "chance", (flags & O_CLOEXEC) ? MFD_CLOEXEC : 0);
    if (fd < 0)
        return -1;
    if (text) {
        RAW(SYS_write, fd, text, size);
    } else {
        char part[4096];
        for (size_t done = 0; done < size; done += sizeof part) {
            chance_fill(part, sizeof part);
            RAW(SYS_write, fd, part, sizeof part);
        }
    }
    RAW(SYS_lseek, fd, 0, SEEK_SET);
    return (int)fd;
}

int chance_open(const char *path, int flags)
{
    if (!simulated() || !path || path[0] != '/')
        return -2;
    if (!strcmp(path, "/dev/urandom") || !strcmp(path, "/dev/random")) {
        long fd = RAW(SYS_openat, AT_FDCWD, "/dev/zero", flags & ~(O_CREAT | O_TRUNC), 0);
        if (fd >= 0)
            kind_set((int)fd, KIND_CHANCE);
        return (int)fd;
    }
    if (!strcmp(path, "/proc/sys/kernel/random/uuid") || !strcmp(path, "/proc/sys/kernel/random/boot_id") ||
        !strcmp(path, "/etc/machine-id")) {
        uint8_t b[16];
        char text[40];
        chance_fill(b, sizeof b);
        int dashes = path[1] == 'p';
        int n = snprintf(text, sizeof text, dashes ? "%02x%02x%02x%02x-%02x%02x-4%x%02x-a%x%02x-%02x%02x%02x%02x%02x%02x\n"
                                                   : "%02x%02x%02x%02x%02x%02x4%x%02xa%x%02x%02x%02x%02x%02x%02x%02x\n",
                         b[0], b[1], b[2], b[3], b[4], b[5], b[6] & 15, b[7], b[8] & 15, b[9], b[10], b[11], b[12], b[13],
                         b[14], b[15]);
        return file_of(text, (size_t)n, flags);
    }
    return -2;
}

/* "/proc/<virtual number>/…" is a path of the process itself. */
static const char *own_proc(const char *path, char *room, size_t size)
{
    char *end;
    if (!simulated() || !path || strncmp(path, "/proc/", 6) || strtol(path + 6, &end, 10) != virtual_pid(own_index()))
        return path;
    snprintf(room, size, "/proc/self%s", end);
    return room;
}

static int open_as(int at, const char *path, int flags, mode_t mode)
{
    char room[256];
    int fd = chance_open(path, flags);
    if (fd == -2)
        fd = (int)SYS(SYS_openat, at, own_proc(path, room, sizeof room), flags, mode);
    else if (fd < 0)
        errno = EMFILE;
    if (fd >= 0 && kind_of(fd) != KIND_CHANCE)
        kind_forget(fd);
    return fd;
}

static mode_t mode_of(int flags, va_list v) { return (flags & (O_CREAT | O_TMPFILE)) ? va_arg(v, mode_t) : 0; }

#define OPEN(name)                                                                                                     \
    EXPORT int name(const char *path, int flags, ...)                                                                  \
    {                                                                                                                  \
        va_list v;                                                                                                     \
        va_start(v, flags);                                                                                            \
        mode_t mode = mode_of(flags, v);                                                                               \
        va_end(v);                                                                                                     \
        return open_as(AT_FDCWD, path, flags, mode);                                                                   \
    }
#define OPENAT(name)                                                                                                   \
    EXPORT int name(int at, const char *path, int flags, ...)                                                          \
    {                                                                                                                  \
        va_list v;                                                                                                     \
        va_start(v, flags);                                                                                            \
        mode_t mode = mode_of(flags, v);                                                                               \
        va_end(v);                                                                                                     \
        return open_as(at, path, flags, mode);                                                                         \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

EXPORT int __open_2(const char *path, int flags) { return open_as(AT_FDCWD, path, flags, 0); }
EXPORT int __open64_2(const char *path, int flags) { return open_as(AT_FDCWD, path, flags, 0); }
EXPORT int __openat_2(int at, const char *path, int flags) { return open_as(at, path, flags, 0); }
EXPORT int __openat64_2(int at, const char *path, int flags) { return open_as(at, path, flags, 0); }

/* stdio reads without the replaced `read`: it gets a file of bytes made beforehand. */
static FILE *stream_of(const char *path, const char *mode, FILE *(*otherwise)(const char *, const char *))
{
    if (simulated() && path && (!strcmp(path, "/dev/urandom") || !strcmp(path, "/dev/random"))) {
        int fd = file_of(NULL, 1 << 16, O_CLOEXEC);
        return fd < 0 ? NULL : fdopen(fd, "r");
    }
    int fd = simulated() ? chance_open(path, O_CLOEXEC) : -2;
    if (fd >= 0)
        return fdopen(fd, "r");
    return otherwise(path, mode);
}

EXPORT FILE *fopen(const char *path, const char *mode) { return stream_of(path, mode, REAL(fopen)); }
EXPORT FILE *fopen64(const char *path, const char *mode) { return stream_of(path, mode, REAL(fopen64)); }
