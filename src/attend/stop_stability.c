/* attend/stop_stability.c: Attention Run-time Termination (arXiv 2606.00024). The walk ends when, `patience`
 * times in a row and for every head of the group, the output x keeps its norm and its direction:
 *
 *   d_scale     = | |x_t| - |x_(t-1)| | / |x_(t-1)|                <= tau
 *   d_direction = 1 - x_t . x_(t-1) / (|x_t| |x_(t-1)|)            <= phi
 *
 * The paper's exact normalisation is not public in full. Two readings: `mean`, x = acc / l, the output; `sum`,
 * x = acc on a common scale, where a page counts that only adds weight. Neither gives a bound: what is unread
 * may still matter. t counts blocks of `block` pages: kernels that the paper builds on look at 128 tokens or
 * so.
 *
 * pretest: a block whose share of the running softmax is above this counts as restless. x_t - x_(t-1) is that
 * share times (the block's own mean - x_(t-1)), so that a large share with a still output is rare. Where that
 * holds for every head the output is not even looked at, and the next block has nothing to compare with. 0:
 * every block is measured. */
#include "attend/stop.h"

#include <math.h>
#include <string.h>

enum { TAU, PHI, PATIENCE, READING, BLOCK, PRETEST };
enum { MEAN, SUM };

typedef struct {
    int32_t calm; /* blocks in a row that changed little */
    bool primed;  /* there is a previous x */
    float norm;   /* of the previous x */
    float keep;   /* brings the previous sum to the present scale */
    float share;  /* of the block so far */
} head;

/* What the kernel works on, behind the heads: [n_row] each, then the previous x [n_row][dim]. */
typedef struct {
    float *inv, *inner, *square, *last;
} vectors;

static vectors vectors_of(void *state, int32_t n_row)
{
    float *p = (float *)((head *)state + n_row);
    return (vectors){ p, p + n_row, p + 2 * n_row, p + 3 * n_row };
}

static size_t state_size(int32_t n_row, int32_t dim)
{
    return (size_t)n_row * (sizeof(head) + (3 + (size_t)dim) * sizeof(float));
}

static void begin(void *state, const double *param, int32_t n_row, int32_t dim)
{
    (void)param, (void)dim;
    memset(state, 0, state_size(n_row, dim));
    for (int32_t r = 0; r < n_row; r++)
        ((head *)state)[r].keep = 1.0f;
}

static bool restless(const head *h, const double *param)
{
    return param[PRETEST] != 0.0 && !(h->share <= (float)param[PRETEST]);
}

/* Did the output of one head stand still over this block? norm: |x|, inner: x . the previous x. */
static bool still(const head *h, float inner, float norm, const double *param)
{
    const float tau = (float)param[TAU], phi = (float)param[PHI], before = h->norm * h->keep;
    if (!h->primed || restless(h, param))
        return false;
    return fabsf(norm - before) <= tau * before && before * norm - inner * h->keep <= phi * before * norm;
}

static void measure(head *h, const vectors *v, const double *param, const terse_acc *acc)
{
    bool look = false;
    for (int32_t r = 0; r < acc->n_row; r++)
        look |= !restless(&h[r], param);
    if (!look) {
        for (int32_t r = 0; r < acc->n_row; r++)
            h[r] = (head){ .keep = 1.0f };
        return;
    }
    for (int32_t r = 0; r < acc->n_row; r++)
        v->inv[r] = param[READING] == MEAN ? 1.0f / acc->l[r] : 1.0f;
    acc->kernels->settle(v->last, acc->o, v->inv, acc->n_row, acc->dim, v->inner, v->square);
    for (int32_t r = 0; r < acc->n_row; r++) {
        const float norm = sqrtf(v->square[r]);
        h[r].calm = still(&h[r], v->inner[r], norm, param) ? h[r].calm + 1 : 0;
        h[r].norm = norm;
        h[r].primed = true;
        h[r].keep = 1.0f;
        h[r].share = 0.0f;
    }
}

static void enough(void *state, const double *param, const terse_acc *acc, bool *done, float *bound)
{
    (void)bound;
    head *h = state;
    for (int32_t r = 0; param[READING] != MEAN && r < acc->n_row; r++)
        h[r].keep *= acc->keep[r];
    for (int32_t r = 0; param[PRETEST] != 0.0 && r < acc->n_row; r++)
        h[r].share += acc->z[r] / acc->l[r];
    if (acc->n_read % (int32_t)param[BLOCK] == 0) {
        const vectors v = vectors_of(state, acc->n_row);
        measure(h, &v, param, acc);
    }
    for (int32_t r = 0; r < acc->n_row; r++)
        done[r] = h[r].calm >= (int32_t)param[PATIENCE];
}

/* Where nothing is added up from page to page, there is nothing to do within a block. */
static int32_t every(const double *param)
{
    return param[READING] == MEAN && param[PRETEST] == 0.0 ? (int32_t)param[BLOCK] : 1;
}

static const char *const readings[] = { "mean", "sum", NULL };

const terse_stop terse_stop_stability = {
    .name = "stability",
    .help = "stop when norm and direction of the output have settled (ART, arXiv 2606.00024); no bound",
    .param = { { "tau", 1e-7, 0.0, 1.0, NULL },
               { "phi", 1e-3, 0.0, 2.0, NULL },
               { "patience", 5, 1, 1000, NULL },
               { "reading", MEAN, 0, 1, readings },
               { "block", 1, 1, 1000, NULL },
               { "pretest", 0, 0, 1, NULL } },
    .output = true,
    .every = every,
    .state_size = state_size,
    .begin = begin,
    .enough = enough,
};
