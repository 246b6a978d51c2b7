/* cli/rules.c: see the header. */
#include "rules.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

terse_option_group terse_rules_group(terse_engine_options *o, terse_option rows[TERSE_KV_OPTIONS])
{
    terse_option_group g = terse_args_kv_group(&o->kv);
    assert(g.n_option <= TERSE_KV_OPTIONS);
    memcpy(rows, g.options, (size_t)g.n_option * sizeof *rows);
    g.options = rows;
    for (int32_t i = 0; i < g.n_option; i++) {
        terse_option *row = &rows[i];
        if (row->at == offsetof(terse_args_kv, policy)) {
            row->value = "NAME;..";
        } else if (row->at == offsetof(terse_args_kv, stop)) {
            row->value = "RULE;..";
            row->help =
                "when attention has read enough (terse run --help lists the rules); several, separated by "
                "';', are compared in one run";
        } else if (row->at == offsetof(terse_args_kv, quality)) {
            row->value = "LEVEL,..";
            row->choices = NULL;
            row->preset = NULL;
            row->help = TERSE_QUALITY_HELP;
        }
    }
    return g;
}

/* The words of a list; *text is what they lie in. */
static terse_status split(char **text, const char *words[TERSE_MAX_RULES], int32_t *n, const char *option,
                          const char *list, char separator, terse_error *err)
{
    *n = 0;
    *text = strdup(list);
    if (!*text)
        return terse_fail(err, TERSE_NOMEM, "no memory for a list");
    for (char *p = *text; p;) {
        char *end = strchr(p, separator);
        if (*n == TERSE_MAX_RULES)
            return terse_fail(err, TERSE_BAD_INPUT, "%s: more than %d values", option, TERSE_MAX_RULES);
        if (end)
            *end++ = '\0';
        words[(*n)++] = p;
        p = end;
    }
    return TERSE_OK;
}

static terse_status by_quality(terse_rules *r, const terse_engine_options *o, terse_error *err)
{
    const char *word[TERSE_MAX_RULES];
    int32_t n;
    terse_status st =
        split(&r->text[0], word, &n, "--quality", o->kv.quality ? o->kv.quality : TERSE_QUALITY, ',', err);
    for (int32_t i = 0; i < n && st == TERSE_OK; i++) {
        terse_engine_options one = *o;
        terse_session_opts opts;
        one.kv.quality = word[i];
        st = terse_engine_session(&one, &opts, err);
        r->rule[r->n++] = (terse_eval_rule){ .policy = opts.policy, .stop = opts.stop };
    }
    return st;
}

static terse_status by_name(terse_rules *r, const terse_args_kv *kv, terse_error *err)
{
    const char *policy[TERSE_MAX_RULES], *stop[TERSE_MAX_RULES];
    int32_t n_policy, n_stop;
    terse_status st =
        split(&r->text[0], policy, &n_policy, "--kv-policy", kv->policy ? kv->policy : "dense", ';', err);
    if (st == TERSE_OK)
        st = split(&r->text[1], stop, &n_stop, "--stop", kv->stop ? kv->stop : "none", ';', err);
    if (st == TERSE_OK && n_policy * n_stop > TERSE_MAX_RULES)
        st = terse_fail(err, TERSE_BAD_INPUT, "more than %d pairs of policy and stop rule", TERSE_MAX_RULES);
    for (int32_t i = 0; st == TERSE_OK && i < n_policy * n_stop; i++)
        r->rule[r->n++] = (terse_eval_rule){ .policy = policy[i / n_stop], .stop = stop[i % n_stop] };
    return st;
}

terse_status terse_rules_open(terse_rules *r, const terse_engine_options *o, terse_error *err)
{
    *r = (terse_rules){ 0 };
    if (o->kv.quality && (o->kv.policy || o->kv.stop))
        return terse_fail(err, TERSE_BAD_INPUT, "--quality names a policy and a stop rule; %s is one too many",
                          o->kv.stop ? "--stop" : "--kv-policy");
    const bool named = o->kv.policy || o->kv.stop;
    terse_status st = named ? by_name(r, &o->kv, err) : by_quality(r, o, err);
    for (int32_t i = 0; i < r->n && st == TERSE_OK; i++) {
        terse_attend *a = NULL;
        st = terse_attend_open(&a, r->rule[i].policy, r->rule[i].stop, o->kv.audit, err);
        terse_attend_close(&a);
    }
    return st;
}

void terse_rules_close(terse_rules *r)
{
    free(r->text[0]);
    free(r->text[1]);
    *r = (terse_rules){ 0 };
}
