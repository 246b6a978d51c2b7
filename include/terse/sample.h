/* terse/sample.h: logits to a token. Definitions and order are those of the field (shared with llama.cpp):
 * penalties, top-n-sigma, top-k, typical, top-p, min-p, temperature last, then one seeded draw. */
#ifndef TERSE_SAMPLE_H
#define TERSE_SAMPLE_H

#include "terse/base.h"

/* Zero means default where a value has a zero that would be useless; the comments give default and range. */
typedef struct {
    float temp;              /* <= 0: greedy. terse_sample_defaults: 0.8 */
    int32_t top_k;           /* <= 0: off. 40 */
    float top_p;             /* >= 1: off. 0.95 */
    float min_p;             /* <= 0: off. 0.05 */
    float typical_p;         /* >= 1: off. 1 */
    float top_n_sigma;       /* <= 0: off. -1 */
    int32_t penalty_last_n;  /* tokens looked back; 0: off, -1: all (at most 4096). 64 */
    float penalty_repeat;    /* 1: off. 1 */
    float penalty_frequency; /* 0: off. 0 */
    float penalty_presence;  /* 0: off. 0 */
    int32_t min_keep;        /* fewest candidates that a cut leaves. 1 */
    uint64_t seed;           /* same seed, same draws, on every machine */
} terse_sample_opts;

TERSE_API terse_sample_opts terse_sample_defaults(void);
/* TERSE_BAD_INPUT names the option that is out of range. */
TERSE_API terse_status terse_sample_check(const terse_sample_opts *o, terse_error *err);

/* A sampler: options, the tokens accepted so far, the state of the draw. One caller at a time. */
typedef struct terse_sampler terse_sampler;
/* n_vocab >= 1. All memory is taken here: terse_sampler_next allocates nothing. */
TERSE_API terse_status terse_sampler_open(terse_sampler **out, const terse_sample_opts *o, int32_t n_vocab,
                                          terse_error *err);
TERSE_API void terse_sampler_close(terse_sampler **s);
/* Forgets what was accepted and starts the draws from the seed again. */
TERSE_API void terse_sampler_reset(terse_sampler *s);
/* Tells the sampler of a token that is now part of the text (prompt or answer). */
TERSE_API void terse_sampler_accept(terse_sampler *s, int32_t id);
/* Chooses from logits[n_vocab]; does not accept. Returns -1 if a logit is NaN or no logit is finite.
 * Ties go to the lowest id. */
TERSE_API int32_t terse_sampler_next(terse_sampler *s, const float *logits);

#endif
