/* attend/policy.c: the registry of policies, and what a policy that drops tokens does with a store. */
#include "attend/policy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const terse_policy *const policies[] = { &terse_policy_dense,  &terse_policy_spkv,
                                                &terse_policy_window, &terse_policy_quest,
                                                &terse_policy_random, &terse_policy_oracle,
                                                &terse_policy_h2o,    &terse_policy_tova,
                                                &terse_policy_snapkv, &terse_policy_pyramidkv };
enum { N_POLICIES = sizeof policies / sizeof *policies };

bool terse_attend_policy_at(int32_t i, const char **name, const char **help)
{
    if (i < 0 || i >= N_POLICIES)
        return false;
    *name = policies[i]->name;
    *help = policies[i]->help;
    return true;
}

terse_status terse_policy_parse(terse_policy_rule *r, const char *text, terse_error *err)
{
    const size_t n = strcspn(text, ":");
    char known[160] = "";
    for (int i = 0; i < N_POLICIES; i++) {
        const terse_policy *p = policies[i];
        const size_t len = strlen(known);
        if (strlen(p->name) == n && !memcmp(p->name, text, n)) {
            r->policy = p;
            const terse_status st =
                terse_params_parse(p->name, p->param, r->param, text + n, text + strlen(text), err);
            const char *wrong = st == TERSE_OK && p->wrong ? p->wrong(r->param) : NULL;
            return wrong ? terse_fail(err, TERSE_BAD_INPUT, "KV policy %s: %s", p->name, wrong) : st;
        }
        snprintf(known + len, sizeof known - len, "%s%s", i ? ", " : "", p->name);
    }
    return terse_fail(err, TERSE_BAD_INPUT, "KV policy '%.*s' is unknown; known are %s", (int)(n < 64 ? n : 64),
                      text, known);
}

terse_order terse_policy_order(const terse_policy_rule *r)
{
    return r->policy == &terse_policy_dense ? (terse_order)r->param[0] : TERSE_ORDER_AUTO;
}

int32_t terse_policy_budget(double tokens, double share, int32_t n_token)
{
    const double n = tokens > 0.0 ? tokens : ceil(share * (double)n_token);
    return n < 1.0 ? 1 : (int32_t)fmin(n, (double)INT32_MAX);
}

terse_status terse_attend_budget(terse_attend *a, int32_t tokens, double share, terse_error *err)
{
    const terse_stop_param *p = a->policy.policy->param;
    if (!p[1].name || strcmp(p[0].name, "keep") != 0 || strcmp(p[1].name, "budget") != 0)
        return terse_fail(err, TERSE_BAD_INPUT, "KV policy %s has no budget of tokens", a->policy.policy->name);
    if (tokens < 0 || (tokens == 0 && !(share > 0.0 && share <= 1.0)))
        return terse_fail(err, TERSE_BAD_INPUT, "a budget of %d tokens or %g of them", tokens, share);
    a->policy.param[0] = tokens ? a->policy.param[0] : share;
    a->policy.param[1] = tokens;
    terse_attend_describe(a);
    return TERSE_OK;
}

bool terse_attend_drops(const terse_attend *a)
{
    return a->policy.policy->drops;
}

bool terse_attend_marks(const terse_attend *a)
{
    return a->policy.policy->marks != TERSE_MARK_NONE;
}

bool terse_attend_gated(const terse_attend *a)
{
    return a->policy.policy->gated;
}

bool terse_attend_turns(const terse_attend *a)
{
    const terse_policy *p = a->policy.policy;
    return p->turns && p->turns(a->policy.param);
}

static terse_policy_case case_of(const terse_attend *a, const terse_kv *kv, int32_t layer, int32_t head,
                                 int32_t n_token)
{
    return (terse_policy_case){ a->policy.param, layer, head, kv->opts.n_layer, n_token, kv->window };
}

static bool stays(const terse_attend *a, const terse_kv *kv, int32_t layer, int32_t head, int32_t pos,
                  int32_t n_token)
{
    const terse_policy_case c = case_of(a, kv, layer, head, n_token);
    const terse_policy *p = a->policy.policy;
    return !p->admit ||
           p->admit(&c, pos, kv->mark ? *terse_kv_mark(kv, terse_kv_unit(kv, layer, head), pos) : 0);
}

void terse_policy_put(const terse_attend *a, terse_kv *kv, int32_t layer, int32_t head, int32_t pos,
                      const float *k, const float *v, float utility)
{
    const int32_t j = terse_kv_leaver(kv, pos);
    const size_t u = terse_kv_unit(kv, layer, head);
    terse_kv_put(kv, layer, head, pos, k, v);
    if (kv->mark)
        *terse_kv_mark(kv, u, pos) = terse_attend_marks(a) ? 0.0f : utility;
    if (j >= 0 && stays(a, kv, layer, head, j, pos + 1))
        terse_kv_admit(kv, u, j);
}

terse_status terse_policy_open(const terse_attend *a, terse_kv *kv, terse_error *err)
{
    const terse_policy *p = a->policy.policy;
    return p->drops ? terse_kv_ragged(kv, p->window(a->policy.param, 0), err) : TERSE_OK;
}

int32_t terse_policy_cap(const terse_attend *a, const terse_kv *kv)
{
    const terse_policy *p = a->policy.policy;
    const int32_t n_ring = p->drops ? terse_kv_ring_for(kv, p->window(a->policy.param, 0)) : 0;
    const int32_t cap = n_ring + terse_kv_pages_of(kv->opts.ctx);
    return cap > kv->cap ? cap : kv->cap;
}

terse_status terse_policy_settle(const terse_attend *a, terse_kv *kv, terse_error *err)
{
    const terse_policy *p = a->policy.policy;
    return p->drops ? terse_kv_ragged(kv, p->window(a->policy.param, kv->n_token), err) : TERSE_OK;
}

typedef struct {
    const terse_attend *a;
    const terse_kv *kv;
    int32_t layer, head;
} sieve;

/* Tokens of a window that has grown may be among the older ones. */
static bool keeps(void *ctx, int32_t slot, int32_t pos)
{
    const sieve *s = ctx;
    (void)slot;
    return pos >= s->kv->n_token - s->kv->window || stays(s->a, s->kv, s->layer, s->head, pos, s->kv->n_token);
}

void terse_policy_revise(const terse_attend *a, terse_kv *kv, int32_t layer, int32_t head)
{
    sieve s = { a, kv, layer, head };
    if (a->policy.policy->admit)
        terse_kv_filter(kv, terse_kv_unit(kv, layer, head), keeps, &s);
}
