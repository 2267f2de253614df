/* Processes: the world hears of each before it exists, and of each program that a process becomes. */
#include "shim.h"
#include <alloca.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* What must be in the environment of every program of the machine. */
static const char *const kept[] = {"LD_PRELOAD", "GLARE_SHIM"};
static char pairs[2][512];

__attribute__((constructor(102))) static void remember(void)
{
    for (int i = 0; i < 2; i++) {
        const char *value = getenv(kept[i]);
        if (value)
            snprintf(pairs[i], sizeof pairs[i], "%s=%s", kept[i], value);
    }
}

static size_t length_of(char *const *env)
{
    size_t n = 0;
    while (env && env[n])
        n++;
    return n;
}

static int has(char *const *env, const char *name)
{
    size_t n = strlen(name);
    for (; env && *env; env++)
        if (!strncmp(*env, name, n) && (*env)[n] == '=')
            return 1;
    return 0;
}

/* Room for two more is in `into`. */
static char **completed(char *const *env, char **into)
{
    size_t n = length_of(env);
    memcpy(into, env, n * sizeof *into);
    for (int i = 0; i < 2; i++)
        if (*pairs[i] && !has(env, kept[i]))
            into[n++] = pairs[i];
    into[n] = NULL;
    return into;
}
#define COMPLETED(env) completed((env), alloca((length_of(env) + 3) * sizeof(char *)))

EXPORT pid_t fork(void)
{
    if (!simulated())
        return REAL(fork)();
    sigset_t all, before;
    sigfillset(&all);
    control_call(-1, NULL, 0, "spawn");
    RAW(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
    pid_t pid = REAL(fork)();
    int error = errno;
    if (pid == 0) {
        control_forget();
        rest_after_fork();
        timers_after_fork();
        control_open("fork");
    } else if (pid > 0) {
        control_send("spawned %d", pid);
    } else {
        control_send("unspawned");
    }
    RAW(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, 8);
    errno = error;
    return pid;
}

/* The child of a true vfork would run in this process's memory, the shim's state included. */
EXPORT pid_t vfork(void) { return fork(); }
EXPORT pid_t _Fork(void) { return fork(); }

static int after_spawn(int error, const pid_t *pid)
{
    if (error)
        control_send("unspawned");
    else
        control_send("spawned %d", *pid);
    return error;
}

EXPORT int posix_spawn(pid_t *restrict pid, const char *restrict path, const posix_spawn_file_actions_t *restrict files,
                       const posix_spawnattr_t *restrict how, char *const *restrict arguments, char *const *restrict env)
{
    pid_t own;
    if (!simulated())
        return REAL(posix_spawn)(pid, path, files, how, arguments, env);
    control_call(-1, NULL, 0, "spawn");
    pid = pid ? pid : &own;
    return after_spawn(REAL(posix_spawn)(pid, path, files, how, arguments, COMPLETED(env)), pid);
}

EXPORT int posix_spawnp(pid_t *restrict pid, const char *restrict name, const posix_spawn_file_actions_t *restrict files,
                        const posix_spawnattr_t *restrict how, char *const *restrict arguments, char *const *restrict env)
{
    pid_t own;
    if (!simulated())
        return REAL(posix_spawnp)(pid, name, files, how, arguments, env);
    control_call(-1, NULL, 0, "spawn");
    pid = pid ? pid : &own;
    return after_spawn(REAL(posix_spawnp)(pid, name, files, how, arguments, COMPLETED(env)), pid);
}

EXPORT int system(const char *command)
{
    if (!simulated())
        return REAL(system)(command);
    if (!command)
        return 1;
    char *arguments[] = {"sh", "-c", "--", (char *)command, NULL};
    pid_t pid;
    int status;
    if (posix_spawn(&pid, "/bin/sh", NULL, NULL, arguments, environ))
        return 127 << 8;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return status;
}

/* popen starts its child inside libc, and says nothing of its number. */
EXPORT FILE *popen(const char *command, const char *mode)
{
    if (simulated())
        control_call(-1, NULL, 0, "spawn");
    FILE *f = REAL(popen)(command, mode);
    if (simulated())
        control_send(f ? "spawned 0" : "unspawned");
    return f;
}

static int executing(int fd, const char *path, char *const *arguments, char *const *env, int flags)
{
    if (!simulated())
        return (int)SYS(SYS_execveat, fd, path, arguments, env, flags);
    control_send("exec");
    int r = (int)SYS(SYS_execveat, fd, path, arguments, COMPLETED(env), flags);
    int error = errno;
    control_send("unexec");
    errno = error;
    return r;
}

EXPORT int execve(const char *path, char *const *arguments, char *const *env)
{
    if (!simulated())
        return (int)SYS(SYS_execve, path, arguments, env);
    control_send("exec");
    int r = (int)SYS(SYS_execve, path, arguments, COMPLETED(env));
    int error = errno;
    control_send("unexec");
    errno = error;
    return r;
}

EXPORT int execveat(int fd, const char *path, char *const *arguments, char *const *env, int flags)
{
    return executing(fd, path, arguments, env, flags);
}

EXPORT int fexecve(int fd, char *const *arguments, char *const *env)
{
    return executing(fd, "", arguments, env, 0x1000 /* AT_EMPTY_PATH */);
}

EXPORT int execv(const char *path, char *const *arguments) { return execve(path, arguments, environ); }

/* libc's own search, so that a script without "#!" still runs. */
EXPORT int execvpe(const char *name, char *const *arguments, char *const *env)
{
    if (!simulated())
        return REAL(execvpe)(name, arguments, env);
    control_send("exec");
    int r = REAL(execvpe)(name, arguments, COMPLETED(env));
    int error = errno;
    control_send("unexec");
    errno = error;
    return r;
}

EXPORT int execvp(const char *name, char *const *arguments) { return execvpe(name, arguments, environ); }

#define COLLECT(arguments, first, env)                                                                                 \
    size_t count = 1;                                                                                                  \
    va_list v;                                                                                                         \
    va_start(v, first);                                                                                                \
    while (va_arg(v, char *))                                                                                          \
        count++;                                                                                                       \
    va_end(v);                                                                                                         \
    char **arguments = alloca((count + 1) * sizeof *arguments);                                                        \
    arguments[0] = (char *)first;                                                                                      \
    va_start(v, first);                                                                                                \
    for (size_t i = 1; i <= count; i++)                                                                                \
        arguments[i] = va_arg(v, char *);                                                                              \
    env = va_arg(v, char **);                                                                                          \
    va_end(v);

EXPORT int execl(const char *path, const char *first, ...)
{
    char **unused;
    COLLECT(arguments, first, unused)
    (void)unused;
    return execve(path, arguments, environ);
}

EXPORT int execlp(const char *name, const char *first, ...)
{
    char **unused;
    COLLECT(arguments, first, unused)
    (void)unused;
    return execvpe(name, arguments, environ);
}

EXPORT int execle(const char *path, const char *first, ...)
{
    char **env;
    COLLECT(arguments, first, env)
    return execve(path, arguments, env);
}

EXPORT int kill(pid_t pid, int number)
{
    signal_sent();
    return (int)SYS(SYS_kill, pid_of_virtual(pid), number);
}

EXPORT int pthread_kill(pthread_t thread, int number)
{
    signal_sent();
    return REAL(pthread_kill)(thread, number);
}

EXPORT int killpg(pid_t group, int number) { return kill(-group, number); }

EXPORT int tgkill(pid_t pid, pid_t tid, int number)
{
    signal_sent();
    return (int)SYS(SYS_tgkill, pid_of_virtual(pid), tid, number);
}

EXPORT pid_t getpgid(pid_t pid) { return (pid_t)SYS(SYS_getpgid, pid_of_virtual(pid)); }
EXPORT pid_t getsid(pid_t pid) { return (pid_t)SYS(SYS_getsid, pid_of_virtual(pid)); }
EXPORT int setpgid(pid_t pid, pid_t group) { return (int)SYS(SYS_setpgid, pid_of_virtual(pid), pid_of_virtual(group)); }
