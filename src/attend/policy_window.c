/* attend/policy_window.c: StreamingLLM (arXiv 2309.17453): the first tokens and the last ones. Keys and queries
 * turn by their positions in the text, or, with rotate=1, by their places among the tokens that are left, as in
 * the paper (attend/turn.c). */
#include "attend/policy.h"

enum { KEEP, BUDGET, SINKS, ROTATE };

static const char *const rotations[] = { "0", "1", NULL };

static int32_t window(const double *param, int32_t n_token)
{
    if (param[BUDGET] == 0.0 && n_token == 0)
        return INT32_MAX;
    const double n = (double)terse_policy_budget(param[BUDGET], param[KEEP], n_token) - param[SINKS];
    return n > 1.0 ? (int32_t)n : 1;
}

static bool admit(const terse_policy_case *c, int32_t pos, float mark)
{
    (void)mark;
    return (double)pos < c->param[SINKS];
}

static bool turns(const double *param)
{
    return param[ROTATE] != 0.0;
}

static const char *wrong(const double *param)
{
    return turns(param) && param[SINKS] > TERSE_PAGE ? "rotate=1 takes at most 32 sinks" : NULL;
}

const terse_policy terse_policy_window = {
    .name = "window",
    .help = "keep the first and the last tokens (StreamingLLM)",
    .param = { [KEEP] = { "keep", 0.2, 0, 1, NULL },
               [BUDGET] = { "budget", 0, 0, 1 << 24, NULL },
               [SINKS] = { "sinks", 4, 0, 1 << 20, NULL },
               [ROTATE] = { "rotate", 0, 0, 1, rotations } },
    .drops = true,
    .window = window,
    .admit = admit,
    .turns = turns,
    .wrong = wrong,
};
