/* attend/stop_stability.c: Attention Run-time Termination (arXiv 2606.00024). The walk ends when, for
 * `patience` pages in a row and every head of the group, the output o = acc / l keeps its norm and its
 * direction:
 *
 *   d_scale     = | |o_t| - |o_(t-1)| | / |o_(t-1)|                <= tau
 *   d_direction = 1 - o_t . o_(t-1) / (|o_t| |o_(t-1)|)            <= phi
 *
 * The paper's exact normalisation is not public in full; this is the reading on normalised outputs. It gives no
 * bound: what is unread may still matter. */
#include "attend/stop.h"

#include <math.h>
#include <string.h>

enum { TAU, PHI, PATIENCE };

/* Followed by the previous o / l: [n_row][dim]. */
typedef struct {
    int32_t calm; /* pages in a row that changed little */
    bool primed;  /* there is a previous output */
    float last[];
} stability;

static size_t state_size(int32_t n_row, int32_t dim)
{
    return sizeof(stability) + (size_t)n_row * (size_t)dim * sizeof(float);
}

static void begin(void *state, const double *param, int32_t n_row, int32_t dim)
{
    (void)param, (void)n_row, (void)dim;
    stability *s = state;
    s->calm = 0;
    s->primed = false;
}

/* Has one head settled? Stores its output as the one to compare with next. */
static bool settled(float *last, const float *o, float l, int32_t dim, float tau, float phi)
{
    const float inv = 1.0f / l, before2 = terse_square(last, dim);
    const float inner = terse_inner(o, last, dim) * inv;
    for (int32_t d = 0; d < dim; d++)
        last[d] = o[d] * inv;
    const float before = sqrtf(before2), now = sqrtf(terse_square(last, dim));
    return fabsf(now - before) <= tau * before && before * now - inner <= phi * before * now;
}

static bool enough(void *state, const double *param, const terse_acc *acc, float *bound)
{
    (void)bound;
    stability *s = state;
    bool all = true;
    for (int32_t r = 0; r < acc->n_row; r++)
        all &= settled(s->last + r * acc->dim, acc->o + r * acc->dim, acc->l[r], acc->dim, (float)param[TAU],
                       (float)param[PHI]);
    s->calm = s->primed && all ? s->calm + 1 : 0;
    s->primed = true;
    return s->calm >= (int32_t)param[PATIENCE];
}

const terse_stop terse_stop_stability = {
    .name = "stability",
    .help = "stop when norm and direction of the output have settled (ART, arXiv 2606.00024); no bound",
    .param = { { "tau", 1e-7, 0.0, 1.0 }, { "phi", 1e-3, 0.0, 2.0 }, { "patience", 5, 1, 1000 } },
    .state_size = state_size,
    .begin = begin,
    .enough = enough,
};
