/* terse/kv.h: the page store. Keys and values live in pages of TERSE_KV_PAGE tokens, one page per (sequence,
 * layer, KV head) and token range; K and V are separate 64-byte aligned blocks, so that either can be left
 * unread. Memory comes from the operating system as it is needed: a large context costs nothing until it is
 * used. */
#ifndef TERSE_KV_H
#define TERSE_KV_H

#include "terse/base.h"

enum {
    TERSE_KV_PAGE = 32,
    TERSE_KV_DIM = 576, /* most channels of a key or a value */
    TERSE_KV_BACK = 64  /* last tokens that can be taken back exactly where tokens are dropped */
};

/* Storage of keys and of values. q8, q4: codes of 8 or 4 bits with an f16 scale per token and 32 channels (8.5
 * and 4.5 bits per value). */
typedef enum {
    TERSE_KV_DEFAULT = 0,
    TERSE_KV_F32,
    TERSE_KV_F16,
    TERSE_KV_Q8,
    TERSE_KV_BF16,
    TERSE_KV_Q4
} terse_kv_type;

/* "f32", "f16", "bf16", "q8" (also "q8_0"), "q4" (also "q4_0"); TERSE_BAD_INPUT for anything else. */
TERSE_API terse_status terse_kv_type_parse(const char *name, terse_kv_type *type, terse_error *err);
TERSE_API const char *terse_kv_type_name(terse_kv_type type);
/* Channels that a store of that type needs for heads of n channels: those behind them are 0 in keys, values and
 * queries, and change no result. */
TERSE_API int32_t terse_kv_dim(terse_kv_type type, int32_t n);

/* One sequence: its page tables and pages. One writer at a time; readers may share it between writes. */
typedef struct terse_kv terse_kv;

typedef struct {
    int32_t n_layer, n_head;      /* n_head: KV heads per layer */
    int32_t dim_k, dim_v;         /* channels per head: multiples of 16, of 32 for q8, q4; up to 576 */
    terse_kv_type type_k, type_v; /* default f16 */
    int32_t ctx;                  /* tokens that the sequence may hold */
    size_t limit;                 /* bytes that the pages may take; 0: no limit */
    const terse_kv *beside; /* a store of the same channels and types, or NULL: pages come from its memory,
                             * under its limit. Such stores have one writer at a time together, but for calls of
                             * terse_kv_put between a reserve and the next one; they are closed in any order */
    /* [n_layer] tokens that a token of the layer sees, itself among them; 0: all before it. Copied; NULL: all
     * zero. Pages behind a layer's span are given back, but for `back` tokens (0: 256) that truncate may take
     * back. */
    const int32_t *span;
    int32_t back;
} terse_kv_opts;

TERSE_API terse_status terse_kv_open(terse_kv **out, const terse_kv_opts *opts, terse_error *err);
TERSE_API void terse_kv_close(terse_kv **kv);

/* Tokens stored. */
TERSE_API int32_t terse_kv_count(const terse_kv *kv);
/* Makes room for n more tokens in every layer and head. TERSE_NOMEM (memory or limit) and TERSE_BAD_INPUT (ctx)
 * leave the sequence as it was. Must come before terse_kv_put. */
TERSE_API terse_status terse_kv_reserve(terse_kv *kv, int32_t n, terse_error *err);
/* Stores k[dim_k] (already rotated) and v[dim_v] of the token at position pos, count <= pos < count + reserved.
 * Calls for different (layer, head) may run at the same time. */
TERSE_API void terse_kv_put(terse_kv *kv, int32_t layer, int32_t head, int32_t pos, const float *k,
                            const float *v);
/* The next n tokens are now part of the sequence. */
TERSE_API void terse_kv_commit(terse_kv *kv, int32_t n);
/* Forgets the tokens from position n on and gives their pages back. False, and nothing is changed, if a layer
 * with a span does not hold any more what the token at position n would see. */
TERSE_API bool terse_kv_truncate(terse_kv *kv, int32_t n);
/* Moves the fixed vector c of every (layer, head) to the mean of its stored values (0 without any, or where
 * that is not finite) and measures every page's radius max |v - c| again: reads all values once. Bounds of
 * skipped values use them; any c is valid, the mean is tight. Tokens stored later are measured against the same
 * c. */
TERSE_API void terse_kv_center(terse_kv *kv);

/* What rules may need to know of pages that they do not read (terse_attend_needs). */
enum {
    TERSE_KV_CENTER = 1,  /* terse_kv_center */
    TERSE_KV_MOMENTS = 2, /* mean and variance of the keys, per channel: int8, 2 bytes per channel and page */
    TERSE_KV_BOX = 4      /* smallest and largest key, per channel, rounded outward: as much */
};
/* From now on keeps these for every page that fills up, and makes them for the pages that are full: reads the
 * keys (and values, for the center) that it has not yet seen. Tokens of one (layer, head) must then be put in
 * order. TERSE_NOMEM leaves the store as it was. */
TERSE_API terse_status terse_kv_summarize(terse_kv *kv, uint32_t what, terse_error *err);
/* Bytes of memory that pages hold now, of all stores beside this one too; bytes of one token in all layers and
 * heads. */
TERSE_API size_t terse_kv_bytes(const terse_kv *kv);
TERSE_API size_t terse_kv_token_bytes(const terse_kv *kv);

#endif
