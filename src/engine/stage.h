/* engine/stage.h: the stages of a sampler, each a function on one list of candidates, so that they can run in
 * any order. The public sampler (terse/sample.h) runs them in its fixed order; the golden tests in others.
 *
 * A cut shortens the list or sets logits to -inf; every stage keeps the best candidate except typical. No stage
 * allocates. Logits are never NaN; a list is never empty. Ties go to the lowest id everywhere. */
#ifndef TERSE_ENGINE_STAGE_H
#define TERSE_ENGINE_STAGE_H

#include "terse/base.h"

typedef struct {
    int32_t id;
    float logit; /* -inf: cannot be drawn */
    float p;     /* scratch of the stages; the probability after terse_stage_softmax */
} terse_cand;

/* c is the caller's; ids are unique, in any order. */
typedef struct {
    terse_cand *c;
    int32_t n;
} terse_cands;

/* p = softmax of the logits. If all are -inf, all p are 0. */
void terse_stage_softmax(terse_cands *l);
/* count[id]: how often id stands in the window that is looked back on. */
void terse_stage_penalties(terse_cands *l, const int32_t *count, float repeat, float frequency, float presence);
/* Adds biases[i], finite or -inf, to the logit of ids[i]. */
void terse_stage_logit_bias(terse_cands *l, const int32_t *ids, const float *biases, int32_t n);
/* -inf below max - n_sigma * (standard deviation of the finite logits) */
void terse_stage_top_n_sigma(terse_cands *l, float n_sigma, int32_t min_keep);
void terse_stage_top_k(terse_cands *l, int32_t k);
void terse_stage_typical(terse_cands *l, float p, int32_t min_keep);
void terse_stage_top_p(terse_cands *l, float p, int32_t min_keep);
void terse_stage_min_p(terse_cands *l, float p, int32_t min_keep);
/* temp <= 0: all but the best get -inf */
void terse_stage_temp(terse_cands *l, float temp);
/* Dynamic temperature: from temp - range for a certain model to temp + range for a uniform one, with the
 * normalised entropy raised to exponent in between. range <= 0: terse_stage_temp. */
void terse_stage_temp_ext(terse_cands *l, float temp, float range, float exponent);
/* Id of the best candidate. */
int32_t terse_stage_greedy(const terse_cands *l);
/* Id drawn by u in [0, 1) from the softmax of the logits; the best one if none has weight. */
int32_t terse_stage_draw(terse_cands *l, double u);

#endif
