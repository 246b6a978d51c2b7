/* cli/bench_print.c: records as a table for people, CSV or JSON, with llama-bench's columns and names first. A
 * time is shown as mean and deviation, as it does, and as median and quartiles, which a busy machine disturbs
 * less. */
#include "bench.h"

#include "json_real.h"
#include "terminal.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of one record. */
typedef struct {
    double *ts; /* [n] tokens per second, sorted */
    double avg_ns, stddev_ns, avg_ts, stddev_ts, median_ts, q1_ts, q3_ts;
    double cpu_share;             /* CPU time / (wall time x threads) */
    double roofline;              /* GB/s */
    double weights, kv, kv_dense; /* bytes per token; NAN for prompts, whose weights serve many tokens */
    double gbs, fraction;
} figures;

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of sorted x[n], between the neighbours in proportion. */
static double quantile(const double *x, int32_t n, double q)
{
    const double at = q * (n - 1);
    const int32_t i = (int32_t)at;
    return i + 1 < n ? x[i] + (at - i) * (x[i + 1] - x[i]) : x[i];
}

static void mean_of(const double *x, int32_t n, double *mean, double *stddev)
{
    double sum = 0.0, squares = 0.0;
    for (int32_t i = 0; i < n; i++)
        sum += x[i];
    *mean = sum / n;
    for (int32_t i = 0; i < n; i++)
        squares += (x[i] - *mean) * (x[i] - *mean);
    *stddev = n > 1 ? sqrt(squares / (n - 1)) : 0.0;
}

/* values: room for r->n. */
static void compute(figures *f, const terse_bench_out *out, const terse_bench_record *r, double *values)
{
    const int32_t n_token = r->n_prompt + r->n_gen;
    double wall = 0.0;
    for (int32_t i = 0; i < r->n; i++) {
        values[i] = (double)r->ns[i];
        wall += values[i];
    }
    mean_of(values, r->n, &f->avg_ns, &f->stddev_ns);
    memcpy(values, r->roofline, (size_t)r->n * sizeof *values);
    qsort(values, (size_t)r->n, sizeof *values, by_value);
    f->roofline = quantile(values, r->n, 0.5);
    for (int32_t i = 0; i < r->n; i++)
        values[i] = n_token * 1e9 / (double)(r->ns[i] > 0 ? r->ns[i] : 1);
    mean_of(values, r->n, &f->avg_ts, &f->stddev_ts);
    qsort(values, (size_t)r->n, sizeof *values, by_value);
    f->ts = values;
    f->median_ts = quantile(values, r->n, 0.5);
    f->q1_ts = quantile(values, r->n, 0.25);
    f->q3_ts = quantile(values, r->n, 0.75);
    f->cpu_share = (double)r->cpu_ns / (wall * terse_session_threads(r->session));
    f->weights = f->kv = f->kv_dense = NAN;
    if (r->n_gen > 0) {
        const double tokens = (double)r->n_gen * r->n;
        f->weights = (double)terse_model_about(out->plan->model)->token_bytes;
        f->kv = (double)(r->stats.bytes_k + r->stats.bytes_v + r->stats.bytes_summary) / tokens;
        f->kv_dense = (double)r->stats.bytes_dense / tokens;
    }
    f->gbs = (f->weights + f->kv) * f->median_ts * 1e-9;
    f->fraction = f->gbs / f->roofline;
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

static void cpu_name(char *name, size_t size)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "re");
    snprintf(name, size, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        snprintf(name, size, "%.*s", (int)strcspn(colon, "\n"), colon);
        break;
    }
    if (f)
        fclose(f);
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
    cpu_name(cpu, sizeof cpu);
    print_model(type, sizeof type, i);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&r->when, &tm));
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:s}",
        "build_version", terse_version(), "cpu_info", cpu, "isa", terse_session_tier(r->session), "backends",
        "CPU", "model_filename", out->plan->path, "model_type", type, "model_size", (json_int_t)i->weight_bytes,
        "model_n_params", (json_int_t)i->n_param, "n_ubatch", o->chunk, "n_threads",
        terse_session_threads(r->session), "type_k", terse_kv_type_name(o->type_k), "type_v",
        terse_kv_type_name(o->type_v), "kv_policy", o->policy ? o->policy : "dense", "stop",
        terse_session_stop(r->session), "tokens", out->plan->source, "n_prompt", r->n_prompt, "n_gen", r->n_gen,
        "n_depth", r->n_depth, "test_time", when);
}

/* NULL without memory, or if a name is not UTF-8. */
static json_t *json_of(const terse_bench_out *out, const terse_bench_record *r, const figures *f)
{
    json_t *ns = json_array(), *ts = json_array(), *record = json_setting(out, r);
    const bool bounded = r->n_gen > 0 && terse_session_bounded(r->session);
    json_t *times = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                              "avg_ns", whole(f->avg_ns), "stddev_ns", whole(f->stddev_ns), "avg_ts",
                              terse_json_real(f->avg_ts), "stddev_ts", terse_json_real(f->stddev_ts),
                              "median_ts", terse_json_real(f->median_ts), "q1_ts", terse_json_real(f->q1_ts),
                              "q3_ts", terse_json_real(f->q3_ts), "cpu_share", terse_json_real(f->cpu_share),
                              "bytes_weights_per_token", whole(f->weights), "bytes_kv_per_token", whole(f->kv),
                              "bytes_kv_dense_per_token", whole(f->kv_dense), "roofline_gbs",
                              terse_json_real(f->roofline), "roofline_fraction", terse_json_real(f->fraction),
                              "bound_max", terse_json_real(bounded ? (double)r->stats.bound_max : NAN));
    int failed = !ns || !ts || !record || !times;
    for (int32_t i = 0; i < r->n && !failed; i++)
        failed = json_array_append_new(ns, json_integer(r->ns[i])) ||
                 json_array_append_new(
                     ts, json_real((r->n_prompt + r->n_gen) * 1e9 / (double)(r->ns[i] > 0 ? r->ns[i] : 1)));
    failed = failed || json_object_update(record, times) || json_object_set(record, "samples_ns", ns) ||
             json_object_set(record, "samples_ts", ts);
    json_decref(ns);
    json_decref(ts);
    json_decref(times);
    if (!failed)
        return record;
    json_decref(record);
    return NULL;
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

static void print_md(const terse_bench_out *out, const terse_bench_record *r, const figures *f)
{
    const terse_model_info *i = terse_model_about(out->plan->model);
    const double mib = 1024.0 * 1024.0;
    char name[128], params[32], test[64], speed[64];
    print_model(name, sizeof name, i);
    print_count(params, sizeof params, i->n_param);
    int n = snprintf(test, sizeof test, "%s%d", r->n_prompt ? "pp" : "tg", r->n_prompt + r->n_gen);
    if (r->n_depth > 0)
        snprintf(test + n, sizeof test - (size_t)n, " @ d%d", r->n_depth);
    snprintf(speed, sizeof speed, "%.2f ± %.2f", f->avg_ts, f->stddev_ts);
    printf("| %-*s | %8.2f MiB | %10s | CPU     | %7d | %6s | %6s | %15s | %19s ", NAME_WIDTH, name,
           (double)i->weight_bytes / mib, params, terse_session_threads(r->session),
           terse_kv_type_name(r->opts->type_k), terse_kv_type_name(r->opts->type_v), test, speed);
    if (out->policies)
        printf("| %10s ", r->opts->policy ? r->opts->policy : "dense");
    if (out->stops)
        printf("| %*s ", STOP_WIDTH, terse_session_stop(r->session));
    printf("| %8.2f | %4.0f%% ", f->median_ts, 100 * f->cpu_share);
    if (r->n_gen > 0)
        printf("| %8.3f | %8.3f | %6.2f | %8.2f | %7.1f%% |\n", f->weights / mib, f->kv / mib, f->gbs,
               f->roofline, 100 * f->fraction);
    else
        printf("| %8s | %8s | %6s | %8.2f | %8s |\n", "", "", "", f->roofline, "");
}

void terse_bench_begin(const terse_bench_out *out)
{
    if (out->format == TERSE_BENCH_JSON)
        fputs("[\n", stdout);
    if (out->format != TERSE_BENCH_MD)
        return;
    printf("| %-*s | %12s | %10s | backend | threads | type_k | type_v | %15s | %18s ", NAME_WIDTH, "model",
           "size", "params", "test", "t/s");
    printf("%s%s", out->policies ? "|  kv policy " : "", out->stops ? "|               stop " : "");
    printf("|   median |   cpu | W MiB/t  | KV MiB/t |   GB/s | roofline | fraction |\n");
    printf("| ------------------------ | -----------: | ---------: | ------- | ------: | -----: | -----: | "
           "--------------: | -----------------: ");
    printf("%s%s", out->policies ? "| ---------: " : "", out->stops ? "| -----------------: " : "");
    printf("| -------: | ----: | -------: | -------: | -----: | -------: | -------: |\n");
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

void terse_bench_end(const terse_bench_out *out)
{
    if (out->format == TERSE_BENCH_JSON)
        fputs(out->n > 0 ? "\n]\n" : "]\n", stdout);
    else if (out->format == TERSE_BENCH_MD)
        printf("\nbuild: terse %s\n", terse_version());
}
