/* attend/parse.c: the registry of stop rules, and policies and rules from text. */
#include "attend/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const terse_stop *const rules[] = { &terse_stop_none,       &terse_stop_mass,
                                           &terse_stop_budget,     &terse_stop_weight,
                                           &terse_stop_stability,  &terse_stop_certified,
                                           &terse_stop_key_share,  &terse_stop_value_skip,
                                           &terse_stop_value_share };
enum { N_RULES = sizeof rules / sizeof *rules };

const char *const terse_norms[] = { "rms", "sum", NULL };

bool terse_attend_stop_at(int32_t i, const char **name, const char **help)
{
    if (i < 0 || i >= N_RULES)
        return false;
    *name = rules[i]->name;
    *help = rules[i]->help;
    return true;
}

/* Appends to text as printf, cut to its size. */
#define APPEND(text, ...) snprintf((text) + strlen(text), sizeof(text) - strlen(text), __VA_ARGS__)

static const terse_stop *rule_of(const char *name, size_t n)
{
    for (int i = 0; i < N_RULES; i++)
        if (strlen(rules[i]->name) == n && !memcmp(rules[i]->name, name, n))
            return rules[i];
    return NULL;
}

/* A number in range or one of the words. */
static bool value_of(const terse_stop_param *p, const char *text, double *x)
{
    for (int i = 0; p->names && p->names[i]; i++)
        if (!strcmp(p->names[i], text)) {
            *x = i;
            return true;
        }
    char *end;
    *x = strtod(text, &end);
    return !p->names && end != text && !*end && *x >= p->low && *x <= p->high;
}

static terse_status bad_value(const char *name, const terse_stop_param *p, const char *got, terse_error *err)
{
    if (!p->names)
        return terse_fail(err, TERSE_BAD_INPUT, "%s: %s must be a number from %g to %g, not '%s'", name,
                          p->name, p->low, p->high, got);
    char known[96] = "";
    for (int i = 0; p->names[i]; i++)
        APPEND(known, "%s%s", i ? ", " : "", p->names[i]);
    return terse_fail(err, TERSE_BAD_INPUT, "%s: %s must be one of %s, not '%s'", name, p->name, known, got);
}

/* "key=value" of n bytes into param. */
static terse_status parse_param(const char *name, const terse_stop_param *param, double *value, const char *p,
                                size_t n, terse_error *err)
{
    const char *eq = memchr(p, '=', n);
    for (int i = 0; eq && i < TERSE_STOP_PARAMS && param[i].name; i++) {
        const terse_stop_param *d = &param[i];
        if (strlen(d->name) != (size_t)(eq - p) || memcmp(d->name, p, (size_t)(eq - p)))
            continue;
        char text[64] = "";
        const size_t len = n - (size_t)(eq - p) - 1;
        memcpy(text, eq + 1, len < sizeof text ? len : sizeof text - 1);
        return value_of(d, text, &value[i]) ? TERSE_OK : bad_value(name, d, text, err);
    }
    char known[96] = "";
    for (int i = 0; i < TERSE_STOP_PARAMS && param[i].name; i++)
        APPEND(known, " %s", param[i].name);
    return terse_fail(err, TERSE_BAD_INPUT, "%s does not know '%.*s'; it takes%s", name, (int)(n < 64 ? n : 64),
                      p, *known ? known : " no parameters");
}

terse_status terse_params_parse(const char *name, const terse_stop_param *param, double *value, const char *p,
                                const char *end, terse_error *err)
{
    for (int i = 0; i < TERSE_STOP_PARAMS && param[i].name; i++)
        value[i] = param[i].value;
    while (p < end) {
        p++; /* the colon or comma */
        size_t n = strcspn(p, ",");
        n = n < (size_t)(end - p) ? n : (size_t)(end - p);
        const terse_status st = parse_param(name, param, value, p, n, err);
        if (st != TERSE_OK)
            return st;
        p += n;
    }
    return TERSE_OK;
}

void terse_params_text(char *text, size_t size, const terse_stop_param *param, const double *value, bool all)
{
    char sign = ':';
    for (int i = 0; i < TERSE_STOP_PARAMS && param[i].name; i++) {
        const terse_stop_param *p = &param[i];
        if (!all && value[i] == p->value)
            continue;
        const size_t n = strlen(text);
        if (p->names)
            snprintf(text + n, size - n, "%c%s=%s", sign, p->name, p->names[(int)value[i]]);
        else
            snprintf(text + n, size - n, "%c%s=%g", sign, p->name, value[i]);
        sign = ',';
    }
}

static terse_status unknown_rule(const char *text, size_t n, terse_error *err)
{
    char known[128] = "";
    for (int i = 0; i < N_RULES; i++)
        APPEND(known, "%s%s", i ? ", " : "", rules[i]->name);
    return terse_fail(err, TERSE_BAD_INPUT, "stop rule '%.*s' is unknown; known are %s", (int)(n < 64 ? n : 64),
                      text, known);
}

/* One rule of n bytes, into the place that it is for. */
static terse_status parse_rule(terse_attend *a, const char *text, size_t n, terse_error *err)
{
    size_t len = strcspn(text, ":");
    len = len < n ? len : n;
    const terse_stop *stop = rule_of(text, len);
    if (!stop)
        return unknown_rule(text, len, err);
    terse_rule *to = stop->values ? &a->value : stop->keys ? &a->key : &a->page;
    if (to->stop)
        return terse_fail(
            err, TERSE_BAD_INPUT,
            "stop rules %s and %s do not go together: join one that ends the walk, one that leaves "
            "out channels of keys and one that leaves out values",
            to->stop->name, stop->name);
    to->stop = stop;
    return terse_params_parse(stop->name, stop->param, to->param, text + len, text + n, err);
}

static void describe(terse_attend *a, const terse_rule *r)
{
    APPEND(a->text, "%s%s", *a->text ? "+" : "", r->stop->name);
    terse_params_text(a->text, sizeof a->text, r->stop->param, r->param, true);
}

void terse_attend_describe(terse_attend *a)
{
    snprintf(a->policy_text, sizeof a->policy_text, "%s", a->policy.policy->name);
    terse_params_text(a->policy_text, sizeof a->policy_text, a->policy.policy->param, a->policy.param, false);
    if (*a->policy.profile)
        APPEND(a->policy_text, "%cprofile=%s", strchr(a->policy_text, ':') ? ',' : ':', a->policy.profile);
}

static terse_status choose_order(terse_attend *a, const char *policy, terse_error *err)
{
    const terse_stop *rule = a->page.stop;
    const terse_status st = terse_policy_parse(&a->policy, policy, err);
    if (st != TERSE_OK)
        return st;
    const terse_order order = terse_policy_order(&a->policy);
    a->select = a->policy.policy->select;
    a->order = order != TERSE_ORDER_AUTO         ? order
               : rule->order != TERSE_ORDER_AUTO ? rule->order
                                                 : TERSE_ORDER_NEWEST;
    const bool mass = rule->order == TERSE_ORDER_MASS && a->order == TERSE_ORDER_ORACLE;
    if (rule->steered && a->order != rule->order && !mass)
        return terse_fail(err, TERSE_BAD_INPUT, "stop rule %s needs the order %s, not %s", rule->name,
                          terse_orders[rule->order], terse_orders[a->order]);
    terse_attend_describe(a);
    return TERSE_OK;
}

static uint32_t order_needs(terse_order order)
{
    return order == TERSE_ORDER_MASS     ? TERSE_KV_MOMENTS | TERSE_KV_CENTER
           : order == TERSE_ORDER_ORACLE ? TERSE_KV_CENTER
           : order == TERSE_ORDER_BOX    ? TERSE_KV_BOX
                                         : 0;
}

/* Where the rule at p ends: at a plus that is not the sign of an exponent, as in 1e+09. */
static const char *end_of_rule(const char *p)
{
    while (*p && !(*p == '+' && !(p[1] >= '0' && p[1] <= '9')))
        p++;
    return p;
}

terse_status terse_attend_parse(terse_attend *a, const char *policy, const char *stop, terse_error *err)
{
    for (const char *p = stop, *end; p; p = *end ? end + 1 : NULL) {
        end = end_of_rule(p);
        const terse_status st = parse_rule(a, p, (size_t)(end - p), err);
        if (st != TERSE_OK)
            return st;
    }
    if (!a->page.stop)
        a->page.stop = &terse_stop_none;
    if (a->value.stop && a->page.stop->output)
        return terse_fail(err, TERSE_BAD_INPUT, "stop rule %s looks at the output: %s cannot follow it",
                          a->page.stop->name, a->value.stop->name);
    if (a->key.stop && a->page.stop->order != TERSE_ORDER_MASS)
        return terse_fail(err, TERSE_BAD_INPUT,
                          "stop rule %s goes by estimated shares: join it to mass, not to %s",
                          a->key.stop->name, a->page.stop->name);
    if (a->key.stop && a->value.stop && a->value.stop->bounded)
        return terse_fail(err, TERSE_BAD_INPUT, "stop rule %s proves nothing about scores that %s estimates",
                          a->value.stop->name, a->key.stop->name);
    const terse_status st = choose_order(a, policy, err);
    if (st != TERSE_OK)
        return st;
    if (a->key.stop && (a->order != TERSE_ORDER_MASS || terse_attend_turns(a)))
        return terse_fail(err, TERSE_BAD_INPUT,
                          "stop rule %s goes by summaries of the pages as they are: not with KV policy %s",
                          a->key.stop->name, a->policy_text);
    a->needs = a->page.stop->needs | (a->value.stop ? a->value.stop->needs : 0) | order_needs(a->order) |
               order_needs(a->select);
    a->from = a->page.stop->from ? a->page.stop->from(a->page.param) : 0;
    if (a->page.stop != &terse_stop_none || !a->value.stop)
        describe(a, &a->page);
    if (a->key.stop)
        describe(a, &a->key);
    if (a->value.stop)
        describe(a, &a->value);
    return TERSE_OK;
}
