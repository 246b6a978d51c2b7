/* cli/eval_print.c: see the header. */
#include "eval_print.h"

#include "json_real.h"
#include "stats_json.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double ratio(const terse_attend_stats *s)
{
    const int64_t read = s->bytes_k + s->bytes_v + s->bytes_summary;
    return s->bytes_dense > 0 ? (double)read / (double)s->bytes_dense : NAN;
}

/* ---- JSON ---- */

/* A sum of scores is whole unless an answer has parts. */
static json_t *json_of_count(double x)
{
    return x == floor(x) ? json_integer((json_int_t)x) : json_real(x);
}

static json_t *json_of_score(const terse_eval_score *s)
{
    return json_pack("{s:i, s:o, s:o, s:o}", "n", s->n, "correct", json_of_count(s->correct), "low",
                     terse_json_real(s->low), "high", terse_json_real(s->high));
}

static json_t *json_of_task(const terse_eval *e, int32_t rule, int32_t task)
{
    const terse_eval_score s = terse_eval_score_of(e, rule, task), dense = terse_eval_score_of(e, -1, task);
    json_t *root = json_of_score(&s);
    terse_json_put(&root, "lost", json_integer(s.lost));
    terse_json_put(&root, "gained", json_integer(s.gained));
    terse_json_put(&root, "dense", json_of_score(&dense));
    return root;
}

/* What the whole run and each task have alike: n, correct, ... by_task. */
static json_t *json_of_tasks(const terse_eval_report *r, int32_t rule)
{
    json_t *root = json_of_task(r->eval, rule, -1), *by_task = json_object();
    const char *name;
    for (int32_t i = 0; (name = terse_tasks_name_at(r->tasks, i)); i++)
        if (terse_eval_score_of(r->eval, rule, i).n > 0)
            terse_json_put(&by_task, name, json_of_task(r->eval, rule, i));
    terse_json_put(&root, "by_task", by_task);
    return root;
}

static json_t *json_of_kl(const terse_eval_result *k)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "mean", terse_json_real(k->mean), "low",
                     terse_json_real(k->low), "high", terse_json_real(k->high), "p50", terse_json_real(k->p50),
                     "p90", terse_json_real(k->p90), "p99", terse_json_real(k->p99), "p999",
                     terse_json_real(k->p999), "max", terse_json_real(k->max));
}

static json_t *json_of_mean(double mean, double low, double high)
{
    return json_pack("{s:o, s:o, s:o}", "mean", terse_json_real(mean), "low", terse_json_real(low), "high",
                     terse_json_real(high));
}

static json_t *json_of_change(const terse_eval_change *c)
{
    const struct {
        const char *name;
        double x;
    } rest[] = { { "rms", c->rms },   { "min", c->min }, { "p001", c->p001 }, { "p01", c->p01 },
                 { "p10", c->p10 },   { "p50", c->p50 }, { "p90", c->p90 },   { "p99", c->p99 },
                 { "p999", c->p999 }, { "max", c->max } };
    json_t *root = json_of_mean(c->mean, c->low, c->high);
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        terse_json_put(&root, rest[i].name, terse_json_real(rest[i].x));
    return root;
}

static json_t *json_of_free(const terse_eval *e, int32_t rule, const terse_eval_free *f)
{
    json_t *root = json_pack("{s:i, s:i, s:i, s:o}", "steps", f->steps, "n", f->n, "same", f->same, "median",
                             terse_json_real(f->median));
    json_t *at = json_array();
    for (int32_t i = 0; i < f->n && at; i++) {
        const int32_t place = terse_eval_differs_at(e, rule, i);
        if (json_array_append_new(at, place ? json_integer(place) : json_null()) != 0) {
            json_decref(at);
            at = NULL;
        }
    }
    terse_json_put(&root, "differs_at", at);
    return root;
}

/* What only texts have. */
static void put_text(json_t **root, const terse_eval_report *r, int32_t rule, const terse_eval_result *k)
{
    const terse_eval_windows *w = r->windows;
    terse_json_put(root, "ppl", terse_json_real(k->ppl));
    terse_json_put(root, "ppl_dense", terse_json_real(k->ppl_dense));
    terse_json_put(root, "ppl_interval",
                   json_pack("[o, o]", terse_json_real(k->ppl_low), terse_json_real(k->ppl_high)));
    terse_json_put(root, "ppl_dense_interval",
                   json_pack("[o, o]", terse_json_real(k->ppl_dense_low), terse_json_real(k->ppl_dense_high)));
    terse_json_put(root, "ppl_ratio", json_of_mean(k->ratio, k->ratio_low, k->ratio_high));
    terse_json_put(root, "delta_p", json_of_change(&k->change));
    if (k->free.steps > 0)
        terse_json_put(root, "free", json_of_free(r->eval, rule, &k->free));
    terse_json_put(root, "windows", json_integer(k->n_sample));
    terse_json_put(root, "ctx", json_integer(w->ctx + w->ppl_only));
    terse_json_put(root, "scored", json_integer(k->n_token / k->n_sample));
    if (w->stride)
        terse_json_put(root, "stride", json_integer(w->stride));
}

/* The counters of one rule. */
typedef struct {
    const terse_eval *eval;
    int32_t rule;
} counters;

static const terse_attend_stats *stats_of(const void *ctx, int32_t layer, int32_t head)
{
    const counters *c = ctx;
    return terse_eval_stats_of(c->eval, c->rule, layer, head);
}

static void put_read(json_t **root, const terse_eval_report *r, int32_t rule, const terse_eval_result *k)
{
    const counters c = { r->eval, rule };
    json_t *stats = terse_json_of_stats(&k->read, k->bounded, true);
    terse_json_put(root, "bytes_ratio", terse_json_real(ratio(&k->read)));
    if (*root && (!stats || json_object_update(*root, stats) != 0)) {
        json_decref(*root);
        *root = NULL;
    }
    json_decref(stats);
    terse_json_put(root, "stop",
                   json_pack("{s:s, s:o}", "rule", k->stop, "bound_max",
                             k->bounded ? terse_json_real((double)k->read.bound_max) : json_null()));
    if (k->read.audits > 0)
        terse_json_put(root, "heads", terse_json_of_heads(stats_of, &c, k->bounded));
}

static json_t *json_of_rule(const terse_eval_report *r, int32_t rule, const terse_eval_result *k)
{
    const terse_session *s = terse_eval_session(r->eval);
    json_t *root = r->tasks ? json_of_tasks(r, rule) : json_object(), *name = json_string(r->model);
    terse_json_put(&root, "model", name ? name : json_null()); /* a path may be no UTF-8 */
    terse_json_put(&root, "policy", json_string(k->policy));
    terse_json_put(&root, "tokens", json_integer(k->n_token));
    if (r->tasks || !r->windows->ppl_only)
        terse_json_put(&root, "kl", json_of_kl(k));
    terse_json_put(&root, "top1", terse_json_real(k->top1));
    if (!r->tasks)
        put_text(&root, r, rule, k);
    if (r->ruler)
        terse_json_put(&root, "generated",
                       json_pack("{s:i, s:I, s:b, s:b}", "length", r->ruler->ctx, "seed",
                                 (json_int_t)r->ruler->seed, "second", r->ruler->second, "example",
                                 !r->ruler->no_example));
    put_read(&root, r, rule, k);
    if (r->profile) {
        json_t *profile = json_string(r->profile);
        terse_json_put(&root, "profile", profile ? profile : json_null());
    }
    terse_json_put(&root, "type_k", json_string(terse_kv_type_name(r->opts->type_k)));
    terse_json_put(&root, "type_v", json_string(terse_kv_type_name(r->opts->type_v)));
    terse_json_put(&root, "threads", json_integer(terse_session_threads(s)));
    terse_json_put(&root, "isa", json_string(terse_session_tier(s)));
    if (r->interrupted)
        terse_json_put(&root, "interrupted", json_true());
    return root;
}

terse_status terse_eval_print_json(const terse_eval_report *r, terse_error *err)
{
    const int32_t n = terse_eval_rules(r->eval);
    json_t *all = json_array();
    terse_status st = TERSE_OK;
    for (int32_t i = 0; i < n && st == TERSE_OK; i++) {
        terse_eval_result k;
        st = terse_eval_result_of(r->eval, i, &k, err);
        if (st == TERSE_OK && json_array_append_new(all, json_of_rule(r, i, &k)) != 0)
            st = terse_fail(err, TERSE_NOMEM, "no memory for the JSON");
    }
    if (st == TERSE_OK) {
        json_dumpf(n > 1 ? all : json_array_get(all, 0), stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        putchar('\n');
    }
    json_decref(all);
    return st;
}

/* ---- tables ---- */

enum { TASK_WIDTH = 19, NAME_SIZE = 256 };

typedef struct {
    const terse_eval_report *r;
    const terse_eval_result *k; /* [n] */
    int32_t n;
    int width; /* of the column of settings */
} tables;

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* The policy "dense" is not worth a word: it is what nearly every rule walks by. Returns the length. */
static int name_setting(char name[NAME_SIZE], const terse_eval_result *k)
{
    const bool dense = strcmp(k->policy, "dense") == 0;
    return snprintf(name, NAME_SIZE, "%.64s%s%.160s", dense ? "" : k->policy, dense ? "" : ", ", k->stop);
}

static void print_setting(const tables *t, const char *name)
{
    printf("| %-*s ", t->width, name);
}

/* The line below a heading. */
static void print_rule(const tables *t)
{
    fputs("| ", stdout);
    for (int i = 0; i < t->width; i++)
        putchar('-');
    putchar(' ');
}

static void print_task_scores(const tables *t, int32_t rule, const char *setting)
{
    const char *task = "all";
    for (int32_t i = -1; i < 0 || (task = terse_tasks_name_at(t->r->tasks, i)); i++) {
        const terse_eval_score s = terse_eval_score_of(t->r->eval, rule, i);
        if (s.n == 0)
            continue;
        print_setting(t, setting);
        printf("| %-*s | %5d | %7.2f | %5.1f | %5.1f .. %5.1f ", TASK_WIDTH, task, s.n, s.correct,
               100 * s.correct / s.n, 100 * s.low, 100 * s.high);
        if (rule < 0)
            printf("| %4s | %6s |\n", "", "");
        else
            printf("| %4d | %6d |\n", s.lost, s.gained);
    }
}

static void print_scores(const tables *t)
{
    print_setting(t, "setting");
    printf("| %-*s |     n | correct |     %% |   95 %% of them | lost | gained |\n", TASK_WIDTH, "task");
    print_rule(t);
    printf("| ------------------- | ----: | ------: | ----: | -------------: | ---: | -----: |\n");
    print_task_scores(t, -1, "dense");
    for (int32_t i = 0; i < t->n; i++) {
        char name[NAME_SIZE];
        name_setting(name, &t->k[i]);
        print_task_scores(t, i, name);
    }
    putchar('\n');
}

static void print_quality_row(const tables *t, const terse_eval_result *k)
{
    char name[NAME_SIZE];
    name_setting(name, k);
    print_setting(t, name);
    printf("| %5.1f %% | %8.2e | %8.2e .. %8.2e | %8.2e | %8.2e | %8.2e | %8.2e | %8.2e | %6.2f %% ",
           100 * ratio(&k->read), k->mean, k->low, k->high, k->p50, k->p90, k->p99, k->p999, k->max,
           100 * k->top1);
    if (!t->r->tasks)
        printf("| %8.4g | %9.4g ", k->ppl, k->ppl_dense);
    if (k->bounded)
        printf("| %8.3g |\n", (double)k->read.bound_max);
    else
        printf("| %8s |\n", "none");
}

static void print_quality(const tables *t)
{
    const bool tasks = t->r->tasks != NULL;
    print_setting(t, "setting");
    printf("| KV read |  KL mean |      95 %% of the mean |   median |     90 %% |     99 %% |   99.9 %% |     "
           " max | "
           "same top %s|    bound |\n",
           tasks ? "" : "|      ppl | dense ppl ");
    print_rule(t);
    printf(
        "| ------: | -------: | -------------------: | -------: | -------: | -------: | -------: | -------: | "
        "-------: %s| -------: |\n",
        tasks ? "" : "| -------: | --------: ");
    for (int32_t i = 0; i < t->n; i++)
        print_quality_row(t, &t->k[i]);
}

static void print_perplexity_row(const tables *t, const char *setting, const terse_eval_result *k)
{
    print_setting(t, setting);
    printf("| %5.1f %% | %8.3f | %8.3f .. %8.3f | %8.5f | %8.5f .. %8.5f | %6.2f %% ", 100 * ratio(&k->read),
           k->ppl, k->ppl_low, k->ppl_high, k->ratio, k->ratio_low, k->ratio_high, 100 * k->top1);
    if (k->bounded)
        printf("| %8.3g |\n", (double)k->read.bound_max);
    else
        printf("| %8s |\n", "none");
}

static void print_perplexity(const tables *t)
{
    const terse_eval_result *k = &t->k[0];
    print_setting(t, "setting");
    printf("| KV read |      ppl |         95 %% of them | to dense |          95 %% of it  | same top |    "
           "bound |\n");
    print_rule(t);
    printf("| ------: | -------: | -------------------: | -------: | -------------------: | -------: | "
           "-------: |\n");
    print_setting(t, "dense");
    printf("| %5.1f %% | %8.3f | %8.3f .. %8.3f | %8s | %20s | %8s | %8s |\n", 100.0, k->ppl_dense,
           k->ppl_dense_low, k->ppl_dense_high, "", "", "", "");
    for (int32_t i = 0; i < t->n; i++) {
        char name[NAME_SIZE];
        name_setting(name, &t->k[i]);
        print_perplexity_row(t, name, &t->k[i]);
    }
}

/* Of the probability of the text's own token, in percent points; and the free runs. */
static void print_change_row(const tables *t, const terse_eval_result *k)
{
    const terse_eval_change *c = &k->change;
    char name[NAME_SIZE], differs[24];
    name_setting(name, k);
    print_setting(t, name);
    printf("| %7.3f | %7.3f .. %7.3f | %7.3f | %7.2f | %7.2f | %7.2f | %7.3f | %7.2f | %7.2f | %7.2f ",
           100 * c->mean, 100 * c->low, 100 * c->high, 100 * c->rms, 100 * c->min, 100 * c->p01, 100 * c->p10,
           100 * c->p50, 100 * c->p90, 100 * c->p99, 100 * c->max);
    if (isinf(k->free.median))
        snprintf(differs, sizeof differs, "> %d", k->free.steps);
    else
        snprintf(differs, sizeof differs, "%g", k->free.median);
    if (k->free.steps > 0)
        printf("| %4d / %-4d | %7s ", k->free.same, k->free.n, differs);
    printf("|\n");
}

static void print_change(const tables *t)
{
    const int32_t steps = t->k[0].free.steps;
    printf("\nprobability of the text's own token, change in percent points%s",
           steps ? "; greedy generation of " : "");
    if (steps)
        printf("%d tokens: windows in which it is dense's, and where it first differs (median)", steps);
    printf("\n\n");
    print_setting(t, "setting");
    printf("|    mean |      95 %% of them |     rms |     min |     1 %% |    10 %% |  median |    90 %% |    "
           "99 %% |     "
           "max %s|\n",
           steps ? "| same text   | differs " : "");
    print_rule(t);
    printf("| ------: | -----------------: | ------: | ------: | ------: | ------: | ------: | ------: | "
           "------: | "
           "------: %s|\n",
           steps ? "| ----------: | ------: " : "");
    for (int32_t i = 0; i < t->n; i++)
        print_change_row(t, &t->k[i]);
}

static void print_audits(const tables *t)
{
    for (int32_t i = 0; i < t->n; i++) {
        const terse_attend_stats *s = &t->k[i].read;
        if (s->audits > 0)
            printf("%saudit of %s: %" PRId64
                   " walks repeated in full, error at most %.3g, %.3g in the mean, %" PRId64
                   " above the bound\n",
                   i == 0 ? "\n" : "", t->k[i].stop, s->audits, (double)s->audit_error_max,
                   s->audit_error_sum / (double)s->audits, s->audit_violations);
    }
}

static void print_heading(const tables *t)
{
    const terse_eval_report *r = t->r;
    const terse_session *session = terse_eval_session(r->eval);
    const int32_t n = t->k[0].n_sample;
    const int64_t n_token = t->k[0].n_token;
    printf("%s: %d ", file_name(r->file), n);
    if (r->tasks)
        printf("prompts, %" PRId64 " decoded tokens", n_token);
    else
        printf("windows of %d tokens, the last %" PRId64 " of each decoded and scored",
               r->windows->ctx + r->windows->ppl_only, n_token / n);
    if (!r->tasks && r->windows->stride)
        printf(", stride %d", r->windows->stride);
    printf("%s; keys %s, values %s, %s, %d threads\n\n", r->interrupted ? " (interrupted)" : "",
           terse_kv_type_name(r->opts->type_k), terse_kv_type_name(r->opts->type_v),
           terse_session_tier(session), terse_session_threads(session));
}

terse_status terse_eval_print(const terse_eval_report *r, terse_error *err)
{
    const int32_t n = terse_eval_rules(r->eval);
    terse_eval_result *k = calloc((size_t)n, sizeof *k);
    terse_status st = k ? TERSE_OK : terse_fail(err, TERSE_NOMEM, "no memory for the table");
    tables t = { r, k, n, (int)strlen("setting") };
    for (int32_t i = 0; i < n && st == TERSE_OK; i++) {
        char name[NAME_SIZE];
        st = terse_eval_result_of(r->eval, i, &k[i], err);
        if (st == TERSE_OK && name_setting(name, &k[i]) > t.width)
            t.width = name_setting(name, &k[i]);
    }
    if (st == TERSE_OK) {
        print_heading(&t);
        if (r->tasks)
            print_scores(&t);
        if (!r->tasks && r->windows->ppl_only)
            print_perplexity(&t);
        else
            print_quality(&t);
        if (!r->tasks)
            print_change(&t);
        print_audits(&t);
    }
    free(k);
    return st;
}
