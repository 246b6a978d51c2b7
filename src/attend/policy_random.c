/* attend/policy_random.c: the floor of every policy that drops tokens: the last tokens, the first ones, and
 * older ones drawn with the share that makes the budget, others in every (layer, head). */
#include "attend/policy.h"

enum { KEEP, WINDOW, SINKS, SEED };

static int32_t window(const double *param, int32_t n_token)
{
    (void)n_token;
    return (int32_t)param[WINDOW];
}

/* Uniform in [0, 1): splitmix64 of seed, layer, head and position. */
static double draw(const terse_policy_case *c, int32_t pos)
{
    uint64_t z = (uint64_t)c->param[SEED] * 0xd1342543de82ef95u + ((uint64_t)c->layer << 40) +
                 ((uint64_t)c->head << 28) + (uint64_t)pos + 1;
    z *= 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static bool admit(const terse_policy_case *c, int32_t pos, float mark)
{
    (void)mark;
    return (double)pos < c->param[SINKS] || draw(c, pos) < c->param[KEEP];
}

const terse_policy terse_policy_random = {
    .name = "random",
    .help = "keep the last tokens and a random share of the older ones: the floor, for comparisons",
    .param = { [KEEP] = { "keep", 0.2, 0, 1, NULL },
               [WINDOW] = { "window", 128, 1, 1 << 24, NULL },
               [SINKS] = { "sinks", 4, 0, 1 << 20, NULL },
               [SEED] = { "seed", 0, 0, 1 << 30, NULL } },
    .drops = true,
    .window = window,
    .admit = admit,
};
