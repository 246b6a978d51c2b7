/* lab/calibrate.c: both passes are evaluations (lab/compare.c): the ladder's rules differ in a profile that has
 * one scale everywhere, so that all come from one prefill. */
#include "lab/calibrate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOWS = 8 };

struct terse_calibration {
    terse_calibration_info info;
    terse_profile *profile;
    double *error; /* info.error */
};

double terse_calibrate_scale(const double *scale, const double *error, int32_t n, double target)
{
    const double low = 0.125, high = 8.0, tiny = 1e-12;
    int32_t k = n - 1; /* the last point that is good enough */
    while (k >= 0 && !(error[k] <= target))
        k--;
    const int32_t from = k < 0 ? 0 : k, a = from < n - 1 ? from : n - 2;
    const double slope = log(fmax(error[a + 1], tiny) / fmax(error[a], tiny)) / log(scale[a + 1] / scale[a]);
    if (!(slope > 0.0)) /* the error does not depend on the scale there */
        return k < 0 ? low : high;
    const double x = scale[from] * pow(target / fmax(error[from], tiny), 1.0 / slope);
    return fmin(fmax(x, low), high);
}

static terse_status no_memory(terse_error *err)
{
    return terse_fail(err, TERSE_NOMEM, "no memory for a calibration");
}

/* One pass over windows of tokens[n] under rules[n_rule], all walks audited. */
static terse_status measure(terse_eval **e, const terse_model *m, const int32_t *tokens, size_t n,
                            const terse_calibrate_opts *o, const terse_eval_rule *rules, int32_t n_rule,
                            terse_error *err)
{
    terse_eval_opts opts = { .session = o->session, .progress = o->progress, .progress_ctx = o->progress_ctx };
    opts.session.audit = 1;
    const terse_status st = terse_eval_open(e, m, &opts, rules, n_rule, err);
    return st == TERSE_OK ? terse_eval_text(*e, tokens, n, &o->windows, err) : st;
}

/* Mean errors of all heads under a rule into error[n_layer * n_head]. */
static terse_status read_point(terse_calibrate_point *p, double *error, const terse_eval *e, int32_t rule,
                               const terse_model_info *about, terse_error *err)
{
    const int32_t n = about->n_layer * about->n_head_kv;
    terse_eval_result k;
    const terse_status st = terse_eval_result_of(e, rule, &k, err);
    if (st != TERSE_OK)
        return st;
    const terse_attend_stats *s = &k.read;
    *p = (terse_calibrate_point){ .read = (double)(s->bytes_k + s->bytes_v + s->bytes_summary) /
                                          (double)s->bytes_dense,
                                  .kl = k.mean,
                                  .kl_low = k.low,
                                  .kl_high = k.high };
    for (int32_t u = 0; u < n; u++) {
        s = terse_eval_stats_of(e, rule, u / about->n_head_kv, u % about->n_head_kv);
        error[u] = s->audit_error_sum / (double)s->audits;
        p->error += error[u] / n;
    }
    return TERSE_OK;
}

/* Decodes under all scales of the ladder, which fills in c's ladder and errors. */
static terse_status climb(terse_calibration *c, const terse_model *m, const int32_t *tokens, size_t n,
                          const terse_calibrate_opts *o, terse_profile_info *like, float *scale,
                          terse_error *err)
{
    const terse_model_info *about = terse_model_about(m);
    const int32_t n_unit = about->n_layer * about->n_head_kv;
    terse_profile *even[TERSE_LADDER] = { NULL };
    terse_eval_rule rules[TERSE_LADDER];
    terse_eval *e = NULL;
    terse_status st = TERSE_OK;
    int64_t stops = 0;
    for (int32_t i = 0; i < TERSE_LADDER && st == TERSE_OK; i++) {
        c->info.scale[i] = ldexp(1.0, i - TERSE_LADDER / 2);
        for (int32_t u = 0; u < n_unit; u++)
            scale[u] = (float)c->info.scale[i];
        st = terse_profile_make(&even[i], m, like, err);
        rules[i] = (terse_eval_rule){ o->session.policy, o->session.stop, even[i] };
    }
    if (st == TERSE_OK)
        st = measure(&e, m, tokens, n, o, rules, TERSE_LADDER, err);
    for (int32_t i = 0; i < TERSE_LADDER && st == TERSE_OK; i++) {
        terse_eval_result k;
        st = read_point(&c->info.ladder[i], c->error + (size_t)i * (size_t)n_unit, e, i, about, err);
        if (st == TERSE_OK && (st = terse_eval_result_of(e, i, &k, err)) == TERSE_OK) {
            stops += k.read.stops;
            like->tokens = k.n_token;
        }
    }
    if (st == TERSE_OK && stops == 0)
        st = terse_fail(err, TERSE_BAD_INPUT, "%.160s leaves nothing out of windows of this length",
                        o->session.stop);
    terse_eval_close(&e);
    for (int32_t i = 0; i < TERSE_LADDER; i++)
        terse_profile_close(&even[i]);
    return st;
}

/* Decodes without and with the profile; the profile is made again with the errors that it had. */
static terse_status verify(terse_calibration *c, const terse_model *m, const int32_t *tokens, size_t n,
                           const terse_calibrate_opts *o, terse_profile_info *like, terse_error *err)
{
    const terse_model_info *about = terse_model_about(m);
    const size_t n_unit = (size_t)about->n_layer * (size_t)about->n_head_kv;
    terse_eval_rule rules[2] = { { .policy = o->session.policy, .stop = o->session.stop } };
    terse_profile *draft = NULL;
    terse_eval *e = NULL;
    float *measured = calloc(n_unit, sizeof *measured);
    double *error = calloc(n_unit, sizeof *error);
    terse_status st = measured && error ? terse_profile_make(&draft, m, like, err) : no_memory(err);
    rules[1] = rules[0];
    rules[1].profile = draft;
    if (st == TERSE_OK)
        st = measure(&e, m, tokens, n, o, rules, 2, err);
    if (st == TERSE_OK)
        st = read_point(&c->info.before, error, e, 0, about, err);
    if (st == TERSE_OK)
        st = read_point(&c->info.after, error, e, 1, about, err);
    for (size_t u = 0; u < n_unit && st == TERSE_OK; u++)
        measured[u] = (float)error[u];
    like->error = measured;
    if (st == TERSE_OK)
        st = terse_profile_make(&c->profile, m, like, err);
    c->info.profile = c->profile;
    terse_eval_close(&e);
    terse_profile_close(&draft);
    free(measured);
    free(error);
    return st;
}

/* Which tokens each pass gets: halves of the text if both have room for the windows. Returns where the second
 * begins; 0: both get all. */
static size_t divide(terse_calibrate_opts *o, size_t n)
{
    const size_t fit = o->windows.ctx > 0 ? n / 2 / ((size_t)o->windows.ctx + 1) : 0;
    if (o->windows.windows == 0)
        o->windows.windows = fit < 1 ? 1 : fit < WINDOWS ? (int32_t)fit : WINDOWS;
    return o->windows.windows > 0 && fit >= (size_t)o->windows.windows ? n / 2 : 0;
}

/* The rule's name with all parameters, as the profile keeps it. */
static terse_status name_rule(terse_attend **a, const terse_calibrate_opts *o, terse_error *err)
{
    static const float one = 1.0f;
    const terse_status st = terse_attend_open(a, o->session.policy, o->session.stop, 0, err);
    return st == TERSE_OK ? terse_attend_profile(*a, &one, 1, 1, err) : st; /* refuses rules that prove */
}

static terse_status work(terse_calibration *c, float *scale, const terse_model *m, const int32_t *tokens,
                         size_t n, const terse_calibrate_opts *o, size_t half, terse_error *err)
{
    const terse_model_info *about = terse_model_about(m);
    const int32_t n_unit = about->n_layer * about->n_head_kv;
    terse_attend *attend = NULL;
    terse_profile_info like = {
        .n_layer = about->n_layer, .n_head = about->n_head_kv, .scale = scale, .text = o->text
    };
    terse_status st = name_rule(&attend, o, err);
    if (st == TERSE_OK) {
        like.rule = terse_attend_stop_text(attend);
        st = climb(c, m, tokens, half ? half : n, o, &like, scale, err);
    }
    like.target = c->info.target = o->target > 0.0 ? o->target : c->info.ladder[TERSE_LADDER / 2].error;
    for (int32_t u = 0; u < n_unit && st == TERSE_OK; u++) {
        double error[TERSE_LADDER];
        for (int32_t i = 0; i < TERSE_LADDER; i++)
            error[i] = c->error[i * n_unit + u];
        scale[u] = (float)terse_calibrate_scale(c->info.scale, error, TERSE_LADDER, c->info.target);
    }
    if (st == TERSE_OK)
        st = verify(c, m, tokens + half, n - half, o, &like, err);
    terse_attend_close(&attend);
    return st;
}

terse_status terse_calibrate(terse_calibration **out, const terse_model *m, const int32_t *tokens, size_t n,
                             const terse_calibrate_opts *opts, terse_error *err)
{
    const terse_model_info *about = terse_model_about(m);
    const size_t n_unit = (size_t)about->n_layer * (size_t)about->n_head_kv;
    terse_calibrate_opts o = *opts;
    *out = NULL;
    if (!(o.target >= 0.0 && isfinite(o.target)))
        return terse_fail(err, TERSE_BAD_INPUT, "a target error of %g is negative or not finite", o.target);
    o.session.stop = o.session.stop ? o.session.stop : "mass+value-share";
    o.session.ctx = o.session.ctx ? o.session.ctx : about->ctx_train;
    o.windows.ctx = o.windows.ctx ? o.windows.ctx : o.session.ctx;
    terse_calibration *c = calloc(1, sizeof *c);
    float *scale = calloc(n_unit, sizeof *scale);
    double *error = calloc(TERSE_LADDER * n_unit, sizeof *error);
    terse_status st = c && scale && error ? TERSE_OK : no_memory(err);
    if (st == TERSE_OK) {
        const size_t half = divide(&o, n);
        c->info.error = c->error = error;
        c->info.unseen = half > 0;
        error = NULL;
        st = work(c, scale, m, tokens, n, &o, half, err);
    }
    free(error);
    free(scale);
    if (st == TERSE_OK)
        *out = c;
    else
        terse_calibration_close(&c);
    return st;
}

void terse_calibration_close(terse_calibration **c)
{
    if (!c || !*c)
        return;
    terse_profile_close(&(*c)->profile);
    free((*c)->error);
    free(*c);
    *c = NULL;
}

const terse_calibration_info *terse_calibration_about(const terse_calibration *c)
{
    return &c->info;
}
