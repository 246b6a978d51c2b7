/* tests/test_bench_tools.c: the programs of bench/: what logits_kl computes, and that the others measure
 * something that can be parsed. */
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static char directory[] = "/tmp/terse-tools-XXXXXX";
static char out[1 << 16]; /* stdout and stderr of the last command */

/* printf of a command that runs in the directory; returns its exit code. */
__attribute__((format(printf, 1, 2))) static int run(const char *fmt, ...)
{
    char command[1024], line[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    snprintf(line, sizeof line, "cd %s && %s 2>&1", directory, command);
    FILE *f = popen(line, "r");
    assert_non_null(f);
    out[fread(out, 1, sizeof out - 1, f)] = '\0';
    const int status = pclose(f);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void write_rows(const char *name, const float *x, size_t n)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(x, sizeof *x, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static double number(const json_t *object, const char *name)
{
    const json_t *x = json_object_get(object, name);
    if (!json_is_number(x))
        fail_msg("%s is no number in %s", name, out);
    return json_number_value(x);
}

static void near(double got, double want)
{
    if (fabs(got - want) > 1e-7)
        fail_msg("%.12g is not %.12g", got, want);
}

/* Rows of two tokens with A = (1/4, 3/4), against the same shifted, (1/2, 1/2), (3/4, 1/4) and again the same.
 */
static void divergences_known_by_hand(void **state)
{
    (void)state;
    const float l = logf(3.0f);
    const float a[] = { 0, l, 5, 5 + l, 0, l, -1000, -1000 + l }, b[] = { 7, 7 + l, 0, 0, l, 0, 0, l };
    const double half = 0.25 * log(0.5) + 0.75 * log(1.5), swapped = 0.5 * log(3);
    write_rows("a", a, 8);
    write_rows("b", b, 8);
    assert_int_equal(run("'%s' a b 2 --json", LOGITS_KL), 0);
    json_t *root = json_loads(out, 0, NULL), *kl = json_object_get(root, "kl");
    assert_non_null(root);
    assert_int_equal(json_integer_value(json_object_get(root, "tokens")), 4);
    near(number(kl, "mean"), (half + swapped) / 4);
    near(number(kl, "p50"), half / 2);
    near(number(kl, "max"), swapped);
    near(number(kl, "p90"), half + 0.7 * (swapped - half));
    near(number(kl, "p99"), half + 0.97 * (swapped - half));
    near(number(root, "top1"), 0.5); /* a tie goes to the lower id */
    json_decref(root);
    assert_int_equal(run("'%s' a b 2", LOGITS_KL), 0);
    assert_non_null(strstr(out, "tokens 4"));
    assert_non_null(strstr(out, "top1"));
}

static void impossible_tokens_are_infinitely_far(void **state)
{
    (void)state;
    const float a[] = { 0, -INFINITY, 0, 0 }, b[] = { 0, 0, 0, -INFINITY };
    write_rows("a", a, 4);
    write_rows("b", b, 4);
    assert_int_equal(run("'%s' a b 2 --json", LOGITS_KL), 0);
    json_t *root = json_loads(out, 0, NULL), *kl = json_object_get(root, "kl");
    assert_non_null(root);
    assert_true(json_is_null(json_object_get(kl, "max")));
    json_decref(root);
}

static void what_are_no_logits_is_refused(void **state)
{
    (void)state;
    const float good[] = { 0, 1, 2, 3 }, bad[] = { 0, 1, NAN, 3 }, none[] = { -INFINITY, -INFINITY, 0, 0 };
    write_rows("good", good, 4);
    write_rows("short", good, 2);
    write_rows("odd", good, 3);
    write_rows("bad", bad, 4);
    write_rows("none", none, 4);
    write_rows("empty", good, 0);
    assert_int_equal(run("'%s' good good 2", LOGITS_KL), 0);
    static const char *const args[] = { "good short 2", "good odd 2",    "odd good 2",    "good bad 2",
                                        "none good 2",  "good empty 2",  "good absent 2", "good good",
                                        "good good 0",  "good good 2 -j" };
    for (size_t i = 0; i < sizeof args / sizeof *args; i++)
        if (run("'%s' %s", LOGITS_KL, args[i]) != 2)
            fail_msg("%s was accepted: %s", args[i], out);
}

/* The array of n records (0: at least 2) in out. Every one has the text fields of all benchmarks, and these
 * numbers, all above zero. */
static json_t *records(size_t n, const char *bench, const char *const *names, size_t n_name)
{
    static const char *const texts[] = { "build_version", "cpu_info", "isa", "test_time" };
    json_t *root = json_loads(out, 0, NULL), *r;
    size_t i;
    if (!json_is_array(root) || (n ? json_array_size(root) != n : json_array_size(root) < 2))
        fail_msg("not an array of %zu records: %s", n, out);
    json_array_foreach(root, i, r)
    {
        assert_string_equal(json_string_value(json_object_get(r, "bench")), bench);
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
            assert_true(json_string_length(json_object_get(r, texts[k])) > 0);
        for (size_t k = 0; k < n_name; k++)
            assert_true(number(r, names[k]) > 0);
    }
    return root;
}

static void other_benchmarks_print_json(void **state)
{
    (void)state;
    static const char *const roof[] = { "n_threads", "bytes_per_thread", "gbs",      "gbs_q1",
                                        "gbs_q3",    "gbs_max",          "n_samples" },
                             *const dot[] = { "n_threads", "n_in", "n_out",        "bytes",
                                              "median_ns", "gbs",  "roofline_gbs", "roofline_fraction" };
    assert_int_equal(run("'%s' --threads 1,2 --rounds 2 -o json", ROOFLINE), 0);
    json_decref(records(0, "roofline", roof, 7)); /* memory is always there, caches where the machine tells */
    assert_int_equal(run("'%s' --threads 0", ROOFLINE), 2);
    assert_int_equal(run("'%s' --threads", ROOFLINE), 2);
    assert_int_equal(run("'%s' --tier mmx", ROOFLINE), 2);
    assert_int_equal(run("'%s' -o xml", ROOFLINE), 2);
    assert_int_equal(run("'%s' --threads 1 --rounds 2 >/dev/full", ROOFLINE), 74);
    assert_int_equal(run("'%s' --mib 1 --passes 2 -o json", BENCH_DOT), 0);
    json_decref(records(25, "dot", dot, 8));
    assert_int_equal(run("'%s' --mib 1 --passes 2 --type q4_k", BENCH_DOT), 0);
    assert_non_null(strstr(out, "q4_k"));
    assert_int_equal(run("'%s' --mib 0", BENCH_DOT), 2);
}

static void sessions_take_turns(void **state)
{
    (void)state;
    static const char *const numbers[] = { "n_threads", "n_depth", "n_samples", "n_turn",
                                           "median_ns", "q1_ns",   "q3_ns",     "ratio" };
    static const int32_t depths[] = { 64, 64, 100, 100 };
    const char *const model = TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf", *const text =
                                                                              TERSE_MODEL_DIR "/demo.txt";
    assert_int_equal(run("'%s' '%s' -f '%s' --depths 0,100 --stop 'none;value-skip' --tokens 3 --turn 2 --type "
                         "q8 --threads 2 "
                         "-o json",
                         BENCH_TURNS, model, text),
                     0);
    json_t *root = records(4, "turns", numbers, 8);
    for (size_t i = 0; i < 4; i++) {
        const json_t *r = json_array_get(root, i);
        near(number(r, "n_depth"), depths[i]);
        near(number(r, "n_samples"), 3);
        near(number(r, "n_turn"), 2);
        assert_string_equal(json_string_value(json_object_get(r, "stop")), i % 2 ? "value-skip" : "none");
    }
    near(number(json_array_get(root, 0), "ratio"), 1.0);
    json_decref(root);
    assert_int_equal(run("'%s' '%s'", BENCH_TURNS, model), 2);
    assert_int_equal(run("'%s' '%s' -f '%s' --stop 'none;;mass'", BENCH_TURNS, model, text), 2);
    assert_int_equal(run("'%s' '%s' -f '%s' --threads 1,2", BENCH_TURNS, model, text), 2);
    assert_int_equal(run("'%s' '%s' -f '%s' --turn 0", BENCH_TURNS, model, text), 2);
    assert_int_equal(run("'%s' '%s' -f /dev/null", BENCH_TURNS, model), 2);
    assert_int_equal(run("'%s' '%s' -f nowhere/none", BENCH_TURNS, model), 74);
    assert_int_equal(run("'%s' '%s' -f '%s' --type q9", BENCH_TURNS, model, text), 2);
    assert_int_equal(run("'%s' '%s' -f '%s' --stop 'none;no'", BENCH_TURNS, model, text), 2);
}

/* ---- bench_attend ---- */

static const char *const walk_numbers[] = { "n_layer",
                                            "n_head_kv",
                                            "n_group",
                                            "dim_k",
                                            "dim_v",
                                            "n_depth",
                                            "n_threads",
                                            "n_samples",
                                            "avg_ns",
                                            "median_ns",
                                            "q1_ns",
                                            "q3_ns",
                                            "gbs",
                                            "roofline_gbs",
                                            "roofline_fraction",
                                            "bytes",
                                            "bytes_ratio",
                                            "bytes_kv_per_token",
                                            "bytes_per_head",
                                            "ns_per_head",
                                            "bytes_kv_dense_per_token" };
enum { N_WALK = sizeof walk_numbers / sizeof *walk_numbers };

/* What is read is what the store holds, and fewer bytes come with an error that keeps its bound. */
static void check_pair(const json_t *dense, const json_t *skip)
{
    assert_string_equal(json_string_value(json_object_get(dense, "stop")), "none");
    assert_string_equal(json_string_value(json_object_get(skip, "stop")), "value-skip:eps=0.2");
    near(number(dense, "bytes_ratio"), 1);
    near(number(dense, "error_max"), 0);
    near(number(dense, "bytes_kv_per_token"), number(dense, "bytes_kv_dense_per_token"));
    near(number(skip, "bytes_k_per_token"), number(dense, "bytes_k_per_token"));
    const double parts = number(skip, "bytes_k_per_token") + number(skip, "bytes_v_per_token") +
                         number(skip, "bytes_summary_per_token");
    near(parts / number(skip, "bytes_kv_per_token"), 1);
    assert_true(number(skip, "bytes_v_per_token") < number(dense, "bytes_v_per_token"));
    assert_true(number(skip, "pages_read_per_token") < number(skip, "pages_listed_per_token"));
    assert_true(number(skip, "error_mean") > 0 && number(skip, "error_mean") <= number(skip, "error_max"));
    assert_true(number(skip, "error_max") <= number(skip, "bound_max") && number(skip, "bound_max") <= 0.2);
}

static void generated_walks_are_measured(void **state)
{
    (void)state;
    assert_int_equal(
        run("'%s' --type f16,q8/f32 --group 3 --dim 32 --ctx 1100 --threads 1,2 --mib 1 --samples 2 "
            "--stop 'none;value-skip:eps=0.2' -o json",
            BENCH_ATTEND),
        0);
    json_t *root = records(8, "attend", walk_numbers, N_WALK);
    for (size_t i = 0; i < 8; i += 2) {
        const json_t *dense = json_array_get(root, i);
        check_pair(dense, json_array_get(root, i + 1));
        assert_string_equal(json_string_value(json_object_get(dense, "data")), "structured");
        assert_string_equal(json_string_value(json_object_get(dense, "type_k")), i < 4 ? "f16" : "q8");
        assert_string_equal(json_string_value(json_object_get(dense, "type_v")), i < 4 ? "f16" : "f32");
        const double k = i < 4 ? 2 : 1 + 2.0 / 32, v = i < 4 ? 2 : 4; /* bytes; keys by whole pages of 32 */
        near(number(dense, "bytes_per_head"), 32 * (35 * 32 * k + 1100 * v));
    }
    json_decref(root);
    assert_int_equal(run("'%s' --data plain --group 1 --dim 16 --ctx 50 -t 1 --mib 1 --samples 1 --type f32 "
                         "--stop stability -o json",
                         BENCH_ATTEND),
                     0);
    root = records(1, "attend", walk_numbers, N_WALK);
    assert_true(json_is_null(json_object_get(json_array_get(root, 0), "bound_max"))); /* proves nothing */
    assert_true(json_is_null(json_object_get(json_array_get(root, 0), "type_error_mean")));
    json_decref(root);
}

static void recorded_walks_are_measured(void **state)
{
    (void)state;
    assert_int_equal(run("'%s' record '" TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf' -f '" TERSE_MODEL_DIR
                         "/demo.txt' -c 600 --steps 3 -o recording",
                         TERSE_PROGRAM),
                     0);
    assert_int_equal(run("'%s' --recording recording --type f16 --threads 2 --samples 3 --stop "
                         "'none;value-skip:eps=0.2' -o json",
                         BENCH_ATTEND),
                     0);
    json_t *root = records(2, "attend", walk_numbers, N_WALK), *dense = json_array_get(root, 0);
    check_pair(dense, json_array_get(root, 1));
    assert_string_equal(json_string_value(json_object_get(dense, "data")), "recording");
    assert_string_equal(json_string_value(json_object_get(dense, "model")), "Terse 28M 16K");
    assert_true(number(dense, "type_error_mean") < 1e-5); /* f16 was recorded: it costs nothing more */
    near(number(dense, "n_depth"), 603);
    near(number(dense, "bytes_per_head"), 64 * 2 * (19 * 32 + 602)); /* on average over depths 601, 602, 603 */
    json_decref(root);
    assert_int_equal(run("'%s' --recording recording --type q8 -t 1 --samples 1 -o json", BENCH_ATTEND), 0);
    root = records(1, "attend", walk_numbers, N_WALK);
    dense = json_array_get(root, 0);
    assert_true(number(dense, "type_error_mean") > 1e-4 && number(dense, "type_error_mean") < 0.05);
    assert_true(number(dense, "type_error_max") > number(dense, "type_error_mean"));
    json_decref(root);
    assert_int_equal(run("'%s' --recording recording --ctx 5", BENCH_ATTEND), 2);
    assert_int_equal(run("'%s' --recording absent", BENCH_ATTEND), 2);
    assert_int_equal(run("'%s' --recording '%s'", BENCH_ATTEND, BENCH_ATTEND), 2);
    assert_non_null(strstr(out, "magic"));
}

/* What the example says under a rule: bytes read and dense, error, bound (NAN: none). */
static void example(const char *rule, double said[4])
{
    const char *const words[] = { "\nbytes ", "\nerror ", "\nbound " };
    const char *at[3];
    assert_int_equal(run("'%s' %s 4000", EXAMPLE_ATTEND, rule), 0);
    for (int i = 0; i < 3; i++)
        assert_non_null(at[i] = strstr(out, words[i]));
    assert_int_equal(sscanf(at[0], " bytes %lf of %lf", &said[0], &said[1]), 2);
    assert_int_equal(sscanf(at[1], " error %lf", &said[2]), 1);
    if (sscanf(at[2], " bound %lf", &said[3]) != 1)
        said[3] = NAN;
}

static void the_example_shows_what_a_rule_saves_and_costs(void **state)
{
    (void)state;
    double x[4];
    example("none", x);
    near(x[0], 4000 * 64 * 2 * 2); /* f16 keys and values; 4000 tokens are 125 pages */
    near(x[1], x[0]);
    near(x[2], 0);
    near(x[3], 0);
    example("value-skip:eps=0.2", x);
    assert_true(x[0] < 0.95 * x[1] && x[2] > 0 && x[2] <= x[3] && x[3] <= 0.2);
    example("stability:tau=1e-2", x);
    assert_true(x[0] < 0.95 * x[1] && isnan(x[3]));
    assert_int_equal(run("'%s' never", EXAMPLE_ATTEND), 2);
    assert_int_equal(run("'%s' none 0", EXAMPLE_ATTEND), 2);
}

static void wrong_lines_are_refused(void **state)
{
    (void)state;
    static const char *const args[] = { "--types q3",      "--dims 17", "--stop never", "--kv-policy some",
                                        "--samples 0",     "--stop ''", "--data noise", "--recording",
                                        "--threads 1,x,2", "-o xml",    "--tier mmx" };
    for (size_t i = 0; i < sizeof args / sizeof *args; i++)
        if (run("'%s' --ctx 32 --mib 1 --samples 1 %s", BENCH_ATTEND, args[i]) != 2)
            fail_msg("%s was accepted: %s", args[i], out);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "rm -r %s", directory);
    return system(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divergences_known_by_hand),
        cmocka_unit_test(impossible_tokens_are_infinitely_far),
        cmocka_unit_test(what_are_no_logits_is_refused),
        cmocka_unit_test(other_benchmarks_print_json),
        cmocka_unit_test(sessions_take_turns),
        cmocka_unit_test(generated_walks_are_measured),
        cmocka_unit_test(recorded_walks_are_measured),
        cmocka_unit_test(the_example_shows_what_a_rule_saves_and_costs),
        cmocka_unit_test(wrong_lines_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
