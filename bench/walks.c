/* bench/walks.c: see the header. Heads are shared out among the threads as the engine does it: a phase per
 * layer, because the next layer needs this one's output. */
#include "walks.h"

#include "base/memory.h"
#include "lab/replay.h"

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
    return st;
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
    terse_status st = TERSE_OK;
    for (int32_t t = 0; t < w->n_thread && st == TERSE_OK; t++) {
        w->part[t].out = terse_calloc64(out, sizeof *w->part[t].out);
        if (!w->part[t].out)
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
    for (int32_t t = 0; t < w->n_thread; t++)
        free(w->part[t].out);
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

static void run_step(walks *w, terse_team_fn *fn, const walks_rule *rule, int32_t step)
{
    w->at = rule;
    w->step = step;
    for (int32_t l = 0; l < w->data->n_layer; l++)
        terse_phase_reset(&w->phase[l]);
    terse_team_run(w->team, fn, w);
}

static const float *query(const void *data, int32_t step, int32_t layer, int32_t head)
{
    return kvdata_query(data, step, layer, head);
}

/* Generated data is in the store before it is walked. */
static terse_replay_source source_of(const kvdata *d, int32_t n_row)
{
    if (d->record)
        return terse_replay_recorded(d->record);
    return (terse_replay_source){ .n_layer = d->n_layer,
                                  .n_head = d->n_head,
                                  .n_row = n_row,
                                  .dim_k = d->dim_k,
                                  .dim_v = d->dim_v,
                                  .n_prompt = d->ctx,
                                  .n_step = d->n_step,
                                  .scale = d->scale,
                                  .data = d,
                                  .query = query };
}

/* What was found out about each rule, of all layers and heads. */
static void sum_up(walks_rule *rule, int32_t n_rule, const terse_replay_sums *sums, int32_t n_unit)
{
    for (int32_t r = 0; r < n_rule; r++) {
        terse_replay_sums all = { 0 };
        for (int32_t u = 0; u < n_unit; u++)
            terse_replay_sums_add(&all, &sums[r * n_unit + u]);
        rule[r].stats = all.read;
        rule[r].error_mean = all.error.sum / (double)all.error.n;
        rule[r].error_max = all.error.max;
    }
}

terse_status walks_compare(const kvdata *d, terse_kv *kv, int32_t n_row, uint32_t cpu, walks_rule *rule,
                           int32_t n_rule, double *type_mean, double *type_max, terse_error *err)
{
    const terse_replay_source source = source_of(d, n_row);
    const int32_t n_unit = d->n_layer * d->n_head;
    const terse_replay_job job = {
        .source = &source, .kv = kv, .n_thread = terse_cpu_threads(), .n_strand = 1, .cpu = cpu
    };
    terse_replay_errors types = { 0 };
    terse_attend **attend = calloc((size_t)n_rule, sizeof *attend);
    terse_replay_sums *sums = calloc((size_t)n_rule * (size_t)n_unit, sizeof *sums);
    terse_status st =
        attend && sums ? TERSE_OK : terse_fail(err, TERSE_NOMEM, "no memory for %d rules", n_rule);
    for (int32_t r = 0; r < n_rule && attend; r++)
        attend[r] = rule[r].attend;
    if (st == TERSE_OK)
        st = terse_replay_walk(&job, attend, n_rule, sums, err);
    if (st == TERSE_OK)
        sum_up(rule, n_rule, sums, n_unit);
    if (st == TERSE_OK && d->record)
        st = terse_replay_types(&job, &types, err);
    if (st == TERSE_OK && d->record && terse_record_broken(d->record))
        st = terse_fail(err, TERSE_IO, "the recording was cut short while it was in use");
    *type_mean = types.n ? types.sum / (double)types.n : NAN;
    *type_max = types.n ? types.max : NAN;
    free(attend);
    free(sums);
    return st;
}

void walks_time(walks *w)
{
    for (int32_t i = 0; i < w->n_sample; i++)
        for (int32_t r = 0; r < w->n_rule; r++) {
            terse_probe_begin(w->probe, &w->rule[r].samples[i]);
            run_step(w, walk_part, &w->rule[r], i % w->data->n_step);
            terse_probe_end(w->probe, &w->rule[r].samples[i]);
        }
}
