/* dlsym: a program that looks a function up (Python's ctypes does, in libc itself) gets the shim's as well.
 * dlvsym is not replaced, because libc's own dlsym is found through it. */
#include "shim.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static void *(*next_dlsym)(void *, const char *);

#if defined(__x86_64__)
#define BASE_VERSION "GLIBC_2.2.5"
#else
#define BASE_VERSION "GLIBC_2.17"
#endif

static void prepare(void)
{
    if (next_dlsym)
        return;
    void *f = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
    if (!f)
        f = dlvsym(RTLD_NEXT, "dlsym", BASE_VERSION);
    if (!f)
        abort();
    next_dlsym = (void *(*)(void *, const char *))f;
}

void *real(const char *name)
{
    prepare();
    /* The condition variables of before glibc 2.3.2 are other objects under the same names. */
    void *f = NULL;
    if (!strncmp(name, "pthread_cond_", 13))
        f = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
    if (!f)
        f = next_dlsym(RTLD_NEXT, name);
    if (!f)
        abort();
    return f;
}

static void *base_of(const void *address)
{
    Dl_info i;
    return dladdr(address, &i) ? i.dli_fbase : NULL;
}

/* What libc would give is replaced by ours; another library's function of the same name is not. */
static void *ours(const char *name, void *found)
{
    static void *libc_base, *own_base, *own;
    if (!found || !simulated())
        return found;
    if (!own) {
        Dl_info i;
        libc_base = base_of(real("getifaddrs"));
        own_base = base_of((const void *)&base_of);
        if (!dladdr((const void *)&base_of, &i))
            return found;
        own = dlopen(i.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    }
    if (!own || base_of(found) != libc_base)
        return found;
    void *here = next_dlsym(own, name);
    return here && base_of(here) == own_base ? here : found;
}

EXPORT void *dlsym(void *restrict handle, const char *restrict name)
{
    prepare();
    return ours(name, next_dlsym(handle, name));
}
