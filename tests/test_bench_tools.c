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

/* Each line of out is an object with these numbers, all above zero; returns how many lines. */
static int lines_with(const char *const *names, size_t n)
{
    int lines = 0;
    char *save = NULL;
    for (char *line = strtok_r(out, "\n", &save); line; line = strtok_r(NULL, "\n", &save), lines++) {
        json_t *root = json_loads(line, 0, NULL);
        if (!root)
            fail_msg("not JSON: %s", line);
        for (size_t i = 0; i < n; i++)
            assert_true(number(root, names[i]) > 0);
        json_decref(root);
    }
    return lines;
}

static void benchmarks_print_json(void **state)
{
    (void)state;
    static const char *const walk[] = { "ns_per_token_head", "gb_s", "roofline_gb_s", "fraction",
                                        "bytes_ratio" };
    static const char *const roof[] = { "threads", "kib_per_thread", "gb_s", "gb_s_max" };
    assert_int_equal(
        run("'%s' --types f16,q8/f32 --groups 3 --dims 32 --depths 100 --threads 1,2 --mib 1 --samples 2 "
            "--stop value-skip:eps=0.1 --json",
            BENCH_ATTEND),
        0);
    assert_int_equal(lines_with(walk, 5), 4);
    assert_int_equal(run("'%s' --threads 1,2 --rounds 2 --json", ROOFLINE), 0);
    assert_true(lines_with(roof, 4) >= 2); /* memory is always there, caches where the machine tells of them */
    assert_int_equal(run("'%s' --threads 0", ROOFLINE), 2);
    assert_int_equal(run("'%s' --threads", ROOFLINE), 2);
    assert_int_equal(run("'%s' --tier mmx", ROOFLINE), 2);
    assert_int_equal(run("'%s' --types q3", BENCH_ATTEND), 2);
    assert_int_equal(run("'%s' --dims 17", BENCH_ATTEND), 2);
    assert_int_equal(run("'%s' --stop never", BENCH_ATTEND), 2);
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
        cmocka_unit_test(benchmarks_print_json),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
