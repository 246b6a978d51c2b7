/* gguf/reader.c: opens one GGUF file; parts.c joins the parts of a split one. It is mapped, read once from
 * front to back, and every count, length, type and offset is checked against the file before it is used.
 * Nothing is copied: keys, strings, arrays and tensor data point into the mapping.
 *
 *   "GGUF"  u32 version  u64 n_tensor  u64 n_kv
 *   n_kv x      string key    u32 type   value          (string: u64 length, bytes)
 *   n_tensor x  string name   u32 n_dim  u64 ne[n_dim]  u32 type  u64 offset from the data
 *   padding to the alignment, then the data of the tensors */
#include "gguf/reader.h"
#include "base/path.h"
#include "gguf/cursor.h"
#include "gguf/value.h"

#include <stdlib.h>
#include <string.h>

enum {
    HEADER_SIZE = 24,
    MIN_KV = 8 + 1 + 4 + 1,             /* key of one byte, type, value of one byte */
    MIN_TENSOR = 8 + 1 + 4 + 8 + 4 + 8, /* name of one byte, one dimension */
};

static void read_array(terse_cursor *c, terse_meta *m)
{
    const size_t at = c->at;
    const uint32_t type = terse_cursor_u32(c, "array type");
    const uint64_t n = terse_cursor_u64(c, "array count");
    const size_t one = type == TERSE_META_STR ? sizeof(uint64_t) : terse_meta_size(type);
    const size_t start = c->at;
    if (type == TERSE_META_ARRAY)
        terse_cursor_fail(c, TERSE_UNSUPPORTED, at, "array of arrays is not supported");
    else if (!one)
        terse_cursor_fail(c, TERSE_BAD_INPUT, at, "unknown value type %u in array", type);
    else if (n > terse_cursor_left(c) / one)
        terse_cursor_fail(c, TERSE_BAD_INPUT, at + 4, "array of %llu elements exceeds file",
                          (unsigned long long)n);
    else if (type == TERSE_META_STR && n > TERSE_GGUF_MAX_STRINGS)
        terse_cursor_fail(c, TERSE_BAD_INPUT, at + 4, "array of %llu strings, limit %d", (unsigned long long)n,
                          TERSE_GGUF_MAX_STRINGS);
    if (c->status != TERSE_OK)
        return;
    if (type == TERSE_META_STR) {
        for (uint64_t i = 0; i < n && c->status == TERSE_OK; i++)
            terse_cursor_str(c, "array element");
    } else {
        terse_cursor_take(c, n * one, "array");
    }
    m->v.a = (terse_meta_array){ (terse_meta_type)type, n, c->data + start, c->at - start };
}

static void read_value(terse_cursor *c, terse_meta *m)
{
    const size_t type_at = c->at;
    const uint32_t type = terse_cursor_u32(c, "value type");
    m->type = (terse_meta_type)type;
    m->offset = c->at;
    if (type == TERSE_META_STR) {
        m->v.s = terse_cursor_str(c, "value");
    } else if (type == TERSE_META_ARRAY) {
        read_array(c, m);
    } else if (terse_meta_size(type)) {
        const uint8_t *p = terse_cursor_take(c, terse_meta_size(type), "value");
        if (p && type == TERSE_META_BOOL && *p > 1)
            terse_cursor_fail(c, TERSE_BAD_INPUT, m->offset, "bool is neither 0 nor 1");
        else if (p)
            terse_meta_widen(m, m->type, p);
    } else {
        terse_cursor_fail(c, TERSE_BAD_INPUT, type_at, "unknown value type %u", type);
    }
}

static void add_name(terse_cursor *c, terse_names *names, terse_str name, int32_t index, size_t at,
                     const char *kind)
{
    if (c->status != TERSE_OK)
        return;
    const terse_names_result r = terse_names_add(names, name, index);
    if (r == TERSE_NAMES_DUPLICATE)
        terse_cursor_fail(c, TERSE_BAD_INPUT, at, "bad %s: duplicate", kind);
    else if (r == TERSE_NAMES_NOMEM)
        terse_cursor_fail(c, TERSE_NOMEM, at, "no memory for the index of names");
}

static void read_meta(terse_cursor *c, terse_gguf *g, int32_t i)
{
    terse_meta *m = &g->meta[i];
    const size_t at = c->at;
    m->key = terse_cursor_str(c, "key");
    if (c->status == TERSE_OK && !terse_names_valid(m->key, TERSE_KEY_MAX))
        terse_cursor_fail(c, TERSE_BAD_INPUT, at, "bad key: %zu bytes, must be 1 to %d of UTF-8 without NUL",
                          m->key.n, TERSE_KEY_MAX);
    read_value(c, m);
    add_name(c, &g->meta_names, m->key, i, at, "key");
}

static uint64_t read_counts(terse_cursor *c, terse_gguf *g)
{
    static const char magic[4] = { 'G', 'G', 'U', 'F' };
    if (memcmp(c->data, magic, c->size < 4 ? c->size : 4) != 0)
        terse_cursor_fail(c, TERSE_BAD_INPUT, 0, "not a GGUF file");
    else if (c->size < HEADER_SIZE)
        terse_cursor_fail(c, TERSE_BAD_INPUT, c->size, "truncated header");
    terse_cursor_take(c, sizeof magic, "magic");
    const uint32_t v = g->version = terse_cursor_u32(c, "version");
    if (v != 2 && v != 3) {
        const uint32_t swapped = __builtin_bswap32(v);
        if (swapped >= 1 && swapped <= 3)
            terse_cursor_fail(c, TERSE_UNSUPPORTED, 4, "big-endian file not supported");
        else
            terse_cursor_fail(c, TERSE_UNSUPPORTED, 4, "unsupported version %u, must be 2 or 3", v);
    }
    const uint64_t n_tensor = terse_cursor_u64(c, "tensor count");
    const uint64_t n_kv = terse_cursor_u64(c, "kv count");
    if (n_tensor > terse_cursor_left(c) / MIN_TENSOR || n_tensor > TERSE_GGUF_MAX_COUNT)
        terse_cursor_fail(c, TERSE_BAD_INPUT, 8, "tensor count %llu exceeds %s", (unsigned long long)n_tensor,
                          n_tensor > TERSE_GGUF_MAX_COUNT && c->size / MIN_TENSOR > TERSE_GGUF_MAX_COUNT
                              ? "the limit"
                              : "file");
    if (n_kv > terse_cursor_left(c) / MIN_KV || n_kv > TERSE_GGUF_MAX_COUNT)
        terse_cursor_fail(c, TERSE_BAD_INPUT, 16, "kv count %llu exceeds %s", (unsigned long long)n_kv,
                          n_kv > TERSE_GGUF_MAX_COUNT && c->size / MIN_KV > TERSE_GGUF_MAX_COUNT ? "the limit"
                                                                                                 : "file");
    if (c->status != TERSE_OK)
        return 0;
    g->n_tensor = (int32_t)n_tensor;
    return n_kv;
}

/* What the metadata says about the file itself. Returns the alignment. */
static size_t check_general(terse_cursor *c, const terse_gguf *g, terse_str *name)
{
    const terse_meta *m = terse_gguf_find_meta(g, "general.alignment");
    if (!m)
        return TERSE_GGUF_DEFAULT_ALIGN;
    *name = m->key;
    const uint64_t a = m->type == TERSE_META_U32 ? m->v.u : 0;
    if (m->type != TERSE_META_U32)
        terse_cursor_fail(c, TERSE_BAD_INPUT, m->offset, "bad alignment: not a 32-bit unsigned integer");
    else if (!terse_gguf_align_valid(a))
        terse_cursor_fail(c, TERSE_BAD_INPUT, m->offset, "bad alignment %llu: must be a power of two, %d to %d",
                          (unsigned long long)a, TERSE_GGUF_MIN_ALIGN, TERSE_GGUF_MAX_ALIGN);
    return c->status == TERSE_OK ? (size_t)a : TERSE_GGUF_DEFAULT_ALIGN;
}

/* Dimensions, type and size. ne[] of a tensor that failed is all ones. */
static void read_shape(terse_cursor *c, terse_tensor *t)
{
    size_t at = c->at;
    const uint32_t n_dim = terse_cursor_u32(c, "dimension count");
    for (int d = 0; d < TERSE_MAX_DIMS; d++)
        t->ne[d] = 1;
    if (n_dim < 1 || n_dim > TERSE_MAX_DIMS) {
        terse_cursor_fail(c, TERSE_BAD_INPUT, at, "bad dimension count %u, must be 1 to %d", n_dim,
                          TERSE_MAX_DIMS);
        return;
    }
    const size_t dims_at = c->at;
    int64_t n = 1;
    for (uint32_t d = 0; d < n_dim; d++) {
        at = c->at;
        const uint64_t ne = terse_cursor_u64(c, "dimension");
        if (ne < 1 || ne > INT64_MAX)
            terse_cursor_fail(c, TERSE_BAD_INPUT, at, "bad dimension %llu", (unsigned long long)ne);
        else if (__builtin_mul_overflow(n, (int64_t)ne, &n))
            terse_cursor_fail(c, TERSE_BAD_INPUT, at, "tensor size overflow");
        t->ne[d] = (int64_t)ne;
    }
    at = c->at;
    t->n_dim = (int32_t)n_dim;
    t->type = terse_cursor_u32(c, "tensor type");
    const terse_type_info *info = terse_type_of(t->type);
    if (!info->name)
        terse_cursor_fail(c, TERSE_UNSUPPORTED, at, "unsupported tensor type %u", t->type);
    else if (t->ne[0] % info->block_len != 0)
        terse_cursor_fail(c, TERSE_BAD_INPUT, dims_at,
                          "row of %lld values is not a multiple of the %s block of %d", (long long)t->ne[0],
                          info->name, info->block_len);
    else if (__builtin_mul_overflow((uint64_t)(n / info->block_len), (uint64_t)info->block_size, &t->size))
        terse_cursor_fail(c, TERSE_BAD_INPUT, dims_at, "tensor size overflow");
}

/* One row of the tensor table. Where its data lies is checked by place_tensor, once the table's end is known.
 */
static void read_tensor(terse_cursor *c, terse_gguf *g, int32_t i, size_t align)
{
    terse_tensor *t = &g->tensor[i];
    size_t at = c->at;
    t->name = terse_cursor_str(c, "tensor name");
    if (c->status == TERSE_OK && !terse_names_valid(t->name, TERSE_TENSOR_NAME_MAX))
        terse_cursor_fail(c, TERSE_BAD_INPUT, at,
                          "bad tensor name: %zu bytes, must be 1 to %d of UTF-8 without NUL", t->name.n,
                          TERSE_TENSOR_NAME_MAX);
    add_name(c, &g->tensor_names, t->name, i, at, "tensor name");
    read_shape(c, t);
    at = c->at;
    t->offset = terse_cursor_u64(c, "tensor offset");
    if (t->offset > g->map.size)
        terse_cursor_fail(c, TERSE_BAD_INPUT, at, "tensor data exceeds file: its offset is %llu",
                          (unsigned long long)t->offset);
    else if (t->offset % align != 0)
        terse_cursor_fail(c, TERSE_BAD_INPUT, at, "bad tensor offset %llu: not a multiple of the alignment %zu",
                          (unsigned long long)t->offset, align);
}

static void place_tensor(terse_cursor *c, const terse_gguf *g, terse_tensor *t)
{
    const uint64_t room = g->map.size - g->data_offset;
    if (t->offset > room || t->size > room - t->offset) {
        terse_cursor_fail(c, TERSE_BAD_INPUT, g->data_offset,
                          "tensor data exceeds file: %zu bytes at %llu past here, %llu in file", t->size,
                          (unsigned long long)t->offset, (unsigned long long)room);
        return;
    }
    t->offset += g->data_offset;
    t->data = g->map.data + t->offset;
}

static terse_status report(const terse_gguf *g, const terse_cursor *c, const char *kind, terse_str name,
                           terse_error *err)
{
    const char *path = terse_path_shown(g->path);
    if (!name.n)
        return terse_fail(err, c->status, "%s: %s at offset %zu", path, c->reason, c->error_at);
    return terse_fail(err, c->status, "%s: %s at offset %zu (%s '%.*s')", path, c->reason, c->error_at, kind,
                      name.n < 80 ? (int)name.n : 80, name.p);
}

static terse_status parse_meta(terse_gguf *g, terse_cursor *c, size_t *align, terse_error *err)
{
    const uint64_t n = read_counts(c, g);
    if (c->status != TERSE_OK)
        return report(g, c, "", (terse_str){ 0 }, err);
    g->meta = calloc(n ? n : 1, sizeof *g->meta);
    g->tensor = calloc(g->n_tensor ? (size_t)g->n_tensor : 1, sizeof *g->tensor);
    if (!g->meta || !g->tensor)
        return terse_fail(err, TERSE_NOMEM, "%s: no memory for %llu keys and %d tensors",
                          terse_path_shown(g->path), (unsigned long long)n, g->n_tensor);
    for (; g->n_meta < (int32_t)n; g->n_meta++) {
        read_meta(c, g, g->n_meta);
        if (c->status != TERSE_OK)
            return report(g, c, "key", g->meta[g->n_meta].key, err);
    }
    terse_str name = { 0 };
    *align = check_general(c, g, &name);
    return c->status == TERSE_OK ? TERSE_OK : report(g, c, "key", name, err);
}

static terse_status parse_tensors(terse_gguf *g, terse_cursor *c, size_t align, terse_error *err)
{
    for (int32_t i = 0; i < g->n_tensor; i++) {
        read_tensor(c, g, i, align);
        if (c->status != TERSE_OK)
            return report(g, c, "tensor", g->tensor[i].name, err);
    }
    g->table_end = c->at;
    const size_t padding = (align - c->at % align) % align;
    /* A file without tensors may end with its table. */
    g->data_offset = padding < terse_cursor_left(c) ? c->at + padding : c->size;
    for (int32_t i = 0; i < g->n_tensor; i++) {
        place_tensor(c, g, &g->tensor[i]);
        if (c->status != TERSE_OK)
            return report(g, c, "tensor", g->tensor[i].name, err);
    }
    return TERSE_OK;
}

terse_status terse_gguf_open_one(terse_gguf **out, const char *path, terse_error *err)
{
    terse_status st;
    size_t align = TERSE_GGUF_DEFAULT_ALIGN;
    *out = NULL;
    terse_gguf *g = calloc(1, sizeof *g);
    if (!g || !(g->path = strdup(path))) {
        free(g);
        return terse_fail(err, TERSE_NOMEM, "%s: no memory for the reader", terse_path_shown(path));
    }
    if ((st = terse_map_open(&g->map, path, err)) != TERSE_OK)
        goto fail;
    terse_cursor c = { .data = g->map.data, .size = g->map.size };
    if ((st = parse_meta(g, &c, &align, err)) != TERSE_OK)
        goto fail;
    if ((st = parse_tensors(g, &c, align, err)) != TERSE_OK)
        goto fail;
    if (terse_map_broken(&g->map)) {
        st = terse_fail(err, TERSE_IO, "%s: truncated while it was read", terse_path_shown(path));
        goto fail;
    }
    *out = g;
    return TERSE_OK;
fail:
    terse_gguf_close(&g);
    return st;
}

void terse_gguf_close(terse_gguf **g)
{
    if (!g || !*g)
        return;
    for (int32_t i = 0; i < (*g)->n_other; i++)
        terse_gguf_close(&(*g)->other[i]);
    free((*g)->other);
    terse_map_close(&(*g)->map);
    terse_names_free(&(*g)->meta_names);
    terse_names_free(&(*g)->tensor_names);
    free((*g)->meta);
    free((*g)->tensor);
    free((*g)->path);
    free(*g);
    *g = NULL;
}

const char *terse_gguf_path(const terse_gguf *g)
{
    return g->path;
}
uint32_t terse_gguf_version(const terse_gguf *g)
{
    return g->version;
}
size_t terse_gguf_data_offset(const terse_gguf *g)
{
    return g->data_offset;
}
int32_t terse_gguf_n_meta(const terse_gguf *g)
{
    return g->n_meta;
}
const terse_meta *terse_gguf_meta(const terse_gguf *g, int32_t i)
{
    return &g->meta[i];
}
int32_t terse_gguf_n_tensor(const terse_gguf *g)
{
    return g->n_tensor;
}
const terse_tensor *terse_gguf_tensor(const terse_gguf *g, int32_t i)
{
    return &g->tensor[i];
}

const terse_meta *terse_gguf_find_meta(const terse_gguf *g, const char *key)
{
    const int32_t i = terse_names_find(&g->meta_names, (terse_str){ key, strlen(key) });
    return i < 0 ? NULL : &g->meta[i];
}

const terse_tensor *terse_gguf_find_tensor(const terse_gguf *g, const char *name)
{
    const int32_t i = terse_names_find(&g->tensor_names, (terse_str){ name, strlen(name) });
    return i < 0 ? NULL : &g->tensor[i];
}
