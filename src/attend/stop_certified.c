/* attend/stop_certified.c: stop when the error is proved to be small. U, an upper bound of the unread weight
 * from the boxes of the keys (every score of a page is at most sum_j max(q_j low_j, q_j high_j)), gives the
 * largest possible unread share rho <= U / (l + U). With R >= |v - c| of everything unread and o the output so
 * far,
 *
 *   |o_full - o| = rho |o_unread - o| <= U / (l + U) (|c - o| + R)
 *
 * The walk ends when that is at most eps |o| for every head. Rigorous, and rarely soon: boxes are loose where
 * heads have many channels. A comparison with NaN is false, so that such a walk reads on. */
#include "attend/stop.h"

#include <float.h>
#include <math.h>

enum { EPS };

/* |acc / l - c| and |acc / l| */
static void norms(const terse_acc *acc, int32_t r, float *from_center, float *norm)
{
    const float *o = acc->o + r * acc->dim, inv = 1.0f / acc->l[r];
    float off[8] = { 0.0f }, all[8] = { 0.0f };
    for (int32_t d = 0; d < acc->dim; d += 8)
        for (int32_t i = 0; i < 8; i++) {
            const float x = o[d + i] * inv, y = x - acc->center[d + i];
            off[i] += y * y;
            all[i] += x * x;
        }
    *from_center = sqrtf(terse_fold8(off));
    *norm = sqrtf(terse_fold8(all));
}

static void enough(void *state, const double *param, const terse_acc *acc, bool *done, float *bound)
{
    (void)state;
    const float eps = (float)param[EPS];
    float worst = 0.0f;
    for (int32_t r = 0; r < acc->n_row; r++) {
        /* Most of the time the share alone says no: |c - o| + R is at least |o| / 2 or so in practice, and a
         * bound that is not tested is not wrong. */
        const float share = acc->unread[r] / (acc->l[r] + acc->unread[r]) * 1.0001f;
        done[r] = acc->unread[r] == 0.0f;
        if (done[r] || !(share <= 4.0f * eps))
            continue;
        float from_center, norm;
        norms(acc, r, &from_center, &norm);
        const float error = share * (from_center + acc->radius);
        done[r] = error <= eps * norm && norm <= FLT_MAX; /* infinity would allow any error */
        worst = fmaxf(worst, error / norm);
    }
    *bound = worst;
}

const terse_stop terse_stop_certified = {
    .name = "certified",
    .help = "stop when boxes of the keys prove that the error is at most eps |o|",
    .param = { { "eps", 0.1, 0.0, 10.0, NULL } },
    .output = true,
    .bounded = true,
    .steered = true,
    .order = TERSE_ORDER_BOX,
    .needs = TERSE_KV_CENTER,
    .enough = enough,
};
