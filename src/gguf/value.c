/* gguf/value.c: metadata values: their encoding, and the typed look-ups. */
#include "gguf/value.h"

#include "base/path.h"

#include <float.h>
#include <math.h>
#include <string.h>

size_t terse_meta_size(uint32_t type)
{
    static const uint8_t size[] = {
        [TERSE_META_U8] = 1,  [TERSE_META_I8] = 1,  [TERSE_META_U16] = 2, [TERSE_META_I16] = 2,
        [TERSE_META_U32] = 4, [TERSE_META_I32] = 4, [TERSE_META_F32] = 4, [TERSE_META_BOOL] = 1,
        [TERSE_META_U64] = 8, [TERSE_META_I64] = 8, [TERSE_META_F64] = 8,
    };
    return type < sizeof size ? size[type] : 0;
}

const char *terse_meta_type_name(uint32_t type)
{
    static const char *const name[] = { "u8",   "i8",  "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "str", "array", "u64", "i64", "f64" };
    return type < sizeof name / sizeof *name ? name[type] : "unknown";
}

bool terse_gguf_align_valid(uint64_t a)
{
    return a >= TERSE_GGUF_MIN_ALIGN && a <= TERSE_GGUF_MAX_ALIGN && (a & (a - 1)) == 0;
}

void terse_meta_widen(terse_meta *m, terse_meta_type type, const uint8_t *p)
{
    union {
        uint8_t u8;
        int8_t i8;
        uint16_t u16;
        int16_t i16;
        uint32_t u32;
        int32_t i32;
        uint64_t u64;
        int64_t i64;
        float f32;
        double f64;
    } x = { .u64 = 0 };
    m->type = type;
    memcpy(&x, p, terse_meta_size(type));
    switch (type) {
    case TERSE_META_U8:
        m->v.u = x.u8;
        break;
    case TERSE_META_I8:
        m->v.i = x.i8;
        break;
    case TERSE_META_U16:
        m->v.u = x.u16;
        break;
    case TERSE_META_I16:
        m->v.i = x.i16;
        break;
    case TERSE_META_U32:
        m->v.u = x.u32;
        break;
    case TERSE_META_I32:
        m->v.i = x.i32;
        break;
    case TERSE_META_BOOL:
        m->v.u = x.u8 != 0;
        break;
    case TERSE_META_U64:
        m->v.u = x.u64;
        break;
    case TERSE_META_I64:
        m->v.i = x.i64;
        break;
    case TERSE_META_F32:
        m->v.f = (double)x.f32;
        break;
    case TERSE_META_F64:
        m->v.f = x.f64;
        break;
    case TERSE_META_STR:
    case TERSE_META_ARRAY:
        break;
    }
}

static bool is_unsigned(terse_meta_type t)
{
    return t == TERSE_META_U8 || t == TERSE_META_U16 || t == TERSE_META_U32 || t == TERSE_META_U64;
}

static bool is_signed(terse_meta_type t)
{
    return t == TERSE_META_I8 || t == TERSE_META_I16 || t == TERSE_META_I32 || t == TERSE_META_I64;
}

static terse_status fail_value(const terse_gguf *g, const terse_meta *m, const char *reason, const char *wanted,
                               terse_error *err)
{
    return terse_fail(err, TERSE_BAD_INPUT, "%s: %s, found %s, wanted %s at offset %llu (key '%.*s')",
                      terse_path_shown(terse_gguf_path(g)), reason, terse_meta_type_name(m->type), wanted,
                      (unsigned long long)m->offset, m->key.n < 80 ? (int)m->key.n : 80, m->key.p);
}

/* *m is NULL if the key is absent and need not be there. */
static terse_status look_up(const terse_gguf *g, const char *key, bool required, const terse_meta **m,
                            terse_error *err)
{
    *m = terse_gguf_find_meta(g, key);
    if (*m || !required)
        return TERSE_OK;
    return terse_fail(err, TERSE_BAD_INPUT, "%s: missing key '%.80s'", terse_path_shown(terse_gguf_path(g)),
                      key);
}

terse_status terse_gguf_get_i32(const terse_gguf *g, const char *key, bool required, int32_t *value,
                                terse_error *err)
{
    const terse_meta *m;
    const terse_status st = look_up(g, key, required, &m, err);
    if (!m)
        return st;
    if (!is_unsigned(m->type) && !is_signed(m->type))
        return fail_value(g, m, "wrong type", "an integer", err);
    if (is_unsigned(m->type) ? m->v.u > INT32_MAX : m->v.i < INT32_MIN || m->v.i > INT32_MAX)
        return fail_value(g, m, "value out of range", "32 bits with sign", err);
    *value = is_unsigned(m->type) ? (int32_t)m->v.u : (int32_t)m->v.i;
    return TERSE_OK;
}

terse_status terse_gguf_get_f32(const terse_gguf *g, const char *key, bool required, float *value,
                                terse_error *err)
{
    const terse_meta *m;
    const terse_status st = look_up(g, key, required, &m, err);
    if (!m)
        return st;
    if (m->type != TERSE_META_F32 && m->type != TERSE_META_F64)
        return fail_value(g, m, "wrong type", "a float", err);
    if (isfinite(m->v.f) && fabs(m->v.f) > (double)FLT_MAX)
        return fail_value(g, m, "value out of range", "f32", err);
    *value = (float)m->v.f;
    return TERSE_OK;
}

terse_status terse_gguf_get_bool(const terse_gguf *g, const char *key, bool required, bool *value,
                                 terse_error *err)
{
    const terse_meta *m;
    const terse_status st = look_up(g, key, required, &m, err);
    if (!m)
        return st;
    if (m->type != TERSE_META_BOOL)
        return fail_value(g, m, "wrong type", "bool", err);
    *value = m->v.u != 0;
    return TERSE_OK;
}

terse_status terse_gguf_get_str(const terse_gguf *g, const char *key, bool required, terse_str *value,
                                terse_error *err)
{
    const terse_meta *m;
    const terse_status st = look_up(g, key, required, &m, err);
    if (!m)
        return st;
    if (m->type != TERSE_META_STR)
        return fail_value(g, m, "wrong type", "str", err);
    *value = m->v.s;
    return TERSE_OK;
}

terse_status terse_gguf_get_array(const terse_gguf *g, const char *key, bool required, terse_meta_type type,
                                  terse_meta_array *value, terse_error *err)
{
    const terse_meta *m;
    const terse_status st = look_up(g, key, required, &m, err);
    if (!m)
        return st;
    if (m->type != TERSE_META_ARRAY)
        return fail_value(g, m, "wrong type", "array", err);
    if (type != TERSE_META_ARRAY && m->v.a.type != type)
        return fail_value(g, m, "wrong element type", terse_meta_type_name(type), err);
    *value = m->v.a;
    return TERSE_OK;
}

bool terse_meta_array_next_str(terse_meta_array *a, terse_str *s)
{
    uint64_t n;
    if (a->type != TERSE_META_STR || a->n == 0 || a->size < sizeof n)
        return false;
    memcpy(&n, a->data, sizeof n);
    /* Checked when the file was opened; it may have been written to since. */
    if (n > a->size - sizeof n)
        return false;
    *s = (terse_str){ (const char *)a->data + sizeof n, (size_t)n };
    a->data += sizeof n + n;
    a->size -= sizeof n + (size_t)n;
    a->n--;
    return true;
}

double terse_meta_array_f64(const terse_meta_array *a, uint64_t i)
{
    const size_t size = terse_meta_size(a->type);
    if (!size)
        return 0.0;
    terse_meta m = { 0 };
    terse_meta_widen(&m, a->type, a->data + i * size);
    if (a->type == TERSE_META_F32 || a->type == TERSE_META_F64)
        return m.v.f;
    return is_signed(a->type) ? (double)m.v.i : (double)m.v.u;
}

int64_t terse_meta_array_i64(const terse_meta_array *a, uint64_t i)
{
    const size_t size = terse_meta_size(a->type);
    if (!size)
        return 0;
    terse_meta m = { 0 };
    terse_meta_widen(&m, a->type, a->data + i * size);
    if (is_signed(a->type))
        return m.v.i;
    if (a->type != TERSE_META_F32 && a->type != TERSE_META_F64)
        return m.v.u > INT64_MAX ? INT64_MAX : (int64_t)m.v.u;
    /* The nearest integer towards zero that there is; NaN gives 0. */
    if (isnan(m.v.f))
        return 0;
    return m.v.f >= 0x1p63 ? INT64_MAX : m.v.f < -0x1p63 ? INT64_MIN : (int64_t)m.v.f;
}
