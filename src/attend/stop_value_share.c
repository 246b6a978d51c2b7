/* attend/stop_value_share.c: leaves out values of small weight. Keys are read, so that every token's share a_t
 * of the softmax is exact; the center of the values stands in for what is left out. Of each head those tokens
 * may stay unread that weigh least, as many as keep sqrt(sum_t a_t^2) <= left (norm=sum: sum_t a_t <= left):
 * the reasons are in stop_mass.c. How far off the center is depends on the values: not a bound
 * (stop_value_skip.c has one, and reads more). */
#include "attend/stop.h"

enum { LEFT, NORM };

static bool allow(const double *param, const terse_acc *acc, float *most, float *bound)
{
    (void)bound;
    for (int32_t r = 0; r < acc->n_row; r++)
        most[r] = (float)param[LEFT] * (acc->l[r] + acc->unread[r]);
    return acc->asked > 0;
}

static int32_t norm(const double *param)
{
    return (int32_t)param[NORM];
}

const terse_stop terse_stop_value_share = {
    .name = "value-share",
    .help = "leave out values of tokens whose shares of the softmax are small; no bound",
    .param = { { "left", 0.002, 0.0, 1.0, NULL }, { "norm", TERSE_NORM_RMS, 0, 1, terse_norms } },
    .values = true,
    .scaled = true,
    .needs = TERSE_KV_CENTER,
    .allow = allow,
    .norm = norm,
};
