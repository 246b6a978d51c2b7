/* gguf/names.c: the hash table behind the look-ups by name. */
#include "gguf/names.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include <xxhash.h>

/* The place of name: where it is, or the free one where it would go. The seed is the address of the table,
 * which a file cannot know: names made to collide would otherwise turn loading into quadratic work. */
static terse_name *place(const terse_names *t, terse_str name)
{
    size_t i = (size_t)XXH3_64bits_withSeed(name.p, name.n, (uintptr_t)t->slots) & (t->n_slot - 1);
    for (;; i = (i + 1) & (t->n_slot - 1)) {
        terse_name *s = &t->slots[i];
        if (!s->name.p || (s->name.n == name.n && memcmp(s->name.p, name.p, name.n) == 0))
            return s;
    }
}

static bool grow(terse_names *t)
{
    terse_names bigger = { .n_slot = t->n_slot ? 2 * t->n_slot : 64, .n = t->n };
    bigger.slots = calloc(bigger.n_slot, sizeof *bigger.slots);
    if (!bigger.slots)
        return false;
    for (size_t i = 0; i < t->n_slot; i++)
        if (t->slots[i].name.p)
            *place(&bigger, t->slots[i].name) = t->slots[i];
    free(t->slots);
    *t = bigger;
    return true;
}

terse_names_result terse_names_add(terse_names *t, terse_str name, int32_t index)
{
    if (2 * (t->n + 1) > t->n_slot && !grow(t))
        return TERSE_NAMES_NOMEM;
    terse_name *s = place(t, name);
    if (s->name.p)
        return TERSE_NAMES_DUPLICATE;
    *s = (terse_name){ name, index };
    t->n++;
    return TERSE_NAMES_ADDED;
}

int32_t terse_names_find(const terse_names *t, terse_str name)
{
    if (!t->n)
        return -1;
    const terse_name *s = place(t, name);
    return s->name.p ? s->index : -1;
}

void terse_names_free(terse_names *t)
{
    free(t->slots);
    *t = (terse_names){ 0 };
}

bool terse_names_valid(terse_str name, size_t max)
{
    if (name.n == 0 || name.n > max || memchr(name.p, 0, name.n))
        return false;
    const utf8proc_uint8_t *p = (const utf8proc_uint8_t *)name.p;
    for (size_t at = 0; at < name.n;) {
        utf8proc_int32_t c;
        const utf8proc_ssize_t n = utf8proc_iterate(p + at, (utf8proc_ssize_t)(name.n - at), &c);
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return true;
}
