/* model/rope.c: rotary positions (Su et al. 2021) with the scalings that llama files carry: linear, yarn
 * (Peng et al. 2023) and per-frequency factors. Angles are computed in double with SLEEF's portable functions,
 * so that they have the same bits on every machine. */
#include "model/model.h"

#include <math.h>
#include <sleef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    bool yarn;
    float base, factor, attn_factor, beta_fast, beta_slow;
    int32_t ctx_orig;
} scaling;

static terse_status number(const terse_model *m, const char *name, float low, float high, float *value,
                           terse_error *err)
{
    char key[128];
    snprintf(key, sizeof key, "%s.rope.%s", m->arch->name, name);
    const terse_status st = terse_gguf_get_f32(m->gguf, key, false, value, err);
    if (st != TERSE_OK)
        return st;
    if (!(*value >= low && *value <= high))
        return terse_fail(err, TERSE_BAD_INPUT, "%s: key '%s' is %g, expected %g to %g",
                          terse_gguf_path(m->gguf), key, (double)*value, (double)low, (double)high);
    return TERSE_OK;
}

static terse_status read_scaling(const terse_model *m, scaling *s, terse_error *err)
{
    terse_status st;
    terse_str type = { 0 };
    char key[128];
    *s = (scaling){ .base = 10000.0f,
                    .factor = 1.0f,
                    .attn_factor = 1.0f,
                    .beta_fast = 32.0f,
                    .beta_slow = 1.0f,
                    .ctx_orig = m->info.ctx_train };
    snprintf(key, sizeof key, "%s.rope.scaling.type", m->arch->name);
    if ((st = terse_gguf_get_str(m->gguf, key, false, &type, err)) != TERSE_OK)
        return st;
    if ((st = number(m, "freq_base", 1.0f, 1e12f, &s->base, err)) != TERSE_OK)
        return st;
    const bool none = type.n == 4 && !memcmp(type.p, "none", 4);
    const bool linear = type.n == 6 && !memcmp(type.p, "linear", 6);
    s->yarn = type.n == 4 && !memcmp(type.p, "yarn", 4);
    if (type.n && !none && !linear && !s->yarn)
        return terse_fail(err, TERSE_UNSUPPORTED,
                          "%s: rope scaling '%.*s' is not supported: none, linear and yarn are",
                          terse_gguf_path(m->gguf), (int)(type.n < 64 ? type.n : 64), type.p);
    if (none)
        return TERSE_OK;
    if (!type.n && (st = number(m, "scale_linear", 1e-3f, 1e6f, &s->factor, err)) != TERSE_OK)
        return st;
    if ((st = number(m, "scaling.factor", 1e-3f, 1e6f, &s->factor, err)) != TERSE_OK)
        return st;
    if ((st = number(m, "scaling.attn_factor", 1e-3f, 1e3f, &s->attn_factor, err)) != TERSE_OK)
        return st;
    if ((st = number(m, "scaling.yarn_beta_fast", 0.0f, 1e6f, &s->beta_fast, err)) != TERSE_OK)
        return st;
    if ((st = number(m, "scaling.yarn_beta_slow", 0.0f, 1e6f, &s->beta_slow, err)) != TERSE_OK)
        return st;
    snprintf(key, sizeof key, "%s.rope.scaling.original_context_length", m->arch->name);
    if ((st = terse_gguf_get_i32(m->gguf, key, false, &s->ctx_orig, err)) != TERSE_OK)
        return st;
    if (s->ctx_orig < 1 || (s->yarn && (s->beta_fast <= 0.0f || s->beta_slow <= 0.0f)))
        return terse_fail(err, TERSE_BAD_INPUT, "%s: yarn needs a context length and betas above 0",
                          terse_gguf_path(m->gguf));
    return TERSE_OK;
}

/* *factors: what each of n frequencies is divided by; NULL if the file has no rope_freqs. */
static terse_status read_factors(const terse_model *m, int32_t n, const float **factors, terse_error *err)
{
    const terse_tensor *t = terse_gguf_find_tensor(m->gguf, "rope_freqs.weight");
    *factors = NULL;
    if (!t)
        return TERSE_OK;
    if (t->type != TERSE_TYPE_F32 || t->ne[0] != n || t->ne[1] != 1 || t->ne[2] != 1 || t->ne[3] != 1)
        return terse_fail(err, TERSE_BAD_INPUT, "%s: tensor 'rope_freqs.weight' is not %d F32 values",
                          terse_gguf_path(m->gguf), n);
    *factors = t->data;
    for (int32_t i = 0; i < n; i++)
        if (!(isfinite((*factors)[i]) && (*factors)[i] > 0.0f))
            return terse_fail(err, TERSE_BAD_INPUT,
                              "%s: value %d of tensor 'rope_freqs.weight' is %g, expected a number above 0",
                              terse_gguf_path(m->gguf), i, (double)(*factors)[i]);
    return TERSE_OK;
}

/* The pair (as a real number) that turns `turns` times over the original context: yarn's correction dimension.
 */
static double pair_of(const scaling *s, int32_t n, double turns)
{
    return n * Sleef_cinz_logd1_u10purec(s->ctx_orig / (turns * 2.0 * M_PI)) /
           (2.0 * Sleef_cinz_logd1_u10purec((double)s->base));
}

/* Share of interpolation at pair i: 0 below low, 1 above high. */
static double ramp(double low, double high, double i)
{
    const double y = (i - low) / fmax(0.001, high - low);
    return fmin(1.0, fmax(0.0, y));
}

terse_status terse_rope_open(terse_rope *r, const terse_model *m, terse_error *err)
{
    scaling s;
    char key[128];
    terse_status st = read_scaling(m, &s, err);
    if (st != TERSE_OK)
        return st;
    r->n = m->info.dim_k;
    snprintf(key, sizeof key, "%s.rope.dimension_count", m->arch->name);
    if ((st = terse_gguf_get_i32(m->gguf, key, false, &r->n, err)) != TERSE_OK)
        return st;
    if (r->n < 2 || r->n > m->info.dim_k || r->n % 2)
        return terse_fail(err, TERSE_BAD_INPUT, "%s: key '%s' is %d, expected an even number up to %d",
                          terse_gguf_path(m->gguf), key, r->n, m->info.dim_k);
    const float *factors;
    if ((st = read_factors(m, r->n / 2, &factors, err)) != TERSE_OK)
        return st;
    r->freq = calloc((size_t)r->n / 2, sizeof *r->freq);
    if (!r->freq)
        return terse_fail(err, TERSE_NOMEM, "%s: no memory for rope frequencies", terse_gguf_path(m->gguf));
    const double low = fmax(0.0, floor(pair_of(&s, r->n, (double)s.beta_fast)));
    const double high = fmin(r->n - 1.0, ceil(pair_of(&s, r->n, (double)s.beta_slow)));
    for (int32_t i = 0; i < r->n / 2; i++) {
        double f = Sleef_cinz_powd1_u10purec((double)s.base, -2.0 * i / r->n);
        if (factors)
            f /= (double)factors[i];
        const double mix = s.yarn ? ramp(low, high, i) : 1.0;
        r->freq[i] = f * (1.0 - mix) + f / (double)s.factor * mix;
    }
    r->magnitude = (double)s.attn_factor;
    if (s.yarn)
        r->magnitude *= 1.0 + 0.1 * Sleef_cinz_logd1_u10purec((double)s.factor);
    return TERSE_OK;
}

void terse_rope_at(const terse_rope *r, int32_t pos, float *cs)
{
    for (int32_t i = 0; i < r->n / 2; i++) {
        const Sleef_double_2 sc = Sleef_cinz_sincosd1_u10purec(pos * r->freq[i]);
        cs[2 * i] = (float)(sc.y * r->magnitude);
        cs[2 * i + 1] = (float)(sc.x * r->magnitude);
    }
}
