/* engine/sample.c: a sampler is its options, the window of accepted tokens and the state of its draws; it runs
 * the stages in the order of terse/sample.h.
 *
 * Draws: xoshiro256** (Blackman and Vigna 2018), its state filled from the seed by splitmix64; the upper 53
 * bits of an output are a uniform number in [0, 1). */
#include "terse/sample.h"

#include "engine/stage.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WINDOW = 4096 };

struct terse_sampler {
    terse_sample_opts o; /* zeros replaced by their defaults */
    int32_t n_vocab;
    terse_cands list;  /* c has room for n_vocab */
    int32_t *window;   /* ring of the last n_window tokens accepted; NULL if nothing is penalised */
    int32_t *count;    /* [n_vocab] how often each stands in the window */
    int32_t n_window;  /* size of the ring */
    uint64_t n_accept; /* tokens that ever entered the ring */
    uint64_t random[4];
};

terse_sample_opts terse_sample_defaults(void)
{
    return (terse_sample_opts){
        .temp = 0.8f,
        .top_k = 40,
        .top_p = 0.95f,
        .min_p = 0.05f,
        .typical_p = 1.0f,
        .top_n_sigma = -1.0f,
        .penalty_last_n = 64,
        .penalty_repeat = 1.0f,
        .min_keep = 1,
    };
}

terse_status terse_sample_check(const terse_sample_opts *o, terse_error *err)
{
    const struct {
        const char *name;
        float value, least, most;
    } range[] = {
        { "temp", o->temp, -FLT_MAX, FLT_MAX },
        { "top_p", o->top_p, 0.0f, FLT_MAX },
        { "min_p", o->min_p, -FLT_MAX, 1.0f },
        { "typical_p", o->typical_p, 0.0f, FLT_MAX },
        { "top_n_sigma", o->top_n_sigma, -FLT_MAX, FLT_MAX },
        { "penalty_repeat", o->penalty_repeat, 0.0f, 100.0f },
        { "penalty_frequency", o->penalty_frequency, -100.0f, 100.0f },
        { "penalty_presence", o->penalty_presence, -100.0f, 100.0f },
    };
    for (size_t i = 0; i < sizeof range / sizeof *range; i++)
        if (!(range[i].value >= range[i].least && range[i].value <= range[i].most)) /* catches NaN too */
            return terse_fail(err, TERSE_BAD_INPUT, "sampling option %s is %g; allowed: %g to %g",
                              range[i].name, (double)range[i].value, (double)range[i].least,
                              (double)range[i].most);
    if (o->penalty_last_n < -1 || o->penalty_last_n > MAX_WINDOW)
        return terse_fail(err, TERSE_BAD_INPUT, "sampling option penalty_last_n is %d; allowed: -1 to %d",
                          (int)o->penalty_last_n, MAX_WINDOW);
    if (o->min_keep < 0)
        return terse_fail(err, TERSE_BAD_INPUT, "sampling option min_keep is %d; allowed: 0 and more",
                          (int)o->min_keep);
    return TERSE_OK;
}

terse_status terse_sampler_open(terse_sampler **out, const terse_sample_opts *o, int32_t n_vocab,
                                terse_error *err)
{
    *out = NULL;
    const terse_sample_opts opts = o ? *o : terse_sample_defaults();
    const terse_status st = terse_sample_check(&opts, err);
    if (st != TERSE_OK)
        return st;
    if (n_vocab < 1)
        return terse_fail(err, TERSE_BAD_INPUT, "a sampler needs a vocabulary; n_vocab is %d", (int)n_vocab);

    terse_sampler *s = calloc(1, sizeof *s);
    if (!s)
        return terse_fail(err, TERSE_NOMEM, "sampler");
    s->o = opts;
    s->n_vocab = n_vocab;
    if (s->o.typical_p == 0.0f)
        s->o.typical_p = 1.0f;
    if (s->o.penalty_repeat == 0.0f)
        s->o.penalty_repeat = 1.0f;
    if (s->o.min_keep == 0)
        s->o.min_keep = 1;
    s->list.c = calloc((size_t)n_vocab, sizeof *s->list.c);
    const bool penalised =
        s->o.penalty_repeat != 1.0f || s->o.penalty_frequency != 0.0f || s->o.penalty_presence != 0.0f;
    if (penalised && s->o.penalty_last_n != 0) {
        s->n_window = s->o.penalty_last_n < 0 ? MAX_WINDOW : s->o.penalty_last_n;
        s->window = calloc((size_t)s->n_window, sizeof *s->window);
        s->count = calloc((size_t)n_vocab, sizeof *s->count);
    }
    if (!s->list.c || (s->n_window && (!s->window || !s->count))) {
        terse_sampler_close(&s);
        return terse_fail(err, TERSE_NOMEM, "sampler of %d tokens", (int)n_vocab);
    }
    terse_sampler_reset(s);
    *out = s;
    return TERSE_OK;
}

void terse_sampler_close(terse_sampler **s)
{
    if (!s || !*s)
        return;
    free((*s)->list.c);
    free((*s)->window);
    free((*s)->count);
    free(*s);
    *s = NULL;
}

void terse_sampler_reset(terse_sampler *s)
{
    s->n_accept = 0;
    if (s->count)
        memset(s->count, 0, (size_t)s->n_vocab * sizeof *s->count);
    uint64_t seed = s->o.seed;
    for (int i = 0; i < 4; i++) { /* splitmix64 */
        uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        s->random[i] = z ^ (z >> 31);
    }
}

void terse_sampler_accept(terse_sampler *s, int32_t id)
{
    /* An id outside the vocabulary has no logit that could be penalised. */
    if (!s->window || id < 0 || id >= s->n_vocab)
        return;
    int32_t *slot = &s->window[s->n_accept % (uint64_t)s->n_window];
    if (s->n_accept >= (uint64_t)s->n_window)
        s->count[*slot]--;
    *slot = id;
    s->count[id]++;
    s->n_accept++;
}

static uint64_t rotate(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

/* Uniform in [0, 1). */
static double draw(terse_sampler *s)
{
    uint64_t *r = s->random;
    const uint64_t value = rotate(r[1] * 5, 7) * 9;
    const uint64_t t = r[1] << 17;
    r[2] ^= r[0];
    r[3] ^= r[1];
    r[1] ^= r[2];
    r[0] ^= r[3];
    r[2] ^= t;
    r[3] = rotate(r[3], 45);
    return (double)(value >> 11) * 0x1p-53;
}

enum { BLOCK = 64, ABOVE_FINITE = 0x7f800000 };

/* A float's bits as an integer of the same order, so that the scan below is integer maxima and vectorises. The
 * mapping is its own inverse. */
static inline int32_t ordered(int32_t bits)
{
    return bits ^ (bits >> 31 & INT32_MAX);
}

/* Makes the list hold the maximum of every block of 64 logits. False if a logit is NaN or none is finite. */
static bool scan(terse_cands *l, const float *logits, int32_t n)
{
    int32_t has_nan = 0, has_finite = 0;
    l->n = 0;
    for (int32_t start = 0; start < n; start += BLOCK) {
        const int32_t len = n - start < BLOCK ? n - start : BLOCK;
        int32_t bits[BLOCK], max = INT32_MIN;
        memcpy(bits, logits + start, (size_t)len * sizeof *bits);
        for (int32_t i = 0; i < len; i++) {
            const int32_t size = bits[i] & INT32_MAX, x = ordered(bits[i]);
            has_nan |= size > ABOVE_FINITE;
            has_finite |= size < ABOVE_FINITE;
            max = x > max ? x : max;
        }
        max = ordered(max);
        terse_cand *c = &l->c[l->n];
        *c = (terse_cand){ .id = l->n++ };
        memcpy(&c->logit, &max, sizeof max);
    }
    return !has_nan && has_finite;
}

/* Fills the list with all ids that can be among the n_best after penalties: -inf is left out, +inf becomes the
 * largest number. The m-th largest block maximum is a floor that at least m logits reach; with m = n_best plus
 * the tokens of the window, at least n_best of them are free of penalties and stay where they are, so that
 * nothing unpenalised below the floor can be among the best. False as scan. */
static bool load(terse_sampler *s, const float *logits, int32_t n_best)
{
    terse_cands *l = &s->list;
    if (!scan(l, logits, s->n_vocab))
        return false;
    const uint64_t in_window = s->n_accept < (uint64_t)s->n_window ? s->n_accept : (uint64_t)s->n_window;
    const uint64_t m = (uint64_t)n_best + in_window;
    float least = -FLT_MAX;
    if (m < (uint64_t)l->n) {
        terse_stage_top_k(l, (int32_t)m);
        least = fmaxf(least, l->c[m - 1].logit);
    }
    l->n = 0;
    for (int32_t i = 0; i < s->n_vocab; i++) {
        const float x = logits[i];
        if (x >= least || (s->count && s->count[i] && x >= -FLT_MAX))
            l->c[l->n++] = (terse_cand){ .id = i, .logit = x > FLT_MAX ? FLT_MAX : x };
    }
    return true;
}

/* How many of the best candidates the stages after the penalties can tell from the rest. */
static int32_t best_needed(const terse_sample_opts *o, int32_t n_vocab)
{
    if (o->temp <= 0.0f && o->typical_p >= 1.0f)
        return 1;
    if (o->top_k <= 0 || o->top_n_sigma > 0.0f) /* the deviation is that of all logits */
        return n_vocab;
    return o->top_k > o->min_keep ? o->top_k : o->min_keep;
}

int32_t terse_sampler_next(terse_sampler *s, const float *logits)
{
    const terse_sample_opts *o = &s->o;
    terse_cands *l = &s->list;
    const int32_t n_best = best_needed(o, s->n_vocab);
    if (!load(s, logits, n_best))
        return -1;
    if (s->window)
        terse_stage_penalties(l, s->count, o->penalty_repeat, o->penalty_frequency, o->penalty_presence);
    if (n_best == 1) /* no cut but typical removes the best */
        return terse_stage_greedy(l);
    terse_stage_top_n_sigma(l, o->top_n_sigma, o->min_keep);
    terse_stage_top_k(l, o->top_k > 0 && o->top_k < o->min_keep ? o->min_keep : o->top_k);
    terse_stage_typical(l, o->typical_p, o->min_keep);
    terse_stage_top_p(l, o->top_p, o->min_keep);
    terse_stage_min_p(l, o->min_p, o->min_keep);
    terse_stage_temp(l, o->temp);
    return o->temp <= 0.0f ? terse_stage_greedy(l) : terse_stage_draw(l, draw(s));
}
