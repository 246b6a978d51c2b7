/* The template engine beside Python's jinja2: template_oracle.py renders a few thousand cases, and every byte
 * must be the same; where jinja2 raises, so must we. Skipped, loudly, without python3 and jinja2. */
#include "terse/template.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { NOW = 1753963200, MOST_SHOWN = 40 };

static terse_str text_of(const json_t *o, const char *key)
{
    const json_t *s = json_object_get(o, key);
    return json_is_string(s) ? (terse_str){ json_string_value(s), json_string_length(s) }
                             : (terse_str){ NULL, 0 };
}

/* Renders one case; false if the outcome is not the expected one, which is then told. */
static bool agrees(const json_t *one)
{
    terse_template *t = NULL;
    terse_text out = { 0 };
    terse_error err = { 0 };
    const terse_template_input input = { .messages = text_of(one, "messages"),
                                         .tools = text_of(one, "tools"),
                                         .variables = text_of(one, "variables"),
                                         .bos = { "<s>", 3 },
                                         .eos = { "</s>", 4 },
                                         .generate = json_is_true(json_object_get(one, "generate")),
                                         .now = NOW };
    const terse_str want = text_of(one, "want");
    terse_status st = terse_template_open(&t, text_of(one, "template"), &err);
    if (st == TERSE_OK)
        st = terse_template_render(t, &input, &out, NULL, &err);
    const bool same = want.p ? st == TERSE_OK && out.n == want.n && memcmp(out.p, want.p, want.n) == 0
                             : st == TERSE_BAD_INPUT || st == TERSE_UNSUPPORTED;
    if (!same)
        print_message("%s: %.300s\n  want %s %.300s\n  got  %s %.300s\n", text_of(one, "name").p,
                      text_of(one, "template").p, want.p ? "" : "error",
                      want.p ? want.p : text_of(one, "why").p, st == TERSE_OK ? "" : "error",
                      st == TERSE_OK ? out.p : err.text);
    terse_text_free(&out);
    terse_template_close(&t);
    return same;
}

static void compare_all(int32_t seed, int32_t count)
{
    char command[1024], *line = NULL;
    size_t cap = 0;
    int32_t n = 0, wrong = 0;
    snprintf(command, sizeof command, "'%s' -B '%s/template_oracle.py' '%s/templates' %d %d", TERSE_PYTHON,
             TERSE_TEST_DIR, TERSE_TEST_DIR, seed, count);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    while (getline(&line, &cap, f) >= 0) {
        json_t *one = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(one);
        n++;
        if (wrong < MOST_SHOWN)
            wrong += !agrees(one);
        json_decref(one);
    }
    free(line);
    const int status = pclose(f), code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code == 77 || code == 127) {
        print_message("SKIPPED: the templates are compared with nothing: python3 with jinja2 is not installed "
                      "(Debian: python3-jinja2)\n");
        skip();
    }
    assert_int_equal(code, 0);
    print_message("%d cases rendered by both\n", n);
    assert_true(n > count);
    assert_int_equal(wrong, 0);
}

static void every_case_is_as_in_python(void **state)
{
    (void)state;
    compare_all(20261122, 700);
}

int main(int argc, char **argv)
{
    if (argc == 3) { /* another seed, and more of them: test_template_oracle SEED COUNT */
        compare_all(atoi(argv[1]), atoi(argv[2]));
        return 0;
    }
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_case_is_as_in_python) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
