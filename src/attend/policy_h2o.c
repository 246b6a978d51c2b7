/* attend/policy_h2o.c: H2O (arXiv 2306.14048): the last tokens, and of the older ones those that received the
 * most attention since they came, summed over all queries, mean over a KV head's query heads. */
#include "attend/policy.h"

enum { KEEP, BUDGET, RECENT };

static int32_t recent(const double *param, int32_t n_token)
{
    const double n = (double)terse_policy_budget(param[BUDGET], param[KEEP], n_token) * param[RECENT];
    return n > 1.0 ? (int32_t)n : 1;
}

static int32_t window(const double *param, int32_t n_token)
{
    return param[BUDGET] == 0.0 && n_token == 0 ? INT32_MAX : recent(param, n_token);
}

static int32_t older(const terse_policy_case *c)
{
    return terse_policy_budget(c->param[BUDGET], c->param[KEEP], c->n_token) - c->window;
}

const terse_policy terse_policy_h2o = {
    .name = "h2o",
    .help = "keep the last tokens and those that received the most attention (H2O)",
    .param = { [KEEP] = { "keep", 0.2, 0, 1, NULL },
               [BUDGET] = { "budget", 0, 0, 1 << 24, NULL },
               [RECENT] = { "recent", 0.5, 0, 1, NULL } },
    .drops = true,
    .marks = TERSE_MARK_SUM,
    .window = window,
    .older = older,
};
