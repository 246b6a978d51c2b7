/* gguf/cursor.h: reads little-endian fields out of a run of bytes. The first error sticks: every later read
 * gives zero, so that a parser reads on and checks once. A length is compared with what is left before it is
 * used. */
#ifndef TERSE_GGUF_CURSOR_H
#define TERSE_GGUF_CURSOR_H

#include "terse/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "GGUF fields are read as the machine stores them");

typedef struct {
    const uint8_t *data;
    size_t size;
    size_t at;
    terse_status status; /* of the first error */
    size_t error_at;     /* offset of the field that it is about */
    char reason[160];
} terse_cursor;

TERSE_PRINTF(4, 5)
static inline void terse_cursor_fail(terse_cursor *c, terse_status status, size_t at, const char *fmt, ...)
{
    if (c->status != TERSE_OK)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->reason, sizeof c->reason, fmt, ap);
    va_end(ap);
    c->status = status;
    c->error_at = at;
}

static inline size_t terse_cursor_left(const terse_cursor *c)
{
    return c->size - c->at;
}

/* The next n bytes, or NULL after an error. */
static inline const uint8_t *terse_cursor_take(terse_cursor *c, uint64_t n, const char *what)
{
    if (c->status == TERSE_OK && n > terse_cursor_left(c))
        terse_cursor_fail(c, TERSE_BAD_INPUT, c->at, "truncated %s", what);
    if (c->status != TERSE_OK)
        return NULL;
    const uint8_t *p = c->data + c->at;
    c->at += (size_t)n;
    return p;
}

static inline uint32_t terse_cursor_u32(terse_cursor *c, const char *what)
{
    uint32_t v = 0;
    const uint8_t *p = terse_cursor_take(c, sizeof v, what);
    if (p)
        memcpy(&v, p, sizeof v);
    return v;
}

static inline uint64_t terse_cursor_u64(terse_cursor *c, const char *what)
{
    uint64_t v = 0;
    const uint8_t *p = terse_cursor_take(c, sizeof v, what);
    if (p)
        memcpy(&v, p, sizeof v);
    return v;
}

/* A 64-bit length and that many bytes; p is never NULL. */
static inline terse_str terse_cursor_str(terse_cursor *c, const char *what)
{
    const size_t at = c->at;
    const uint64_t n = terse_cursor_u64(c, what);
    if (c->status == TERSE_OK && n > terse_cursor_left(c))
        terse_cursor_fail(c, TERSE_BAD_INPUT, at, "%s: string of %llu bytes exceeds file", what,
                          (unsigned long long)n);
    const uint8_t *p = terse_cursor_take(c, n, what);
    return p ? (terse_str){ (const char *)p, (size_t)n } : (terse_str){ "", 0 };
}

#endif
