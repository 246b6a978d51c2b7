/* lab/replay_walk.c: see replay.h. Heads do not depend on one another here, so a (layer, head) is one piece of
 * work per step; each has counters of its own, and sums do not depend on the threads. */
#include "lab/replay.h"
#include "lab/statistics.h"

#include "base/memory.h"
#include "base/team.h"
#include "kv/store.h"

#include <math.h>
#include <stdlib.h>

enum { MAX_DIM = TERSE_KV_DIM };

/* What a thread works with. */
typedef struct {
    terse_walk **walk;  /* [1 + n_rule], dense first */
    float *dense, *out; /* [n_row][dim_v] */
    terse_kv *exact;    /* one head in f32; NULL while rules are walked */
    terse_walk *exact_walk;
} worker;

typedef struct {
    const terse_replay_job *job;
    const terse_replay_source *source;
    terse_attend *const *rule;
    int32_t n_rule, n_unit, step;
    uint32_t needs;
    terse_replay_sums *sums;
    terse_replay_errors *types; /* [n_unit] */
    terse_attend *dense;
    worker *worker; /* [n_thread] */
    terse_team *team;
    terse_ticket ticket;
} replay;

void terse_replay_errors_add(terse_replay_errors *a, const terse_replay_errors *b)
{
    a->sum += b->sum;
    a->max = fmax(a->max, b->max);
    a->n += b->n;
}

void terse_replay_sums_add(terse_replay_sums *a, const terse_replay_sums *b)
{
    terse_attend_stats_add(&a->read, &b->read);
    terse_replay_errors_add(&a->error, &b->error);
}

static void add_errors(const replay *r, terse_replay_errors *e, const float *x, const float *of)
{
    const int32_t dim = r->source->dim_v;
    for (int32_t i = 0; i < r->source->n_row; i++) {
        const double d = terse_relative_distance(x + i * dim, of + i * dim, dim);
        e->sum += d;
        e->max = fmax(e->max, d);
        e->n++;
    }
}

/* ---- memory ---- */

static terse_status open_worker(const replay *r, worker *w, terse_error *err)
{
    const terse_replay_source *s = r->source;
    const size_t n = (size_t)s->n_row * (size_t)s->dim_v;
    terse_status st = TERSE_OK;
    w->walk = calloc((size_t)r->n_rule + 1, sizeof *w->walk);
    w->dense = terse_calloc64(n, sizeof *w->dense);
    w->out = terse_calloc64(n, sizeof *w->out);
    if (!w->walk || !w->dense || !w->out)
        return terse_fail(err, TERSE_NOMEM, "no memory for a replay");
    for (int32_t i = 0; i <= r->n_rule && st == TERSE_OK; i++)
        st = terse_walk_open_split(&w->walk[i], r->job->kv, i ? r->rule[i - 1] : r->dense, s->n_row,
                                   r->job->n_strand, r->job->cpu, err);
    if (st != TERSE_OK || !r->types)
        return st;
    const terse_kv_opts one = { .n_layer = 1,
                                .n_head = 1,
                                .dim_k = s->dim_k,
                                .dim_v = s->dim_v,
                                .type_k = TERSE_KV_F32,
                                .type_v = TERSE_KV_F32,
                                .ctx = terse_kv_count(r->job->kv) };
    if ((st = terse_kv_open(&w->exact, &one, err)) != TERSE_OK)
        return st;
    if ((st = terse_walk_open(&w->exact_walk, w->exact, r->dense, s->n_row, r->job->cpu, err)) != TERSE_OK)
        return st;
    return terse_kv_reserve(w->exact, one.ctx, err);
}

static void close_replay(replay *r)
{
    terse_team_close(&r->team);
    for (int32_t t = 0; r->worker && t < r->job->n_thread; t++) {
        worker *w = &r->worker[t];
        for (int32_t i = 0; w->walk && i <= r->n_rule; i++)
            terse_walk_close(&w->walk[i]);
        terse_walk_close(&w->exact_walk);
        terse_kv_close(&w->exact);
        free(w->walk);
        free(w->dense);
        free(w->out);
    }
    free(r->worker);
    terse_attend_close(&r->dense);
}

/* On failure r is to be closed too. */
static terse_status open_replay(replay *r, terse_error *err)
{
    terse_status st = terse_attend_open(&r->dense, NULL, NULL, 0, err);
    for (int32_t i = 0; i < r->n_rule; i++)
        r->needs |= terse_attend_needs(r->rule[i]);
    if (st == TERSE_OK)
        st = terse_kv_summary_open(r->job->kv, r->needs, err);
    r->worker = calloc((size_t)r->job->n_thread, sizeof *r->worker);
    if (st == TERSE_OK && !r->worker)
        st = terse_fail(err, TERSE_NOMEM, "no memory for %d threads", r->job->n_thread);
    for (int32_t t = 0; t < r->job->n_thread && st == TERSE_OK; t++)
        st = open_worker(r, &r->worker[t], err);
    return st == TERSE_OK ? terse_team_open(&r->team, r->job->n_thread, err) : st;
}

/* ---- pieces of work: all that is done for a (layer, head) ---- */

static int32_t depth_of(const terse_replay_source *s, int32_t step)
{
    return s->n_prompt + s->grow * (step + 1);
}

static void put(const replay *r, int32_t layer, int32_t head, int32_t from, int32_t to)
{
    float k[MAX_DIM], v[MAX_DIM];
    for (int32_t pos = from; pos < to; pos++) {
        r->source->token(r->source->data, layer, head, pos, k, v);
        terse_kv_put(r->job->kv, layer, head, pos, k, v);
    }
}

static void fill_part(void *ctx, int32_t thread, int32_t n_thread)
{
    replay *r = ctx;
    (void)thread, (void)n_thread;
    for (int32_t u; (u = terse_ticket_take(&r->ticket)) < r->n_unit;)
        put(r, u / r->source->n_head, u % r->source->n_head, terse_kv_count(r->job->kv), r->source->n_prompt);
}

/* What a session does before its first decode step. */
static void prepare(const replay *r, int32_t u)
{
    terse_kv *kv = r->job->kv;
    if (r->needs & TERSE_KV_CENTER)
        terse_kv_center_unit(kv, (size_t)u);
    if (kv->n_summary)
        terse_kv_summary_update(kv, (size_t)u, terse_kv_count(kv));
}

static void step_part(void *ctx, int32_t thread, int32_t n_thread)
{
    replay *r = ctx;
    const terse_replay_source *s = r->source;
    const terse_replay_job *j = r->job;
    const worker *w = &r->worker[thread];
    const int32_t depth = depth_of(s, r->step);
    (void)n_thread;
    for (int32_t u; (u = terse_ticket_take(&r->ticket)) < r->n_unit;) {
        const int32_t layer = u / s->n_head, head = u % s->n_head;
        const float *q = s->query(s->data, r->step, layer, head);
        terse_attend_stats ignored = { 0 };
        if (r->step == 0)
            prepare(r, u);
        put(r, layer, head, terse_kv_count(j->kv), depth);
        terse_walk_decode(w->walk[0], layer, head, depth, s->scale, q, w->dense, &ignored);
        for (int32_t i = 0; i < r->n_rule; i++) {
            terse_replay_sums *sums = &r->sums[i * r->n_unit + u];
            terse_walk_decode(w->walk[1 + i], layer, head, depth, s->scale, q, w->out, &sums->read);
            add_errors(r, &sums->error, w->out, w->dense);
            if (j->attended)
                j->attended(j->attended_ctx, i, r->step, layer, head, w->out);
        }
    }
}

static void types_part(void *ctx, int32_t thread, int32_t n_thread)
{
    replay *r = ctx;
    const terse_replay_source *s = r->source;
    const worker *w = &r->worker[thread];
    float k[MAX_DIM], v[MAX_DIM];
    (void)n_thread;
    for (int32_t u; (u = terse_ticket_take(&r->ticket)) < r->n_unit;) {
        const int32_t layer = u / s->n_head, head = u % s->n_head;
        terse_attend_stats ignored = { 0 };
        for (int32_t pos = 0; pos < depth_of(s, s->n_step - 1); pos++) {
            s->token(s->data, layer, head, pos, k, v);
            terse_kv_put(w->exact, 0, 0, pos, k, v);
        }
        for (int32_t i = 0; i < s->n_step; i++) {
            const float *q = s->query(s->data, i, layer, head);
            terse_walk_decode(w->exact_walk, 0, 0, depth_of(s, i), s->scale, q, w->dense, &ignored);
            terse_walk_decode(w->walk[0], layer, head, depth_of(s, i), s->scale, q, w->out, &ignored);
            add_errors(r, &r->types[u], w->out, w->dense);
        }
    }
}

static void run(replay *r, terse_team_fn *part)
{
    terse_ticket_reset(&r->ticket);
    terse_team_run(r->team, part, r);
}

/* Lets the part store the tokens up to `to`. */
static terse_status grow(replay *r, int32_t to, terse_team_fn *part, terse_error *err)
{
    const int32_t n = to - terse_kv_count(r->job->kv);
    const terse_status st = n > 0 ? terse_kv_reserve(r->job->kv, n, err) : TERSE_OK;
    if (st != TERSE_OK)
        return st;
    run(r, part);
    if (n > 0)
        terse_kv_commit(r->job->kv, n);
    return TERSE_OK;
}

terse_status terse_replay_walk(const terse_replay_job *j, terse_attend *const *rule, int32_t n_rule,
                               terse_replay_sums *sums, terse_error *err)
{
    const terse_replay_source *s = j->source;
    replay r = {
        .job = j, .source = s, .rule = rule, .n_rule = n_rule, .n_unit = s->n_layer * s->n_head, .sums = sums
    };
    terse_status st = open_replay(&r, err);
    if (st == TERSE_OK)
        st = grow(&r, s->n_prompt, fill_part, err);
    for (; r.step < s->n_step && st == TERSE_OK; r.step++) {
        if (j->abort && *j->abort)
            st = terse_fail(err, TERSE_INTERRUPTED, "interrupted");
        else
            st = grow(&r, depth_of(s, r.step), step_part, err);
        if (j->progress)
            j->progress(j->progress_ctx, r.step + 1, s->n_step);
    }
    close_replay(&r);
    return st;
}

terse_status terse_replay_types(const terse_replay_job *j, terse_replay_errors *sum, terse_error *err)
{
    replay r = { .job = j, .source = j->source, .n_unit = j->source->n_layer * j->source->n_head };
    *sum = (terse_replay_errors){ 0 };
    r.types = calloc((size_t)r.n_unit, sizeof *r.types);
    if (!r.types)
        return terse_fail(err, TERSE_NOMEM, "no memory for a replay");
    const terse_status st = open_replay(&r, err);
    if (st == TERSE_OK)
        run(&r, types_part);
    for (int32_t u = 0; u < r.n_unit; u++)
        terse_replay_errors_add(sum, &r.types[u]);
    close_replay(&r);
    free(r.types);
    return st;
}
