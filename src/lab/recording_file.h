/* lab/recording_file.h: how a recording lies in its file, little endian.
 *
 *   header
 *   queries   f32 [n_step][n_layer][n_head][n_row][dim_k]
 *   keys      type_k [n_layer][n_head][n_token][dim_k]
 *   values    type_v [n_layer][n_head][n_token][dim_v]
 *
 * Each part begins at the next multiple of 64 bytes; the file ends with the last value. */
#ifndef TERSE_LAB_RECORDING_FILE_H
#define TERSE_LAB_RECORDING_FILE_H

#include "terse/record.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "recordings are read as the machine stores numbers");

#define TERSE_RECORD_MAGIC "TERSEREC" /* without the NUL */
enum { TERSE_RECORD_VERSION = 2, TERSE_RECORD_F32 = 0, TERSE_RECORD_F16 = 1 };

typedef struct {
    char magic[8];
    uint32_t version;
    uint32_t n_layer, n_head, n_row, dim_k, dim_v, n_token, n_step;
    uint32_t type_k, type_v;
    float scale;
    uint32_t every;
    char zero[8];
    char model[64], stop[128]; /* ended by NUL, filled with NUL */
} terse_record_header;
_Static_assert(sizeof(terse_record_header) == 256, "the file's header has 256 bytes");

/* Most layers, heads and steps: with the limits of a KV store no size below can overflow. */
enum {
    TERSE_RECORD_LAYERS = 1 << 12,
    TERSE_RECORD_HEADS = 1 << 12,
    TERSE_RECORD_ROWS = 256,
    TERSE_RECORD_DIM = 576,
    TERSE_RECORD_TOKENS = 1 << 24,
    TERSE_RECORD_STEPS = 1 << 16
};

/* Byte offsets of the parts and of the end. */
typedef struct {
    uint64_t query, k, v, end;
} terse_record_layout;

static inline uint64_t terse_record_value_size(uint32_t type)
{
    return type == TERSE_RECORD_F16 ? 2 : 4;
}

static inline terse_record_layout terse_record_lay_out(const terse_record_header *h)
{
    const uint64_t unit = (uint64_t)h->n_layer * h->n_head, rows = unit * h->n_token;
    terse_record_layout l = { .query = sizeof *h };
    l.k = l.query + unit * h->n_step * h->n_row * h->dim_k * sizeof(float);
    l.k = (l.k + 63) / 64 * 64;
    l.v = l.k + rows * h->dim_k * terse_record_value_size(h->type_k);
    l.v = (l.v + 63) / 64 * 64;
    l.end = l.v + rows * h->dim_v * terse_record_value_size(h->type_v);
    return l;
}

#endif
