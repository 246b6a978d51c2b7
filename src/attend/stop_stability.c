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
 * pretest: a block whose share of the running softmax is above this counts as restless unseen. x_t - x_(t-1) is
 * that share times (the block's own mean - x_(t-1)), so that a large share with a still output is rare. 0:
 * every block is measured. */
#include "attend/stop.h"

#include <math.h>
#include <string.h>

enum { TAU, PHI, PATIENCE, READING, BLOCK, PRETEST };
enum { MEAN, SUM };

typedef struct {
    int32_t calm; /* blocks in a row that changed little */
    bool primed;  /* there is a previous x */
    float norm;   /* of the previous x; negative: not computed */
    float keep;   /* brings the previous sum to the present scale */
    float share;  /* of the block so far */
} head;

static size_t state_size(int32_t n_row, int32_t dim)
{
    return (size_t)n_row * (sizeof(head) + (size_t)dim * sizeof(float));
}

static void begin(void *state, const double *param, int32_t n_row, int32_t dim)
{
    (void)param, (void)dim;
    memset(state, 0, (size_t)n_row * sizeof(head));
    for (int32_t r = 0; r < n_row; r++)
        ((head *)state)[r].keep = 1.0f;
}

/* Did the output stand still over this block? Keeps x as the one to compare with next. */
static bool still(head *h, float *last, const float *o, float inv, int32_t dim, const double *param)
{
    const float tau = (float)param[TAU], phi = (float)param[PHI];
    const bool look = h->primed && (param[PRETEST] == 0.0 || h->share <= (float)param[PRETEST]);
    float inner = 0.0f;
    const float before = !look ? 0.0f : (h->norm >= 0.0f ? h->norm : sqrtf(terse_square(last, dim))) * h->keep;
    if (look)
        inner = terse_inner(o, last, dim) * inv * h->keep;
    for (int32_t d = 0; d < dim; d++)
        last[d] = o[d] * inv;
    h->norm = look ? sqrtf(terse_square(last, dim)) : -1.0f;
    h->primed = true;
    h->keep = 1.0f;
    h->share = 0.0f;
    return look && fabsf(h->norm - before) <= tau * before &&
           before * h->norm - inner <= phi * before * h->norm;
}

static void enough(void *state, const double *param, const terse_acc *acc, bool *done, float *bound)
{
    (void)bound;
    head *h = state;
    float *last = (float *)(h + acc->n_row);
    const bool mean = param[READING] == MEAN, block = acc->n_read % (int32_t)param[BLOCK] == 0;
    for (int32_t r = 0; r < acc->n_row; r++) {
        if (!mean)
            h[r].keep *= acc->keep[r];
        h[r].share += acc->z[r] / acc->l[r];
        if (block)
            h[r].calm = still(&h[r], last + r * acc->dim, acc->o + r * acc->dim, mean ? 1.0f / acc->l[r] : 1.0f,
                              acc->dim, param)
                            ? h[r].calm + 1
                            : 0;
        done[r] = h[r].calm >= (int32_t)param[PATIENCE];
    }
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
    .state_size = state_size,
    .begin = begin,
    .enough = enough,
};
