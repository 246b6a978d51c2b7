/* bench/kvdata.h: keys, values and queries to measure attention on: random, random with the structure that
 * models show, or recorded from a model. */
#ifndef TERSE_BENCH_KVDATA_H
#define TERSE_BENCH_KVDATA_H

#include "terse/record.h"

enum { KVDATA_STEPS = 4 /* of generated data */, KVDATA_HEADS = 8, KVDATA_MAX_DIM = 512 };

/* PLAIN: independent uniform numbers: attention spreads over everything.
 * STRUCTURED: keys drift from topic to topic, so that neighbours are alike; the first tokens are attention
 * sinks with small values; the queries prefer what came last and each seeks a needle of its own. Heads differ
 * in how sharp and how local they are. */
typedef enum { KVDATA_PLAIN, KVDATA_STRUCTURED, KVDATA_RECORDED } kvdata_kind;

typedef struct {
    kvdata_kind kind;
    const terse_record *record;                        /* borrowed; NULL if generated */
    int32_t n_layer, n_head, n_row, dim_k, dim_v, ctx; /* n_row: queries per KV head that there are */
    int32_t n_step;                                    /* tokens whose queries there are */
    float scale;
    float *query; /* [n_step][n_layer][n_head][n_row][dim_k]; NULL if recorded */
} kvdata;

/* One layer of KVDATA_HEADS heads: set n_layer as needed before kvdata_open. */
kvdata kvdata_generated(kvdata_kind kind, int32_t n_row, int32_t dim, int32_t ctx);
kvdata kvdata_recorded(const terse_record *r);
/* Memory for the queries of generated data. */
terse_status kvdata_open(kvdata *d, terse_error *err);
void kvdata_close(kvdata *d);

/* Generated data: stores all tokens of one (layer, head) in a store that has made room for them, and makes its
 * queries. Calls for different (layer, head) may run at the same time. */
void kvdata_put(const kvdata *d, terse_kv *kv, int32_t layer, int32_t head);
/* [n_row][dim_k] @64 */
const float *kvdata_query(const kvdata *d, int32_t step, int32_t layer, int32_t head);
/* Tokens that step's queries attend to. */
int32_t kvdata_depth(const kvdata *d, int32_t step);

#endif
