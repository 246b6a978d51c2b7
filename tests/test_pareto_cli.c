/* The program: `terse eval pareto` writes a report that can be read, goes on where it was cut, and says what is
 * wrong with its input. */
#include <ctype.h>
#include <jansson.h>
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
#define TEXT  "a<b>&\\\"c\\\".txt" /* between double quotes of a shell */
#define GRID                                                                                                   \
    "-f \"" TEXT "\" -c 320,256 --scored 2 --windows 2 --type f16,q8/q4 --prompts tasks "                      \
    "--stop 'mass:delta=0.5,floor=0,from=0;mass:delta=0.1,from=0;none+value-skip'"

enum { N_TEXT = 3000, SIZE = 1 << 20 };

static char directory[] = "/tmp/terse-pareto-cli-XXXXXX";
static char out[4096], said[4096];

/* Reads a file of the directory; owned by the caller. */
static char *slurp(const char *name)
{
    char path[256], *text = calloc(1, SIZE);
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s is not there", path);
    assert_true(fread(text, 1, SIZE - 1, f) < SIZE - 1);
    fclose(f);
    return text;
}

static void write_file(const char *name, const char *text, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static int shell(const char *command)
{
    char line[1024];
    snprintf(line, sizeof line, "cd %s && %s", directory, command);
    const int status = system(line);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Runs `terse eval pareto ARGS`; $M is the model. */
static int pareto(const char *args)
{
    char line[900];
    snprintf(line, sizeof line, "M='%s' && '%s' eval pareto %s >out 2>said", MODEL, TERSE_PROGRAM, args);
    const int code = shell(line);
    char *a = slurp("out"), *b = slurp("said");
    snprintf(out, sizeof out, "%s", a);
    snprintf(said, sizeof said, "%s", b);
    free(a);
    free(b);
    return code;
}

static int set_up(void **state)
{
    (void)state;
    static const char tasks[] =
        "{\"task\":\"never\",\"prompt\":\"The captain looked at\",\"answer\":\"\\t\\t\\t\"}\n"
        "{\"task\":\"r & d\",\"prompt\":\"The captain looked at the\",\"answer\":\" \"}\n";
    char text[N_TEXT];
    FILE *f = fopen(DEMO, "rb");
    const bool read = f && fread(text, 1, N_TEXT, f) == N_TEXT;
    if (f)
        fclose(f);
    if (!read || !mkdtemp(directory))
        return -1;
    write_file("a<b>&\"c\".txt", text, N_TEXT);
    write_file("text", text, N_TEXT);
    write_file("tasks", tasks, strlen(tasks));
    if (pareto("$M -o whole " GRID) != 0)
        fail_msg("%s", said);
    assert_string_equal(said, "");
    assert_string_equal(out, "whole/results.json\nwhole/results.csv\nwhole/report.html\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "rm -r %s", directory);
    return system(line);
}

static double number(const json_t *x, const char *name)
{
    const json_t *value = json_object_get(x, name);
    if (!json_is_number(value))
        fail_msg("%s is no number", name);
    return json_number_value(value);
}

static void the_json_has_every_cell(void **state)
{
    (void)state;
    char *text = slurp("whole/results.json");
    json_t *root = json_loads(text, 0, NULL), *results = json_object_get(root, "results"), *x;
    const json_t *tasks = json_object_get(root, "tasks");
    size_t i;
    assert_int_equal(json_array_size(results), 2 * 2 * 4);
    assert_int_equal(json_array_size(tasks), 3 * 2 * 4); /* all and two tasks */
    assert_string_equal(json_string_value(json_object_get(root, "text")), "a<b>&\"c\".txt");
    json_array_foreach(results, i, x)
    {
        const json_t *kl = json_object_get(x, "kl"), *heads = json_object_get(x, "heads");
        const bool f16 = !strcmp(json_string_value(json_object_get(x, "type_v")), "f16");
        assert_int_equal((int)number(x, "ctx"), i < 8 ? 320 : 256);
        assert_int_equal((int)number(x, "tokens"), 4);
        assert_int_equal(json_array_size(heads), 8);
        assert_int_equal(json_array_size(json_array_get(heads, 0)), 2);
        if (i % 4 == 0) { /* dense */
            assert_true(number(x, "bytes_ratio") == (f16 ? 1.0 : 52.0 / 128.0));
            assert_true((number(kl, "mean") == 0.0) == f16);
        } else {
            assert_true(number(kl, "mean") > 0.0 && number(kl, "p999") >= number(kl, "p50"));
        }
        if (i % 4 == 1)
            assert_true(number(x, "bytes_ratio") < (f16 ? 0.95 : 0.395));
    }
    json_decref(root);
    free(text);
}

static void the_csv_is_rectangular(void **state)
{
    (void)state;
    char *text = slurp("whole/results.csv");
    int32_t fields = 0, rows = 0, first = 0;
    bool quoted = false;
    for (const char *p = text; *p; p++) {
        quoted ^= *p == '"';
        fields += *p == ',' && !quoted;
        if (*p != '\n')
            continue;
        if (rows++ == 0)
            first = fields;
        assert_int_equal(fields, first);
        assert_false(quoted);
        fields = 0;
    }
    assert_int_equal(first, 33);
    assert_int_equal(rows, 1 + 2 * 2 * 4 + 3 * 2 * 4);
    free(text);
}

/* ---- the page ---- */

/* Whether an entity or plain text is at p; behind it. */
static const char *after_text(const char *p)
{
    static const char *const entities[] = { "&amp;", "&lt;", "&gt;", "&quot;" };
    if (*p != '&')
        return p + 1;
    for (size_t i = 0; i < sizeof entities / sizeof *entities; i++)
        if (!strncmp(p, entities[i], strlen(entities[i])))
            return p + strlen(entities[i]);
    fail_msg("'%.20s' is no entity", p);
    return NULL;
}

/* Tags are balanced, attributes quoted, nothing is left unescaped; the number of elements. */
static int32_t check_markup(const char *p)
{
    enum { DEEPEST = 64 };
    char open[DEEPEST][32];
    int32_t depth = 0, n = 0;
    assert_int_equal(strncmp(p, "<!DOCTYPE html>", 15), 0);
    for (p += 15; *p;) {
        if (*p != '<') {
            assert_int_not_equal(*p, '>');
            p = after_text(p);
            continue;
        }
        const bool end = *++p == '/';
        char name[32];
        int32_t len = 0;
        for (p += end; isalnum((unsigned char)*p) && len < 31; p++)
            name[len++] = *p;
        name[len] = '\0';
        assert_true(len > 0);
        for (bool quoted = false; *p && (quoted || (*p != '>' && *p != '/'));) {
            assert_int_not_equal(*p, '<');
            quoted ^= *p == '"';
            p = quoted ? after_text(p) : p + 1;
        }
        const bool empty = *p == '/';
        p += empty;
        assert_int_equal(*p++, '>');
        if (end) {
            assert_true(depth > 0);
            assert_string_equal(open[--depth], name);
        } else if (!empty) {
            assert_true(depth < DEEPEST);
            memcpy(open[depth++], name, sizeof name);
        }
        n += !end;
    }
    assert_int_equal(depth, 0);
    return n;
}

static int32_t count(const char *text, const char *word)
{
    int32_t n = 0;
    for (const char *p = text; (p = strstr(p, word)); p += strlen(word))
        n++;
    return n;
}

static void the_page_is_well_formed(void **state)
{
    (void)state;
    char *text = slurp("whole/report.html");
    assert_true(check_markup(text) > 200);
    assert_non_null(strstr(text, "a&lt;b&gt;&amp;&quot;c&quot;.txt"));
    assert_non_null(strstr(text, "r &amp; d"));
    assert_null(strstr(text, "<script"));
    assert_null(strstr(text, "http-equiv"));
    assert_null(strstr(text, "nan"));
    assert_null(strstr(text, "href")); /* it needs nothing else */
    assert_int_equal(count(text, "<svg class=\"plot\""), (3 * 2 + 1) * 2);
    assert_int_equal(count(text, "<svg class=\"map\""), 2 * 3);
    assert_non_null(strstr(text, "prefers-color-scheme: dark"));
    free(text);
}

static void the_whole_grid_is_accepted(void **state)
{
    (void)state;
    static const char *const families[] = { "sinks + newest pages", "random pages",  "Quest",
                                            "oracle, top pages",    "oracle, top-p", "mass + value-share",
                                            "value-skip",           "ART, by mass" };
    assert_int_equal(pareto("$M -f text -o all -c 64 --windows 1 --scored 1 --type f16"), 0);
    char *text = slurp("all/report.html"), *numbers = slurp("all/results.json");
    check_markup(text);
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        assert_non_null(strstr(text, families[i]));
    assert_int_equal(count(numbers, "\"label\": \"safe\""), 1);
    assert_int_equal(count(numbers, "\"label\": \"fast\""), 1);
    assert_true(count(numbers, "\"policy\"") > 50);
    free(text);
    free(numbers);
}

/* ---- going on ---- */

static void a_cut_run_gives_the_same_report(void **state)
{
    (void)state;
    assert_int_equal(shell("mkdir cut && head -n 4 whole/journal.jsonl >cut/journal.jsonl && "
                           "sed -n 5p whole/journal.jsonl | head -c 200 >>cut/journal.jsonl"),
                     0);
    assert_int_equal(pareto("$M -o cut " GRID), 0);
    assert_string_equal(said, "terse: cut/journal.jsonl has 3 of 12 parts: going on from there\n");
    assert_int_equal(
        shell("cmp whole/results.json cut/results.json && cmp whole/results.csv cut/results.csv && "
              "cmp whole/report.html cut/report.html && cmp whole/journal.jsonl cut/journal.jsonl"),
        0);
    assert_int_equal(pareto("$M -o cut -t 1 " GRID), 0); /* threads are no part of the grid */
    assert_string_equal(said, "terse: cut/journal.jsonl has 12 of 12 parts: only the report is left\n");
}

static void wrong_use_is_told_in_one_line(void **state)
{
    (void)state;
    static const struct {
        const char *args, *why;
    } bad[] = {
        { "$M -o x", "-f FILE" },
        { "$M -f text", "-o DIR" },
        { "-f text -o x", "which model" },
        { "$M -f missing -o x", "missing" },
        { "$M -f text -o x -c 64,", "''" },
        { "$M -f text -o x -c 64,1", "'1'" },
        { "$M -f text -o x -c 64,64", "twice" },
        { "$M -f text -o x -c 64 --scored 64", "1 to 63" },
        { "$M -f text -o x -c 300000", "300000" },
        { "$M -f text -o x -c 64 --scored 4 --windows 9999", "9999 windows" },
        { "$M -f text -o x", "a window of 4096 needs" },
        { "$M -f text -o x -c 64 --scored 4 --type f16,q9", "q9" },
        { "$M -f text -o x -c 64 --scored 4 --type q8,q8/q8", "twice" },
        { "$M -f text -o x -c 64 --scored 4 --stop never", "'never'" },
        { "$M -f text -o x -c 64 --scored 4 --quality best", "best" },
        { "$M -f text -o x -c 64 --scored 4 --prompts text", "text, line 1" },
        { "$M -f text -o no/such -c 64 --scored 4", "cannot make the folder no/such" },
        { "$M -f text -o text -c 64 --scored 4", "text/journal.jsonl: Not a directory" },
        { "$M -f text -o whole -c 64 --scored 4", "\"prompts\" is" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(pareto(bad[i].args), 2);
        assert_string_equal(out, "");
        if (!strstr(said, bad[i].why) || strchr(said, '\n') != said + strlen(said) - 1)
            fail_msg("%s: '%s' does not say '%s' in one line", bad[i].args, said, bad[i].why);
    }
    assert_int_equal(pareto("--help"), 0);
    assert_non_null(strstr(out, "--quick"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_json_has_every_cell),         cmocka_unit_test(the_csv_is_rectangular),
        cmocka_unit_test(the_page_is_well_formed),         cmocka_unit_test(the_whole_grid_is_accepted),
        cmocka_unit_test(a_cut_run_gives_the_same_report), cmocka_unit_test(wrong_use_is_told_in_one_line),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
