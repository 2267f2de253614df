/* Programs that contain V8 (Node, Electron): V8 collects garbage and compiles on threads of its own, beside the program.
 * What it does there, and for how long the program waits for it, depends on the machine. V8 has a flag for hosts without
 * threads; it is set before the program begins. A program without V8 is not touched. */
#include "shim.h"
#include <dlfcn.h>

/* void v8::V8::SetFlagsFromString(const char *) */
#define SET_FLAGS "_ZN2v82V818SetFlagsFromStringEPKc"
typedef int main_function(int, char **, char **);

static main_function *program;

static int begin(int count, char **words, char **environment)
{
    void (*set_flags)(const char *) = (void (*)(const char *))dlsym(RTLD_DEFAULT, SET_FLAGS);
    if (set_flags)
        set_flags("--single-threaded");
    return program(count, words, environment);
}

EXPORT int __libc_start_main(main_function *main, int count, char **words, void (*init)(void), void (*fini)(void),
                             void (*loader_fini)(void), void *stack_end);
EXPORT int __libc_start_main(main_function *main, int count, char **words, void (*init)(void), void (*fini)(void),
                             void (*loader_fini)(void), void *stack_end)
{
    program = main;
    return REAL(__libc_start_main)(simulated() ? begin : main, count, words, init, fini, loader_fini, stack_end);
}
