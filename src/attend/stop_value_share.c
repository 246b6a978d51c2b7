/* attend/stop_value_share.c: leaves out values of small weight. Keys are read, so that every page's share a_p
 * of the softmax is exact; the center of the values stands in for what is left out. The walk reads values by
 * falling share until sqrt(sum_p a_p^2) <= left over the pages that remain (norm=sum: sum_p a_p <= left): the
 * reasons are in stop_mass.c. How far off the center is depends on the values: not a bound (stop_value_skip.c
 * has one, and reads more). */
#include "attend/stop.h"

enum { LEFT, NORM };

static void enough(void *state, const double *param, const terse_acc *acc, bool *done, float *bound)
{
    (void)state, (void)bound;
    for (int32_t r = 0; r < acc->n_row; r++) {
        const float most = (float)param[LEFT] * (acc->l[r] + acc->unread[r]);
        done[r] = param[NORM] == TERSE_NORM_SUM ? acc->left[r] <= most : acc->left_squares[r] <= most * most;
    }
}

const terse_stop terse_stop_value_share = {
    .name = "value-share",
    .help = "leave out values of pages whose shares of the softmax are small; no bound",
    .param = { { "left", 0.008, 0.0, 1.0, NULL }, { "norm", TERSE_NORM_RMS, 0, 1, terse_norms } },
    .values = true,
    .scaled = true,
    .needs = TERSE_KV_CENTER,
    .enough = enough,
};
