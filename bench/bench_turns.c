/* bench/bench_turns.c: sessions that take turns of a few tokens, so that what else the machine does meets all
 * of them alike: the settings of --stop at the depths of --depths in one text. Ratios are medians over the
 * rounds, of tokens that were decoded soon after each other. The first token of a turn brings the session back
 * into the caches and does not count.
 *
 *   bench_turns MODEL -f TEXT [--depths N,..] [--stop "RULE;.."] [--type K] [--threads N] [--tokens N]
 *               [--turn N] [-o table|json]
 *
 * --tokens of each session are timed, --turn of them (4) in a turn. A depth of less than 64 tokens is 64. Texts
 * that are too short begin again. */
#include "report.h"
#include "terse/terse.h"

#include <stdio.h>
#include <string.h>

enum { MAX_SESSIONS = 32, MAX_TOKENS = 100000, LEAST = 64 };

typedef struct {
    const char *model, *text, *type;
    char stop[1024];
    int_list depths, threads, tokens, turn;
    report report;
} options;

typedef struct {
    terse_session *session;
    const char *stop;
    int32_t depth, n_decoded;
    double *ns; /* [tokens] */
} turn;

/* A single number. */
static bool one(int_list *l, const char *text, long max)
{
    return samples_list(l, text, 1, max) && l->n == 1;
}

/* Rules between semicolons, none of them empty. */
static bool rules(const char *text)
{
    const size_t n = strlen(text);
    return n > 0 && text[0] != ';' && text[n - 1] != ';' && !strstr(text, ";;");
}

static bool parse(options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (name[0] != '-' && !o->model) {
            o->model = name;
            continue;
        }
        i++;
        if (strcmp(name, "-f") == 0 && *value)
            o->text = value;
        else if (strcmp(name, "--type") == 0 && *value)
            o->type = value;
        else if (strcmp(name, "--stop") == 0 && rules(value) && strlen(value) + 2 <= sizeof o->stop)
            strcpy(o->stop, value);
        else if (!(strcmp(name, "-o") == 0 && report_format(&o->report, value)) &&
                 !(strcmp(name, "--depths") == 0 && samples_list(&o->depths, value, 0, 1 << 24)) &&
                 !(strcmp(name, "--threads") == 0 && one(&o->threads, value, 1024)) &&
                 !(strcmp(name, "--tokens") == 0 && one(&o->tokens, value, MAX_TOKENS)) &&
                 !(strcmp(name, "--turn") == 0 && one(&o->turn, value, MAX_TOKENS)))
            return false;
    }
    return o->model && o->text;
}

static terse_status read_tokens(const options *o, const terse_model *m, terse_tokens *out, terse_error *err)
{
    terse_text text = { 0 };
    terse_status st = TERSE_OK;
    char part[1 << 16];
    FILE *f = fopen(o->text, "rb");
    if (!f)
        return snprintf(err->text, sizeof err->text, "%s: cannot be opened", o->text), err->status = TERSE_IO;
    for (size_t n; st == TERSE_OK && (n = fread(part, 1, sizeof part, f)) > 0;)
        st = terse_text_append(&text, part, n, err);
    fclose(f);
    if (st == TERSE_OK && text.n == 0) {
        snprintf(err->text, sizeof err->text, "%s: no text", o->text);
        st = err->status = TERSE_BAD_INPUT;
    }
    if (st == TERSE_OK)
        st = terse_vocab_tokenize(terse_model_vocab(m), text.p ? text.p : "", text.n, true, false, out, err);
    terse_text_free(&text);
    return st;
}

static terse_status prefill(terse_session *s, const terse_tokens *t, int32_t depth, terse_error *err)
{
    const float *logits;
    terse_status st = TERSE_OK;
    for (int32_t at = 0, n; at < depth && st == TERSE_OK; at += n) {
        const int32_t from = at % (int32_t)t->n, rest = (int32_t)t->n - from;
        n = depth - at < rest ? depth - at : rest;
        st = terse_session_prefill(s, t->ids + from, n, &logits, NULL, err);
    }
    return st;
}

/* Sessions under each rule at each depth, of which the first computes the text. */
static terse_status open_turns(options *o, terse_model *m, const terse_tokens *t, turn *turns, int32_t *n,
                               terse_error *err)
{
    for (int32_t d = 0; d < o->depths.n; d++) {
        const int32_t depth = o->depths.v[d] > LEAST ? o->depths.v[d] : LEAST, first = *n;
        char *rule = o->stop;
        for (int32_t k = 0; *rule; k++) {
            if (*n == MAX_SESSIONS)
                return snprintf(err->text, sizeof err->text, "more than %d sessions", MAX_SESSIONS),
                       err->status = TERSE_BAD_INPUT;
            turn *x = &turns[(*n)++];
            /* at most every other token does not count */
            terse_session_opts opts = { .ctx = depth + 2 * o->tokens.v[0],
                                        .threads = o->threads.v[0],
                                        .stop = rule };
            terse_status st = terse_kv_type_parse(o->type, &opts.type_k, err);
            opts.type_v = opts.type_k;
            x->stop = rule;
            x->depth = depth;
            x->ns = malloc((size_t)o->tokens.v[0] * sizeof *x->ns);
            if (st == TERSE_OK && !x->ns)
                return snprintf(err->text, sizeof err->text, "no memory"), err->status = TERSE_NOMEM;
            if (st == TERSE_OK)
                st = terse_session_open(&x->session, m, &opts, err);
            if (st == TERSE_OK)
                st = k == 0 ? prefill(x->session, t, depth, err)
                            : terse_session_copy(x->session, turns[first].session, err);
            if (st != TERSE_OK)
                return st;
            rule += strlen(rule) + 1;
        }
    }
    return TERSE_OK;
}

/* Times tokens from ... to - 1 of a session. */
static terse_status take_turn(turn *x, const terse_tokens *t, int32_t from, int32_t to, terse_error *err)
{
    const float *logits;
    for (int32_t k = from - 1; k < to; k++) {
        const int32_t next = t->ids[(size_t)(x->depth + x->n_decoded++) % t->n];
        const int64_t start = terse_now_ns();
        const terse_status st = terse_session_decode(x->session, next, &logits, err);
        if (st != TERSE_OK)
            return st;
        if (k >= from)
            x->ns[k] = (double)(terse_now_ns() - start);
    }
    return TERSE_OK;
}

/* Every other round goes backwards. */
static terse_status take_turns(const options *o, const terse_tokens *t, turn *turns, int32_t n,
                               terse_error *err)
{
    const int32_t all = o->tokens.v[0], some = o->turn.v[0];
    for (int32_t from = 0, round = 0; from < all; from += some, round++)
        for (int32_t j = 0; j < n; j++) {
            const int32_t to = all - from < some ? all : from + some;
            const terse_status st = take_turn(&turns[round % 2 ? n - 1 - j : j], t, from, to, err);
            if (st != TERSE_OK)
                return st;
        }
    return TERSE_OK;
}

static void show(options *o, const turn *turns, int32_t n)
{
    const size_t rounds = (size_t)o->tokens.v[0];
    double *x = malloc(2 * rounds * sizeof *x);
    if (!x) {
        o->report.failed = true;
        return;
    }
    for (int32_t i = 0; i < n; i++) {
        for (size_t k = 0; k < rounds; k++) {
            x[k] = turns[i].ns[k];
            x[rounds + k] = turns[i].ns[k] / turns[0].ns[k];
        }
        const terse_spread ns = terse_spread_of(x, rounds), ratio = terse_spread_of(x + rounds, rounds);
        if (o->report.json) {
            json_t *r = report_record("turns", terse_cpu_tier_name(terse_cpu_tiers()), o->threads.v[0]);
            report_add(r,
                       json_pack("{s:i, s:s, s:s, s:i, s:i, s:o, s:o, s:o, s:o}", "n_depth", turns[i].depth,
                                 "stop", turns[i].stop, "type", o->type, "n_samples", (int)rounds, "n_turn",
                                 o->turn.v[0], "median_ns", report_real(ns.median), "q1_ns", report_real(ns.q1),
                                 "q3_ns", report_real(ns.q3), "ratio", report_real(ratio.median)));
            report_print(&o->report, r);
        } else {
            printf("%8d %9.1f %9.1f %9.1f  %6.3f  %s\n", turns[i].depth, ns.median / 1e3, ns.q1 / 1e3,
                   ns.q3 / 1e3, ratio.median, turns[i].stop);
        }
    }
    free(x);
}

/* Cuts the rules apart: each ends with a NUL, the last one with two. */
static void split(char *stop)
{
    stop[strlen(stop) + 1] = '\0';
    for (; *stop; stop++)
        *stop = *stop == ';' ? '\0' : *stop;
}

int main(int argc, char **argv)
{
    static turn turns[MAX_SESSIONS];
    options o = { .type = "f16", .stop = "none", .depths = { { 0, 4096 }, 2 }, .tokens = { { 200 }, 1 } };
    o.threads = (int_list){ { terse_cpu_threads() }, 1 };
    o.turn = (int_list){ { 4 }, 1 };
    terse_model *m = NULL;
    terse_tokens tokens = { 0 };
    terse_error err = { 0 };
    int32_t n = 0;
    if (!parse(&o, argc, argv)) {
        fprintf(stderr, "usage: bench_turns MODEL -f TEXT [--depths N,..] [--stop \"RULE;..\"] [--type K]\n"
                        "                   [--threads N] [--tokens N] [--turn N] [-o table|json]\n");
        return 2;
    }
    split(o.stop);
    terse_status st = terse_model_open(&m, o.model, &err);
    if (st == TERSE_OK)
        st = read_tokens(&o, m, &tokens, &err);
    if (st == TERSE_OK)
        st = open_turns(&o, m, &tokens, turns, &n, &err);
    if (st == TERSE_OK)
        st = take_turns(&o, &tokens, turns, n, &err);
    if (st == TERSE_OK) {
        if (!o.report.json)
            printf("   depth us, median        q1        q3   ratio  stop rule (ratio: to the first, round by "
                   "round)\n");
        show(&o, turns, n);
    } else {
        fprintf(stderr, "bench_turns: %s\n", err.text);
    }
    for (int32_t i = 0; i < n; i++) {
        terse_session_close(&turns[i].session);
        free(turns[i].ns);
    }
    terse_tokens_free(&tokens);
    terse_model_close(&m);
    const bool printed = report_end(&o.report);
    return st != TERSE_OK ? terse_status_exit(st) : printed ? 0 : terse_status_exit(TERSE_IO);
}
