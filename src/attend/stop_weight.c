/* attend/stop_weight.c: the cheap form of stability. With w_t = z_t / l_t, the share of page t in the running
 * softmax, and b_t the page's own mean value, o_t - o_(t-1) = w_t (b_t - o_(t-1)): w_t bounds the relative
 * change of the output and comes for free. The walk ends when w_t <= tau for `patience` pages in a row and
 * every head of the group. It looks back, not ahead: no bound. */
#include "attend/stop.h"

#include <string.h>

enum { TAU, PATIENCE };

static size_t state_size(int32_t n_row, int32_t dim)
{
    (void)dim;
    return (size_t)n_row * sizeof(int32_t);
}

static void begin(void *state, const double *param, int32_t n_row, int32_t dim)
{
    (void)param;
    memset(state, 0, state_size(n_row, dim));
}

static void enough(void *state, const double *param, const terse_acc *acc, bool *done, float *bound)
{
    (void)bound;
    int32_t *calm = state; /* pages in a row */
    for (int32_t r = 0; r < acc->n_row; r++) {
        calm[r] = acc->z[r] <= (float)param[TAU] * acc->l[r] ? calm[r] + 1 : 0;
        done[r] = calm[r] >= (int32_t)param[PATIENCE];
    }
}

const terse_stop terse_stop_weight = {
    .name = "weight",
    .help = "stop when the last pages had next to no weight; no bound",
    .param = { { "tau", 1e-4, 0.0, 1.0, NULL }, { "patience", 4, 1, 1000, NULL } },
    .state_size = state_size,
    .begin = begin,
    .enough = enough,
    .strands = true,
};
