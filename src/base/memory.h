/* base/memory.h: aligned memory. */
#ifndef TERSE_BASE_MEMORY_H
#define TERSE_BASE_MEMORY_H

#include <stddef.h>
#include <stdlib.h>

enum { TERSE_ALIGN = 64 };

static inline size_t terse_align_up(size_t n, size_t align) { return (n + align - 1) / align * align; }

/* n bytes, zeroed, 64-byte aligned; NULL without memory or if count * size overflows. Release with free(). */
void *terse_calloc64(size_t count, size_t size);

/* Pages from the operating system, zeroed, 2 MiB aligned and backed by huge pages where the system has them;
 * size is a multiple of 2 MiB. Memory is committed as it is touched. NULL on failure. */
void *terse_pages_map(size_t size);
void terse_pages_unmap(void *p, size_t size);

#endif
