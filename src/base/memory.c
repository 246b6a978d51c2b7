/* base/memory.c: aligned memory from the heap, huge pages from the operating system. */
#include "base/memory.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

void *terse_calloc64(size_t count, size_t size)
{
    size_t n;
    if (__builtin_mul_overflow(count, size, &n) || n > PTRDIFF_MAX - TERSE_ALIGN)
        return NULL;
    n = n ? terse_align_up(n, TERSE_ALIGN) : TERSE_ALIGN; /* NULL must mean failure only */
    void *p = aligned_alloc(TERSE_ALIGN, n);
    return p ? memset(p, 0, n) : NULL;
}

void *terse_pages_map(size_t size)
{
    assert(size > 0 && size % HUGE_PAGE == 0);
    if (size > PTRDIFF_MAX - HUGE_PAGE)
        return NULL;
    /* mmap aligns to small pages only: take one huge page more and give back what lies outside. */
    uint8_t *p = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    const size_t head = terse_align_up((uintptr_t)p, HUGE_PAGE) - (uintptr_t)p;
    if (head > 0)
        munmap(p, head);
    munmap(p + head + size, HUGE_PAGE - head); /* never empty: p is page-aligned, so head < HUGE_PAGE */
    madvise(p + head, size, MADV_HUGEPAGE); /* a system without huge pages refuses, and small ones do as well */
    return p + head;
}

void terse_pages_unmap(void *p, size_t size)
{
    if (p)
        munmap(p, size);
}
