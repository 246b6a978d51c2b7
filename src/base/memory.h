/* base/memory.h: aligned memory. */
#ifndef TERSE_BASE_MEMORY_H
#define TERSE_BASE_MEMORY_H

#include <stddef.h>
#include <stdlib.h>

enum { TERSE_ALIGN = 64 };

static inline size_t terse_align_up(size_t n, size_t align)
{
    return (n + align - 1) / align * align;
}

/* n bytes, zeroed, 64-byte aligned; NULL without memory or if count * size overflows. Release with free(). */
void *terse_calloc64(size_t count, size_t size);

/* Lays arrays out one behind the other, each 64-byte aligned: returns where the next one goes and moves *at
 * past it. With base NULL it only adds up sizes, so that one function can measure and then place. */
static inline void *terse_place(char *base, size_t *at, size_t size)
{
    char *p = base ? base + *at : NULL;
    *at += terse_align_up(size, TERSE_ALIGN);
    return p;
}

/* Pages from the operating system, zeroed, 2 MiB aligned and backed by huge pages where the system has them;
 * size is a multiple of 2 MiB. Memory is committed as it is touched. NULL on failure. */
void *terse_pages_map(size_t size);
void terse_pages_unmap(void *p, size_t size);

#endif
