/* model/rope.c: rotary positions (Su et al. 2021) with the scalings that files carry: linear, yarn (Peng et al.
 * 2023), per-frequency factors, and longrope (Ding et al. 2024), two sets of these. Angles are computed in
 * double with SLEEF's portable functions, so that they have the same bits on every machine. */
#include "attend/turn.h"
#include "model/model.h"

#include <math.h>
#include <sleef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    bool yarn;
    float base, factor, attn_factor, beta_fast, beta_slow, log_multiplier;
    int32_t ctx_orig;
} scaling;

static bool is(terse_str s, const char *word)
{
    return s.n == strlen(word) && !memcmp(s.p, word, s.n);
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
    terse_model_key(m, "rope.scaling.type", key);
    if ((st = terse_gguf_get_str(m->gguf, key, false, &type, err)) != TERSE_OK)
        return st;
    if ((st = terse_model_number(m, "rope.freq_base", false, 1.0f, 1e12f, &s->base, err)) != TERSE_OK)
        return st;
    const bool none = is(type, "none");
    s->yarn = is(type, "yarn");
    if (type.n && !none && !s->yarn && !is(type, "linear") && !(is(type, "longrope") && m->arch->rope_factors))
        return terse_fail(err, TERSE_UNSUPPORTED,
                          "%s: rope scaling '%.*s' is not supported: none, linear and yarn are",
                          terse_gguf_path(m->gguf), (int)(type.n < 64 ? type.n : 64), type.p);
    if (none)
        return TERSE_OK;
    if (!type.n &&
        (st = terse_model_number(m, "rope.scale_linear", false, 1e-3f, 1e6f, &s->factor, err)) != TERSE_OK)
        return st;
    const struct {
        const char *name;
        float low, high, *value;
    } all[] = { { "rope.scaling.factor", 1e-3f, 1e6f, &s->factor },
                { "rope.scaling.attn_factor", 1e-3f, 1e3f, &s->attn_factor },
                { "rope.scaling.yarn_beta_fast", 0.0f, 1e6f, &s->beta_fast },
                { "rope.scaling.yarn_beta_slow", 0.0f, 1e6f, &s->beta_slow },
                { "rope.scaling.yarn_log_multiplier", -10.0f, 10.0f, &s->log_multiplier } };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if ((st = terse_model_number(m, all[i].name, false, all[i].low, all[i].high, all[i].value, err)) !=
            TERSE_OK)
            return st;
    terse_model_key(m, "rope.scaling.original_context_length", key);
    if ((st = terse_gguf_get_i32(m->gguf, key, false, &s->ctx_orig, err)) != TERSE_OK)
        return st;
    if (s->ctx_orig < 1 || (s->yarn && (s->beta_fast <= 0.0f || s->beta_slow <= 0.0f)))
        return terse_fail(err, TERSE_BAD_INPUT, "%s: yarn needs a context length and betas above 0",
                          terse_gguf_path(m->gguf));
    return TERSE_OK;
}

/* *factors: what each of n frequencies is divided by; NULL if the file has no such tensor. */
static terse_status read_factors(const terse_model *m, const char *name, int32_t n, const float **factors,
                                 terse_error *err)
{
    const terse_tensor *t = terse_gguf_find_tensor(m->gguf, name);
    *factors = NULL;
    if (!t)
        return TERSE_OK;
    if (t->type != TERSE_TYPE_F32 || t->ne[0] != n || t->ne[1] != 1 || t->ne[2] != 1 || t->ne[3] != 1)
        return terse_fail(err, TERSE_BAD_INPUT, "%s: tensor '%s' is not %d F32 values",
                          terse_gguf_path(m->gguf), name, n);
    *factors = t->data;
    for (int32_t i = 0; i < n; i++)
        if (!(isfinite((*factors)[i]) && (*factors)[i] > 0.0f))
            return terse_fail(err, TERSE_BAD_INPUT,
                              "%s: value %d of tensor '%s' is %g, expected a number above 0",
                              terse_gguf_path(m->gguf), i, name, (double)(*factors)[i]);
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

/* The frequencies of n channels. */
static terse_status make(terse_rope *r, const terse_model *m, int32_t n, const scaling *s, const float *factors,
                         terse_error *err)
{
    r->n = n;
    r->halves = m->arch->rope_halves;
    r->freq = calloc((size_t)n / 2, sizeof *r->freq);
    if (!r->freq)
        return terse_fail(err, TERSE_NOMEM, "%s: no memory for rope frequencies", terse_gguf_path(m->gguf));
    const double low = fmax(0.0, floor(pair_of(s, n, (double)s->beta_fast)));
    const double high = fmin(n - 1.0, ceil(pair_of(s, n, (double)s->beta_slow)));
    for (int32_t i = 0; i < n / 2; i++) {
        double f = Sleef_cinz_powd1_u10purec((double)s->base, -2.0 * i / n);
        if (factors)
            f /= (double)factors[i];
        const double mix = s->yarn ? ramp(low, high, i) : 1.0;
        r->freq[i] = f * (1.0 - mix) + f / (double)s->factor * mix;
    }
    r->magnitude = (double)s->attn_factor;
    if (s->yarn)
        r->magnitude *= 1.0 + 0.1 * Sleef_cinz_logd1_u10purec((double)s->factor);
    return TERSE_OK;
}

/* Latent attention does not turn by a magnitude: what yarn adds is in the scale of the scores. */
static void scale_latent(terse_model *m, const scaling *s)
{
    if (!m->arch->latent || !s->yarn)
        return;
    const double f = 1.0 + (double)s->log_multiplier * Sleef_cinz_logd1_u10purec((double)s->factor);
    m->scale = (float)((double)m->scale * f * f);
    m->rope[TERSE_ROPE_FULL].magnitude = (double)s->attn_factor;
}

terse_status terse_rope_open(terse_model *m, terse_error *err)
{
    scaling s;
    terse_status st = read_scaling(m, &s, err);
    if (st != TERSE_OK)
        return st;
    int32_t n = m->info.dim_k;
    char key[TERSE_KEY];
    terse_model_key(m, "rope.dimension_count", key);
    if ((st = terse_gguf_get_i32(m->gguf, key, false, &n, err)) != TERSE_OK)
        return st;
    if (n < 2 || n > m->dim_q || n % 2)
        return terse_fail(err, TERSE_BAD_INPUT, "%s: key '%s' is %d, expected an even number up to %d",
                          terse_gguf_path(m->gguf), key, n, m->dim_q);
    const float *factors = NULL, *longer = NULL;
    if (m->arch->rope_factors) {
        if ((st = read_factors(m, "rope_factors_short.weight", n / 2, &factors, err)) != TERSE_OK ||
            (st = read_factors(m, "rope_factors_long.weight", n / 2, &longer, err)) != TERSE_OK)
            return st;
    }
    if (!factors && (st = read_factors(m, "rope_freqs.weight", n / 2, &factors, err)) != TERSE_OK)
        return st;
    if ((st = make(&m->rope[TERSE_ROPE_FULL], m, n, &s, factors, err)) != TERSE_OK)
        return st;
    scale_latent(m, &s);
    m->ctx_orig = s.ctx_orig;
    if (longer && (st = make(&m->rope[TERSE_ROPE_LONG], m, n, &s, longer, err)) != TERSE_OK)
        return st;
    if (!m->info.window || !m->arch->window_plain_rope)
        return TERSE_OK;
    const float base = m->arch->window_rope_base;
    scaling plain = { .base = base > 0.0f ? base : s.base,
                      .factor = 1.0f,
                      .attn_factor = 1.0f,
                      .beta_fast = 32.0f,
                      .beta_slow = 1.0f,
                      .ctx_orig = s.ctx_orig };
    if ((st = terse_model_number(m, "rope.freq_base_swa", false, 1.0f, 1e12f, &plain.base, err)) != TERSE_OK)
        return st;
    return make(&m->rope[TERSE_ROPE_WINDOWED], m, n, &plain, NULL, err);
}

const terse_rope *terse_rope_of(const terse_model *m, int32_t rope, int32_t ctx)
{
    const int32_t whole = (ctx + 255) / 256 * 256; /* as other engines round it */
    const bool longer = m->rope[TERSE_ROPE_LONG].freq && whole > m->ctx_orig;
    if (rope == TERSE_ROPE_NONE)
        return NULL;
    return &m->rope[rope == TERSE_ROPE_FULL && longer ? TERSE_ROPE_LONG : rope];
}

void terse_rope_at(const terse_rope *r, int32_t pos, float *cs)
{
    terse_turn_angles(cs, r->freq, r->n, r->halves, pos, r->magnitude);
}
