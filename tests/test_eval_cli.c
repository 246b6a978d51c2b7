/* The program: `terse eval kl`, `terse eval perplexity` and `terse eval tasks` print what others rely on, and
 * say what is wrong with files. */
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MODEL TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf"
#define DEMO  TERSE_MODEL_DIR "/demo.txt"

enum { N_TEXT = 4000 };

static char directory[] = "/tmp/terse-eval-cli-XXXXXX";
static char demo[N_TEXT];

static int set_up(void **state)
{
    (void)state;
    FILE *f = fopen(DEMO, "rb");
    const bool read = f && fread(demo, 1, N_TEXT, f) == N_TEXT;
    if (f)
        fclose(f);
    return read && mkdtemp(directory) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "rm -r %s", directory);
    return system(line);
}

static char out[1 << 16], said[4096];

static void slurp(const char *name, char *to, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    to[fread(to, 1, size - 1, f)] = '\0';
    fclose(f);
}

/* Runs `terse eval ARGS` in the directory; $M is the model. */
static int eval(const char *args)
{
    char line[1024];
    snprintf(line, sizeof line, "cd %s && M='%s' && '%s' eval %s >out 2>said", directory, MODEL, TERSE_PROGRAM,
             args);
    const int status = system(line);
    slurp("out", out, sizeof out);
    slurp("said", said, sizeof said);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void write_file(const char *name, const char *text, size_t n)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static double number(const json_t *root, const char *path)
{
    char name[64];
    for (const char *p = path; *p; p += *p == '.') {
        const size_t n = strcspn(p, ".");
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        root = json_object_get(root, name);
        p += n;
    }
    if (!json_is_number(root))
        fail_msg("%s is no number in %s", path, out);
    return json_number_value(root);
}

static void kl_prints_what_design_says(void **state)
{
    (void)state;
    static const char *const names[] = {
        "tokens",       "kl.mean",        "kl.p50",         "kl.p90",       "kl.p99",
        "kl.p999",      "kl.max",         "top1",           "ppl",          "ppl_dense",
        "bytes_ratio",  "ppl_ratio.mean", "ppl_ratio.high", "delta_p.mean", "delta_p.rms",
        "delta_p.p001", "delta_p.max",    "free.steps",     "free.same"
    };
    write_file("text", demo, N_TEXT);
    assert_int_equal(eval("kl $M -f text -c 300 --scored 4 --windows 2 --stop value-skip:eps=0.5 --json"), 0);
    assert_string_equal(said, "");
    json_t *one = json_loads(out, 0, NULL);
    assert_true(json_is_object(one));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        number(one, names[i]);
    assert_int_equal((int)number(one, "tokens"), 8);
    assert_int_equal((int)number(one, "scored"), 4);
    assert_int_equal((int)number(one, "free.steps"), 64);
    assert_int_equal(json_array_size(json_object_get(json_object_get(one, "free"), "differs_at")), 2);
    assert_true(number(one, "bytes_ratio") < 1.0);
    assert_int_equal(eval("kl $M -f - -c 300 --scored 4 --windows 2 -ctk q8 -ctv f32 --audit 1 --json "
                          "--stop 'none;value-skip:eps=0.5' <text"),
                     0);
    json_t *two = json_loads(out, 0, NULL);
    assert_int_equal(json_array_size(two), 2);
    assert_true(number(json_array_get(two, 0), "kl.max") == 0.0);
    assert_true(number(json_array_get(two, 1), "audit.n") == 8 * 16);
    assert_string_equal(json_string_value(json_object_get(json_array_get(two, 1), "type_k")), "q8");
    assert_int_equal(eval("kl $M -f text -c 300 --scored 4 --windows 1 --quality exact,safe --free 3"), 0);
    assert_non_null(strstr(out, "mass:delta=0.005"));
    assert_non_null(strstr(out, "1 windows of 300 tokens, the last 4 of each"));
    assert_non_null(strstr(out, "generation of 3 tokens"));
    assert_non_null(strstr(out, "|    1 / 1    |     > 3 |"));
    assert_int_equal(eval("kl $M -f text -c 300 --scored 4 --windows 1 --free 0"), 0);
    assert_null(strstr(out, "generation"));
    json_decref(one);
    json_decref(two);
}

static void perplexity_says_what_was_scored(void **state)
{
    (void)state;
    static const struct {
        const char *args;
        int windows, scored, stride;
    } cases[] = { { "", 5, 99, 200 },
                  { "--stride 50", 17, 50, 50 },
                  { "--stride 150 --scored 7 --windows 2", 2, 7, 150 },
                  { "--stride 1000", 1, 99, 1000 } };
    write_file("text", demo, N_TEXT);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char args[160];
        snprintf(args, sizeof args, "perplexity $M -f text -c 200 --stop value-skip:eps=0.3 --json %s",
                 cases[i].args);
        assert_int_equal(eval(args), 0);
        assert_string_equal(said, "");
        json_t *one = json_loads(out, 0, NULL);
        assert_int_equal((int)number(one, "ctx"), 200);
        assert_int_equal((int)number(one, "windows"), cases[i].windows);
        assert_int_equal((int)number(one, "scored"), cases[i].scored);
        assert_int_equal((int)number(one, "stride"), cases[i].stride);
        assert_int_equal((int)number(one, "tokens"), cases[i].windows * cases[i].scored);
        assert_true(number(one, "ppl") > 1.0 && number(one, "ppl_dense") > 1.0);
        assert_true(fabs(number(one, "ppl_ratio.mean") * number(one, "ppl_dense") / number(one, "ppl") - 1) <
                    1e-6);
        assert_true(number(one, "bytes_ratio") < 1.0);
        assert_null(json_object_get(one, "kl"));
        assert_null(json_object_get(one, "free"));
        json_decref(one);
    }
    assert_int_equal(eval("perplexity $M -f text -c 200 --windows 2"), 0);
    assert_non_null(
        strstr(out, "text: 2 windows of 200 tokens, the last 99 of each decoded and scored, stride 200"));
    assert_non_null(strstr(out, "| dense "));
    assert_non_null(strstr(out, "| mass:delta=0.005"));
}

static void tasks_prints_what_design_says(void **state)
{
    (void)state;
    static const char text[] =
        "{\"task\":\"never\",\"prompt\":\"The captain looked at\",\"answer\":\"\\t\\t\\t\"}\n"
        "{\"task\":\"r\",\"context\":\"one two three four five six\",\"question\":\" seven eight\","
        "\"answers\":[\"\\u0001\",\"e\"],\"max_new_tokens\":5}";
    write_file("tasks", text, strlen(text));
    assert_int_equal(eval("tasks $M -f tasks --json --stop value-skip"), 0);
    assert_string_equal(said, "");
    json_t *root = json_loads(out, 0, NULL);
    assert_int_equal((int)number(root, "n"), 2);
    assert_int_equal((int)number(root, "by_task.never.n"), 1);
    assert_true(number(root, "by_task.never.correct") == 0.0);
    assert_true(number(root, "correct") == number(root, "by_task.r.correct"));
    assert_true(number(root, "by_task.r.correct") <= 0.5);
    number(root, "bytes.dense_kv");
    number(root, "kl.mean");
    number(root, "dense.correct");
    json_decref(root);
    char plain[sizeof out];
    strcpy(plain, out);
    char line[256];
    snprintf(line, sizeof line, "cd %s && xz -k tasks && head -c 90 tasks.xz >cut.xz", directory);
    assert_int_equal(system(line), 0);
    assert_int_equal(eval("tasks $M -f tasks.xz --json --stop value-skip"), 0);
    assert_string_equal(out, plain);
    assert_int_equal(eval("tasks $M -f cut.xz"), 2);
    assert_non_null(strstr(said, "cut.xz is cut short"));
    write_file("bad.xz",
               "\xfd"
               "7zXZ\0zzzzzzzzzzzzzzzzzzzzzzzzz",
               32);
    assert_int_equal(eval("tasks $M -f bad.xz"), 2);
    assert_non_null(strstr(said, "damaged"));
    assert_int_equal(eval("tasks $M -f tasks --task r --stop 'none;value-skip'"), 0);
    assert_null(strstr(out, "never"));
}

static void wrong_use_is_told_in_one_line(void **state)
{
    (void)state;
    static const struct {
        const char *args, *why;
    } bad[] = {
        { "", "what?" },
        { "ppl $M", "none of: density kl pareto perplexity tasks" },
        { "kl $M", "-f FILE" },
        { "kl -f text", "which model" },
        { "kl $M -f missing", "missing" },
        { "kl $M -f text -c 300000", "300000" },
        { "kl $M -f text -c 64 --scored 64", "1 to 63" },
        { "kl $M -f text -c 64 --windows 9999", "9999 windows" },
        { "kl $M -f text --stop 'none;never'", "'never'" },
        { "kl $M -f text --stop 'none;'", "''" },
        { "kl $M -f text --quality safe,best", "best" },
        { "kl $M -f text --quality safe --stop none", "one too many" },
        { "kl $M -f text --kv-policy nothing", "nothing" },
        { "kl $M -f text -ctk q99", "q99" },
        { "perplexity $M", "-f FILE" },
        { "perplexity $M -f text -c 2", "-c 2: a window takes" },
        { "perplexity $M -f text -c 10 --scored 9", "--scored 9: windows of 10 tokens have 1 to 8" },
        { "perplexity $M -f text -c 64 --windows 99", "99 windows" },
        { "perplexity $M -f text -c 64 --free 3", "--free" },
        { "tasks $M -f text", "text, line 1" },
        { "tasks $M -f line -c 5", "need" },
        { "tasks $M -f line --task b", "no task 'b'" },
    };
    write_file("text", demo, N_TEXT);
    const char line[] = "{\"task\":\"a\",\"prompt\":\"The captain looked at the sea\",\"answer\":\"x\"}";
    write_file("line", line, strlen(line));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(eval(bad[i].args), 2);
        assert_string_equal(out, "");
        if (!strstr(said, bad[i].why) || strchr(said, '\n') != said + strlen(said) - 1)
            fail_msg("%s: '%s' does not say '%s' in one line", bad[i].args, said, bad[i].why);
    }
    assert_int_equal(eval("kl --help"), 0);
    assert_non_null(strstr(out, "--scored"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kl_prints_what_design_says),
        cmocka_unit_test(perplexity_says_what_was_scored),
        cmocka_unit_test(tasks_prints_what_design_says),
        cmocka_unit_test(wrong_use_is_told_in_one_line),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
