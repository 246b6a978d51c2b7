/* attend/attend.c: a policy and its rules as one object, and the counters. */
#include "attend/stop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

terse_status terse_attend_open(terse_attend **out, const char *policy, const char *stop, int32_t audit,
                               terse_error *err)
{
    *out = NULL;
    if (audit < 0)
        return terse_fail(err, TERSE_BAD_INPUT, "audit interval must not be negative, got %d", audit);
    terse_attend *a = calloc(1, sizeof *a);
    if (!a)
        return terse_fail(err, TERSE_NOMEM, "no memory for the stop rule");
    a->audit = audit;
    const terse_status st = terse_attend_parse(a, policy ? policy : "dense", stop ? stop : "none", err);
    if (st != TERSE_OK)
        terse_attend_close(&a);
    *out = a;
    return st;
}

void terse_attend_close(terse_attend **a)
{
    if (a && *a) {
        free((*a)->scale);
        free((*a)->layer);
        free((*a)->whole);
        free(*a);
        *a = NULL;
    }
}

terse_status terse_attend_profile(terse_attend *a, const float *scale, int32_t n_layer, int32_t n_head,
                                  terse_error *err)
{
    if (!a->page.stop->scaled && !(a->value.stop && a->value.stop->scaled) && !a->key.stop)
        return terse_fail(err, TERSE_BAD_INPUT,
                          "a profile goes with the stop rules mass, key-share and value-share, not with %.160s",
                          a->text);
    if (!scale)
        return terse_fail(err, TERSE_BAD_INPUT, "the profile has no scales for %.160s", a->text);
    if (n_layer < 1 || n_head < 1)
        return terse_fail(err, TERSE_BAD_INPUT, "a profile of %d layers and %d heads", n_layer, n_head);
    const size_t n = (size_t)n_layer * (size_t)n_head;
    for (size_t u = 0; u < n; u++)
        if (!(scale[u] >= 0.0f && isfinite(scale[u])))
            return terse_fail(err, TERSE_BAD_INPUT,
                              "profile: layer %d, head %d: a scale of %g is negative or not finite",
                              (int)(u / (size_t)n_head), (int)(u % (size_t)n_head), (double)scale[u]);
    float *copy = calloc(n, sizeof *copy);
    if (!copy)
        return terse_fail(err, TERSE_NOMEM, "no memory for a profile");
    memcpy(copy, scale, n * sizeof *copy);
    free(a->scale);
    a->scale = copy;
    a->n_layer = n_layer;
    a->n_head = n_head;
    return TERSE_OK;
}

terse_status terse_attend_layers(terse_attend *a, const terse_attend_layer *layer, int32_t n_layer,
                                 terse_error *err)
{
    for (int32_t l = 0; l < n_layer; l++) {
        if (!(layer[l].softcap >= 0.0f && isfinite(layer[l].softcap)))
            return terse_fail(err, TERSE_BAD_INPUT, "layer %d: a soft cap of %g is negative or not finite", l,
                              (double)layer[l].softcap);
        if (layer[l].freq && (layer[l].n_turn < 2 || layer[l].n_turn > TERSE_KV_DIM || layer[l].n_turn % 2))
            return terse_fail(err, TERSE_BAD_INPUT, "layer %d: %d channels that turn", l, layer[l].n_turn);
    }
    terse_attend_layer *copy = calloc((size_t)(n_layer > 0 ? n_layer : 1), sizeof *copy);
    if (!copy)
        return terse_fail(err, TERSE_NOMEM, "no memory for the layers' caps and sinks");
    for (int32_t l = 0; l < n_layer; l++)
        copy[l] = layer[l];
    free(a->layer);
    a->layer = copy;
    a->n_shaped = n_layer;
    return TERSE_OK;
}

terse_rule terse_attend_scaled(const terse_attend *a, const terse_rule *rule, int32_t layer, int32_t head)
{
    terse_rule r = *rule;
    if (r.stop && r.stop->scaled)
        r.param[0] = fmin(r.param[0] * (double)a->scale[layer * a->n_head + head], r.stop->param[0].high);
    return r;
}

const char *terse_attend_stop_text(const terse_attend *a)
{
    return a->text;
}
const char *terse_attend_policy_text(const terse_attend *a)
{
    return a->policy_text;
}
bool terse_attend_bounded(const terse_attend *a)
{
    return a->page.stop->bounded && !a->key.stop && (!a->value.stop || a->value.stop->bounded);
}
uint32_t terse_attend_needs(const terse_attend *a)
{
    return a->needs;
}

void terse_attend_stats_add(terse_attend_stats *a, const terse_attend_stats *b)
{
    a->walks += b->walks;
    a->pages_listed += b->pages_listed;
    a->pages_scored += b->pages_scored;
    a->pages_read += b->pages_read;
    a->tokens_read += b->tokens_read;
    a->pages_alone += b->pages_alone;
    a->bytes_k += b->bytes_k;
    a->bytes_v += b->bytes_v;
    a->bytes_summary += b->bytes_summary;
    a->bytes_dense += b->bytes_dense;
    a->bytes_kept += b->bytes_kept;
    a->tokens_dense += b->tokens_dense;
    a->tokens_kept += b->tokens_kept;
    a->stops += b->stops;
    a->bound_max = fmaxf(a->bound_max, b->bound_max);
    a->left_max = fmaxf(a->left_max, b->left_max);
    a->left_sum += b->left_sum;
    a->audits += b->audits;
    a->audit_violations += b->audit_violations;
    a->audit_error_max = fmaxf(a->audit_error_max, b->audit_error_max);
    a->audit_error_sum += b->audit_error_sum;
    a->audit_left_sum += b->audit_left_sum;
    for (int i = 0; i < TERSE_AUDIT_BINS; i++) {
        a->audit_error[i] += b->audit_error[i];
        a->audit_bound[i] += b->audit_bound[i];
    }
}

double terse_audit_bin_low(int32_t bin)
{
    return bin <= 0 ? 0.0 : pow(10.0, (bin - 17) / 2.0);
}
