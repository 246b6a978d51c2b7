/* bench/walks.c: see the header. Heads are shared out among the threads as the engine does it: a phase per
 * layer, because the next layer needs this one's output. */
#include "walks.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

typedef struct {
    terse_kv *kv;
    const kvdata *data;
    terse_phase phase;
} filling;

static void fill_part(void *ctx, int32_t thread, int32_t n_thread)
{
    filling *f = ctx;
    const int32_t n = f->data->n_layer * f->data->n_head;
    (void)thread, (void)n_thread;
    for (int32_t u; (u = terse_phase_take(&f->phase)) < n; terse_phase_finish(&f->phase, n))
        kvdata_put(f->data, f->kv, u / f->data->n_head, u % f->data->n_head);
    terse_phase_wait(&f->phase, n);
}

terse_status walks_fill(terse_kv *kv, const kvdata *data, terse_error *err)
{
    filling f = { .kv = kv, .data = data };
    terse_team *team = NULL;
    terse_status st = terse_kv_reserve(kv, data->ctx, err);
    if (st == TERSE_OK)
        st = terse_team_open(&team, terse_cpu_threads(), err);
    if (st != TERSE_OK)
        return st;
    terse_phase_reset(&f.phase);
    terse_team_run(team, fill_part, &f);
    terse_team_close(&team);
    terse_kv_commit(kv, data->ctx);
    st = terse_kv_summarize(kv, TERSE_KV_CENTER | TERSE_KV_MOMENTS | TERSE_KV_BOX, err);
    if (st != TERSE_OK)
        return st;
    if (data->record && terse_record_broken(data->record))
        return terse_fail(err, TERSE_IO, "the recording was cut short while it was in use");
    return TERSE_OK;
}

static terse_status open_rule(walks *w, walks_rule *r, terse_error *err)
{
    terse_status st = TERSE_OK;
    for (int32_t t = 0; t < w->n_thread && st == TERSE_OK; t++)
        st = terse_walk_open(&r->walk[t], w->kv, r->attend, w->n_row, w->cpu, err);
    r->samples = calloc((size_t)w->n_sample, sizeof *r->samples);
    return st != TERSE_OK || r->samples ? st : terse_fail(err, TERSE_NOMEM, "no memory for samples");
}

terse_status walks_open(walks *w, terse_error *err)
{
    const size_t out = (size_t)w->n_row * (size_t)w->data->dim_v;
    terse_status st = terse_attend_open(&w->dense, NULL, NULL, 0, err);
    for (int32_t t = 0; t < w->n_thread && st == TERSE_OK; t++) {
        st = terse_walk_open(&w->dense_walk[t], w->kv, w->dense, w->n_row, w->cpu, err);
        w->part[t].out = terse_calloc64(out, sizeof *w->part[t].out);
        w->part[t].dense = terse_calloc64(out, sizeof *w->part[t].dense);
        if (st == TERSE_OK && (!w->part[t].out || !w->part[t].dense))
            st = terse_fail(err, TERSE_NOMEM, "no memory for %d rows", w->n_row);
    }
    for (int32_t r = 0; r < w->n_rule && st == TERSE_OK; r++)
        st = open_rule(w, &w->rule[r], err);
    w->phase = terse_calloc64((size_t)w->data->n_layer, sizeof *w->phase);
    w->room = calloc((size_t)w->n_sample, sizeof *w->room);
    if (st == TERSE_OK && (!w->phase || !w->room))
        st = terse_fail(err, TERSE_NOMEM, "no memory for %d layers", w->data->n_layer);
    if (st == TERSE_OK)
        st = terse_team_open(&w->team, w->n_thread, err);
    return st == TERSE_OK ? terse_probe_open(&w->probe, w->n_thread, 0, w->cpu, err) : st;
}

void walks_close(walks *w)
{
    terse_probe_close(&w->probe);
    terse_team_close(&w->team);
    free(w->phase);
    free(w->room);
    for (int32_t r = 0; r < w->n_rule; r++) {
        for (int32_t t = 0; t < w->n_thread; t++)
            terse_walk_close(&w->rule[r].walk[t]);
        free(w->rule[r].samples);
        w->rule[r].samples = NULL;
    }
    for (int32_t t = 0; t < w->n_thread; t++) {
        terse_walk_close(&w->dense_walk[t]);
        free(w->part[t].out);
        free(w->part[t].dense);
    }
    terse_attend_close(&w->dense);
}

/* ---- one step of one rule by the team ---- */

static void walk_head(walks *w, int32_t thread, int32_t layer, int32_t head)
{
    walks_part *p = &w->part[thread];
    terse_walk_decode(w->at->walk[thread], layer, head, kvdata_depth(w->data, w->step), w->data->scale,
                      kvdata_query(w->data, w->step, layer, head), p->out, &p->stats);
}

static void walk_part(void *ctx, int32_t thread, int32_t n_thread)
{
    walks *w = ctx;
    const int32_t heads = w->data->n_head;
    (void)n_thread;
    for (int32_t l = 0; l < w->data->n_layer; l++) {
        terse_phase *p = &w->phase[l];
        for (int32_t h; (h = terse_phase_take(p)) < heads; terse_phase_finish(p, heads))
            walk_head(w, thread, l, h);
        terse_phase_wait(p, heads);
    }
}

static double distance(const float *x, const float *of, int32_t n)
{
    double off = 0.0, all = 0.0;
    for (int32_t d = 0; d < n; d++) {
        off += ((double)x[d] - (double)of[d]) * ((double)x[d] - (double)of[d]);
        all += (double)of[d] * (double)of[d];
    }
    return off > 0.0 ? sqrt(off / all) : 0.0;
}

/* Of p->out against p->dense. */
static void add_errors(const walks *w, walks_part *p)
{
    const int32_t dim = w->data->dim_v;
    for (int32_t r = 0; r < w->n_row; r++) {
        const double e = distance(p->out + r * dim, p->dense + r * dim, dim);
        p->error_sum += e;
        p->error_max = fmax(p->error_max, e);
        p->n_error++;
    }
}

static void compare_part(void *ctx, int32_t thread, int32_t n_thread)
{
    walks *w = ctx;
    walks_part *p = &w->part[thread];
    const kvdata *d = w->data;
    terse_attend_stats ignored = { 0 };
    (void)n_thread;
    for (int32_t l = 0; l < d->n_layer; l++) {
        for (int32_t h; (h = terse_phase_take(&w->phase[l])) < d->n_head;
             terse_phase_finish(&w->phase[l], d->n_head)) {
            walk_head(w, thread, l, h);
            terse_walk_decode(w->dense_walk[thread], l, h, kvdata_depth(d, w->step), d->scale,
                              kvdata_query(d, w->step, l, h), p->dense, &ignored);
            add_errors(w, p);
        }
        terse_phase_wait(&w->phase[l], d->n_head);
    }
}

static void run_step(walks *w, terse_team_fn *fn, const walks_rule *rule, int32_t step)
{
    w->at = rule;
    w->step = step;
    for (int32_t l = 0; l < w->data->n_layer; l++)
        terse_phase_reset(&w->phase[l]);
    terse_team_run(w->team, fn, w);
}

static void clear_parts(walks *w)
{
    for (int32_t t = 0; t < w->n_thread; t++)
        w->part[t] = (walks_part){ .out = w->part[t].out, .dense = w->part[t].dense };
}

void walks_compare(walks *w)
{
    for (int32_t i = 0; i < w->n_rule; i++) {
        walks_rule *r = &w->rule[i];
        int64_t n = 0;
        clear_parts(w);
        for (int32_t s = 0; s < w->data->n_step; s++)
            run_step(w, compare_part, r, s);
        memset(&r->stats, 0, sizeof r->stats);
        r->error_mean = r->error_max = 0.0;
        for (int32_t t = 0; t < w->n_thread; t++) {
            const walks_part *p = &w->part[t];
            terse_attend_stats_add(&r->stats, &p->stats);
            r->error_mean += p->error_sum;
            r->error_max = fmax(r->error_max, p->error_max);
            n += p->n_error;
        }
        r->error_mean /= (double)n;
    }
}

/* Stores the tokens of one (layer, head) of the recording as those of a store of one head. */
static terse_status refill(terse_kv *kv, const kvdata *d, int32_t layer, int32_t head, terse_error *err)
{
    float k[KVDATA_MAX_DIM], v[KVDATA_MAX_DIM];
    terse_kv_truncate(kv, 0);
    const terse_status st = terse_kv_reserve(kv, d->ctx, err);
    for (int32_t t = 0; t < d->ctx && st == TERSE_OK; t++) {
        terse_record_kv(d->record, layer, head, t, k, v);
        terse_kv_put(kv, 0, 0, t, k, v);
    }
    if (st == TERSE_OK)
        terse_kv_commit(kv, d->ctx);
    return st;
}

/* Adds the errors of one (layer, head) to the first thread's part. */
static void compare_types(walks *w, terse_walk *exact, int32_t layer, int32_t head)
{
    const kvdata *d = w->data;
    walks_part *p = &w->part[0];
    for (int32_t s = 0; s < d->n_step; s++) {
        const float *q = kvdata_query(d, s, layer, head);
        const int32_t depth = kvdata_depth(d, s);
        terse_walk_decode(exact, 0, 0, depth, d->scale, q, p->dense, &p->stats);
        terse_walk_decode(w->dense_walk[0], layer, head, depth, d->scale, q, p->out, &p->stats);
        add_errors(w, p);
    }
}

terse_status walks_type_error(walks *w, double *mean, double *max, terse_error *err)
{
    const kvdata *d = w->data;
    const terse_kv_opts one = { .n_layer = 1,
                                .n_head = 1,
                                .dim_k = d->dim_k,
                                .dim_v = d->dim_v,
                                .type_k = TERSE_KV_F32,
                                .type_v = TERSE_KV_F32,
                                .ctx = d->ctx };
    terse_kv *kv = NULL;
    terse_walk *exact = NULL;
    *mean = *max = NAN;
    if (!d->record)
        return TERSE_OK;
    clear_parts(w);
    terse_status st = terse_kv_open(&kv, &one, err);
    if (st == TERSE_OK)
        st = terse_walk_open(&exact, kv, w->dense, w->n_row, w->cpu, err);
    for (int32_t u = 0; u < d->n_layer * d->n_head && st == TERSE_OK; u++) {
        st = refill(kv, d, u / d->n_head, u % d->n_head, err);
        if (st == TERSE_OK)
            compare_types(w, exact, u / d->n_head, u % d->n_head);
    }
    *mean = w->part[0].error_sum / (double)w->part[0].n_error;
    *max = w->part[0].error_max;
    terse_walk_close(&exact);
    terse_kv_close(&kv);
    return st;
}

void walks_time(walks *w)
{
    clear_parts(w);
    for (int32_t i = 0; i < w->n_sample; i++)
        for (int32_t r = 0; r < w->n_rule; r++) {
            terse_probe_begin(w->probe, &w->rule[r].samples[i]);
            run_step(w, walk_part, &w->rule[r], i % w->data->n_step);
            terse_probe_end(w->probe, &w->rule[r].samples[i]);
        }
}
