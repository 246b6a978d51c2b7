/* cli/bench_print.c: records as a table for people, CSV or JSON, with llama-bench's columns and names first. A
 * time is shown as mean and deviation, as it does, and as median and quartiles, which a busy machine disturbs
 * less; samples that the machine did not give all of itself count only where there are no others. */
#include "bench.h"

#include "json_real.h"
#include "terminal.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of one record. NAN where it says nothing: a prompt's weights serve many tokens. */
typedef struct {
    terse_timing time;            /* rates are tokens per second */
    double weights, kv, kv_dense; /* bytes per token */
    double gbs, fraction;
    double ops, int8_fraction;   /* of a prompt: 1e9 operations per second; their share of the peak */
    double spent[TERSE_SPENT_N]; /* ns per token: what a thread spends on the average */
} figures;

/* Multiplications and additions of the matrices for n tokens, of which the last one's logits are computed. */
static double matrix_ops(const terse_model_info *i, int32_t n)
{
    const double q = (double)i->n_head * i->dim_k, o = (double)i->n_head * i->dim_v;
    const double kv = (double)i->n_head_kv * (i->dim_k + i->dim_v);
    const double ffn = 3.0 * i->n_ff * (i->n_expert ? i->n_expert_used : 1) + i->n_expert;
    return 2.0 * i->n_embd * (n * i->n_layer * (q + kv + o + ffn) + i->n_vocab);
}

/* room: r->n values. */
static void compute(figures *f, const terse_bench_out *out, const terse_bench_record *r, double *room)
{
    const terse_model_info *i = terse_model_about(out->plan->model);
    *f = (figures){ .weights = NAN, .kv = NAN, .kv_dense = NAN, .ops = NAN };
    f->time = terse_timing_of(r->samples, (size_t)r->n, terse_bench_tokens(r), room);
    if (r->n_gen > 0) {
        const double tokens = (double)r->n_gen * r->n_batch * r->n;
        f->weights = (double)i->token_bytes / r->n_batch;
        if (i->n_expert && r->n_batch > 1) /* tokens choose experts of their own */
            f->weights = NAN;
        if (r->draft)
            f->weights *= (double)r->guesses.steps / tokens;
        f->kv = (double)(r->stats.bytes_k + r->stats.bytes_v + r->stats.bytes_summary) / tokens;
        f->kv_dense = (double)r->stats.bytes_dense / tokens;
    } else {
        f->ops = matrix_ops(i, r->n_prompt) / f->time.ns.median;
    }
    const int64_t *spent = r->spent[f->time.n_own > 0].ns;
    const double samples = (double)(f->time.n_own ? f->time.n_own : f->time.n);
    for (int32_t k = 0; k < TERSE_SPENT_N; k++)
        f->spent[k] = (double)spent[k] / (samples * terse_bench_tokens(r) * terse_session_threads(r->session));
    f->gbs = (f->weights + f->kv) * f->time.rate.median * 1e-9;
    f->fraction = f->gbs / f->time.read;
    f->int8_fraction = f->ops / f->time.int8;
}

static void print_count(char *text, size_t size, int64_t n)
{
    static const char *const units[] = { "", " K", " M", " B" };
    double x = (double)n;
    int u = 0;
    for (; x >= 1000 && u < 3; u++)
        x /= 1000;
    snprintf(text, size, "%.2f%s", x, units[u]);
}

/* "llama 28.32 M Q8_0" */
static void print_model(char *text, size_t size, const terse_model_info *i)
{
    char params[32];
    print_count(params, sizeof params, i->n_param);
    snprintf(text, size, "%.40s %s %.20s", i->arch, params, i->type);
}

static json_t *whole(double x)
{
    return isfinite(x) ? json_integer((json_int_t)llround(x)) : json_null();
}

static json_t *json_setting(const terse_bench_out *out, const terse_bench_record *r)
{
    const terse_model_info *i = terse_model_about(out->plan->model);
    const terse_session_opts *o = r->opts;
    char cpu[128], type[128], when[32];
    struct tm tm;
    terse_cpu_name(cpu, sizeof cpu);
    print_model(type, sizeof type, i);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&r->when, &tm));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:i, s:i, "
                     "s:i, s:i, s:b, s:s, s:s}",
                     "build_version", terse_version(), "cpu_info", cpu, "isa", terse_session_tier(r->session),
                     "backends", "CPU", "model_filename", out->plan->path, "model_type", type, "model_size",
                     (json_int_t)i->weight_bytes, "model_n_params", (json_int_t)i->n_param, "n_ubatch",
                     o->chunk, "n_threads", terse_session_threads(r->session), "type_k",
                     terse_kv_type_name(o->type_k), "type_v", terse_kv_type_name(o->type_v), "kv_policy",
                     o->policy ? o->policy : "dense", "stop", terse_session_stop(r->session), "tokens",
                     out->plan->source, "n_prompt", r->n_prompt, "n_gen", r->n_gen, "n_depth", r->n_depth,
                     "n_parallel", r->n_batch, "prompt_shared", out->plan->shared, "fill",
                     out->plan->copies ? "copy" : "prompt", "test_time", when);
}

/* What guessing ahead did. NULL without memory. */
static json_t *json_guesses(const terse_bench_record *r)
{
    return json_pack("{s:s, s:I, s:I, s:I}", "draft", r->draft ? "ngram" : "none", "n_draft_steps",
                     (json_int_t)r->guesses.steps, "n_guessed", (json_int_t)r->guesses.guessed, "n_accepted",
                     (json_int_t)r->guesses.accepted);
}

/* What the samples were like, one by one. NULL without memory. */
static json_t *json_samples(const terse_bench_record *r)
{
    json_t *ns = json_array(), *ts = json_array(), *own = json_array(), *core = json_array(),
           *fma = json_array(), *read = json_array();
    int failed = 0;
    for (int32_t i = 0; i < r->n; i++) {
        const terse_sample *s = &r->samples[i];
        const double rate = terse_bench_tokens(r) * 1e9 / (double)s->ns;
        failed |= json_array_append_new(ns, json_integer(s->ns));
        failed |= json_array_append_new(ts, terse_json_real(rate));
        failed |= json_array_append_new(own, json_boolean(s->own));
        failed |= json_array_append_new(core, terse_json_real(s->core_share));
        failed |= json_array_append_new(fma, terse_json_real(s->fma_ratio));
        failed |= json_array_append_new(read, terse_json_real(s->read));
    }
    json_t *all =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "samples_ns", ns, "samples_ts", ts, "samples_own", own,
                  "samples_core_share", core, "samples_fma_ratio", fma, "samples_roofline_gbs", read);
    if (!failed)
        return all;
    json_decref(all);
    return NULL;
}

static json_t *json_figures(const terse_bench_record *r, const figures *f)
{
    const terse_timing *t = &f->time;
    const bool bounded = r->n_gen > 0 && terse_session_bounded(r->session);
    json_t *times = json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "n_samples", (json_int_t)t->n,
                              "n_own", (json_int_t)t->n_own, "avg_ns", whole(t->ns.mean), "stddev_ns",
                              whole(t->ns.stddev), "avg_ts", terse_json_real(t->rate.mean), "stddev_ts",
                              terse_json_real(t->rate.stddev), "median_ts", terse_json_real(t->rate.median),
                              "q1_ts", terse_json_real(t->rate.q1), "q3_ts", terse_json_real(t->rate.q3));
    json_t *machine =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "cpu_share", terse_json_real(t->cpu_share), "core_share",
                  terse_json_real(t->core_share), "fma_gflops", terse_json_real(t->fma), "fma_ratio",
                  terse_json_real(t->fma_ratio), "int8_gops", terse_json_real(t->int8), "roofline_gbs",
                  terse_json_real(t->read));
    json_t *reached =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "bytes_weights_per_token", whole(f->weights),
                  "bytes_kv_per_token", whole(f->kv), "bytes_kv_dense_per_token", whole(f->kv_dense),
                  "roofline_fraction", terse_json_real(f->fraction), "matrix_gops", terse_json_real(f->ops),
                  "int8_fraction", terse_json_real(f->int8_fraction), "bound_max",
                  terse_json_real(bounded ? (double)r->stats.bound_max : NAN));
    if (!machine || !reached || json_object_update(times, machine) || json_object_update(times, reached)) {
        json_decref(times);
        times = NULL;
    }
    json_decref(machine);
    json_decref(reached);
    return times;
}

/* "celsius", .. as far as the kernel tells. NULL without memory. */
static json_t *json_heat(void)
{
    const terse_heat h = terse_heat_read();
    const struct {
        const char *name;
        double value;
    } rows[] = { { "celsius", h.celsius },
                 { "cpu_mhz", h.mhz },
                 { "cpu_mhz_held", h.mhz_held },
                 { "cpu_mhz_most", h.mhz_most } };
    json_t *all = json_object();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!isnan(rows[i].value) &&
            json_object_set_new(all, rows[i].name, terse_json_real(rows[i].value)) != 0) {
            json_decref(all);
            return NULL;
        }
    return all;
}

/* "spent_qkv_ns", .. of a generation that was watched; nothing of others. NULL without memory. */
static json_t *json_spent(const terse_bench_out *out, const terse_bench_record *r, const figures *f)
{
    json_t *all = json_object();
    for (int32_t k = 0; k < TERSE_SPENT_N && out->phases; k++) {
        char name[32];
        snprintf(name, sizeof name, "spent_%s_ns", terse_spent_name(k));
        if (json_object_set_new(all, name, terse_json_real(r->n_gen > 0 ? f->spent[k] : NAN)) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

/* NULL without memory, or if a name is not UTF-8. */
static json_t *json_of(const terse_bench_out *out, const terse_bench_record *r, const figures *f)
{
    json_t *record = json_setting(out, r), *figure = json_figures(r, f), *samples = json_samples(r),
           *guesses = json_guesses(r), *spent = json_spent(out, r, f),
           *heat = out->format == TERSE_BENCH_JSON ? json_heat() : json_object();
    if (!record || !figure || !samples || !guesses || !spent || !heat || json_object_update(record, heat) ||
        json_object_update(record, guesses) || json_object_update(record, figure) ||
        json_object_update(record, spent) || json_object_update(record, samples)) {
        json_decref(record);
        record = NULL;
    }
    json_decref(figure);
    json_decref(guesses);
    json_decref(spent);
    json_decref(heat);
    json_decref(samples);
    return record;
}

/* Every field in quotes, as llama-bench writes them; lists are left to JSON. */
static void print_csv(json_t *record, bool names)
{
    const char *key, *comma = "";
    json_t *value;
    json_object_foreach(record, key, value)
    {
        char number_text[64] = "";
        const char *p = names ? key : number_text;
        if (json_is_array(value))
            continue;
        if (!names && json_is_string(value))
            p = json_string_value(value);
        else if (!names && json_is_integer(value))
            snprintf(number_text, sizeof number_text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        else if (!names && json_is_real(value))
            snprintf(number_text, sizeof number_text, "%.6f", json_real_value(value));
        printf("%s\"", comma);
        for (; *p; p++)
            printf(*p == '"' ? "\"\"" : "%c", *p);
        putchar('"');
        comma = ",";
    }
    putchar('\n');
}

enum { NAME_WIDTH = 24, STOP_WIDTH = 18 };

/* "ngram 2.14, 61%": tokens per pass over the weights, share of the guesses that were right. */
static void print_guesses(const terse_bench_record *r)
{
    const terse_draft_stats *g = &r->guesses;
    char text[64] = "none";
    if (r->draft && g->steps > 0)
        snprintf(text, sizeof text, "ngram %.2f, %.0f%%", (double)(g->steps + g->accepted) / (double)g->steps,
                 100.0 * (double)g->accepted / (double)(g->guessed ? g->guessed : 1));
    printf("| %17s ", text);
}

static void print_md(const terse_bench_out *out, const terse_bench_record *r, const figures *f)
{
    const terse_model_info *i = terse_model_about(out->plan->model);
    const double mib = 1024.0 * 1024.0;
    char name[128], params[32], test[64], speed[64];
    print_model(name, sizeof name, i);
    print_count(params, sizeof params, i->n_param);
    int n = snprintf(test, sizeof test, "%s%d", r->n_prompt ? "pp" : "tg", r->n_prompt + r->n_gen);
    if (r->n_batch > 1)
        n += snprintf(test + n, sizeof test - (size_t)n, " b%d", r->n_batch);
    if (r->n_depth > 0)
        snprintf(test + n, sizeof test - (size_t)n, " @ d%d", r->n_depth);
    snprintf(speed, sizeof speed, "%.2f ± %.2f", f->time.rate.mean, f->time.rate.stddev);
    printf("| %-*s | %8.2f MiB | %10s | CPU     | %7d | %6s | %6s | %15s | %19s ", NAME_WIDTH, name,
           (double)i->weight_bytes / mib, params, terse_session_threads(r->session),
           terse_kv_type_name(r->opts->type_k), terse_kv_type_name(r->opts->type_v), test, speed);
    if (out->policies)
        printf("| %10s ", r->opts->policy ? r->opts->policy : "dense");
    if (out->stops)
        printf("| %*s ", STOP_WIDTH, terse_session_stop(r->session));
    if (out->drafts)
        print_guesses(r);
    const terse_timing *t = &f->time;
    printf("| %8.2f | %3.0f%% | %3.0f%% | %4.2f | %2zu/%zu%s ", t->rate.median, 100 * t->cpu_share,
           100 * t->core_share, t->fma_ratio, t->n_own, t->n, t->n_own ? " " : "!");
    if (r->n_gen > 0)
        printf("| %8.3f | %8.3f | %6.2f | %8.2f | %7.1f%% | %6s |", f->weights / mib, f->kv / mib, f->gbs,
               t->read, 100 * f->fraction, "");
    else
        printf("| %8s | %8s | %6s | %8.2f | %8s | %5.1f%% |", "", "", "", t->read, "", 100 * f->int8_fraction);
    for (int32_t k = 0; k < TERSE_SPENT_N && out->phases; k++)
        if (r->n_gen > 0)
            printf(" %7.1f |", f->spent[k] / 1000);
        else
            printf(" %7s |", "");
    putchar('\n');
}

void terse_bench_begin(const terse_bench_out *out)
{
    if (out->format == TERSE_BENCH_JSON)
        fputs("[\n", stdout);
    if (out->format != TERSE_BENCH_MD)
        return;
    printf("| %-*s | %12s | %10s | backend | threads | type_k | type_v | %15s | %18s ", NAME_WIDTH, "model",
           "size", "params", "test", "t/s");
    printf("%s%s%s", out->policies ? "|  kv policy " : "", out->stops ? "|               stop " : "",
           out->drafts ? "|             draft " : "");
    printf("|   median |  cpu | core |  fma |   own | W MiB/t  | KV MiB/t |   GB/s | roofline | fraction |   "
           "int8 |");
    for (int32_t k = 0; k < TERSE_SPENT_N && out->phases; k++)
        printf(" %7s |", terse_spent_name(k));
    putchar('\n');
    printf("| ------------------------ | -----------: | ---------: | ------- | ------: | -----: | -----: | "
           "--------------: | -----------------: ");
    printf("%s%s%s", out->policies ? "| ---------: " : "", out->stops ? "| -----------------: " : "",
           out->drafts ? "| ----------------: " : "");
    printf("| -------: | ---: | ---: | ---: | ----: | -------: | -------: | -----: | -------: | -------: | "
           "-----: |");
    for (int32_t k = 0; k < TERSE_SPENT_N && out->phases; k++)
        printf(" ------: |");
    putchar('\n');
}

terse_status terse_bench_print(terse_bench_out *out, const terse_bench_record *r, terse_error *err)
{
    figures f;
    terse_status st = TERSE_OK;
    double *values = malloc((size_t)r->n * sizeof *values);
    json_t *record = NULL;
    if (!values)
        return terse_fail(err, TERSE_NOMEM, "no memory for a record");
    compute(&f, out, r, values);
    out->n_other += f.time.n_own == 0;
    if (out->format == TERSE_BENCH_MD) {
        print_md(out, r, &f);
    } else if (!(record = json_of(out, r, &f))) {
        st = terse_fail(err, TERSE_NOMEM, "no memory for a record, or the file's name is not UTF-8");
    } else if (out->format == TERSE_BENCH_CSV) {
        if (out->n == 0)
            print_csv(record, true);
        print_csv(record, false);
    } else {
        fputs(out->n > 0 ? ",\n" : "", stdout);
        json_dumpf(record, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    }
    json_decref(record);
    free(values);
    out->n++;
    fflush(stdout); /* the next one may take minutes */
    return st == TERSE_OK && ferror(stdout) ? terse_fail(err, TERSE_IO, "cannot write to stdout") : st;
}

static void print_notes(const terse_bench_out *out)
{
    printf("\nbuild: terse %s\n", terse_version());
    printf(
        "own: samples in which the threads had a core for %.0f %% of the time they wanted one and calculated, "
        "all together, at least %.2f of what each can alone; only these count.\n",
        100 * TERSE_OWN_CORE, TERSE_OWN_FMA);
    if (out->n_other > 0)
        printf("0/n!: the machine was not its own in any sample, so all of them count: measure again.\n");
    if (out->phases)
        printf("embed to wait: microseconds of a token, the mean of the threads.\n");
    if (out->plan->copies)
        printf(
            "Depths are copies of the keys and values of a short prompt (--fill copy): speeds, not answers.\n");
    printf("Differences under 15 %% are noise.\n");
}

void terse_bench_end(const terse_bench_out *out)
{
    if (out->format == TERSE_BENCH_JSON)
        fputs(out->n > 0 ? "\n]\n" : "]\n", stdout);
    else if (out->format == TERSE_BENCH_MD)
        print_notes(out);
}
