/* text/tokens.c: the two growing lists of the text layer. */
#include "terse/text.h"
#include <stdlib.h>
#include <string.h>

terse_status terse_tokens_push(terse_tokens *t, int32_t id, terse_error *err)
{
    if (t->n == t->cap) {
        const size_t cap = t->cap ? t->cap * 2 : 64;
        int32_t *ids = cap > SIZE_MAX / sizeof *ids ? NULL : realloc(t->ids, cap * sizeof *ids);
        if (!ids)
            return terse_fail(err, TERSE_NOMEM, "no memory for %zu tokens", cap);
        t->ids = ids;
        t->cap = cap;
    }
    t->ids[t->n++] = id;
    return TERSE_OK;
}

void terse_tokens_free(terse_tokens *t)
{
    free(t->ids);
    *t = (terse_tokens){ 0 };
}

terse_status terse_text_append(terse_text *t, const char *p, size_t n, terse_error *err)
{
    if (n >= SIZE_MAX / 2 - t->n)
        return terse_fail(err, TERSE_NOMEM, "a text of %zu + %zu bytes", t->n, n);
    if (t->n + n + 1 > t->cap) {
        const size_t cap = t->n + n + 1 > 2 * t->cap ? t->n + n + 32 : 2 * t->cap;
        char *q = realloc(t->p, cap);
        if (!q)
            return terse_fail(err, TERSE_NOMEM, "no memory for a text of %zu bytes", cap);
        t->p = q;
        t->cap = cap;
    }
    if (n > 0)
        memcpy(t->p + t->n, p, n);
    t->n += n;
    t->p[t->n] = '\0';
    return TERSE_OK;
}

void terse_text_free(terse_text *t)
{
    free(t->p);
    *t = (terse_text){ 0 };
}
