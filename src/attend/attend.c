/* attend/attend.c: the registry of stop rules, their parameters from text, and the counters. */
#include "attend/stop.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const terse_stop *const rules[] = { &terse_stop_none, &terse_stop_stability, &terse_stop_value_skip };
enum { N_RULES = sizeof rules / sizeof *rules };

bool terse_attend_stop_at(int32_t i, const char **name, const char **help)
{
    if (i < 0 || i >= N_RULES)
        return false;
    *name = rules[i]->name;
    *help = rules[i]->help;
    return true;
}

static const terse_stop *rule_of(const char *name, size_t n)
{
    for (int i = 0; i < N_RULES; i++)
        if (strlen(rules[i]->name) == n && !memcmp(rules[i]->name, name, n))
            return rules[i];
    return NULL;
}

/* "key=value" of n bytes into param. */
static terse_status parse_param(terse_attend *a, const char *p, size_t n, terse_error *err)
{
    const terse_stop *stop = a->stop;
    const char *eq = memchr(p, '=', n);
    for (int i = 0; eq && i < TERSE_STOP_PARAMS && stop->param[i].name; i++) {
        const terse_stop_param *d = &stop->param[i];
        if (strlen(d->name) != (size_t)(eq - p) || memcmp(d->name, p, (size_t)(eq - p)))
            continue;
        char number[64] = { 0 }, *end;
        const size_t len = n - (size_t)(eq - p) - 1;
        memcpy(number, eq + 1, len < sizeof number ? len : sizeof number - 1);
        const double x = strtod(number, &end);
        if (end == number || *end || !(x >= d->low && x <= d->high))
            return terse_fail(err, TERSE_BAD_INPUT, "stop rule %s: %s must be a number from %g to %g, not '%s'",
                              stop->name, d->name, d->low, d->high, number);
        a->param[i] = x;
        return TERSE_OK;
    }
    char known[96] = "";
    for (int i = 0; i < TERSE_STOP_PARAMS && stop->param[i].name; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), " %s=%g", stop->param[i].name,
                 stop->param[i].value);
    return terse_fail(err, TERSE_BAD_INPUT, "stop rule %s does not know '%.*s'; it takes%s", stop->name,
                      (int)(n < 64 ? n : 64), p, *known ? known : " no parameters");
}

static terse_status parse(terse_attend *a, const char *text, terse_error *err)
{
    const size_t n = strcspn(text, ":");
    a->stop = rule_of(text, n);
    if (!a->stop) {
        char known[96] = "";
        for (int i = 0; i < N_RULES; i++)
            snprintf(known + strlen(known), sizeof known - strlen(known), " %s", rules[i]->name);
        return terse_fail(err, TERSE_BAD_INPUT, "stop rule '%.*s' is unknown; known are%s",
                          (int)(n < 64 ? n : 64), text, known);
    }
    for (int i = 0; i < TERSE_STOP_PARAMS && a->stop->param[i].name; i++)
        a->param[i] = a->stop->param[i].value;
    for (const char *p = text + n; *p;) {
        const size_t len = strcspn(++p, ",");
        const terse_status st = parse_param(a, p, len, err);
        if (st != TERSE_OK)
            return st;
        p += len;
    }
    size_t used = (size_t)snprintf(a->text, sizeof a->text, "%s", a->stop->name);
    for (int i = 0; i < TERSE_STOP_PARAMS && a->stop->param[i].name; i++)
        used += (size_t)snprintf(a->text + used, sizeof a->text - used, "%c%s=%g", i ? ',' : ':',
                                 a->stop->param[i].name, a->param[i]);
    return TERSE_OK;
}

terse_status terse_attend_open(terse_attend **out, const char *policy, const char *stop, int32_t audit,
                               terse_error *err)
{
    *out = NULL;
    if (policy && strcmp(policy, "dense"))
        return terse_fail(err, TERSE_BAD_INPUT, "KV policy '%s' is unknown; known are dense", policy);
    if (audit < 0)
        return terse_fail(err, TERSE_BAD_INPUT, "audit interval must not be negative, got %d", audit);
    terse_attend *a = calloc(1, sizeof *a);
    if (!a)
        return terse_fail(err, TERSE_NOMEM, "no memory for the stop rule");
    a->audit = audit;
    const terse_status st = parse(a, stop ? stop : "none", err);
    if (st != TERSE_OK)
        terse_attend_close(&a);
    *out = a;
    return st;
}

void terse_attend_close(terse_attend **a)
{
    if (a && *a) {
        free(*a);
        *a = NULL;
    }
}

const char *terse_attend_stop_text(const terse_attend *a)
{
    return a->text;
}
bool terse_attend_bounded(const terse_attend *a)
{
    return a->stop->bounded;
}

void terse_attend_stats_add(terse_attend_stats *a, const terse_attend_stats *b)
{
    a->walks += b->walks;
    a->pages_listed += b->pages_listed;
    a->pages_scored += b->pages_scored;
    a->pages_read += b->pages_read;
    a->bytes_k += b->bytes_k;
    a->bytes_v += b->bytes_v;
    a->bytes_summary += b->bytes_summary;
    a->bytes_dense += b->bytes_dense;
    a->stops += b->stops;
    a->bound_max = fmaxf(a->bound_max, b->bound_max);
    a->audits += b->audits;
    a->audit_violations += b->audit_violations;
    a->audit_error_max = fmaxf(a->audit_error_max, b->audit_error_max);
    a->audit_error_sum += b->audit_error_sum;
}

float terse_inner(const float *x, const float *y, int32_t n)
{
    float lane[8] = { 0.0f };
    for (int32_t d = 0; d < n; d += 8) /* head sizes are multiples of 16 */
        for (int32_t i = 0; i < 8; i++)
            lane[i] += x[d + i] * y[d + i];
    return terse_fold8(lane);
}

float terse_square(const float *x, int32_t n)
{
    return terse_inner(x, x, n);
}
