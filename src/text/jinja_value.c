/* text/jinja_value.c: the arena, sequences and dicts. */
#include "text/jinja.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct terse_chunk {
    terse_chunk *before;
    size_t used, size;
    _Alignas(16) char bytes[];
};
enum { CHUNK = 32 << 10 };

void *terse_arena_get(terse_arena *a, size_t n)
{
    if (n > PTRDIFF_MAX / 2 || (a->limit && n > a->limit - a->used))
        return NULL;
    const size_t want = (n + 15) / 16 * 16;
    terse_chunk *c = a->last;
    if (!c || want > c->size - c->used) {
        const size_t size = want > CHUNK ? want : CHUNK;
        c = malloc(sizeof *c + size);
        if (!c)
            return NULL;
        c->before = a->last;
        c->used = 0;
        c->size = size;
        a->last = c;
    }
    void *p = c->bytes + c->used;
    c->used += want;
    a->used += n;
    return memset(p, 0, n);
}

void terse_arena_free(terse_arena *a)
{
    while (a->last) {
        terse_chunk *before = a->last->before;
        free(a->last);
        a->last = before;
    }
    *a = (terse_arena){ .limit = a->limit };
}

static void fail_at(terse_jinja *j, terse_status st, const char *fmt, va_list args)
{
    char place[40], token[48], what[320];
    if (j->st != TERSE_OK)
        return;
    vsnprintf(what, sizeof what, fmt, args);
    for (char *p = what; *p; p++) /* what a template says may have lines; an error is one */
        *p = (uint8_t)*p < 0x20 ? ' ' : *p;
    terse_source_place(j->t->source, j->at, place);
    terse_source_token(j->t->source, j->at, token);
    j->st = terse_fail(j->err, st, "%s: at %s: %s%s%s", place, token, j->doing ? j->doing : "",
                       j->doing ? ": " : "", what);
}

terse_val terse_jinja_fail(terse_jinja *j, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fail_at(j, TERSE_BAD_INPUT, fmt, args);
    va_end(args);
    return (terse_val){ .kind = TERSE_VAL_UNDEFINED };
}

terse_val terse_jinja_refuse(terse_jinja *j, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fail_at(j, TERSE_UNSUPPORTED, fmt, args);
    va_end(args);
    return (terse_val){ .kind = TERSE_VAL_UNDEFINED };
}

bool terse_jinja_work(terse_jinja *j, size_t n)
{
    const size_t steps = n / 64 + 1;
    if (j->st != TERSE_OK)
        return false;
    if (steps > j->limit.steps - j->steps) {
        terse_jinja_fail(j, "the template takes more than %zu steps", j->limit.steps);
        return false;
    }
    j->steps += steps;
    return true;
}

bool terse_jinja_enter(terse_jinja *j)
{
    if (j->depth++ >= j->limit.depth)
        terse_jinja_fail(j, "nested more than %d deep", j->limit.depth);
    return j->st == TERSE_OK;
}

void *terse_jinja_get(terse_jinja *j, size_t count, size_t size)
{
    size_t n;
    if (__builtin_mul_overflow(count, size, &n))
        n = SIZE_MAX;
    if (n > j->arena.limit - j->arena.used) {
        terse_jinja_fail(j, "the template takes more than %zu bytes of memory", j->arena.limit);
        return NULL;
    }
    if (!terse_jinja_work(j, n))
        return NULL;
    void *p = terse_arena_get(&j->arena, n);
    if (!p)
        j->st = terse_fail(j->err, TERSE_NOMEM, "template: no memory for %zu bytes", n);
    return p;
}

terse_val terse_undefined(terse_jinja *j, const char *fmt, ...)
{
    enum { ROOM = 120 };
    terse_val v = { .kind = TERSE_VAL_UNDEFINED };
    char *text = terse_jinja_get(j, 1, ROOM);
    va_list args;
    if (!text)
        return v;
    va_start(args, fmt);
    vsnprintf(text, ROOM, fmt, args);
    va_end(args);
    v.u.p = text;
    return v;
}

terse_val terse_copy_string(terse_jinja *j, terse_str s)
{
    char *p = terse_jinja_get(j, s.n, 1);
    if (!p)
        return terse_string((terse_str){ "", 0 });
    memcpy(p, s.p, s.n);
    return terse_string((terse_str){ p, s.n });
}

const char *terse_type_name(terse_val v)
{
    static const char *const names[] = { [TERSE_VAL_MISSING] = "missing",  [TERSE_VAL_UNDEFINED] = "Undefined",
                                         [TERSE_VAL_NONE] = "NoneType",    [TERSE_VAL_BOOL] = "bool",
                                         [TERSE_VAL_INT] = "int",          [TERSE_VAL_FLOAT] = "float",
                                         [TERSE_VAL_STR] = "str",          [TERSE_VAL_SEQ] = "list",
                                         [TERSE_VAL_DICT] = "dict",        [TERSE_VAL_SPACE] = "Namespace",
                                         [TERSE_VAL_CALL] = "function",    [TERSE_VAL_MACRO] = "Macro",
                                         [TERSE_VAL_LOOP] = "LoopContext", [TERSE_VAL_CYCLER] = "Cycler",
                                         [TERSE_VAL_JOINER] = "Joiner" };
    static const char *const sequences[] = { "list",        "tuple",      "range",    "dict_keys",
                                             "dict_values", "dict_items", "generator" };
    return v.kind == TERSE_VAL_SEQ ? sequences[v.u.seq->kind] : names[v.kind];
}

bool terse_truth(terse_val v)
{
    switch (v.kind) {
    case TERSE_VAL_MISSING:
    case TERSE_VAL_UNDEFINED:
    case TERSE_VAL_NONE:
        return false;
    case TERSE_VAL_BOOL:
        return v.u.b;
    case TERSE_VAL_INT:
        return v.u.i != 0;
    case TERSE_VAL_FLOAT:
        return v.u.f != 0.0;
    case TERSE_VAL_STR:
        return v.n > 0;
    case TERSE_VAL_SEQ:
        return v.u.seq->n > 0 || v.u.seq->kind == TERSE_SEQ_ITER;
    case TERSE_VAL_DICT:
        return v.u.dict->n > 0;
    default:
        return true;
    }
}

terse_seq *terse_seq_make(terse_jinja *j, terse_seq_kind kind, size_t n)
{
    terse_seq *s = terse_jinja_get(j, 1, sizeof *s);
    if (!s || (n > 0 && !(s->v = terse_jinja_get(j, n, sizeof *s->v))))
        return NULL;
    for (size_t i = 0; i < n; i++)
        s->v[i].kind = TERSE_VAL_UNDEFINED;
    s->kind = kind;
    s->n = (uint32_t)n; /* the arena holds less than 2^32 values */
    return s;
}

bool terse_seq_push(terse_jinja *j, terse_seq *s, terse_val v)
{
    /* Room is a power of two, and exactly full when n is one. */
    if (s->n == 0 || (s->n & (s->n - 1)) == 0) {
        terse_val *more = terse_jinja_get(j, s->n ? (size_t)s->n * 2 : 1, sizeof *more);
        if (!more)
            return false;
        if (s->n)
            memcpy(more, s->v, s->n * sizeof *more);
        s->v = more;
    }
    s->v[s->n++] = v;
    return terse_jinja_ok(j);
}

static terse_seq *characters(terse_jinja *j, terse_val v)
{
    const terse_str s = terse_str_of(v);
    terse_seq *out = terse_seq_make(j, TERSE_SEQ_LIST, (size_t)terse_char_count(s));
    size_t n;
    for (size_t at = 0, i = 0; out && at < s.n; at += n, i++) {
        terse_char_at(s, at, &n);
        out->v[i] = terse_string((terse_str){ s.p + at, n });
    }
    return out;
}

bool terse_iterable(terse_val v)
{
    return v.kind == TERSE_VAL_SEQ || v.kind == TERSE_VAL_STR || v.kind == TERSE_VAL_DICT ||
           v.kind == TERSE_VAL_UNDEFINED || v.kind == TERSE_VAL_LOOP;
}

terse_seq *terse_iterate(terse_jinja *j, terse_val v)
{
    terse_seq *rest;
    if (!terse_jinja_ok(j))
        return NULL;
    switch (v.kind) {
    case TERSE_VAL_UNDEFINED:
        return terse_seq_make(j, TERSE_SEQ_LIST, 0);
    case TERSE_VAL_STR:
        return characters(j, v);
    case TERSE_VAL_DICT:
        return terse_dict_view(j, v.u.dict, TERSE_SEQ_KEYS).u.seq;
    case TERSE_VAL_SEQ:
        if (v.u.seq->kind != TERSE_SEQ_ITER)
            return v.u.seq;
        if (!(rest = terse_seq_make(j, TERSE_SEQ_LIST, 0)))
            return NULL;
        rest->v = v.u.seq->n ? v.u.seq->v + v.u.seq->at : NULL;
        rest->n = v.u.seq->n - v.u.seq->at;
        v.u.seq->at = v.u.seq->n;
        return rest;
    default:
        terse_jinja_fail(j, "'%s' object is not iterable", terse_type_name(v));
        return NULL;
    }
}

bool terse_has_length(terse_val v)
{
    return v.kind == TERSE_VAL_STR || v.kind == TERSE_VAL_DICT || v.kind == TERSE_VAL_UNDEFINED ||
           (v.kind == TERSE_VAL_SEQ && v.u.seq->kind != TERSE_SEQ_ITER);
}

int64_t terse_length(terse_jinja *j, terse_val v)
{
    if (!terse_has_length(v)) {
        terse_jinja_fail(j, "object of type '%s' has no len()", terse_type_name(v));
        return -1;
    }
    if (v.kind == TERSE_VAL_STR)
        return terse_jinja_scan(j, v.n) ? terse_char_count(terse_str_of(v)) : -1;
    return v.kind == TERSE_VAL_DICT ? v.u.dict->n : v.kind == TERSE_VAL_SEQ ? v.u.seq->n : 0;
}

terse_dict *terse_dict_make(terse_jinja *j, size_t cap)
{
    terse_dict *d = terse_jinja_get(j, 1, sizeof *d);
    if (!d || cap == 0)
        return d;
    d->keys = terse_jinja_get(j, cap, sizeof *d->keys);
    d->values = terse_jinja_get(j, cap, sizeof *d->values);
    d->cap = (uint32_t)cap;
    return d->keys && d->values ? d : NULL;
}

bool terse_hashable(terse_jinja *j, terse_val v)
{
    if (v.kind == TERSE_VAL_DICT || terse_is_seq(v, TERSE_SEQ_LIST)) {
        terse_jinja_fail(j, "unhashable type: '%s'", terse_type_name(v));
        return false;
    }
    if (!terse_is_seq(v, TERSE_SEQ_TUPLE))
        return terse_jinja_ok(j);
    if (terse_jinja_enter(j))
        for (uint32_t i = 0; i < v.u.seq->n && terse_hashable(j, v.u.seq->v[i]); i++)
            ;
    j->depth--;
    return terse_jinja_ok(j);
}

terse_val *terse_dict_find(terse_jinja *j, const terse_dict *d, terse_val key)
{
    if (!terse_jinja_scan(j, d->n))
        return NULL;
    for (uint32_t i = 0; i < d->n; i++) {
        const terse_val k = d->keys[i];
        const bool same = k.kind == TERSE_VAL_STR && key.kind == TERSE_VAL_STR
                              ? k.n == key.n && memcmp(k.u.p, key.u.p, k.n) == 0
                              : terse_val_equal(j, k, key);
        if (same)
            return &d->values[i];
    }
    return NULL;
}

terse_val terse_dict_get(terse_jinja *j, const terse_dict *d, const char *key)
{
    const terse_val *v = terse_dict_find(j, d, terse_string(terse_lit(key)));
    return v ? *v : (terse_val){ .kind = TERSE_VAL_UNDEFINED };
}

bool terse_dict_set(terse_jinja *j, terse_dict *d, terse_val key, terse_val value)
{
    if (!terse_hashable(j, key))
        return false;
    terse_val *at = terse_dict_find(j, d, key);
    if (at) {
        *at = value;
        return true;
    }
    if (d->n == d->cap) {
        const size_t cap = d->cap ? (size_t)d->cap * 2 : 4;
        terse_val *keys = terse_jinja_get(j, cap, sizeof *keys);
        terse_val *values = terse_jinja_get(j, cap, sizeof *values);
        if (!keys || !values)
            return false;
        if (d->n) {
            memcpy(keys, d->keys, d->n * sizeof *keys);
            memcpy(values, d->values, d->n * sizeof *values);
        }
        d->keys = keys;
        d->values = values;
        d->cap = (uint32_t)cap;
    }
    d->keys[d->n] = key;
    d->values[d->n++] = value;
    return terse_jinja_ok(j);
}

terse_val terse_dict_view(terse_jinja *j, const terse_dict *d, terse_seq_kind kind)
{
    terse_seq *s = terse_seq_make(j, kind, d->n);
    for (uint32_t i = 0; s && i < d->n; i++) {
        if (kind == TERSE_SEQ_ITEMS) {
            terse_seq *pair = terse_seq_make(j, TERSE_SEQ_TUPLE, 2);
            if (!pair)
                return terse_seq_val(NULL);
            pair->v[0] = d->keys[i];
            pair->v[1] = d->values[i];
            s->v[i] = terse_seq_val(pair);
        } else {
            s->v[i] = kind == TERSE_SEQ_KEYS ? d->keys[i] : d->values[i];
        }
    }
    return terse_seq_val(s);
}

typedef struct {
    terse_val value, key;
} sorted;

/* Merges the sorted halves a[0..half) and a[half..n). */
static void merge(terse_jinja *j, sorted *a, uint32_t half, uint32_t n, sorted *room, bool reverse)
{
    uint32_t l = 0, r = half;
    for (uint32_t i = 0; i < n; i++) {
        const bool right =
            l == half || (r < n && (reverse ? terse_val_compare(j, TERSE_OP_LT, a[l].key, a[r].key)
                                            : terse_val_compare(j, TERSE_OP_LT, a[r].key, a[l].key)));
        room[i] = a[right ? r++ : l++];
    }
    memcpy(a, room, n * sizeof *a);
}

void terse_val_sort(terse_jinja *j, terse_val *v, terse_val *keys, uint32_t n, bool reverse)
{
    sorted *a = terse_jinja_get(j, n, sizeof *a), *room = terse_jinja_get(j, n, sizeof *room);
    if (!a || !room)
        return;
    for (uint32_t i = 0; i < n; i++)
        a[i] = (sorted){ v[i], keys[i] };
    for (uint64_t half = 1; half < n; half *= 2)
        for (uint64_t at = 0; at + half < n && terse_jinja_ok(j); at += 2 * half)
            merge(j, a + at, (uint32_t)half, (uint32_t)(n - at < 2 * half ? n - at : 2 * half), room, reverse);
    for (uint32_t i = 0; i < n; i++) {
        v[i] = a[i].value;
        keys[i] = a[i].key;
    }
}
