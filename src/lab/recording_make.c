/* lab/recording_make.c: makes recordings: prefill, some steps with a tap on their queries, then keys and values
 * out of the session's pages. */
#include "base/save.h"
#include "engine/tap.h"
#include "kv/store.h"
#include "lab/recording_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 16, CHUNK = 512 };

typedef struct {
    const terse_record_opts *opts;
    terse_session *session;
    terse_record_header header;
    float *query; /* [n_step][n_layer][n_head][n_row][dim_k] */
    terse_save save;
    uint64_t written;
} recorder;

/* general.name as far as it fits and is printable ASCII. */
static void name_model(char name[64], const terse_model *m)
{
    terse_str s = { "unnamed", 7 };
    (void)terse_gguf_get_str(terse_model_gguf(m), "general.name", false, &s, NULL);
    for (size_t i = 0; i < s.n && i < 63; i++)
        name[i] = (char)(s.p[i] >= ' ' && s.p[i] <= '~' ? s.p[i] : '?');
}

static terse_status check(const terse_record_opts *o, const terse_model *m, terse_error *err)
{
    const terse_model_info *i = terse_model_about(m);
    if (i->n_windowed || m->attn_cap > 0.0f || m->arch->sinks)
        return terse_fail(err, TERSE_UNSUPPORTED,
                          "%s: recordings of architecture %s (sliding windows, soft caps or sinks)",
                          terse_gguf_path(m->gguf), i->arch);
    const int32_t n_step = o->n_step ? o->n_step : STEPS;
    if (o->n_prefill < 1 || o->n_prefill > TERSE_RECORD_TOKENS - TERSE_RECORD_STEPS)
        return terse_fail(err, TERSE_BAD_INPUT, "a recording after %d tokens: 1 to %d are possible",
                          o->n_prefill, TERSE_RECORD_TOKENS - TERSE_RECORD_STEPS);
    if (o->n_step < 0 || o->n_step > TERSE_RECORD_STEPS)
        return terse_fail(err, TERSE_BAD_INPUT, "a recording of %d steps: 1 to %d are possible", o->n_step,
                          TERSE_RECORD_STEPS);
    if (o->every < 0 || (int64_t)o->every * n_step > TERSE_RECORD_STEPS)
        return terse_fail(err, TERSE_BAD_INPUT, "every %d-th of the steps: %d of them take more than %d tokens",
                          o->every, n_step, TERSE_RECORD_STEPS);
    if (i->n_layer > TERSE_RECORD_LAYERS || i->n_head_kv > TERSE_RECORD_HEADS)
        return terse_fail(err, TERSE_UNSUPPORTED, "%d layers of %d heads do not fit a recording", i->n_layer,
                          i->n_head_kv);
    return TERSE_OK;
}

static uint32_t file_type(terse_page_type type)
{
    return type == TERSE_PAGE_F16 ? TERSE_RECORD_F16 : TERSE_RECORD_F32;
}

static void describe(recorder *r, const terse_model *m)
{
    const terse_model_info *i = terse_model_about(m);
    const terse_kv *kv = terse_session_kv(r->session);
    const int32_t n_step = r->opts->n_step ? r->opts->n_step : STEPS;
    const int32_t every = r->opts->every ? r->opts->every : 1;
    r->header = (terse_record_header){ .version = TERSE_RECORD_VERSION,
                                       .n_layer = (uint32_t)i->n_layer,
                                       .n_head = (uint32_t)i->n_head_kv,
                                       .n_row = (uint32_t)(i->n_head / i->n_head_kv),
                                       .dim_k = (uint32_t)kv->opts.dim_k,
                                       .dim_v = (uint32_t)kv->opts.dim_v,
                                       .n_token = (uint32_t)(r->opts->n_prefill + n_step * every),
                                       .n_step = (uint32_t)n_step,
                                       .type_k = file_type(kv->type_k),
                                       .type_v = file_type(kv->type_v),
                                       .scale = m->scale,
                                       .every = (uint32_t)every };
    memcpy(r->header.magic, TERSE_RECORD_MAGIC, sizeof r->header.magic);
    name_model(r->header.model, m);
    snprintf(r->header.stop, sizeof r->header.stop, "%s", terse_session_stop(r->session));
}

/* The tap: every call that has a step writes a place of its own. */
static void keep_query(void *ctx, int32_t layer, int32_t head, int32_t pos, const float *q, const float *out)
{
    const recorder *r = ctx;
    const terse_record_header *h = &r->header;
    const size_t n = (size_t)(pos - r->opts->n_prefill) + 1, step = n / h->every - 1;
    const size_t row = (size_t)h->n_row * h->dim_k;
    (void)out;
    if (n % h->every)
        return;
    memcpy(r->query + ((step * h->n_layer + (size_t)layer) * h->n_head + (size_t)head) * row, q,
           row * sizeof *q);
}

static void tell(const recorder *r)
{
    if (r->opts->progress)
        r->opts->progress(r->opts->ctx, terse_session_count(r->session), (int32_t)r->header.n_token);
}

static terse_status run(recorder *r, const int32_t *tokens, terse_error *err)
{
    const terse_record_header *h = &r->header;
    const int32_t chunk = r->opts->chunk ? r->opts->chunk : CHUNK;
    terse_status st = TERSE_OK;
    r->query = calloc((size_t)h->n_step * h->n_layer * h->n_head, (size_t)h->n_row * h->dim_k * sizeof(float));
    if (!r->query)
        return terse_fail(err, TERSE_NOMEM, "no memory for the queries of %u steps", h->n_step);
    for (int32_t t = 0; t < r->opts->n_prefill && st == TERSE_OK; tell(r)) {
        const int32_t left = r->opts->n_prefill - t, n = left < chunk ? left : chunk;
        st = terse_session_prefill(r->session, tokens + t, n, NULL, NULL, err);
        t += n;
    }
    terse_session_tap(r->session, (terse_tap){ keep_query, r });
    for (int32_t t = r->opts->n_prefill; t < (int32_t)h->n_token && st == TERSE_OK; t++, tell(r))
        st = terse_session_decode(r->session, tokens[t], NULL, err);
    return st;
}

/* ---- the file ---- */

static terse_status put(recorder *r, const void *p, size_t n, terse_error *err)
{
    r->written += n;
    return terse_save_write(&r->save, p, n, err);
}

/* Zeros up to the part that begins at `at`. */
static terse_status pad_to(recorder *r, uint64_t at, terse_error *err)
{
    static const char zeros[64];
    return put(r, zeros, (size_t)(at - r->written), err);
}

/* Keys (or values) of page p of one (layer, head), as far as it is filled. */
static terse_status put_page(recorder *r, bool keys, const char *page, int32_t n, terse_error *err)
{
    union {
        float f32[TERSE_PAGE * TERSE_RECORD_DIM];
        uint16_t f16[TERSE_PAGE * TERSE_RECORD_DIM];
    } rows;
    float x[TERSE_RECORD_DIM];
    const terse_kv *kv = terse_session_kv(r->session);
    const int32_t dim = (int32_t)(keys ? r->header.dim_k : r->header.dim_v);
    const uint32_t type = keys ? r->header.type_k : r->header.type_v;
    for (int32_t t = 0; t < n; t++) {
        if (keys)
            terse_page_get_k(kv->type_k, page, t, x, dim);
        else
            terse_page_get_v(kv->type_v, page + kv->block_k, t, x, dim);
        for (int32_t d = 0; d < dim; d++)
            if (type == TERSE_RECORD_F16)
                rows.f16[t * dim + d] = terse_f32_to_f16(x[d]); /* was one: loses nothing */
            else
                rows.f32[t * dim + d] = x[d];
    }
    return put(r, &rows, (size_t)(n * dim) * terse_record_value_size(type), err);
}

static terse_status put_rows(recorder *r, bool keys, terse_error *err)
{
    const terse_kv *kv = terse_session_kv(r->session);
    const int32_t n_token = (int32_t)r->header.n_token;
    terse_status st = TERSE_OK;
    for (int32_t l = 0; l < (int32_t)r->header.n_layer; l++)
        for (int32_t h = 0; h < (int32_t)r->header.n_head; h++)
            for (int32_t p = 0; p < terse_kv_pages_of(n_token) && st == TERSE_OK; p++) {
                const int32_t left = n_token - p * TERSE_PAGE;
                st = put_page(r, keys, terse_kv_block(kv, terse_kv_table(kv, l, h)[p]),
                              left < TERSE_PAGE ? left : TERSE_PAGE, err);
            }
    return st;
}

static terse_status write_file(recorder *r, terse_error *err)
{
    const terse_record_header *h = &r->header;
    const terse_record_layout at = terse_record_lay_out(h);
    const size_t n_query = (size_t)h->n_step * h->n_layer * h->n_head * h->n_row * h->dim_k;
    terse_status st = put(r, h, sizeof *h, err);
    if (st == TERSE_OK)
        st = put(r, r->query, n_query * sizeof(float), err);
    if (st == TERSE_OK)
        st = pad_to(r, at.k, err);
    if (st == TERSE_OK)
        st = put_rows(r, true, err);
    if (st == TERSE_OK)
        st = pad_to(r, at.v, err);
    if (st == TERSE_OK)
        st = put_rows(r, false, err);
    return st == TERSE_OK ? terse_save_commit(&r->save, err) : st;
}

terse_status terse_record_make(const char *path, const terse_model *m, const int32_t *tokens,
                               const terse_record_opts *opts, terse_error *err)
{
    recorder r = { .opts = opts };
    const int32_t n_step = opts->n_step ? opts->n_step : STEPS;
    terse_status st = check(opts, m, err);
    if (st != TERSE_OK)
        return st;
    const terse_session_opts so = { .ctx = opts->n_prefill + n_step * (opts->every ? opts->every : 1),
                                    .policy = opts->policy ? opts->policy : "dense",
                                    .stop = opts->stop,
                                    .threads = opts->threads,
                                    .chunk = opts->chunk,
                                    .strands = opts->strands ? opts->strands : 1,
                                    .type_k = opts->type_k,
                                    .type_v = opts->type_v,
                                    .cpu = opts->cpu,
                                    .abort = opts->abort };
    st = terse_save_open(&r.save, path, err); /* first: a path that cannot be written is told at once */
    if (st == TERSE_OK)
        st = terse_session_open(&r.session, m, &so, err);
    if (st == TERSE_OK && terse_session_kv(r.session)->n_ring)
        st = terse_fail(err, TERSE_BAD_INPUT, "a recording holds every token: KV policy %s drops some",
                        terse_session_policy(r.session));
    if (st == TERSE_OK) {
        describe(&r, m);
        st = run(&r, tokens, err);
    }
    if (st == TERSE_OK)
        st = write_file(&r, err);
    terse_save_abort(&r.save);
    terse_session_close(&r.session);
    free(r.query);
    return st;
}
