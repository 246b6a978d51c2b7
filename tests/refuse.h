/* tests/refuse.h: memory that runs out. For programs that are linked with
 * -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc: the linker sends the library's calls here. */
#ifndef TERSE_TESTS_REFUSE_H
#define TERSE_TESTS_REFUSE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static long left = -1; /* requests that still succeed; -1: all */

static bool refuse(void)
{
    if (left < 0 || left-- > 0)
        return false;
    left = 0;
    errno = ENOMEM;
    return true;
}
void *__wrap_malloc(size_t n)
{
    return refuse() ? NULL : __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t size)
{
    return refuse() ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t n)
{
    return refuse() ? NULL : __real_realloc(p, n);
}

#endif
