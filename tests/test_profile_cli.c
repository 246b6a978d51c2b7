/* The program: `terse calibrate` and --profile, and what audits look like in JSON. */
#include "terse/attend.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MODEL TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf"
#define DEMO  TERSE_MODEL_DIR "/demo.txt"
#define RULE  "'mass:delta=0.02,from=0+value-share:left=0.02'"

enum { N_LAYER = 8, N_HEAD = 2, N_TEXT = 4000 };

static char directory[] = "/tmp/terse-profile-cli-XXXXXX";
static char out[1 << 17], said[4096];

static void slurp(const char *name, char *to, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    to[fread(to, 1, size - 1, f)] = '\0';
    fclose(f);
}

/* Runs `terse ARGS` in the directory; m.gguf is the model. */
static void terse(int want, const char *args)
{
    char line[1024];
    snprintf(line, sizeof line, "cd %s && '%s' %s >out 2>said", directory, TERSE_PROGRAM, args);
    const int status = system(line);
    slurp("out", out, sizeof out);
    slurp("said", said, sizeof said);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != want)
        fail_msg("terse %s: %d, not %d: %s", args, status, want, said);
}

/* The text, the model by a name in the folder, and a profile beside it. */
static int set_up(void **state)
{
    (void)state;
    char line[1024];
    if (!mkdtemp(directory))
        return -1;
    snprintf(line, sizeof line,
             "cd %s && head -c %d '%s' >text && ln -s '%s' m.gguf && '%s' calibrate m.gguf -f text "
             "-c 256 --scored 2 --windows 1 --stop " RULE " >table",
             directory, N_TEXT, DEMO, MODEL, TERSE_PROGRAM);
    return system(line);
}

static int tear_down(void **state)
{
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "rm -r %s", directory);
    return system(line);
}

static const json_t *at(const json_t *root, const char *a, const char *b)
{
    const json_t *x = json_object_get(root, a);
    x = b ? json_object_get(x, b) : x;
    if (!x)
        fail_msg("no %s %s in %s", a, b ? b : "", out);
    return x;
}

static json_int_t histogram_sum(const json_t *histogram)
{
    json_int_t sum = 0;
    assert_int_equal(json_array_size(histogram), TERSE_AUDIT_BINS);
    for (size_t i = 0; i < TERSE_AUDIT_BINS; i++) {
        assert_true(json_is_integer(json_array_get(histogram, i)));
        sum += json_integer_value(json_array_get(histogram, i));
    }
    return sum;
}

/* What an object of counters must have; returns the audits. */
static json_int_t check_stats(const json_t *s, const char *kind)
{
    static const char *const whole[][2] = { { "bytes", "k" },         { "bytes", "v" },
                                            { "bytes", "summary" },   { "bytes", "dense_kv" },
                                            { "pages", "listed" },    { "pages", "scored" },
                                            { "pages", "read" },      { "audit", "n" },
                                            { "audit", "violations" } },
                             *const real[][2] = { { "pages", "alone" }, { "left", "max" }, { "left", "mean" } };
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        assert_true(json_is_integer(at(s, whole[i][0], whole[i][1])));
    for (size_t i = 0; i < sizeof real / sizeof *real; i++)
        assert_true(json_is_real(at(s, real[i][0], real[i][1])));
    const json_t *audit = at(s, "audit", NULL);
    const json_int_t n = json_integer_value(at(audit, "n", NULL));
    assert_int_equal(histogram_sum(at(audit, "error", "histogram")), n);
    assert_int_equal(histogram_sum(at(audit, kind, "histogram")), n);
    assert_true(json_real_value(at(audit, "error", "mean")) <= json_real_value(at(audit, "error", "max")));
    assert_true(json_is_real(at(audit, "left_true", "mean")));
    assert_true(json_real_value(at(s, "pages", "alone")) <=
                (double)json_integer_value(at(s, "pages", "scored")) + 1e-6);
    return n;
}

/* One run's object: the session's counters are the sums of the heads'. */
static void check_audited(const json_t *root, const char *kind, json_int_t n)
{
    json_int_t sum = 0, bytes = 0;
    assert_int_equal(check_stats(root, kind), n);
    const json_t *bins = at(root, "audit", "bins"), *layers = at(root, "heads", NULL);
    assert_int_equal(json_array_size(bins), TERSE_AUDIT_BINS);
    assert_true(json_real_value(json_array_get(bins, 0)) == 0.0);
    for (size_t i = 1; i < TERSE_AUDIT_BINS; i++)
        assert_true(json_real_value(json_array_get(bins, i)) > json_real_value(json_array_get(bins, i - 1)));
    assert_int_equal(json_array_size(layers), N_LAYER);
    for (size_t l = 0; l < N_LAYER; l++) {
        assert_int_equal(json_array_size(json_array_get(layers, l)), N_HEAD);
        for (size_t h = 0; h < N_HEAD; h++) {
            const json_t *head = json_array_get(json_array_get(layers, l), h);
            assert_null(json_object_get(json_object_get(head, "audit"), "bins"));
            sum += check_stats(head, kind);
            bytes += json_integer_value(at(head, "bytes", "v"));
        }
    }
    assert_int_equal(sum, n);
    assert_int_equal(bytes, json_integer_value(at(root, "bytes", "v")));
}

static json_t *parsed(void)
{
    json_error_t e;
    json_t *j = json_loads(out, 0, &e);
    if (!j)
        fail_msg("no JSON (%s): %.500s", e.text, out);
    return j;
}

static void audits_are_histograms(void **state)
{
    (void)state;
    terse(0, "run m.gguf -f text -n 3 --temp 0 --ignore-eos --audit 1 --json --stop " RULE);
    json_t *j = parsed();
    check_audited(j, "estimate", 2 * N_LAYER * N_HEAD);
    assert_true(json_integer_value(at(j, "bytes", "weights")) > 0);
    json_decref(j);
    terse(0, "eval kl m.gguf -f text -c 256 --scored 2 --windows 2 --audit 1 --json --stop 'value-skip;none'");
    j = parsed();
    check_audited(json_array_get(j, 0), "bound", 2 * 2 * N_LAYER * N_HEAD);
    check_audited(json_array_get(j, 1), "bound", 2 * 2 * N_LAYER * N_HEAD);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(json_integer_value(at(at(json_array_get(j, i), "audit", NULL), "violations", NULL)),
                         0);
    json_decref(j);
    terse(0, "run m.gguf -f text -n 3 --temp 0 --ignore-eos --audit 1 --stop " RULE);
    assert_non_null(strstr(said, "32 walks repeated in full"));
    assert_null(strstr(said, "prefill"));
    terse(0, "run m.gguf -f text -n 3 --temp 0 --json --stop " RULE);
    j = parsed();
    assert_null(json_object_get(j, "audit"));
    assert_null(json_object_get(j, "heads"));
    at(j, "left", "max");
    json_decref(j);
}

static void calibrate_writes_what_profile_reads(void **state)
{
    (void)state;
    slurp("table", out, sizeof out);
    assert_non_null(strstr(out, "|     7 |    1 |"));
    assert_non_null(strstr(out, "| before "));
    assert_non_null(strstr(out, "written to terse-profile-"));
    terse(0, "run m.gguf -f text -n 3 --temp 0 --json --profile auto");
    json_t *j = parsed();
    assert_string_equal(json_string_value(at(j, "profile", NULL)), "auto");
    assert_int_equal(strncmp(json_string_value(at(j, "stop", "rule")), "mass:delta=0.02,", 16), 0);
    json_decref(j);
    terse(0, "eval kl m.gguf -f text -c 256 --scored 2 --windows 1 --json --stop value-share --profile auto");
    j = parsed();
    assert_string_equal(json_string_value(at(j, "profile", NULL)), "auto");
    json_decref(j);
    terse(0, "logits m.gguf --ids 1,2,3,4 --decode-from 2 -o x.f32 --stats --profile terse-profile-*.json");
    assert_non_null(strstr(said, "mass:delta=0.02"));
    terse(0, "bench m.gguf -p 0 -n 2 -r 1 --probe-size 1M --stop 'mass;value-share' --profile auto -o json");
    terse(
        0,
        "calibrate m.gguf -f text -c 256 --scored 2 --windows 1 --stop value-share --target 0.01 -o here.json");
    terse(0, "run m.gguf -p x -n 2 --temp 0 --json --stop mass --profile here.json");
}

/* Scales and heads go into one profile, whichever comes first. */
static void heads_join_the_profile(void **state)
{
    (void)state;
    json_error_t e;
    char path[128];
    snprintf(path, sizeof path, "%s/both.json", directory);
    for (int first = 0; first < 2; first++) {
        for (int k = 0; k < 2; k++)
            terse(0, k == first
                         ? "calibrate m.gguf --heads -c 400 --prompts 1 --sinks 8 --window 32 -o both.json"
                         : "calibrate m.gguf -f text -c 256 --scored 2 --windows 1 --stop " RULE
                           " -o both.json");
        json_t *j = json_load_file(path, 0, &e);
        assert_non_null(j);
        assert_int_equal(json_array_size(at(j, "scale", NULL)), N_LAYER);
        assert_non_null(strstr(json_string_value(at(j, "streaming_of", NULL)), "sinks 8, window 32"));
        for (size_t u = 0; u < N_LAYER * N_HEAD; u++) {
            const json_t *row = json_array_get(at(j, "streaming", NULL), u / N_HEAD);
            assert_in_range((int64_t)(1e6 * json_real_value(json_array_get(row, u % N_HEAD))), 1, 2000000);
        }
        json_decref(j);
        terse(0,
              "run m.gguf -f text -n 3 --temp 0 --json --kv-policy duo:profile=both.json,share=0.25,window=64");
        j = parsed();
        assert_non_null(
            strstr(json_string_value(at(j, "kv", "policy")), "duo:share=0.25,window=64,profile=both"));
        json_decref(j);
        terse(0, "run m.gguf -f text -n 3 --temp 0 --kv-policy duo --stop none --profile both.json");
        if (remove(path))
            fail_msg("%s stays", path);
    }
}

static void wrong_use_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *args, *why;
    } bad[] = {
        { "calibrate m.gguf", "-f FILE" },
        { "calibrate -f text", "which model" },
        { "calibrate m.gguf -f text -c 256 --stop none", "not with none" },
        { "calibrate m.gguf -f text -c 256", "leaves nothing out" },
        { "calibrate m.gguf -f text -c 4000", "a window of 4000" },
        { "calibrate m.gguf -f text --target -1", "--target" },
        { "run m.gguf -p x -n 1 --profile missing.json", "missing.json" },
        { "run m.gguf -p x -n 1 --kv-policy duo", "calibrate MODEL --heads" },
        { "run m.gguf -p x -n 1 --kv-policy duo --profile auto", "knows no heads" },
        { "run m.gguf -p x -n 1 --kv-policy duo:profile=missing.json", "missing.json" },
        { "calibrate m.gguf --heads -f text", "text, line 1" },
        { "run m.gguf -p x -n 1 --profile text", "text, line 1" },
        { "run m.gguf -p x -n 1 --profile auto --stop none", "not with none" },
        { "eval kl m.gguf -f text -c 256 --stop none --profile auto", "not with none" },
        { "bench m.gguf -p 0 -n 1 -r 1 --stop none --profile auto", "not with none" },
        { "logits m.gguf --ids 1 -o x --profile missing.json", "missing.json" },
        { "run '" MODEL "' -p x -n 1 --profile auto", "terse-profile-" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        terse(2, bad[i].args);
        if (!strstr(said, bad[i].why) || strchr(said, '\n') != said + strlen(said) - 1)
            fail_msg("%s: '%s' does not say '%s' in one line", bad[i].args, said, bad[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(audits_are_histograms),
        cmocka_unit_test(calibrate_writes_what_profile_reads),
        cmocka_unit_test(heads_join_the_profile),
        cmocka_unit_test(wrong_use_is_told),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
