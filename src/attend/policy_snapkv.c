/* attend/policy_snapkv.c: SnapKV (arXiv 2404.14469) and PyramidKV (arXiv 2406.02069): the tokens that the last
 * queries of the prompt look at, by their mean weights, averaged over neighbours. PyramidKV gives lower layers
 * more of the same sum. While decoding, tokens come on top; when there are 64 more than the budget, the last
 * queries decide again. */
#include "attend/policy.h"

enum { KEEP, BUDGET, WINDOW, KERNEL, BETA };

static int32_t window(const double *param, int32_t n_token)
{
    (void)n_token;
    return (int32_t)param[WINDOW];
}

static int32_t half(const double *param)
{
    return (int32_t)param[KERNEL] / 2;
}

static int32_t older(const terse_policy_case *c)
{
    return terse_policy_budget(c->param[BUDGET], c->param[KEEP], c->n_token) - c->window;
}

/* From 2 B - B / beta in the first layer, at most all there are, down to what makes the mean B. */
static int32_t pyramid(const terse_policy_case *c)
{
    const double b = (double)older(c), all = (double)(c->n_token - c->window);
    double most = 2.0 * b - b / c->param[BETA];
    if (b < 1.0 || c->n_layer < 2)
        return (int32_t)b;
    most = most > all && all > b ? all : most;
    return (int32_t)(most - (2.0 * most - 2.0 * b) * c->layer / (c->n_layer - 1) + 0.5);
}

#define PARAM                                                                                                  \
    [KEEP] = { "keep", 0.2, 0, 1, NULL }, [BUDGET] = { "budget", 0, 0, 1 << 24, NULL },                        \
    [WINDOW] = { "window", 64, 1, 64, NULL }, [KERNEL] = { "kernel", 5, 1, 63, NULL }

const terse_policy terse_policy_snapkv = {
    .name = "snapkv",
    .help = "keep the tokens that the last queries of the prompt look at (SnapKV)",
    .param = { PARAM },
    .drops = true,
    .marks = TERSE_MARK_WINDOW,
    .window = window,
    .half = half,
    .older = older,
};

const terse_policy terse_policy_pyramidkv = {
    .name = "pyramidkv",
    .help = "as snapkv, with more tokens in lower layers (PyramidKV)",
    .param = { PARAM, [BETA] = { "beta", 20, 1, 1000, NULL } },
    .drops = true,
    .marks = TERSE_MARK_WINDOW,
    .window = window,
    .half = half,
    .older = pyramid,
};
