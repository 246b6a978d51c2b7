/* terse eval tasks without a file: it writes what it runs, and tells wrong use in one line. */
#include "ruler_fixture.h"

#include <jansson.h>
#include <sys/wait.h>

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

static int eval_tasks(const char *args)
{
    char line[1024];
    snprintf(line, sizeof line, "cd %s && '%s' eval tasks '%s' %s >out 2>said", directory, TERSE_PROGRAM, MODEL,
             args);
    const int status = system(line);
    slurp("out", out, sizeof out);
    slurp("said", said, sizeof said);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The program holds the text of models/ruler.txt, and what it writes is what it runs. */
static void program_writes_what_it_runs(void **state)
{
    (void)state;
    const terse_ruler_opts o = { .task = "niah_multikey_1", .ctx = 700, .limit = 2, .seed = 1, .second = true };
    terse_text want = make(&o);
    assert_int_equal(eval_tasks("--task niah_multikey_1 -c 700 --limit 2 --second --write -"), 0);
    assert_string_equal(out, want.p);
    terse_text_free(&want);
    assert_int_equal(eval_tasks("--task niah_multikey_1 -c 700 --limit 2 --second --write a.jsonl"), 0);
    assert_string_equal(out, "");
    assert_int_equal(eval_tasks("--task niah_multikey_1 -c 700 --limit 2 --second --json --source " SOURCE), 0);
    json_t *run = json_loads(out, 0, NULL);
    assert_int_equal(eval_tasks("-f a.jsonl --second --json"), 0);
    json_t *file = json_loads(out, 0, NULL);
    json_t *generated = json_object_get(run, "generated");
    assert_int_equal(json_integer_value(json_object_get(generated, "length")), 700);
    assert_int_equal(json_integer_value(json_object_get(generated, "seed")), 1);
    assert_int_equal(json_object_size(json_object_get(run, "by_task")), 2);
    assert_non_null(json_object_get(json_object_get(run, "by_task"), "niah_multikey_1 2nd"));
    assert_int_equal(json_object_del(run, "generated"), 0);
    assert_true(json_equal(run, file));
    json_decref(run);
    json_decref(file);
}

static void program_tells_wrong_use_in_one_line(void **state)
{
    (void)state;
    static const struct {
        const char *args, *why;
    } bad[] = {
        { "--task niah", "'niah'; there are" },
        { "-c 60", "room for 60" },
        { "--source missing", "missing" },
        { "--source out", "no section" },
        { "--write /no/where --task vt --limit 1 -c 600", "/no/where" },
        { "-f out --write b", "not with -f" },
        { "-f out --source b", "not with -f" },
        { "-f line --second", "\"question2\"" },
        { "--seed x", "--seed" },
    };
    char path[128];
    snprintf(path, sizeof path, "%s/line", directory);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("{\"task\":\"a\"," FACTS "," FIRST "}\n", f);
    assert_int_equal(fclose(f), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const int code = eval_tasks(bad[i].args);
        if (!strstr(said, bad[i].why) || strchr(said, '\n') != said + strlen(said) - 1)
            fail_msg("%s: '%s' does not say '%s' in one line", bad[i].args, said, bad[i].why);
        assert_true(code == 2 || (code == 74 && strstr(bad[i].args, "/no/where")));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(program_writes_what_it_runs),
        cmocka_unit_test(program_tells_wrong_use_in_one_line),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
