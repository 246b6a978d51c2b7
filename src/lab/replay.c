/* lab/replay.c: rules tried on a recording. */
#include "lab/replay.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
    char policy[96];
    terse_attend *attend;
} setting;

struct terse_replay {
    int32_t n_layer, n_head, n_rule;
    setting *setting;        /* [n_rule] */
    terse_replay_sums *sums; /* [n_rule][n_layer * n_head] */
    terse_replay_errors types;
};

static void token(const void *data, int32_t layer, int32_t head, int32_t pos, float *k, float *v)
{
    terse_record_kv(data, layer, head, pos, k, v);
}

static const float *query(const void *data, int32_t step, int32_t layer, int32_t head)
{
    return terse_record_query(data, step, layer, head);
}

terse_replay_source terse_replay_recorded(const terse_record *r)
{
    const terse_record_info *i = terse_record_about(r);
    return (terse_replay_source){ .n_layer = i->n_layer,
                                  .n_head = i->n_head,
                                  .n_row = i->n_row,
                                  .dim_k = i->dim_k,
                                  .dim_v = i->dim_v,
                                  .n_prompt = i->n_token - i->n_step * i->every,
                                  .n_step = i->n_step,
                                  .grow = i->every,
                                  .scale = i->scale,
                                  .data = r,
                                  .token = token,
                                  .query = query };
}

static terse_status open_setting(const terse_replay *p, setting *s, const terse_eval_rule *rule, int32_t audit,
                                 terse_error *err)
{
    snprintf(s->policy, sizeof s->policy, "%s", rule->policy ? rule->policy : "dense");
    terse_status st = terse_attend_open(&s->attend, rule->policy, rule->stop, audit, err);
    if (st == TERSE_OK && terse_attend_drops(s->attend)) {
        terse_attend_close(&s->attend);
        return terse_fail(err, TERSE_BAD_INPUT, "a replay holds every token: KV policy %s drops some",
                          rule->policy);
    }
    if (st != TERSE_OK || !rule->profile)
        return st;
    const terse_profile_info *i = terse_profile_about(rule->profile);
    if (i->n_layer != p->n_layer || i->n_head != p->n_head)
        return terse_fail(err, TERSE_BAD_INPUT,
                          "the profile is of %d layers of %d KV heads, the recording of %d of %d", i->n_layer,
                          i->n_head, p->n_layer, p->n_head);
    return terse_attend_profile(s->attend, i->scale, i->n_layer, i->n_head, err);
}

static terse_status open_store(terse_kv **kv, const terse_record_info *i, const terse_replay_opts *o,
                               terse_error *err)
{
    const terse_kv_opts ko = { .n_layer = i->n_layer,
                               .n_head = i->n_head,
                               .dim_k = i->dim_k,
                               .dim_v = i->dim_v,
                               .type_k = o->type_k ? o->type_k : i->type_k,
                               .type_v = o->type_v ? o->type_v : i->type_v,
                               .ctx = i->n_token,
                               .limit = o->kv_limit };
    return terse_kv_open(kv, &ko, err);
}

static terse_status walk(terse_replay *p, const terse_record *r, const terse_replay_opts *o, terse_error *err)
{
    const terse_replay_source source = terse_replay_recorded(r);
    terse_replay_job job = { .source = &source,
                             .n_thread = o->threads ? o->threads : terse_cpu_threads(),
                             .n_strand = o->strands ? o->strands : 1,
                             .cpu = o->cpu ? o->cpu : terse_cpu_tiers(),
                             .abort = o->abort,
                             .progress = o->progress,
                             .progress_ctx = o->ctx };
    terse_attend **rule = calloc((size_t)p->n_rule, sizeof *rule);
    if (!rule)
        return terse_fail(err, TERSE_NOMEM, "no memory for %d rules", p->n_rule);
    for (int32_t i = 0; i < p->n_rule; i++)
        rule[i] = p->setting[i].attend;
    terse_status st = open_store(&job.kv, terse_record_about(r), o, err);
    if (st == TERSE_OK)
        st = terse_replay_walk(&job, rule, p->n_rule, p->sums, err);
    if (st == TERSE_OK)
        st = terse_replay_types(&job, &p->types, err);
    if (st == TERSE_OK && terse_record_broken(r))
        st = terse_fail(err, TERSE_IO, "the recording was cut short while it was in use");
    terse_kv_close(&job.kv);
    free(rule);
    return st;
}

terse_status terse_replay_open(terse_replay **out, const terse_record *r, const terse_replay_opts *opts,
                               const terse_eval_rule *rules, int32_t n_rule, terse_error *err)
{
    static const terse_replay_opts defaults;
    const terse_replay_opts *o = opts ? opts : &defaults;
    const terse_record_info *i = terse_record_about(r);
    *out = NULL;
    if (o->threads < 0 || o->threads > TERSE_REPLAY_THREADS)
        return terse_fail(err, TERSE_BAD_INPUT, "%d threads: 1 to %d are possible", o->threads,
                          TERSE_REPLAY_THREADS);
    if (o->strands < 0 || o->strands > TERSE_REPLAY_STRANDS)
        return terse_fail(err, TERSE_BAD_INPUT, "%d strands: 1 to %d are possible", o->strands,
                          TERSE_REPLAY_STRANDS);
    terse_replay *p = calloc(1, sizeof *p);
    if (!p)
        return terse_fail(err, TERSE_NOMEM, "no memory for a replay");
    *p = (terse_replay){ .n_layer = i->n_layer, .n_head = i->n_head, .n_rule = n_rule };
    p->setting = calloc((size_t)n_rule, sizeof *p->setting);
    p->sums = calloc((size_t)n_rule * (size_t)(i->n_layer * i->n_head), sizeof *p->sums);
    terse_status st =
        p->setting && p->sums ? TERSE_OK : terse_fail(err, TERSE_NOMEM, "no memory for %d rules", n_rule);
    for (int32_t s = 0; s < n_rule && st == TERSE_OK; s++)
        st = open_setting(p, &p->setting[s], &rules[s], o->audit, err);
    if (st == TERSE_OK)
        st = walk(p, r, o, err);
    if (st == TERSE_OK)
        *out = p;
    else
        terse_replay_close(&p);
    return st;
}

void terse_replay_close(terse_replay **p)
{
    if (!p || !*p)
        return;
    for (int32_t i = 0; (*p)->setting && i < (*p)->n_rule; i++)
        terse_attend_close(&(*p)->setting[i].attend);
    free((*p)->setting);
    free((*p)->sums);
    free(*p);
    *p = NULL;
}

int32_t terse_replay_rules(const terse_replay *p)
{
    return p->n_rule;
}

terse_replay_result terse_replay_result_of(const terse_replay *p, int32_t rule, int32_t layer, int32_t head)
{
    const int32_t n = p->n_layer * p->n_head, u = layer * p->n_head + head;
    const setting *s = &p->setting[rule];
    terse_replay_sums sums = { 0 };
    for (int32_t i = layer < 0 ? 0 : u; i < (layer < 0 ? n : u + 1); i++)
        terse_replay_sums_add(&sums, &p->sums[rule * n + i]);
    return (terse_replay_result){ .policy = s->policy,
                                  .stop = terse_attend_stop_text(s->attend),
                                  .bounded = terse_attend_bounded(s->attend),
                                  .read = sums.read,
                                  .error_mean = sums.error.sum / (double)sums.error.n,
                                  .error_max = sums.error.max };
}

void terse_replay_type_error(const terse_replay *p, double *mean, double *max)
{
    *mean = p->types.sum / (double)p->types.n;
    *max = p->types.max;
}
