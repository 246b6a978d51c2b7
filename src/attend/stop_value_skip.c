/* attend/stop_value_skip.c: certified skipping of values. All keys have been scored, so the weights are exact;
 * pages come by falling share. With W the weight whose values are unread, R >= max |v - c| over them and
 * o = (acc + W c) / l, the exact output differs by (1/l) |sum_unread w (v - c)|, hence
 *
 *   |o_full - o| <= W R / l      for any order and any c
 *
 * The walk ends when that is at most eps |o| for every head of the group. This bounds what was left out; the
 * rounding of the f32 sums comes on top, as in attention that reads everything. A comparison with NaN is false,
 * so that a walk with anything not finite in it reads on. */
#include "attend/stop.h"

#include <float.h>
#include <math.h>

enum { EPS };

/* The norms of the outputs, measured again every REFRESH pages and when they decide. */
enum { REFRESH = 8 };
typedef struct {
    int32_t age;
    float norm[]; /* [n_row] |acc + W c| */
} value_skip;

static size_t state_size(int32_t n_row, int32_t dim)
{
    (void)dim;
    return sizeof(value_skip) + (size_t)n_row * sizeof(float);
}

static void begin(void *state, const double *param, int32_t n_row, int32_t dim)
{
    (void)param, (void)dim;
    value_skip *s = state;
    s->age = 0;
    for (int32_t r = 0; r < n_row; r++)
        s->norm[r] = INFINITY;
}

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

static void enough(void *state, const double *param, const terse_acc *acc, bool *done, float *bound)
{
    value_skip *s = state;
    const float eps = (float)param[EPS];
    if (s->age++ % REFRESH)
        for (int32_t r = 0; r < acc->n_row; r++)
            if (!(acc->left[r] * acc->radius <= eps * s->norm[r])) {
                done[r] = false;
                return;
            }
    float worst = 0.0f;
    for (int32_t r = 0; r < acc->n_row; r++) {
        const float error = acc->left[r] * acc->radius;
        s->norm[r] = norm_of(acc, r);
        done[r] = error <= eps * s->norm[r] && s->norm[r] <= FLT_MAX; /* infinity would allow any error */
        worst = fmaxf(worst, error > 0.0f ? error / s->norm[r] : 0.0f);
    }
    *bound = worst;
}

const terse_stop terse_stop_value_skip = {
    .name = "value-skip",
    .help = "read all keys, leave out values while the error is proved to be at most eps |o|",
    .param = { { "eps", 0.1, 0.0, 10.0, NULL } },
    .values = true,
    .bounded = true,
    .needs = TERSE_KV_CENTER,
    .state_size = state_size,
    .begin = begin,
    .enough = enough,
};
