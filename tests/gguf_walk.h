/* gguf_walk.h: touches all that an open file hands out, for tests of hostile files. Returns a sum that keeps
 * the compiler from dropping the reads. */
#ifndef TERSE_TEST_GGUF_WALK_H
#define TERSE_TEST_GGUF_WALK_H

#include "terse/gguf.h"

#include <stdio.h>

static inline uint64_t walk_bytes(const void *p, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = sum * 31 + ((const uint8_t *)p)[i];
    return sum;
}

static inline uint64_t walk_array(terse_meta_array a)
{
    uint64_t sum = walk_bytes(a.data, a.size);
    terse_str s;
    if (a.type != TERSE_META_STR)
        for (uint64_t i = 0; i < a.n; i++)
            sum += (uint64_t)terse_meta_array_i64(&a, i) + (terse_meta_array_f64(&a, i) > 0.0);
    while (terse_meta_array_next_str(&a, &s))
        sum += walk_bytes(s.p, s.n);
    return sum;
}

static inline uint64_t walk_gguf(const terse_gguf *g)
{
    char name[TERSE_MAX_DIMS * 16 + 1];
    uint8_t hash[16];
    int32_t i32 = 0;
    float f32 = 0.0f;
    bool b = false;
    terse_str s = { 0 };
    uint64_t sum = 0;
    terse_gguf_hash(g, hash);
    for (int32_t i = 0; i < terse_gguf_n_meta(g); i++) {
        const terse_meta *m = terse_gguf_meta(g, i);
        snprintf(name, sizeof name, "%.*s", m->key.n < 64 ? (int)m->key.n : 64, m->key.p);
        if (terse_gguf_find_meta(g, name) != m && m->key.n <= 64)
            __builtin_trap();
        terse_gguf_get_i32(g, name, true, &i32, NULL);
        terse_gguf_get_f32(g, name, true, &f32, NULL);
        terse_gguf_get_bool(g, name, true, &b, NULL);
        if (terse_gguf_get_str(g, name, true, &s, NULL) == TERSE_OK)
            sum += walk_bytes(s.p, s.n);
        if (m->type == TERSE_META_ARRAY)
            sum += walk_array(m->v.a);
    }
    for (int32_t i = 0; i < terse_gguf_n_tensor(g); i++) {
        const terse_tensor *t = terse_gguf_tensor(g, i);
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        if (terse_gguf_find_tensor(g, name) != t || (uintptr_t)t->data % 8 != 0)
            __builtin_trap();
        sum += walk_bytes(t->data, t->size);
    }
    return sum + hash[0] + (uint64_t)i32 + b + (f32 > 0.0f);
}

#endif
