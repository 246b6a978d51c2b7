/* attend/stop_value_share.c: leaves out values of small weight. Keys are read, so that every token's share a_t
 * of the softmax is exact; the center of the values stands in for what is left out. Of each head those tokens
 * may stay unread that weigh least, as many as keep sqrt(sum_t a_t^2) <= left (norm=sum: sum_t a_t <= left):
 * the reasons are in stop_mass.c. How far off the center is depends on the values: not a bound
 * (stop_value_skip.c has one, and reads more). */
#include "attend/stop.h"

enum { LEFT, NORM };

/* One flag: whether the limit has been set. */
static size_t state_size(int32_t n_row, int32_t dim)
{
    (void)n_row, (void)dim;
    return sizeof(bool);
}

static void begin(void *state, const double *param, int32_t n_row, int32_t dim)
{
    (void)param, (void)n_row, (void)dim;
    *(bool *)state = false;
}

static bool allow(void *state, const double *param, const terse_acc *acc, float *most, float *bound)
{
    bool *asked = state;
    const bool before = *asked;
    (void)bound;
    *asked = true;
    for (int32_t r = 0; r < acc->n_row; r++)
        most[r] = (float)param[LEFT] * (acc->l[r] + acc->unread[r]);
    return before;
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
    .state_size = state_size,
    .begin = begin,
    .allow = allow,
    .norm = norm,
};
