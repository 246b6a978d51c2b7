/* attend/policy_spkv.c: SP-KV (arXiv 2605.14037). The model predicts for every token and KV head how useful the
 * token will be (model/gate.c); one that leaves the window stays if that is at least the threshold, or if it is
 * one of the first tokens. */
#include "attend/policy.h"

enum { THRESHOLD, WINDOW, SINKS };

static int32_t window(const double *param, int32_t n_token)
{
    (void)n_token;
    return (int32_t)param[WINDOW];
}

static bool admit(const terse_policy_case *c, int32_t pos, float mark)
{
    return (double)pos < c->param[SINKS] || (double)mark >= c->param[THRESHOLD];
}

/* What is not given is what the model was trained for. */
void terse_attend_gate(terse_attend *a, double threshold, int32_t width, int32_t sinks)
{
    double *param = a->policy.param;
    const double own[] = { [THRESHOLD] = threshold, [WINDOW] = width, [SINKS] = sinks };
    for (int i = 0; a->policy.policy == &terse_policy_spkv && i <= SINKS; i++)
        if (param[i] == terse_policy_spkv.param[i].value)
            param[i] = own[i];
    terse_attend_describe(a);
}

const terse_policy terse_policy_spkv = {
    .name = "spkv",
    .help = "keep the last tokens, and older ones whose utility the model predicts to be at least threshold",
    .param = { [THRESHOLD] = { "threshold", TERSE_OF_MODEL, -1e6, 1e6, NULL },
               [WINDOW] = { "window", TERSE_OF_MODEL, 1, 1 << 24, NULL },
               [SINKS] = { "sinks", TERSE_OF_MODEL, 0, 1 << 24, NULL } },
    .drops = true,
    .gated = true,
    .window = window,
    .admit = admit,
};
