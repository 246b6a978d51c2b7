/* tests/test_logits.c: `terse logits` against the library itself, bit for bit, and what it refuses. */
#include "terse/terse.h"

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
#define LIST  "1,17,300,4,4,8191,0,25,99,1000,2000,3000"

enum { N_TOKEN = 12 };
static const int32_t ids[N_TOKEN] = { 1, 17, 300, 4, 4, 8191, 0, 25, 99, 1000, 2000, 3000 };

static char directory[] = "/tmp/terse-logits-XXXXXX";
static char said[4096]; /* stderr of the last command */
static float *want;     /* [N_TOKEN][n_vocab] */
static size_t row;      /* bytes */

/* Runs `terse logits MODEL ARGS` in the directory; returns its exit code. */
static int logits(const char *args)
{
    char line[1024];
    snprintf(line, sizeof line, "cd %s && '%s' logits '%s' %s 2>said", directory, TERSE_PROGRAM, MODEL, args);
    const int status = system(line);
    snprintf(line, sizeof line, "%s/said", directory);
    FILE *f = fopen(line, "rb");
    assert_non_null(f);
    said[fread(said, 1, sizeof said - 1, f)] = '\0';
    fclose(f);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The file has the rows of tokens first .. N_TOKEN-1. */
static void assert_rows(const char *name, int32_t first)
{
    char path[128];
    const size_t size = (size_t)(N_TOKEN - first) * row;
    char *got = malloc(size + 1);
    assert_non_null(got);
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(got, 1, size + 1, f), size);
    fclose(f);
    assert_true(memcmp(got, (const char *)want + (size_t)first * row, size) == 0);
    free(got);
    unlink(path);
}

static int set_up(void **state)
{
    (void)state;
    terse_model *m;
    terse_session *s;
    terse_error err;
    if (!mkdtemp(directory) || terse_model_open(&m, MODEL, &err) != TERSE_OK)
        return -1;
    row = (size_t)terse_model_about(m)->n_vocab * sizeof *want;
    want = malloc(N_TOKEN * row);
    const terse_session_opts o = { .ctx = 64, .threads = 1 };
    if (!want || terse_session_open(&s, m, &o, &err) != TERSE_OK)
        return -1;
    const terse_status st = terse_session_prefill(s, ids, N_TOKEN, NULL, want, &err);
    terse_session_close(&s);
    terse_model_close(&m);
    return st;
}

static int tear_down(void **state)
{
    (void)state;
    char line[128];
    free(want);
    snprintf(line, sizeof line, "rm -r %s", directory);
    return system(line);
}

static void rows_are_those_of_the_library(void **state)
{
    (void)state;
    assert_int_equal(logits("--ids " LIST " -o last"), 0);
    assert_string_equal(said, "");
    assert_rows("last", N_TOKEN - 1);
    assert_int_equal(logits("--ids " LIST " --all -t 2 -c 12 -ub 5 -o all"), 0);
    assert_rows("all", 0);
    assert_int_equal(logits("--ids=" LIST " --all -o - >piped"), 0);
    assert_rows("piped", 0);
}

static void decoding_gives_the_same_rows(void **state)
{
    (void)state;
    assert_int_equal(logits("--ids " LIST " --all --decode-from 0 -o all"), 0);
    assert_rows("all", 0);
    assert_int_equal(logits("--ids " LIST " --all --decode-from 7 --stop none -o all"), 0);
    assert_rows("all", 0);
    assert_int_equal(logits("--ids " LIST " --decode-from 7 -o last"), 0);
    assert_rows("last", N_TOKEN - 1);
    assert_int_equal(logits("--ids " LIST " --decode-from 12 -o last"), 0);
    assert_rows("last", N_TOKEN - 1);
}

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static void ids_come_from_files_too(void **state)
{
    (void)state;
    write_file("ids", " 1,17\n300 4\t4 , 8191,0,\n25 99\r\n1000 2000,3000\n\n");
    assert_int_equal(logits("--ids-file ids -o last"), 0);
    assert_rows("last", N_TOKEN - 1);
    write_file("text", "The cat sat on the mat.");
    char line[512], list[401];
    snprintf(line, sizeof line, "'%s' tokenize '%s' -f %s/text --json", TERSE_PROGRAM, MODEL, directory);
    FILE *f = popen(line, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "{\"ids\":[%400[0-9,]]}", list), 1);
    assert_int_equal(pclose(f), 0);
    assert_int_equal(logits("-f text -o of_text"), 0);
    snprintf(line, sizeof line, "--ids %s -o of_ids", list);
    assert_int_equal(logits(line), 0);
    snprintf(line, sizeof line, "cd %s && cmp of_text of_ids", directory);
    assert_int_equal(system(line), 0);
}

static void stats_are_json(void **state)
{
    (void)state;
    static const char *const fields[] = { "bytes_k", "bytes_v", "bytes_dense", "audits", "audit_violations" };
    assert_int_equal(
        logits("--ids " LIST " --decode-from 8 --audit 2 --stop value-skip:eps=0.1 --stats -o last"), 0);
    json_t *stats = json_loads(said, 0, NULL);
    assert_non_null(stats);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        assert_true(json_is_integer(json_object_get(stats, fields[i])));
    assert_true(json_is_number(json_object_get(stats, "bound_max")));
    assert_true(json_is_number(json_object_get(stats, "audit_error_max")));
    assert_true(json_integer_value(json_object_get(json_object_get(stats, "pages"), "listed")) > 0);
    assert_true(json_integer_value(json_object_get(stats, "bytes_k")) > 0);
    assert_true(json_integer_value(json_object_get(stats, "audits")) > 0);
    assert_string_equal(json_string_value(json_object_get(stats, "stop")), "value-skip:eps=0.1");
    json_decref(stats);
}

static void refuses(const char *args, const char *what)
{
    assert_int_equal(logits(args), 2);
    if (!strstr(said, what))
        fail_msg("%s: \"%s\" is not in \"%s\"", args, what, said);
    char path[128];
    snprintf(path, sizeof path, "%s/out", directory);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void wrong_lines_are_refused(void **state)
{
    (void)state;
    refuses("--ids 1", "-o");
    refuses("-o out", "--ids");
    refuses("--ids 1 -f text -o out", "one of");
    refuses("--ids '' -o out", "0 tokens");
    refuses("--ids 1,,2 -o out", "\",2\"");
    refuses("--ids 1,2, -o out", "comma");
    refuses("--ids 1,x -o out", "\"x\"");
    refuses("--ids 1,-2 -o out", "\"-2\"");
    refuses("--ids '1;2' -o out", "\";2\"");
    refuses("--ids 8192 -o out", "vocabulary");
    refuses("--ids 99999999999 -o out", "99999999999");
    refuses("--ids 1,2,3 -c 2 -o out", "-c 3");
    refuses("--ids 1,2,3 --decode-from 4 -o out", "--decode-from 4");
    refuses("--ids-file nothere -o out", "nothere");
    refuses("--ids 1 --stop sometimes -o out", "sometimes");
    refuses("--ids 1 -ctk q3 -o out", "q3");
}

static void a_file_is_whole_or_absent(void **state)
{
    (void)state;
    char line[512];
    assert_int_equal(logits("--ids " LIST " --all -o /dev/full"), 74);
    assert_non_null(strstr(said, "/dev/full"));
    assert_int_equal(logits("--ids " LIST " --all -o - >/dev/full"), 74);
    assert_int_equal(logits("--ids 1 -o nowhere/out"), 74);
    write_file("old", "old");
    snprintf(line, sizeof line,
             "--ids " LIST " --all -o old; ulimit -f 64; trap '' XFSZ; '%s' logits '%s' --ids " LIST
             " --all -o whole",
             TERSE_PROGRAM, MODEL);
    assert_int_equal(logits(line), 74); /* 384 KiB of rows do not fit in 64 blocks */
    assert_rows("old", 0);
    snprintf(line, sizeof line, "cd %s && ls | grep -q 'whole\\|tmp'", directory);
    assert_int_not_equal(system(line), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_the_library), cmocka_unit_test(decoding_gives_the_same_rows),
        cmocka_unit_test(ids_come_from_files_too),       cmocka_unit_test(stats_are_json),
        cmocka_unit_test(wrong_lines_are_refused),       cmocka_unit_test(a_file_is_whole_or_absent),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
