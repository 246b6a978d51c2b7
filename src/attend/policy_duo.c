/* attend/policy_duo.c: DuoAttention (arXiv 2410.10819): some heads look things up and keep everything, the
 * others keep the first tokens and the last ones. Which is which comes from a profile: how much the output of
 * each head changed when it saw no more than that (attend/streaming.c). */
#include "attend/policy.h"

#include <math.h>
#include <stdlib.h>

enum { SHARE, WINDOW, SINKS };

static int32_t window(const double *param, int32_t n_token)
{
    (void)n_token;
    return (int32_t)param[WINDOW];
}

static bool admit(const terse_policy_case *c, int32_t pos, float mark)
{
    (void)mark;
    return c->whole || (double)pos < c->param[SINKS];
}

/* How many heads come before head u: those with a larger change, and those before it with the same. */
static int32_t rank_of(const float *change, int32_t n, int32_t u)
{
    const float own = isnan(change[u]) ? INFINITY : change[u]; /* not measured: better kept */
    int32_t rank = 0;
    for (int32_t i = 0; i < n; i++) {
        const float x = isnan(change[i]) ? INFINITY : change[i];
        rank += x > own || (x == own && i < u);
    }
    return rank;
}

terse_status terse_attend_heads(terse_attend *a, const float *change, int32_t n_layer, int32_t n_head,
                                terse_error *err)
{
    if (!a->policy.policy->heads)
        return terse_fail(err, TERSE_BAD_INPUT, "KV policy %s treats all heads alike", a->policy.policy->name);
    if (n_layer < 1 || n_head < 1 || n_layer > (1 << 24) / n_head)
        return terse_fail(err, TERSE_BAD_INPUT, "%d layers of %d heads", n_layer, n_head);
    const int32_t n = n_layer * n_head, n_whole = (int32_t)lround(a->policy.param[SHARE] * n);
    bool *whole = calloc((size_t)n, sizeof *whole);
    if (!whole)
        return terse_fail(err, TERSE_NOMEM, "no memory for the kinds of heads");
    for (int32_t u = 0; u < n; u++)
        whole[u] = rank_of(change, n, u) < n_whole;
    free(a->whole);
    a->whole = whole;
    a->whole_layer = n_layer;
    a->whole_head = n_head;
    return TERSE_OK;
}

const terse_policy terse_policy_duo = {
    .name = "duo",
    .help = "some heads keep everything, the others the first and the last tokens (DuoAttention)",
    .param = { [SHARE] = { "share", 0.5, 0, 1, NULL },
               [WINDOW] = { "window", TERSE_DUO_WINDOW, 1, 1 << 24, NULL },
               [SINKS] = { "sinks", TERSE_DUO_SINKS, 0, 1 << 20, NULL } },
    .drops = true,
    .heads = true,
    .window = window,
    .admit = admit,
};
