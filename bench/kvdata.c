/* bench/kvdata.c: see the header. The same numbers on every machine: a generator per (layer, head), and no
 * function of the C library but sqrtf and the logarithm of the depth. */
#include "kvdata.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

enum { SINKS = 4 };

/* xorshift64* (Vigna 2016) */
static uint64_t draw(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 0x2545f4914f6cdd1d;
}

/* In [low, high) */
static float uniform(uint64_t *s, float low, float high)
{
    return low + (high - low) * (float)(draw(s) >> 40) * 0x1p-24f;
}

/* Four uniform numbers added up: nearly normal, deviation 1. */
static float noise(uint64_t *s)
{
    const uint64_t x = draw(s);
    const int32_t sum =
        (int32_t)(x & 0xffff) + (int32_t)(x >> 16 & 0xffff) + (int32_t)(x >> 32 & 0xffff) + (int32_t)(x >> 48);
    return (float)(sum - 2 * 0xffff) * (1.7320508f / 65536.0f);
}

/* What one (layer, head) is like. Logits are of the queries; those of ordinary tokens have mean 0 and deviation
 * `sharp`. The generator continues with the tokens. */
typedef struct {
    uint64_t seed;
    float sharp;
    float local_logit; /* of the newest tokens, of the sinks, of the needle that a step seeks */
    float sink_logit, needle_logit;
    int32_t at[KVDATA_STEPS];   /* where the needles are */
    float sink[KVDATA_MAX_DIM]; /* directions, of norm 1 */
    float needle[KVDATA_STEPS][KVDATA_MAX_DIM];
    float mean[KVDATA_MAX_DIM]; /* of the values */
} character;

static void direction(float *x, int32_t dim, uint64_t *seed)
{
    float sum = 0.0f;
    for (int32_t d = 0; d < dim; d++) {
        x[d] = noise(seed);
        sum += x[d] * x[d];
    }
    for (int32_t d = 0; d < dim; d++)
        x[d] /= sqrtf(sum);
}

static void characterise(character *c, const kvdata *d, int32_t layer, int32_t head)
{
    c->seed = ((uint64_t)layer * (uint64_t)d->n_head + (uint64_t)head + 1) * 0x9e3779b97f4a7c15;
    for (int32_t i = 0; i < 4; i++)
        draw(&c->seed); /* neighbouring seeds begin alike */
    c->sharp = uniform(&c->seed, 0.7f, 2.0f);
    /* The mass of all ordinary tokens is n exp(sharp^2 / 2); that of the others is chosen against it so that
     * value-skip leaves out about as much as on the recorded 28M model (docs/bench.md). */
    const float bulk = logf((float)d->ctx) + c->sharp * c->sharp / 2.0f;
    c->local_logit = bulk + uniform(&c->seed, -4.0f, 1.0f);
    c->sink_logit = bulk + uniform(&c->seed, -2.0f, 4.0f);
    c->needle_logit = bulk + uniform(&c->seed, -8.0f, 1.0f);
    direction(c->sink, d->dim_k, &c->seed);
    for (int32_t i = 0; i < KVDATA_STEPS; i++) {
        c->at[i] = (int32_t)(draw(&c->seed) % (uint64_t)d->ctx);
        direction(c->needle[i], d->dim_k, &c->seed);
    }
    for (int32_t i = 0; i < d->dim_v; i++)
        c->mean[i] = 0.6f * noise(&c->seed);
}

/* A walk in the space of keys that forgets: x = KEEP x + sqrt(1 - KEEP^2) noise has deviation 1 for ever, and
 * tokens some 30 apart are still alike. */
#define KEEP 0.97f
static void drift(float *topic, int32_t dim, uint64_t *seed)
{
    const float fresh = sqrtf(1.0f - KEEP * KEEP);
    for (int32_t d = 0; d < dim; d++)
        topic[d] = KEEP * topic[d] + fresh * noise(seed);
}

static void make_token(const kvdata *d, character *c, const float *topic, int32_t t, float *k, float *v)
{
    const float root = sqrtf((float)d->dim_k);
    const float *special = t < SINKS ? c->sink : NULL;
    for (int32_t i = 0; i < KVDATA_STEPS && !special; i++)
        if (t == c->at[i])
            special = c->needle[i];
    for (int32_t i = 0; i < d->dim_k; i++)
        k[i] = special ? special[i] * root : 0.7f * topic[i] + 0.7f * noise(&c->seed);
    for (int32_t i = 0; i < d->dim_v; i++)
        v[i] = (c->mean[i] + 0.3f * topic[i % d->dim_k] + noise(&c->seed)) * (t < SINKS ? 0.1f : 1.0f);
}

/* Rows of one group see much of the same. topic: where the walk has ended. */
static void make_queries(const kvdata *d, character *c, const float *topic, int32_t step, float *q)
{
    const float of_topic = c->local_logit / (0.7f * sqrtf((float)d->dim_k)); /* 0.7: its share in a key */
    float shared[KVDATA_MAX_DIM];
    for (int32_t i = 0; i < d->dim_k; i++)
        shared[i] = noise(&c->seed);
    for (int32_t r = 0; r < d->n_row; r++)
        for (int32_t i = 0; i < d->dim_k; i++)
            q[r * d->dim_k + i] = c->sharp * (0.8f * shared[i] + 0.6f * noise(&c->seed)) + of_topic * topic[i] +
                                  c->sink_logit * c->sink[i] + c->needle_logit * c->needle[step][i];
}

static float *query_of(const kvdata *d, int32_t step, int32_t layer, int32_t head)
{
    const size_t unit = (size_t)(layer * d->n_head + head);
    return d->query + ((size_t)step * (size_t)(d->n_layer * d->n_head) + unit) * (size_t)(d->n_row * d->dim_k);
}

static void put_structured(const kvdata *d, terse_kv *kv, int32_t layer, int32_t head)
{
    character c;
    float k[KVDATA_MAX_DIM], v[KVDATA_MAX_DIM], topic[KVDATA_MAX_DIM];
    characterise(&c, d, layer, head);
    for (int32_t i = 0; i < d->dim_k; i++)
        topic[i] = noise(&c.seed);
    for (int32_t t = 0; t < d->ctx; t++) {
        drift(topic, d->dim_k, &c.seed);
        make_token(d, &c, topic, t, k, v);
        terse_kv_put(kv, layer, head, t, k, v);
    }
    for (int32_t s = 0; s < d->n_step; s++)
        make_queries(d, &c, topic, s, query_of(d, s, layer, head));
}

static void put_plain(const kvdata *d, terse_kv *kv, int32_t layer, int32_t head)
{
    float k[KVDATA_MAX_DIM], v[KVDATA_MAX_DIM];
    uint64_t seed = (uint64_t)(layer * d->n_head + head) * 0x9e3779b97f4a7c15 + 1;
    for (int32_t t = 0; t < d->ctx; t++) {
        for (int32_t i = 0; i < d->dim_k; i++) {
            k[i] = uniform(&seed, -1.0f, 1.0f);
            v[i] = uniform(&seed, -1.0f, 1.0f);
        }
        terse_kv_put(kv, layer, head, t, k, v);
    }
    for (int32_t s = 0; s < d->n_step; s++)
        for (int32_t i = 0; i < d->n_row * d->dim_k; i++)
            query_of(d, s, layer, head)[i] = uniform(&seed, -3.0f, 3.0f);
}

void kvdata_put(const kvdata *d, terse_kv *kv, int32_t layer, int32_t head)
{
    if (d->kind == KVDATA_PLAIN)
        put_plain(d, kv, layer, head);
    else
        put_structured(d, kv, layer, head);
}

kvdata kvdata_generated(kvdata_kind kind, int32_t n_row, int32_t dim, int32_t ctx)
{
    return (kvdata){ .kind = kind,
                     .n_layer = 1,
                     .n_head = KVDATA_HEADS,
                     .n_row = n_row,
                     .dim_k = dim,
                     .dim_v = dim,
                     .ctx = ctx,
                     .n_step = KVDATA_STEPS,
                     .scale = 1.0f / sqrtf((float)dim) };
}

kvdata kvdata_recorded(const terse_record *r)
{
    const terse_record_info *i = terse_record_about(r);
    return (kvdata){ .kind = KVDATA_RECORDED,
                     .record = r,
                     .n_layer = i->n_layer,
                     .n_head = i->n_head,
                     .n_row = i->n_row,
                     .dim_k = i->dim_k,
                     .dim_v = i->dim_v,
                     .ctx = i->n_token,
                     .n_step = i->n_step,
                     .scale = i->scale };
}

terse_status kvdata_open(kvdata *d, terse_error *err)
{
    if (d->record)
        return TERSE_OK;
    d->query = terse_calloc64((size_t)d->n_step * (size_t)d->n_layer * (size_t)d->n_head,
                              (size_t)(d->n_row * d->dim_k) * sizeof *d->query);
    return d->query ? TERSE_OK : terse_fail(err, TERSE_NOMEM, "no memory for the queries");
}

void kvdata_close(kvdata *d)
{
    free(d->query);
    d->query = NULL;
}

const float *kvdata_query(const kvdata *d, int32_t step, int32_t layer, int32_t head)
{
    return d->record ? terse_record_query(d->record, step, layer, head) : query_of(d, step, layer, head);
}

int32_t kvdata_depth(const kvdata *d, int32_t step)
{
    return d->record ? terse_record_depth(d->record, step) : d->ctx;
}
