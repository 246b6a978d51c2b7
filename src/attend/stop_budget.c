/* attend/stop_budget.c: a fixed share of all pages, in whatever order. With the order `box` this is Quest
 * (arXiv 2406.10774) at page granularity. The baseline for rules that adapt. */
#include "attend/stop.h"

enum { SHARE };

static void enough(void *state, const double *param, const terse_acc *acc, bool *done, float *bound)
{
    (void)state, (void)bound;
    for (int32_t r = 0; r < acc->n_row; r++)
        done[r] = (double)acc->n_read >= param[SHARE] * (double)acc->n_page;
}

const terse_stop terse_stop_budget = {
    .name = "budget",
    .help = "stop after a fixed share of all pages; with dense:order=box this is Quest",
    .param = { { "share", 0.2, 0.0, 1.0, NULL } },
    .order = TERSE_ORDER_BOX,
    .enough = enough,
    .strands = true,
};
