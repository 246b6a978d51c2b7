/* tests/test_bench.c: `terse bench` prints what it promises, and its numbers fit each other and the model. */
#include "terse/terse.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#define MODEL TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf"

static char out[1 << 16];

/* Runs `PREFIX terse bench MODEL ARGS`; its stdout (with stderr if asked for in args) is then in out. */
static int bench_under(const char *prefix, const char *args)
{
    char line[1024];
    snprintf(line, sizeof line, "%s '%s' bench '%s' --probe-size 1M %s", prefix, TERSE_PROGRAM, MODEL, args);
    FILE *f = popen(line, "r");
    assert_non_null(f);
    out[fread(out, 1, sizeof out - 1, f)] = '\0';
    const int status = pclose(f);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int bench(const char *args)
{
    return bench_under("", args);
}

static json_t *parse(size_t n)
{
    json_t *records = json_loads(out, 0, NULL);
    assert_true(json_is_array(records));
    assert_int_equal(json_array_size(records), n);
    return records;
}

static double real(const json_t *record, const char *name)
{
    const json_t *x = json_object_get(record, name);
    if (!json_is_number(x))
        fail_msg("%s is no number", name);
    return json_number_value(x);
}

static int64_t whole(const json_t *record, const char *name)
{
    const json_t *x = json_object_get(record, name);
    if (!json_is_integer(x))
        fail_msg("%s is no whole number", name);
    return json_integer_value(x);
}

static const char *text(const json_t *record, const char *name)
{
    const char *x = json_string_value(json_object_get(record, name));
    if (!x)
        fail_msg("%s is no string", name);
    return x;
}

/* The mean of the samples that count: those that had the machine to themselves, or all. */
static double mean_of(const json_t *list, const json_t *own, bool all)
{
    double sum = 0;
    size_t i, n = 0;
    json_t *x;
    json_array_foreach(list, i, x)
    {
        const bool counts = all || json_is_true(json_array_get(own, i));
        sum += counts ? json_number_value(x) : 0;
        n += counts;
    }
    return sum / (double)n;
}

/* The times of a record fit its samples. */
static void check_times(const json_t *r, size_t reps)
{
    const json_t *ns = json_object_get(r, "samples_ns"), *ts = json_object_get(r, "samples_ts");
    const json_t *own = json_object_get(r, "samples_own"), *core = json_object_get(r, "samples_core_share");
    const json_t *fma = json_object_get(r, "samples_fma_ratio");
    const double n_token = (double)(whole(r, "n_prompt") + whole(r, "n_gen"));
    const double threads = (double)whole(r, "n_threads");
    int64_t n_own = 0;
    assert_int_equal(json_array_size(ns), reps);
    assert_int_equal(json_array_size(ts), reps);
    assert_int_equal(whole(r, "n_samples"), reps);
    for (size_t i = 0; i < reps; i++) {
        const double product =
            (double)json_integer_value(json_array_get(ns, i)) * 1e-9 * json_real_value(json_array_get(ts, i));
        assert_true(fabs(product - n_token) < 1e-3 * n_token);
        const bool is_own = json_is_true(json_array_get(own, i));
        assert_int_equal(is_own, json_real_value(json_array_get(core, i)) >= 0.97 &&
                                     json_real_value(json_array_get(fma, i)) >= 0.75 * threads);
        n_own += is_own;
    }
    assert_int_equal(whole(r, "n_own"), n_own);
    assert_true(fabs(real(r, "avg_ns") - mean_of(ns, own, n_own == 0)) <= 1);
    assert_true(fabs(real(r, "avg_ts") - mean_of(ts, own, n_own == 0)) < 1e-3 * real(r, "avg_ts"));
    assert_true(real(r, "stddev_ts") >= 0 && real(r, "stddev_ns") >= 0);
    assert_true(real(r, "q1_ts") <= real(r, "median_ts") && real(r, "median_ts") <= real(r, "q3_ts"));
    assert_true(real(r, "cpu_share") > 0 && real(r, "cpu_share") < 1.1);
    assert_true(real(r, "core_share") > 0 && real(r, "core_share") < 1.1);
    assert_true(real(r, "roofline_gbs") > 0 && real(r, "fma_gflops") > 0 && real(r, "int8_gops") > 0);
    assert_true(real(r, "fma_ratio") > 0);
}

/* Of the model's matrices, for n tokens and one row of logits. */
static double operations(const terse_model_info *i, double n)
{
    const double row = (i->n_head + i->n_head_kv) * i->dim_k + (i->n_head + i->n_head_kv) * i->dim_v;
    return 2.0 * i->n_embd * (n * i->n_layer * (row + 3.0 * i->n_ff) + i->n_vocab);
}

/* What dense attention reads for the token after depth tokens: whole K pages and its V rows, f16. */
static int64_t dense_bytes(const terse_model_info *i, int64_t depth)
{
    const int64_t pages = depth / TERSE_KV_PAGE + 1;
    return (int64_t)i->n_layer * i->n_head_kv * 2 * (pages * TERSE_KV_PAGE * i->dim_k + (depth + 1) * i->dim_v);
}

static void json_has_what_scripts_read(void **state)
{
    (void)state;
    terse_model *m;
    assert_int_equal(terse_model_open(&m, MODEL, NULL), TERSE_OK);
    const terse_model_info *i = terse_model_about(m);
    assert_int_equal(bench("-p 8 -n 1 -d 40,0 -t 1 -r 3 --stop 'none;value-skip:eps=0.1' -o json"), 0);
    json_t *records = parse(6), *r;
    static const int64_t prompt[] = { 8, 0, 0, 8, 0, 0 }, depth[] = { 0, 0, 0, 40, 40, 40 };
    size_t n;
    json_array_foreach(records, n, r)
    {
        const bool is_prompt = prompt[n] > 0, exact = n % 3 < 2;
        assert_int_equal(whole(r, "n_prompt"), prompt[n]);
        assert_int_equal(whole(r, "n_gen"), is_prompt ? 0 : 1);
        assert_int_equal(whole(r, "n_depth"), depth[n]);
        assert_int_equal(whole(r, "n_threads"), 1);
        assert_string_equal(text(r, "model_filename"), MODEL);
        assert_non_null(strstr(text(r, "model_type"), "llama"));
        assert_int_equal(whole(r, "model_size"), i->weight_bytes);
        assert_int_equal(whole(r, "model_n_params"), i->n_param);
        assert_string_equal(text(r, "type_k"), "f16");
        assert_string_equal(text(r, "type_v"), "f16");
        assert_string_equal(text(r, "kv_policy"), "dense");
        assert_string_equal(text(r, "stop"), exact ? "none" : "value-skip:eps=0.1");
        assert_string_equal(text(r, "build_version"), terse_version());
        assert_true(strlen(text(r, "isa")) > 0 && strlen(text(r, "test_time")) == 20);
        check_times(r, 3);
        if (is_prompt) {
            assert_true(json_is_null(json_object_get(r, "bytes_weights_per_token")));
            assert_true(json_is_null(json_object_get(r, "roofline_fraction")));
            const double gops = real(r, "matrix_gops"), n_token = (double)prompt[n];
            assert_true(fabs(gops * n_token / real(r, "median_ts") * 1e9 / operations(i, n_token) - 1) < 0.1);
            assert_true(fabs(real(r, "int8_fraction") * real(r, "int8_gops") / gops - 1) < 1e-3);
            continue;
        }
        assert_true(json_is_null(json_object_get(r, "int8_fraction")));
        const double weights = real(r, "bytes_weights_per_token"), kv = real(r, "bytes_kv_per_token");
        assert_int_equal((int64_t)weights, i->token_bytes);
        assert_int_equal(whole(r, "bytes_kv_dense_per_token"), dense_bytes(i, depth[n]));
        if (exact)
            assert_int_equal((int64_t)kv, dense_bytes(i, depth[n]));
        assert_true(kv > 0);
        const double gbs = (weights + kv) * real(r, "median_ts") * 1e-9;
        assert_true(fabs(real(r, "roofline_fraction") - gbs / real(r, "roofline_gbs")) < 1e-3 * gbs);
    }
    json_decref(records);
    terse_model_close(&m);
}

static void every_combination_is_measured(void **state)
{
    (void)state;
    assert_int_equal(bench("-p 0 -n 2 -t 1,2 -ctk f32,q8 -ctv f16,q8 -r 1 -o json"), 0);
    json_t *records = parse(8);
    for (size_t i = 0; i < 8; i++) {
        const json_t *r = json_array_get(records, i);
        assert_int_equal(whole(r, "n_threads"), 1 + (int)i / 4);
        assert_string_equal(text(r, "type_k"), i / 2 % 2 ? "q8" : "f32");
        assert_string_equal(text(r, "type_v"), i % 2 ? "q8" : "f16");
    }
    json_decref(records);
    assert_int_equal(
        bench("-p 0 -n 1 -d 9 -r 1 --quality exact,fast -f '" TERSE_TEST_DIR "/test_bench.c' -o json"), 0);
    records = parse(2);
    assert_string_equal(text(json_array_get(records, 0), "stop"), "none");
    assert_non_null(strstr(text(json_array_get(records, 1), "stop"), "mass:delta=0.015"));
    assert_non_null(strstr(text(json_array_get(records, 1), "tokens"), "test_bench.c"));
    json_decref(records);
    assert_int_equal(bench("-p 0 -n 1 -d 9 -r 1 --stop 'none;stability' -o json"), 0);
    records = parse(2); /* a rule that proves nothing has no bound, not a bound of 0 */
    assert_true(real(json_array_get(records, 0), "bound_max") == 0);
    assert_true(json_is_null(json_object_get(json_array_get(records, 1), "bound_max")));
    json_decref(records);
}

/* A batch's weights are read once for all of its sequences, each of which has keys and values of its own; and a
 * depth of copies is as deep as one that was computed. */
static void batches_share_the_weights(void **state)
{
    (void)state;
    static const int64_t batch[] = { 1, 3, 1, 3 }, depth[] = { 0, 0, 600, 600 };
    terse_model *m;
    assert_int_equal(terse_model_open(&m, MODEL, NULL), TERSE_OK);
    const terse_model_info *i = terse_model_about(m);
    assert_int_equal(bench("-p 0 -n 1 -npl 1,3 -d 0,600 --fill copy --quality exact -t 2 -r 1 -o json"), 0);
    json_t *records = parse(4), *r;
    size_t n;
    json_array_foreach(records, n, r)
    {
        assert_int_equal(whole(r, "n_parallel"), batch[n]);
        assert_int_equal(whole(r, "n_depth"), depth[n]);
        assert_string_equal(text(r, "fill"), "copy");
        assert_int_equal(whole(r, "bytes_weights_per_token"),
                         llround((double)i->token_bytes / (double)batch[n]));
        assert_int_equal(whole(r, "bytes_kv_per_token"), dense_bytes(i, depth[n]));
        const double ns = real(json_array_get(records, n), "avg_ns");
        assert_true(fabs(real(r, "avg_ts") * ns / 1e9 / (double)batch[n] - 1) < 1e-3);
    }
    json_decref(records);
    terse_model_close(&m);
    assert_int_equal(bench("-p 0 -n 2 -npl 3 -pps -d 640 --quality exact -t 1 -r 1 -o json"), 0);
    records = parse(1);
    r = json_array_get(records, 0);
    assert_true(json_is_true(json_object_get(r, "prompt_shared")));
    /* 3 sequences read their 20 common pages once. */
    assert_true(whole(r, "bytes_kv_per_token") < whole(r, "bytes_kv_dense_per_token") / 2);
    json_decref(records);
    assert_int_equal(bench("-p 0 -n 1 -npl 2,5 -d 0 --fill copy --quality exact -r 1"), 0);
    assert_non_null(strstr(out, " tg1 b5 |"));
    assert_non_null(strstr(out, "Depths are copies"));
}

/* Tokens of a text that repeats itself: guesses save passes over the weights, and the two ways take turns. */
static void guesses_are_counted(void **state)
{
    (void)state;
    static const char *const ways[] = { "none", "ngram" };
    const int status = system("seq -s ' ' 1 9 | tr '\\n' ' ' >/tmp/terse-bench-text");
    assert_int_equal(status, 0);
    assert_int_equal(bench("-p 4 -n 48 -d 64 -r 2 -o json -f /tmp/terse-bench-text --draft none,ngram"), 0);
    json_t *records = parse(3); /* a prompt knows no guesses */
    int64_t weights[2];
    for (size_t i = 0; i < 2; i++) {
        const json_t *r = json_array_get(records, 1 + i);
        assert_string_equal(json_string_value(json_object_get(r, "draft")), ways[i]);
        weights[i] = whole(r, "bytes_weights_per_token");
        if (i == 0)
            assert_int_equal(whole(r, "n_guessed"), 0);
        else
            assert_int_equal(whole(r, "n_draft_steps") + whole(r, "n_accepted"), 2 * 48);
    }
    assert_true(2 * weights[1] < weights[0]);
    json_decref(records);
    assert_int_equal(bench("-p 0 -n 2 --draft ngram,lookup 2>&1"), 2);
    assert_non_null(strstr(out, "none of: none ngram"));
    remove("/tmp/terse-bench-text");
}

/* What a token's time went to adds up to the time, and only where it was asked for. */
static void phases_add_up(void **state)
{
    (void)state;
    static const char *const names[] = { "embed",   "prepare", "qkv",    "attend", "o",
                                         "gate_up", "down",    "logits", "wait" };
    assert_int_equal(bench("-p 4 -n 20 -d 100 -t 1,2 -r 2 --phases -o json"), 0);
    json_t *records = parse(4), *r;
    size_t n;
    json_array_foreach(records, n, r)
    {
        double sum = 0;
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            char name[32];
            snprintf(name, sizeof name, "spent_%s_ns", names[k]);
            if (n % 2 == 0) { /* a prompt */
                assert_true(json_is_null(json_object_get(r, name)));
                continue;
            }
            assert_true(real(r, name) > 0 || strcmp(names[k], "wait") == 0);
            sum += real(r, name);
        }
        const double token = real(r, "avg_ns") / 20;
        assert_true(n % 2 == 0 || (sum > 0.5 * token && sum < 1.001 * token));
    }
    json_decref(records);
    assert_int_equal(bench("-p 0 -n 2 -r 1 -o json"), 0);
    assert_null(strstr(out, "spent_"));
    assert_int_equal(bench("-p 4 -n 2 -r 1 --phases"), 0);
    assert_non_null(strstr(out, "| gate_up |"));
}

static void csv_has_one_line_each(void **state)
{
    (void)state;
    static const char *const names[] = { "model_filename", "n_threads", "type_k",   "type_v",
                                         "n_prompt",       "n_gen",     "n_depth",  "avg_ts",
                                         "avg_ns",         "stddev_ts", "test_time" };
    assert_int_equal(bench("-p 4 -n 2 -r 1 --no-warmup -o csv"), 0);
    char *save = NULL, *header = strtok_r(out, "\n", &save), *line;
    size_t commas = 0, n = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char quoted[64];
        snprintf(quoted, sizeof quoted, "\"%s\"", names[i]);
        assert_non_null(strstr(header, quoted));
    }
    for (const char *p = header; (p = strstr(p, "\",\"")); p++)
        commas++;
    for (; (line = strtok_r(NULL, "\n", &save)); n++) {
        size_t found = 0;
        for (const char *p = line; (p = strstr(p, "\",\"")); p++)
            found++;
        assert_int_equal(found, commas);
    }
    assert_int_equal(n, 2);
}

static void the_table_starts_as_llama_bench_does(void **state)
{
    (void)state;
    static const char *const columns[] = { "model",  "size",   "params", "backend", "threads",
                                           "type_k", "type_v", "test",   "t/s" };
    assert_int_equal(bench("-p 4 -n 2 -d 3 -r 1"), 0);
    const char *at = out;
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        at = strstr(at, columns[i]);
        assert_non_null(at);
    }
    assert_non_null(strstr(out, " pp4 @ d3 |"));
    assert_non_null(strstr(out, " tg2 @ d3 |"));
    assert_non_null(strstr(out, "build: terse"));
    assert_non_null(strstr(out, "Differences under 15 % are noise"));
    if (strstr(out, " 0/1! |"))
        assert_non_null(strstr(out, "0/n!: the machine was not its own"));
    else
        assert_non_null(strstr(out, " 1/1  |"));
}

static void refuses(const char *args, const char *what)
{
    char line[256];
    snprintf(line, sizeof line, "%s 2>&1", args);
    assert_int_equal(bench(line), 2);
    if (!strstr(out, what))
        fail_msg("%s: \"%s\" is not in \"%s\"", args, what, out);
}

static void wrong_lines_are_refused(void **state)
{
    (void)state;
    refuses("-p 0 -n 0", "-p 0");
    refuses("-p 1x", "\"1x\"");
    refuses("-p 1,,2", "-p");
    refuses("-d -1", "\"-1\"");
    refuses("-t 5000", "5000");
    refuses("-ctk q3", "q3");
    refuses("--stop 'none;sometimes'", "sometimes");
    refuses("--kv-policy most", "most");
    refuses("--quality slow", "slow");
    refuses("--quality fast --stop none", "--stop is one too many");
    refuses("--quality fast --kv-policy dense", "--kv-policy is one too many");
    refuses("-npl 0", "-npl");
    refuses("-npl 65", "\"65\"");
    refuses("-npl 2 --draft ngram", "leave out -npl");
    refuses("--fill copy -d 64", "--quality exact");
    refuses("--fill copy --quality exact --draft ngram", "leave out --fill copy");
    refuses("-f /dev/null", "is empty");
    refuses("-c 10", "512");
    refuses("-f nowhere", "nowhere");
}

static void what_was_measured_is_kept(void **state)
{
    (void)state;
    assert_int_equal(bench("-p 4 -n 2 -r 1 >/dev/full 2>/dev/null"), 74);
    assert_int_equal(bench_under("timeout --foreground --preserve-status -s INT 3",
                                 "-p 64 -n 100000 -r 2 -o json 2>/dev/null"),
                     130);
    json_t *records = parse(1);
    check_times(json_array_get(records, 0), 2);
    json_decref(records);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_has_what_scripts_read),
        cmocka_unit_test(every_combination_is_measured),
        cmocka_unit_test(batches_share_the_weights),
        cmocka_unit_test(guesses_are_counted),
        cmocka_unit_test(phases_add_up),
        cmocka_unit_test(csv_has_one_line_each),
        cmocka_unit_test(the_table_starts_as_llama_bench_does),
        cmocka_unit_test(wrong_lines_are_refused),
        cmocka_unit_test(what_was_measured_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
