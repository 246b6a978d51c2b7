/* lab/recording.c: reads recordings. The file is mapped; nothing in its header is believed before it was
 * checked. */
#include "terse/record.h"

#include "base/map.h"
#include "base/path.h"
#include "lab/recording_file.h"
#include "simd/dot.h"

#include <math.h>
#include <stdlib.h>

struct terse_record {
    terse_map map;
    terse_record_header header;
    terse_record_layout at;
    terse_record_info info;
};

static const struct {
    const char *name;
    size_t at;
    uint32_t min, max, multiple;
} fields[] = {
    { "n_layer", offsetof(terse_record_header, n_layer), 1, TERSE_RECORD_LAYERS, 1 },
    { "n_head", offsetof(terse_record_header, n_head), 1, TERSE_RECORD_HEADS, 1 },
    { "n_row", offsetof(terse_record_header, n_row), 1, TERSE_RECORD_ROWS, 1 },
    { "dim_k", offsetof(terse_record_header, dim_k), 16, TERSE_RECORD_DIM, 16 },
    { "dim_v", offsetof(terse_record_header, dim_v), 16, TERSE_RECORD_DIM, 16 },
    { "n_token", offsetof(terse_record_header, n_token), 1, TERSE_RECORD_TOKENS, 1 },
    { "n_step", offsetof(terse_record_header, n_step), 1, TERSE_RECORD_STEPS, 1 },
    { "type_k", offsetof(terse_record_header, type_k), TERSE_RECORD_F32, TERSE_RECORD_F16, 1 },
    { "type_v", offsetof(terse_record_header, type_v), TERSE_RECORD_F32, TERSE_RECORD_F16, 1 },
    { "every", offsetof(terse_record_header, every), 1, TERSE_RECORD_TOKENS, 1 },
};

static terse_status bad(const char *path, const char *field, size_t at, const char *why, terse_error *err)
{
    return terse_fail(err, TERSE_BAD_INPUT, "%s: %s at offset %zu %s", terse_path_shown(path), field, at, why);
}

static bool is_name(const char *s, size_t size)
{
    size_t n = 0;
    while (n < size && s[n] >= ' ' && s[n] <= '~')
        n++;
    if (n == size)
        return false;
    while (n < size && !s[n])
        n++;
    return n == size;
}

static terse_status check(const terse_record *r, const char *path, terse_error *err)
{
    const terse_record_header *h = &r->header;
    if (memcmp(h->magic, TERSE_RECORD_MAGIC, sizeof h->magic) != 0)
        return bad(path, "magic", 0, "is not that of a recording", err);
    if (h->version != TERSE_RECORD_VERSION)
        return terse_fail(
            err, TERSE_UNSUPPORTED, "%s: version at offset %zu is %u, this program reads version %d",
            terse_path_shown(path), offsetof(terse_record_header, version), h->version, TERSE_RECORD_VERSION);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        uint32_t x;
        memcpy(&x, (const char *)h + fields[i].at, sizeof x);
        if (x < fields[i].min || x > fields[i].max || x % fields[i].multiple)
            return terse_fail(err, TERSE_BAD_INPUT,
                              "%s: %s at offset %zu is %u, not a multiple of %u from %u to %u",
                              terse_path_shown(path), fields[i].name, fields[i].at, x, fields[i].multiple,
                              fields[i].min, fields[i].max);
    }
    if (h->every > h->n_token / h->n_step)
        return bad(path, "n_step", offsetof(terse_record_header, n_step), "times every is more than n_token",
                   err);
    if (!isfinite(h->scale) || h->scale <= 0.0f)
        return bad(path, "scale", offsetof(terse_record_header, scale), "is not a number above 0", err);
    if (!is_name(h->model, sizeof h->model))
        return bad(path, "model", offsetof(terse_record_header, model), "is not printable ASCII ended by NUL",
                   err);
    if (!is_name(h->stop, sizeof h->stop))
        return bad(path, "stop", offsetof(terse_record_header, stop), "is not printable ASCII ended by NUL",
                   err);
    if (r->at.end != r->map.size)
        return terse_fail(err, TERSE_BAD_INPUT, "%s: %zu bytes, but the numbers in its header make %llu",
                          terse_path_shown(path), r->map.size, (unsigned long long)r->at.end);
    return TERSE_OK;
}

static terse_kv_type public_type(uint32_t type)
{
    return type == TERSE_RECORD_F16 ? TERSE_KV_F16 : TERSE_KV_F32;
}

static terse_record_info describe(const terse_record_header *h)
{
    terse_record_info i = { .n_layer = (int32_t)h->n_layer,
                            .n_head = (int32_t)h->n_head,
                            .n_row = (int32_t)h->n_row,
                            .dim_k = (int32_t)h->dim_k,
                            .dim_v = (int32_t)h->dim_v,
                            .n_token = (int32_t)h->n_token,
                            .n_step = (int32_t)h->n_step,
                            .every = (int32_t)h->every,
                            .type_k = public_type(h->type_k),
                            .type_v = public_type(h->type_v),
                            .scale = h->scale };
    memcpy(i.model, h->model, sizeof i.model);
    memcpy(i.stop, h->stop, sizeof i.stop);
    return i;
}

terse_status terse_record_open(terse_record **out, const char *path, terse_error *err)
{
    *out = NULL;
    terse_record *r = calloc(1, sizeof *r);
    if (!r)
        return terse_fail(err, TERSE_NOMEM, "%s: no memory for a recording", terse_path_shown(path));
    terse_status st = terse_map_open(&r->map, path, err);
    if (st == TERSE_OK && r->map.size < sizeof r->header)
        st = terse_fail(err, TERSE_BAD_INPUT, "%s: %zu bytes, the header alone has %zu", terse_path_shown(path),
                        r->map.size, sizeof r->header);
    if (st == TERSE_OK) {
        memcpy(&r->header, r->map.data, sizeof r->header);
        r->at = terse_record_lay_out(&r->header);
        st = check(r, path, err);
    }
    if (st != TERSE_OK) {
        terse_record_close(&r);
        return st;
    }
    r->info = describe(&r->header);
    *out = r;
    return TERSE_OK;
}

void terse_record_close(terse_record **r)
{
    if (!r || !*r)
        return;
    terse_map_close(&(*r)->map);
    free(*r);
    *r = NULL;
}

const terse_record_info *terse_record_about(const terse_record *r)
{
    return &r->info;
}

int32_t terse_record_depth(const terse_record *r, int32_t step)
{
    return r->info.n_token - (r->info.n_step - 1 - step) * r->info.every;
}

static uint64_t unit_of(const terse_record *r, int32_t layer, int32_t head)
{
    return (uint64_t)layer * r->header.n_head + (uint64_t)head;
}

const float *terse_record_query(const terse_record *r, int32_t step, int32_t layer, int32_t head)
{
    const terse_record_header *h = &r->header;
    const uint64_t unit = (uint64_t)step * h->n_layer * h->n_head + unit_of(r, layer, head);
    return (const float *)(const void *)(r->map.data + r->at.query +
                                         unit * h->n_row * h->dim_k * sizeof(float));
}

static void copy_row(float *to, const uint8_t *part, uint32_t type, uint64_t row, uint32_t dim)
{
    const uint8_t *p = part + row * dim * terse_record_value_size(type);
    if (type == TERSE_RECORD_F32)
        memcpy(to, p, dim * sizeof *to);
    for (uint32_t d = 0; d < dim && type == TERSE_RECORD_F16; d++)
        to[d] = terse_f16_to_f32(((const uint16_t *)(const void *)p)[d]);
}

void terse_record_kv(const terse_record *r, int32_t layer, int32_t head, int32_t pos, float *k, float *v)
{
    const terse_record_header *h = &r->header;
    const uint64_t row = unit_of(r, layer, head) * h->n_token + (uint64_t)pos;
    copy_row(k, r->map.data + r->at.k, h->type_k, row, h->dim_k);
    copy_row(v, r->map.data + r->at.v, h->type_v, row, h->dim_v);
}

bool terse_record_broken(const terse_record *r)
{
    return terse_map_broken(&r->map);
}
