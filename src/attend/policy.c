/* attend/policy.c: the registry of policies, and what a policy that drops tokens does with a store. */
#include "attend/policy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const terse_policy *const policies[] = {
    &terse_policy_dense,  &terse_policy_spkv,      &terse_policy_window, &terse_policy_quest,
    &terse_policy_random, &terse_policy_oracle,    &terse_policy_h2o,    &terse_policy_tova,
    &terse_policy_snapkv, &terse_policy_pyramidkv, &terse_policy_duo
};
enum { N_POLICIES = sizeof policies / sizeof *policies };

bool terse_attend_policy_at(int32_t i, const char **name, const char **help)
{
    if (i < 0 || i >= N_POLICIES)
        return false;
    *name = policies[i]->name;
    *help = policies[i]->help;
    return true;
}

/* Takes profile=FILE out of the text of a policy of heads, in which no other parameter is text. FILE ends at a
 * comma. rest: as large as text. */
static terse_status take_profile(terse_policy_rule *r, const char *text, char *rest, terse_error *err)
{
    static const char key[] = "profile=";
    const char *p = text;
    *r->profile = '\0';
    strcpy(rest, text);
    while (r->policy->heads && (p = strstr(p, key)) && p[-1] != ':' && p[-1] != ',')
        p++;
    if (!r->policy->heads || !p)
        return TERSE_OK;
    const char *file = p + strlen(key);
    const size_t n = strcspn(file, ",");
    if (n == 0 || n >= sizeof r->profile)
        return terse_fail(err, TERSE_BAD_INPUT, "KV policy %s: the name of the profile has 1 to %zu bytes",
                          r->policy->name, sizeof r->profile - 1);
    memcpy(r->profile, file, n);
    r->profile[n] = '\0';
    strcpy(rest + (p - text) - (file[n] ? 0 : 1), file[n] ? file + n + 1 : "");
    return TERSE_OK;
}

static terse_status parse_params(terse_policy_rule *r, const char *text, terse_error *err)
{
    const terse_policy *p = r->policy;
    char *rest = malloc(strlen(text) + 1);
    if (!rest)
        return terse_fail(err, TERSE_NOMEM, "no memory for a KV policy");
    terse_status st = take_profile(r, text, rest, err);
    if (st == TERSE_OK)
        st = terse_params_parse(p->name, p->param, r->param, rest, rest + strlen(rest), err);
    free(rest);
    const char *wrong = st == TERSE_OK && p->wrong ? p->wrong(r->param) : NULL;
    return wrong ? terse_fail(err, TERSE_BAD_INPUT, "KV policy %s: %s", p->name, wrong) : st;
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
            return parse_params(r, text + n, err);
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

const char *terse_attend_heads_file(const terse_attend *a)
{
    return a->policy.policy->heads ? a->policy.profile : NULL;
}

bool terse_attend_turns(const terse_attend *a)
{
    const terse_policy *p = a->policy.policy;
    return p->turns && p->turns(a->policy.param);
}

terse_policy_case terse_policy_case_of(const terse_attend *a, const terse_kv *kv, int32_t layer, int32_t head,
                                       int32_t n_token)
{
    return (terse_policy_case){ .param = a->policy.param,
                                .layer = layer,
                                .head = head,
                                .n_layer = kv->opts.n_layer,
                                .n_token = n_token,
                                .window = kv->window,
                                .whole = a->whole && a->whole[layer * a->whole_head + head] };
}

static bool stays(const terse_attend *a, const terse_kv *kv, int32_t layer, int32_t head, int32_t pos,
                  int32_t n_token)
{
    const terse_policy_case c = terse_policy_case_of(a, kv, layer, head, n_token);
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
    if (p->heads && !a->whole)
        return terse_fail(err, TERSE_BAD_INPUT, "KV policy %s must be told of the heads (terse_attend_heads)",
                          p->name);
    if (p->heads && (a->whole_layer != kv->opts.n_layer || a->whole_head != kv->opts.n_head))
        return terse_fail(err, TERSE_BAD_INPUT, "KV policy %s: %d layers of %d heads, the store has %d of %d",
                          p->name, a->whole_layer, a->whole_head, kv->opts.n_layer, kv->opts.n_head);
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
