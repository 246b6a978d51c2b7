/* engine/session_policy.c: see session_parts.h. */
#include "engine/session_parts.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

terse_status terse_attend_shape(terse_attend *a, const terse_model *m, int32_t ctx, terse_error *err)
{
    const bool turns = terse_attend_turns(a);
    if (!(m->attn_cap > 0.0f) && !m->arch->sinks && !turns)
        return TERSE_OK;
    if (turns && m->arch->latent)
        return terse_fail(err, TERSE_UNSUPPORTED,
                          "KV policy %s: keys of latent attention cannot be moved; without rotate=1 they stay",
                          terse_attend_policy_text(a));
    terse_attend_layer *layer = terse_calloc64((size_t)m->info.n_layer, sizeof *layer);
    if (!layer)
        return terse_fail(err, TERSE_NOMEM, "no memory for a session");
    for (int32_t l = 0; l < m->info.n_layer; l++) {
        const terse_rope *r = terse_rope_of(m, m->layer[l].rope, ctx);
        layer[l] = (terse_attend_layer){ .softcap = m->attn_cap, .sinks = m->layer[l].sinks };
        if (r) {
            layer[l].freq = r->freq;
            layer[l].n_turn = r->n;
            layer[l].halves = r->halves;
        }
    }
    const terse_status st = terse_attend_layers(a, layer, m->info.n_layer, err);
    free(layer);
    return st;
}

/* Bytes that one token takes in all layers and heads. */
static size_t token_bytes(const terse_session *s)
{
    const terse_model_info *i = &s->model->info;
    const size_t k = terse_page_block_size(terse_kv_page_type(s->engine->type_k),
                                           terse_kv_dim(s->engine->type_k, i->dim_k)),
                 v = terse_page_block_size(terse_kv_page_type(s->engine->type_v),
                                           terse_kv_dim(s->engine->type_v, i->dim_v));
    return (k + v) / TERSE_PAGE * (size_t)i->n_layer * (size_t)i->n_head_kv;
}

/* Tokens that all heads may hold within the limit, of which memory is taken by whole slabs. */
static size_t tokens_within(const terse_session *s, size_t limit)
{
    const terse_model_info *i = &s->model->info;
    const size_t token = token_bytes(s), n_unit = (size_t)i->n_layer * (size_t)i->n_head_kv;
    const size_t slab = terse_align_up(token * TERSE_PAGE / n_unit * TERSE_SLAB_PAGES, (size_t)2 << 20);
    return limit / slab * slab / token;
}

/* "1024", "20%", "64MiB" (also K, M, G, KiB ...) to a policy that has a budget. */
static terse_status set_budget(terse_attend *a, const terse_session *s, terse_error *err)
{
    static const char *const units[] = { "%", "K", "KiB", "M", "MiB", "G", "GiB" };
    char *end;
    const double x = strtod(s->budget, &end);
    int unit = -1;
    for (int i = 0; i < 7; i++)
        unit = strcmp(end, units[i]) == 0 ? i : unit;
    if (!*s->budget || a->policy.policy == &terse_policy_dense)
        return TERSE_OK;
    if (end == s->budget || (*end && unit < 0) || !(x > 0.0 && x <= 1e9))
        return terse_fail(err, TERSE_BAD_INPUT, "KV budget '%s': tokens, a share as 20%%, or bytes as 64MiB",
                          s->budget);
    if (unit == 0)
        return terse_attend_budget(a, 0, x / 100.0, err);
    const double bytes = unit < 0 ? 0.0 : x * (unit < 3 ? 0x1p10 : unit < 5 ? 0x1p20 : 0x1p30);
    const double n = unit < 0 ? x : bytes / (double)token_bytes(s);
    return terse_attend_budget(a, n < 1.0 ? 1 : n > 1e9 ? 1000000000 : (int32_t)n, 0.0, err);
}

/* Of all heads, that keep everything under duo: with fewer, a budget for all heads is the safer way out. */
#define LEAST_SHARE 0.25

/* What "auto" stands for, and why. */
typedef struct {
    char name[96], why[sizeof((terse_attend *)0)->why];
} choice;

/* Under policy duo: as many heads whole as fit into `most` tokens of each head, if they are enough. Every head
 * takes `spare` tokens more than it keeps. */
static bool choose_heads(choice *c, const terse_session *s, const terse_profile *profile, size_t most,
                         size_t spare)
{
    const terse_model_info *i = &s->model->info;
    const size_t n = (size_t)i->n_layer * (size_t)i->n_head_kv, ctx = (size_t)s->engine->forward.ctx;
    const size_t ends = TERSE_DUO_SINKS + TERSE_DUO_WINDOW;
    if (!profile || !terse_profile_about(profile)->streaming || *s->budget || most <= ends + spare ||
        ctx <= ends)
        return false;
    const size_t whole = (most - ends - spare) * n / (ctx - ends); /* most < ctx: fewer than n */
    if ((double)whole < LEAST_SHARE * (double)n)
        return false;
    snprintf(c->name, sizeof c->name, "duo:share=%.6g", (double)whole / (double)n);
    snprintf(c->why, sizeof c->why, "%zu of %zu heads can keep %zu tokens within %zu KiB", whole, n, ctx,
             s->engine->limit >> 10);
    return true;
}

/* Everything while it fits, else what the model can do best. */
static terse_status choose_policy(choice *c, const terse_session *s, const terse_profile *profile,
                                  terse_error *err)
{
    enum {
        SPARE = 256, /* tokens: of recent pages that are kept a little longer, and of pages that are not full */
        LEAST = 64   /* a sensible budget */
    };
    const size_t ctx = (size_t)s->engine->forward.ctx, limit = s->engine->limit;
    const size_t most = tokens_within(s, limit), chunk = (size_t)s->engine->forward.chunk;
    const size_t spare =
        2 * chunk + SPARE; /* a chunk comes into recent pages, and as many may leave the window */
    const bool gate = s->engine->forward.utility != NULL;
    snprintf(c->name, sizeof c->name, "%s", gate ? "spkv" : "dense");
    if (gate)
        snprintf(c->why, sizeof c->why, "the model%s a gate", s->engine->gate ? " was given" : " has");
    else if (!limit)
        snprintf(c->why, sizeof c->why, "no limit was set");
    else if (most >= ctx)
        snprintf(c->why, sizeof c->why, "%zu tokens fit into %zu KiB", ctx, limit >> 10);
    if (gate || !limit || most >= ctx || choose_heads(c, s, profile, most, spare))
        return TERSE_OK;
    if (most < spare + LEAST)
        return terse_fail(err, TERSE_NOMEM, "KV policy auto: %zu KiB hold %zu tokens, %zu are the least",
                          limit >> 10, most, spare + LEAST);
    snprintf(c->name, sizeof c->name, "tova:budget=%zu", most - spare);
    snprintf(c->why, sizeof c->why, "%zu KiB hold %zu of %zu tokens%s", limit >> 10, most, ctx,
             profile && terse_profile_about(profile)->streaming ? ", and too few heads whole" : "");
    return TERSE_OK;
}

/* To a policy of heads: from the profile that it names, else from the session's. */
static terse_status tell_heads(terse_attend *a, const terse_model *m, const terse_profile *profile,
                               terse_error *err)
{
    const char *file = terse_attend_heads_file(a);
    terse_profile *named = NULL;
    terse_text path = { 0 };
    terse_status st = TERSE_OK;
    if (!file)
        return TERSE_OK;
    if (strcmp(file, "auto") == 0 && (st = terse_profile_path(m, &path, err)) == TERSE_OK)
        file = path.p;
    if (st == TERSE_OK && *file)
        st = terse_profile_open(&named, file, m, err);
    const terse_profile *from = named ? named : profile;
    const terse_profile_info *i = from ? terse_profile_about(from) : NULL;
    if (st == TERSE_OK && (!i || !i->streaming))
        st = terse_fail(err, TERSE_BAD_INPUT,
                        "KV policy %.80s: %s; terse calibrate MODEL --heads makes a profile for profile=FILE",
                        terse_attend_policy_text(a), i ? "the profile knows no heads" : "which heads?");
    if (st == TERSE_OK)
        st = terse_attend_heads(a, i->streaming, i->n_layer, i->n_head, err);
    terse_profile_close(&named);
    terse_text_free(&path);
    return st;
}

/* A profile's scales go with some rules only; where the profile is there for the policy, that is no mistake. */
static terse_status scale_rules(terse_attend *a, const terse_profile *profile, terse_error *err)
{
    const terse_profile_info *i = profile ? terse_profile_about(profile) : NULL;
    const bool taken = a->page.stop->scaled || (a->value.stop && a->value.stop->scaled);
    if (!i || (i->streaming && (!i->scale || !taken)))
        return TERSE_OK;
    return terse_attend_profile(a, i->scale, i->n_layer, i->n_head, err);
}

/* The gate's own numbers, and the profile, if there is one. */
static terse_status complete_attend(terse_attend *a, const terse_session *s, const terse_profile *profile,
                                    terse_error *err)
{
    const terse_gate *gate = s->engine->forward.utility;
    if (gate) {
        const terse_gate_info *g = terse_gate_about(gate);
        terse_attend_gate(a, (double)g->threshold, g->window, g->sinks);
    } else if (terse_attend_gated(a)) {
        return terse_fail(err, TERSE_BAD_INPUT,
                          "KV policy %s goes by predicted utilities: the model has no gate and none was given",
                          terse_attend_policy_text(a));
    }
    terse_status st = terse_attend_shape(a, s->model, s->engine->forward.ctx, err);
    if (st == TERSE_OK)
        st = tell_heads(a, s->model, profile, err);
    return st == TERSE_OK ? scale_rules(a, profile, err) : st;
}

/* A model with a gate of its own is meant to run under spkv. */
terse_status terse_session_attend(terse_attend **out, const terse_session *s, const char *policy,
                                  const char *stop, const terse_profile *profile, int32_t audit,
                                  terse_error *err)
{
    choice own = { .why = "" };
    snprintf(own.name, sizeof own.name, "%s", s->engine->forward.utility ? "spkv" : "dense");
    terse_status st = TERSE_OK;
    *out = NULL;
    if (policy && strcmp(policy, "auto") == 0) {
        st = choose_policy(&own, s, profile, err);
        policy = NULL;
    }
    if (st == TERSE_OK)
        st = terse_attend_open(out, policy ? policy : own.name, stop, audit, err);
    if (st == TERSE_OK)
        memcpy((*out)->why, own.why, sizeof own.why);
    if (st == TERSE_OK && (st = set_budget(*out, s, err)) != TERSE_OK)
        terse_attend_close(out);
    if (st == TERSE_OK && (st = complete_attend(*out, s, profile, err)) != TERSE_OK)
        terse_attend_close(out);
    return st;
}
