/* attend/policy_tova.c: TOVA (arXiv 2401.06104): the tokens to which the last query gives the most weight, mean
 * over all heads of the layer; the last few are not asked. */
#include "attend/policy.h"

enum { KEEP, BUDGET, WINDOW };

static int32_t window(const double *param, int32_t n_token)
{
    (void)n_token;
    return (int32_t)param[WINDOW];
}

static int32_t older(const terse_policy_case *c)
{
    return terse_policy_budget(c->param[BUDGET], c->param[KEEP], c->n_token) - c->window;
}

const terse_policy terse_policy_tova = {
    .name = "tova",
    .help =
        "keep the tokens to which the last query gives the most weight, alike in all heads of a layer (TOVA)",
    .param = { [KEEP] = { "keep", 0.2, 0, 1, NULL },
               [BUDGET] = { "budget", 0, 0, 1 << 24, NULL },
               [WINDOW] = { "window", 32, 1, 1 << 24, NULL } },
    .drops = true,
    .marks = TERSE_MARK_LAST,
    .window = window,
    .older = older,
};
