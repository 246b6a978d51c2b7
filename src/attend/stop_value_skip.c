/* attend/stop_value_skip.c: certified skipping of values. All keys have been scored, so the weights are exact.
 * With W the weight whose values are unread, R >= max |v - c| over them and o = (acc + W c) / l, the exact
 * output differs by (1/l) |sum_unread w (v - c)|, hence
 *
 *   |o_full - o| <= W R / l      for any choice of tokens and any c
 *
 * and the walk ends when that is at most eps |o| for every head of the group. |o| is known only when values
 * have been read: the first limit on W takes it to be R, the next ones what it was found to be, a little less.
 * This bounds what was left out; the rounding of the f32 sums comes on top, as in attention that reads
 * everything. A comparison with NaN is false, so that a walk with anything not finite in it reads on. */
#include "attend/stop.h"

#include <float.h>
#include <math.h>

enum { EPS };

static float norm_of(const terse_acc *acc, int32_t r)
{
    const float *o = acc->o + r * acc->dim;
    const float fill = acc->left[r] + acc->unread[r];
    float lane[8] = { 0.0f };
    for (int32_t d = 0; d < acc->dim; d += 8)
        for (int32_t i = 0; i < 8; i++) {
            const float x = o[d + i] + fill * acc->center[d + i];
            lane[i] += x * x;
        }
    return sqrtf(terse_fold8(lane));
}

static bool allow(const double *param, const terse_acc *acc, float *most, float *bound)
{
    const float eps = (float)param[EPS];
    bool enough = acc->asked > 0;
    float worst = 0.0f;
    for (int32_t r = 0; r < acc->n_row; r++) {
        const float error = acc->left[r] * acc->radius, size = acc->asked ? norm_of(acc, r) : 0.0f;
        enough &= error <= eps * size && size <= FLT_MAX; /* infinity would allow any error */
        worst = fmaxf(worst, error > 0.0f ? error / size : 0.0f);
        most[r] = !acc->asked ? eps * acc->l[r] : size <= FLT_MAX ? 0.9f * eps * size / acc->radius : 0.0f;
    }
    *bound = enough ? worst : 0.0f;
    return enough;
}

const terse_stop terse_stop_value_skip = {
    .name = "value-skip",
    .help = "read all keys, leave out values while the error is proved to be at most eps |o|",
    .param = { { "eps", 0.1, 0.0, 10.0, NULL } },
    .values = true,
    .bounded = true,
    .needs = TERSE_KV_CENTER,
    .allow = allow,
};
