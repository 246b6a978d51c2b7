/* attend/stop_value_share.c: leaves out values of tokens with small shares a_t of the softmax,
 *
 *   a_t <= left / sqrt(n)    (norm=sum: left / n)    where n tokens compete, for every head of the group
 *
 * so that sqrt(sum_t a_t^2) <= left over all of them (sum_t a_t <= left): why that is what counts is in
 * stop_mass.c. The center of the values stands in for what is left out. Keys are read, and the weights of
 * tokens are exact; the whole that makes them shares is what has been scored and what is estimated of the rest
 * (attend/sift.c). How far off the center is depends on the values: not a bound (stop_value_skip.c has one, and
 * reads more). */
#include "attend/stop.h"

#include <math.h>

enum { LEFT, NORM };

static float light(const double *param, int32_t n_token)
{
    const double n = (double)n_token;
    return (float)(param[LEFT] / (param[NORM] == TERSE_NORM_RMS ? sqrt(n) : n));
}

const terse_stop terse_stop_value_share = {
    .name = "value-share",
    .help = "leave out values of tokens whose shares of the softmax are small; no bound",
    .param = { { "left", 0.008, 0.0, 1.0, NULL }, { "norm", TERSE_NORM_RMS, 0, 1, terse_norms } },
    .values = true,
    .scaled = true,
    .needs = TERSE_KV_CENTER,
    .light = light,
};
