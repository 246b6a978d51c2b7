/* gguf/writer.c: writes a GGUF file of version 3. Metadata is encoded as it is added, the tensor table when the
 * file is saved. What the reader would refuse is refused here too. */
#include "base/path.h"
#include "base/save.h"
#include "gguf/names.h"
#include "gguf/value.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t *p;
    size_t n, cap;
} buffer;

typedef struct {
    char *name; /* owned */
    uint32_t type;
    int32_t n_dim;
    int64_t ne[TERSE_MAX_DIMS];
    const void *data; /* borrowed until the save */
    size_t size;
} entry;

struct terse_gguf_writer {
    terse_error error; /* the first one */
    uint64_t align;
    buffer meta;
    int32_t n_meta, n_tensor;
    char **key;    /* [n_meta], owned: meta_names borrows them */
    entry *tensor; /* [n_tensor] */
    int32_t key_cap, tensor_cap;
    terse_names meta_names, tensor_names;
    terse_save save; /* open from begin to commit */
    int32_t n_put;   /* tensors written */
    size_t put_size; /* bytes of the next one */
};

/* The first error stays. what: key or tensor; the name is shortened to fit. */
static void fail(terse_gguf_writer *w, terse_status status, const char *reason, const char *what,
                 terse_str name)
{
    if (w->error.status == TERSE_OK)
        terse_fail(&w->error, status, "%s (%s '%.*s')", reason, what, name.n < 80 ? (int)name.n : 80, name.p);
}

static void put(terse_gguf_writer *w, buffer *b, const void *p, size_t n)
{
    if (w->error.status != TERSE_OK || n == 0)
        return;
    if (n > b->cap - b->n) {
        size_t cap = b->cap ? b->cap : 4096;
        while (cap - b->n < n && cap <= SIZE_MAX / 2)
            cap *= 2;
        uint8_t *q = cap - b->n < n ? NULL : realloc(b->p, cap);
        if (!q) {
            terse_fail(&w->error, TERSE_NOMEM, "no memory for the header of a GGUF file");
            return;
        }
        b->p = q;
        b->cap = cap;
    }
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static void put_u32(terse_gguf_writer *w, buffer *b, uint32_t v)
{
    put(w, b, &v, sizeof v);
}
static void put_u64(terse_gguf_writer *w, buffer *b, uint64_t v)
{
    put(w, b, &v, sizeof v);
}
static void put_str(terse_gguf_writer *w, buffer *b, terse_str s)
{
    put_u64(w, b, s.n);
    put(w, b, s.p, s.n);
}

/* The array of n elements with room for one more, moved if need be; NULL, with the old one intact, without
 * memory. */
static void *reserve(void *array, int32_t n, int32_t *cap, size_t size)
{
    if (n < *cap)
        return array;
    const int32_t bigger = *cap ? 2 * *cap : 64;
    void *p = realloc(array, (size_t)bigger * size);
    if (p)
        *cap = bigger;
    return p;
}

/* Checks a name and keeps a copy of it. NULL after an error. */
static char *take_name(terse_gguf_writer *w, terse_names *names, const char *what, terse_str name, size_t max,
                       int32_t index)
{
    if (w->error.status != TERSE_OK)
        return NULL;
    if (!terse_names_valid(name, max) || index >= TERSE_GGUF_MAX_COUNT) {
        fail(w, TERSE_BAD_INPUT, index >= TERSE_GGUF_MAX_COUNT ? "too many names" : "bad name", what, name);
        return NULL;
    }
    char *copy = strndup(name.p, name.n);
    const terse_names_result r =
        copy ? terse_names_add(names, (terse_str){ copy, name.n }, index) : TERSE_NAMES_NOMEM;
    if (r == TERSE_NAMES_ADDED)
        return copy;
    free(copy);
    fail(w, r == TERSE_NAMES_NOMEM ? TERSE_NOMEM : TERSE_BAD_INPUT,
         r == TERSE_NAMES_NOMEM ? "no memory for the name" : "duplicate name", what, name);
    return NULL;
}

static bool is_align(terse_str key)
{
    static const char name[] = "general.alignment";
    return key.n == sizeof name - 1 && memcmp(key.p, name, key.n) == 0;
}

/* Key and type of a value whose bytes follow. False after an error. */
static bool begin(terse_gguf_writer *w, terse_str key, terse_meta_type type)
{
    char **keys = reserve(w->key, w->n_meta, &w->key_cap, sizeof *w->key);
    if (keys)
        w->key = keys;
    else
        fail(w, TERSE_NOMEM, "no memory for the key", "key", key);
    if (is_align(key) && type != TERSE_META_U32)
        fail(w, TERSE_BAD_INPUT, "the alignment must be a 32-bit unsigned integer", "key", key);
    char *copy = take_name(w, &w->meta_names, "key", key, TERSE_KEY_MAX, w->n_meta);
    if (!copy)
        return false;
    w->key[w->n_meta++] = copy;
    put_str(w, &w->meta, key);
    put_u32(w, &w->meta, (uint32_t)type);
    return true;
}

static void add_value(terse_gguf_writer *w, terse_str key, terse_meta_type type, const void *p)
{
    if (!begin(w, key, type))
        return;
    put(w, &w->meta, p, terse_meta_size(type));
    if (type != TERSE_META_U32 || !is_align(key))
        return;
    uint32_t align;
    memcpy(&align, p, sizeof align);
    if (!terse_gguf_align_valid(align))
        fail(w, TERSE_BAD_INPUT, "bad alignment", "key", key);
    w->align = align;
}

static void add_array(terse_gguf_writer *w, terse_str key, terse_meta_type type, const void *data, uint64_t n)
{
    size_t size = 0;
    if (!terse_meta_size(type) || __builtin_mul_overflow(n, terse_meta_size(type), &size))
        fail(w, TERSE_BAD_INPUT, "bad array", "key", key);
    if (!begin(w, key, TERSE_META_ARRAY))
        return;
    put_u32(w, &w->meta, (uint32_t)type);
    put_u64(w, &w->meta, n);
    put(w, &w->meta, data, size);
}

static terse_str str_of(const char *s)
{
    return (terse_str){ s, strlen(s) };
}

terse_status terse_gguf_writer_open(terse_gguf_writer **out, terse_error *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return terse_fail(err, TERSE_NOMEM, "no memory for the GGUF writer");
    (*out)->align = TERSE_GGUF_DEFAULT_ALIGN;
    return TERSE_OK;
}

void terse_gguf_writer_close(terse_gguf_writer **writer)
{
    if (!writer || !*writer)
        return;
    terse_gguf_writer *w = *writer;
    terse_save_abort(&w->save);
    for (int32_t i = 0; i < w->n_meta; i++)
        free(w->key[i]);
    for (int32_t i = 0; i < w->n_tensor; i++)
        free(w->tensor[i].name);
    terse_names_free(&w->meta_names);
    terse_names_free(&w->tensor_names);
    free(w->key);
    free(w->tensor);
    free(w->meta.p);
    free(w);
    *writer = NULL;
}

void terse_gguf_writer_u32(terse_gguf_writer *w, const char *key, uint32_t value)
{
    add_value(w, str_of(key), TERSE_META_U32, &value);
}

void terse_gguf_writer_i32(terse_gguf_writer *w, const char *key, int32_t value)
{
    add_value(w, str_of(key), TERSE_META_I32, &value);
}

void terse_gguf_writer_u64(terse_gguf_writer *w, const char *key, uint64_t value)
{
    add_value(w, str_of(key), TERSE_META_U64, &value);
}

void terse_gguf_writer_f32(terse_gguf_writer *w, const char *key, float value)
{
    add_value(w, str_of(key), TERSE_META_F32, &value);
}

void terse_gguf_writer_bool(terse_gguf_writer *w, const char *key, bool value)
{
    add_value(w, str_of(key), TERSE_META_BOOL, &(uint8_t){ value });
}

void terse_gguf_writer_str(terse_gguf_writer *w, const char *key, terse_str value)
{
    if (begin(w, str_of(key), TERSE_META_STR))
        put_str(w, &w->meta, value);
}

void terse_gguf_writer_strs(terse_gguf_writer *w, const char *key, const terse_str *values, uint64_t n)
{
    if (n > TERSE_GGUF_MAX_STRINGS)
        fail(w, TERSE_BAD_INPUT, "too many strings", "key", str_of(key));
    if (!begin(w, str_of(key), TERSE_META_ARRAY))
        return;
    put_u32(w, &w->meta, TERSE_META_STR);
    put_u64(w, &w->meta, n);
    for (uint64_t i = 0; i < n; i++)
        put_str(w, &w->meta, values[i]);
}

void terse_gguf_writer_array(terse_gguf_writer *w, const char *key, terse_meta_type type, const void *data,
                             uint64_t n)
{
    add_array(w, str_of(key), type, data, n);
}

void terse_gguf_writer_copy(terse_gguf_writer *w, const terse_meta *m)
{
    switch (m->type) {
    case TERSE_META_STR:
        if (begin(w, m->key, m->type))
            put_str(w, &w->meta, m->v.s);
        break;
    case TERSE_META_ARRAY:
        if (!begin(w, m->key, m->type))
            break;
        put_u32(w, &w->meta, (uint32_t)m->v.a.type);
        put_u64(w, &w->meta, m->v.a.n);
        put(w, &w->meta, m->v.a.data, m->v.a.size); /* already encoded as a file has it */
        break;
    case TERSE_META_F32:
        add_value(w, m->key, m->type, &(float){ (float)m->v.f });
        break;
    case TERSE_META_F64:
        add_value(w, m->key, m->type, &m->v.f);
        break;
    default: /* the low bytes of the integer */
        add_value(w, m->key, m->type, &m->v.u);
        break;
    }
}

/* Whether the shape is one that the reader takes; fills e->ne and e->size. */
static bool set_shape(entry *e, int32_t n_dim, const int64_t *ne)
{
    int64_t n = 1;
    if (n_dim < 1 || n_dim > TERSE_MAX_DIMS)
        return false;
    for (int32_t d = 0; d < n_dim; d++) {
        e->ne[d] = ne[d];
        if (ne[d] < 1 || __builtin_mul_overflow(n, ne[d], &n))
            return false;
    }
    e->n_dim = n_dim;
    e->size = terse_type_row_size(e->type, n);
    return terse_type_row_size(e->type, ne[0]) > 0 && e->size > 0;
}

void terse_gguf_writer_tensor(terse_gguf_writer *w, const char *name, uint32_t type, int32_t n_dim,
                              const int64_t *ne, const void *data)
{
    entry e = { .type = type, .data = data };
    entry *tensors = reserve(w->tensor, w->n_tensor, &w->tensor_cap, sizeof *w->tensor);
    if (tensors)
        w->tensor = tensors;
    else
        fail(w, TERSE_NOMEM, "no memory for the tensor", "tensor", str_of(name));
    if (!terse_type_of(type)->name)
        fail(w, TERSE_UNSUPPORTED, "unsupported tensor type", "tensor", str_of(name));
    else if (!set_shape(&e, n_dim, ne))
        fail(w, TERSE_BAD_INPUT, "bad tensor shape", "tensor", str_of(name));
    e.name = take_name(w, &w->tensor_names, "tensor", str_of(name), TERSE_TENSOR_NAME_MAX, w->n_tensor);
    if (e.name)
        w->tensor[w->n_tensor++] = e;
}

/* All that comes before the first tensor, padding included. */
static void encode_header(terse_gguf_writer *w, buffer *b)
{
    uint64_t offset = 0;
    put(w, b, "GGUF", 4);
    put_u32(w, b, 3);
    put_u64(w, b, (uint64_t)w->n_tensor);
    put_u64(w, b, (uint64_t)w->n_meta);
    put(w, b, w->meta.p, w->meta.n);
    for (int32_t i = 0; i < w->n_tensor; i++) {
        const entry *e = &w->tensor[i];
        uint64_t end;
        put_str(w, b, str_of(e->name));
        put_u32(w, b, (uint32_t)e->n_dim);
        for (int32_t d = 0; d < e->n_dim; d++)
            put_u64(w, b, (uint64_t)e->ne[d]);
        put_u32(w, b, e->type);
        put_u64(w, b, offset);
        if (__builtin_add_overflow(offset, e->size, &end) || end > INT64_MAX - w->align)
            fail(w, TERSE_BAD_INPUT, "the file would be too large", "tensor", str_of(e->name));
        else
            offset = (end + w->align - 1) / w->align * w->align;
    }
    while (w->error.status == TERSE_OK && b->n % w->align != 0)
        put(w, b, "", 1);
}

static terse_status write_padding(terse_gguf_writer *w, size_t size, terse_error *err)
{
    static const uint8_t zeros[4096];
    terse_status st = TERSE_OK;
    for (size_t left = (size_t)((w->align - size % w->align) % w->align); left > 0 && st == TERSE_OK;) {
        const size_t n = left < sizeof zeros ? left : sizeof zeros;
        st = terse_save_write(&w->save, zeros, n, err);
        left -= n;
    }
    return st;
}

terse_status terse_gguf_writer_begin(terse_gguf_writer *w, const char *path, terse_error *err)
{
    buffer header = { 0 };
    encode_header(w, &header);
    terse_status st = w->error.status;
    terse_save_abort(&w->save);
    w->n_put = 0;
    w->put_size = 0;
    if (st != TERSE_OK)
        terse_fail(err, st, "%s: %s", terse_path_shown(path), w->error.text);
    else
        st = terse_save_open(&w->save, path, err);
    if (st == TERSE_OK)
        st = terse_save_write(&w->save, header.p, header.n, err);
    free(header.p);
    return st;
}

terse_status terse_gguf_writer_put(terse_gguf_writer *w, const void *data, size_t n, terse_error *err)
{
    if (!w->save.path || w->n_put == w->n_tensor || n > w->tensor[w->n_put].size - w->put_size)
        return terse_fail(err, TERSE_INTERNAL, "%zu bytes too many for a GGUF file", n);
    const size_t size = w->tensor[w->n_put].size;
    terse_status st = terse_save_write(&w->save, data, n, err);
    w->put_size += n;
    if (st != TERSE_OK || w->put_size < size)
        return st;
    w->n_put++;
    w->put_size = 0;
    return write_padding(w, size, err);
}

terse_status terse_gguf_writer_commit(terse_gguf_writer *w, terse_error *err)
{
    if (!w->save.path || w->n_put < w->n_tensor)
        return terse_fail(err, TERSE_INTERNAL, "a GGUF file of %d tensors ends after %d", w->n_tensor,
                          w->n_put);
    return terse_save_commit(&w->save, err);
}

terse_status terse_gguf_writer_save(terse_gguf_writer *w, const char *path, terse_error *err)
{
    terse_status st = terse_gguf_writer_begin(w, path, err);
    for (int32_t i = 0; i < w->n_tensor && st == TERSE_OK; i++)
        st = terse_gguf_writer_put(w, w->tensor[i].data, w->tensor[i].size, err);
    if (st == TERSE_OK)
        st = terse_gguf_writer_commit(w, err);
    terse_save_abort(&w->save);
    return st;
}
