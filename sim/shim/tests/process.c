/* Processes, threads, chance. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
static long long ms(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000 + t.tv_nsec / 1000000; }
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t c = PTHREAD_COND_INITIALIZER;
static int turn, order[64], at;
static void *worker(void *n)
{
    for (int i = 0; i < 8; i++) {
        pthread_mutex_lock(&m);
        order[at++] = (int)(long)n;
        pthread_cond_broadcast(&c);
        pthread_cond_wait(&c, &m);
        pthread_mutex_unlock(&m);
    }
    return 0;
}
static volatile int ready;
static void *spinner(void *x) { (void)x; ready = 1; return 0; }
static volatile int terms;
static void on_term(int s) { (void)s; terms++; }
int main(int count, char **args)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    if (count > 1 && !strcmp(args[1], "child")) { usleep(30000); printf("child %d of %d at %lld\n", getpid(), getppid(), ms()); return 7; }
    unsigned char b[8], d[8]; getrandom(b, 8, 0); getentropy(d, 8);
    int u = open("/dev/urandom", O_RDONLY); unsigned char e[8]; read(u, e, 8); close(u);
    FILE *f = fopen("/dev/urandom", "r"); unsigned char g[8]; fread(g, 1, 8, f); fclose(f);
    for (int i = 0; i < 8; i++) printf("%02x%02x%02x%02x", b[i], d[i], e[i], g[i]);
    printf(" pid %d\n", getpid());
    char uuid[40] = {0}; u = open("/proc/sys/kernel/random/uuid", O_RDONLY); read(u, uuid, 36); close(u); printf("uuid %s\n", uuid);
    int p[2]; pipe(p);
    pid_t child = fork();
    if (!child) { usleep(20000); write(p[1], "from the child", 14); _exit(3); }
    char text[40] = {0}; ssize_t n = read(p[0], text, 39); printf("pipe %zd %s at %lld\n", n, text, ms());
    int status; printf("waited %d", waitpid(child, &status, 0) == child); printf(" %d\n", WEXITSTATUS(status));
    char *a[] = {args[0], "child", 0}; posix_spawn(&child, args[0], 0, 0, a, environ);
    waitpid(child, &status, 0); printf("spawned %d at %lld\n", WEXITSTATUS(status), ms());
    char *empty[] = {0}; posix_spawn(&child, args[0], 0, 0, a, empty);
    waitpid(child, &status, 0); printf("without environment %d\n", WEXITSTATUS(status));
    char command[300]; snprintf(command, 300, "%s child; exit 4", args[0]);
    status = system(command); printf("system %d\n", WEXITSTATUS(status));
    if (!(child = vfork())) { execl(args[0], args[0], "child", NULL); _exit(1); }
    waitpid(child, &status, 0); printf("vfork %d\n", WEXITSTATUS(status));
    if (!(child = fork())) { pause(); _exit(0); }
    usleep(1000); kill(child, SIGKILL); waitpid(child, &status, 0); printf("killed by %d\n", WTERMSIG(status));
    pthread_t t[4]; for (long i = 0; i < 4; i++) pthread_create(&t[i], 0, worker, (void *)i);
    usleep(1000);
    for (int i = 0; i < 40; i++) { pthread_mutex_lock(&m); pthread_cond_broadcast(&c); pthread_mutex_unlock(&m); usleep(100); }
    for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
    printf("order"); for (int i = 0; i < at; i++) printf(" %d", order[i]); printf("\n");
    pthread_create(t, 0, spinner, 0); while (!ready) sched_yield(); pthread_join(t[0], 0); printf("spun for a thread\n");
    signal(SIGTERM, on_term);
    printf("waiting\n");
    while (!terms) pause();
    printf("SIGTERM at %lld\n", ms());
    return 0;
}
