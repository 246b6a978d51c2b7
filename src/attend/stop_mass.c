/* attend/stop_mass.c: stop when what is unread is estimated to matter little. The weight of every unread page
 * is estimated from the moments of its keys (attend/plan.c); a_p is its share of the softmax. The center c of
 * the values stands in for what is not read (attend/walk.c), so that the error is sum_p a_p (v_p - c), with v_p
 * the mean value of the page under its weights. With |v_p - c| ~ R it is at most R sum_p a_p; and if the v_p
 * scatter about c independently it is R sqrt(sum_p a_p^2), which is how it behaves: a limit on that root
 * (norm=rms) leaves the same error at any context length, where a limit on the sum does not
 * (docs/decisions.md). The walk ends when
 *
 *   sqrt(sum_p a_p^2) <= delta   (norm=sum: sum_p a_p <= delta)    for every head of the group
 *
 * No proof: a page whose keys the estimate misjudges can be missed. A share of all pages, `floor`, is therefore
 * read in any case, beyond the sinks and the recent window; they are taken from the front of an order that
 * overrates pages with spiky keys. Below `from` tokens every page is read: little is saved there. */
#include "attend/stop.h"

#include <math.h>

enum { DELTA, FLOOR, FROM, NORM };

static int32_t from(const double *param)
{
    return (int32_t)param[FROM];
}

static int32_t sure(const double *param, int32_t n_page)
{
    return TERSE_SURE_PAGES + (int32_t)ceil(param[FLOOR] * (double)n_page);
}

static void enough(void *state, const double *param, const terse_acc *acc, bool *done, float *bound)
{
    (void)state, (void)bound;
    const float delta = (float)param[DELTA];
    for (int32_t r = 0; r < acc->n_row; r++) {
        const float most = delta * (acc->l[r] + acc->unread[r]);
        done[r] =
            param[NORM] == TERSE_NORM_SUM ? acc->unread[r] <= most : acc->unread_squares[r] <= most * most;
    }
}

const terse_stop terse_stop_mass = {
    .name = "mass",
    .help = "stop when the unread pages' shares of the softmax are estimated to be below delta, after a floor",
    .param = { { "delta", 0.004, 0.0, 100.0, NULL },
               { "floor", 0.1, 0.0, 1.0, NULL },
               { "from", 2048, 0, 1e9, NULL },
               { "norm", TERSE_NORM_RMS, 0, 1, terse_norms } },
    .steered = true,
    .scaled = true,
    .order = TERSE_ORDER_MASS,
    .sure = sure,
    .from = from,
    .enough = enough,
    .strands = true,
};
