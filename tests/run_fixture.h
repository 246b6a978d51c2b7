/* tests/run_fixture.h: terse run as users run it, in a folder of its own. */
#ifndef RUN_FIXTURE_H
#define RUN_FIXTURE_H

#include "folder.h"
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

static char said[1 << 16], told[1 << 16]; /* what it wrote to stdout and stderr */

static void write_file(const char *name, const void *p, size_t n)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void write_text(const char *name, const char *text)
{
    write_file(name, text, strlen(text));
}

static void slurp(const char *name, char *text, size_t size)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    text[fread(text, 1, size - 1, f)] = '\0';
    fclose(f);
}

/* Runs "terse run ARGUMENTS" in a shell without input and checks the exit code. The arguments may redirect. */
TERSE_PRINTF(2, 3) static void run(int want, const char *fmt, ...)
{
    char arguments[2048], line[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(arguments, sizeof arguments, fmt, ap);
    va_end(ap);
    snprintf(line, sizeof line, "cd %s && </dev/null >out 2>err '%s' run %s", folder, TERSE_PROGRAM, arguments);
    const int status = system(line), code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    slurp("out", said, sizeof said);
    slurp("err", told, sizeof told);
    if (code != want)
        fail_msg("run %s: exit code %d, not %d; %.300s%.300s", arguments, code, want, said, told);
}

static json_t *parsed(void)
{
    json_error_t e;
    json_t *j = json_loads(said, 0, &e);
    if (!j)
        fail_msg("no JSON (%s): %.500s", e.text, said);
    return j;
}

/* group may be NULL. */
static inline const json_t *member(const json_t *j, const char *group, const char *key)
{
    const json_t *x = json_object_get(group ? json_object_get(j, group) : j, key);
    if (!x)
        fail_msg("the JSON has no %s%s%s", group ? group : "", group ? "." : "", key);
    return x;
}

static inline json_int_t number(const json_t *j, const char *group, const char *key)
{
    const json_t *x = member(j, group, key);
    assert_true(json_is_integer(x));
    return json_integer_value(x);
}

static inline double real(const json_t *j, const char *group, const char *key)
{
    const json_t *x = member(j, group, key);
    assert_true(json_is_number(x));
    return json_number_value(x);
}

static inline const char *string(const json_t *j, const char *group, const char *key)
{
    const json_t *x = member(j, group, key);
    assert_true(json_is_string(x));
    return json_string_value(x);
}

static inline int n_lines(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

#endif
