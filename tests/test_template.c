/* Chat templates: where and how errors are told, limits, what goes in, folding of system texts, memory that
 * runs out, and the golden conversations. What templates give beside Python is test_template_oracle's business.
 */
#include "terse/template.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "refuse.h"

static terse_error err;

static terse_str str(const char *s)
{
    return (terse_str){ s, strlen(s) };
}

/* Renders into a fresh text, which the caller frees. */
static terse_status render(const char *source, const terse_template_input *input, terse_text *out, bool *folded)
{
    terse_template *t = NULL;
    memset(&err, 0, sizeof err);
    terse_status st = terse_template_open(&t, str(source), &err);
    if (st == TERSE_OK)
        st = terse_template_render(t, input, out, folded, &err);
    else
        assert_null(t);
    terse_template_close(&t);
    return st;
}

static const terse_template_input hello = { .messages = { "[{\"role\":\"user\",\"content\":\"Hi\"}]", 32 } };

static void assert_renders(const char *source, const terse_template_input *input, const char *want)
{
    terse_text out = { 0 };
    if (render(source, input, &out, NULL) != TERSE_OK)
        fail_msg("%s: %s", source, err.text);
    assert_string_equal(out.p, want);
    terse_text_free(&out);
}

static void assert_refused(const char *source, const terse_template_input *input, terse_status want,
                           const char *why)
{
    terse_text out = { 0 };
    assert_int_equal(terse_text_append(&out, "kept", 4, NULL), TERSE_OK);
    assert_int_equal(render(source, input, &out, NULL), want);
    assert_string_equal(err.text, why);
    assert_string_equal(out.p, "kept");
    terse_text_free(&out);
}

static void errors_name_line_column_and_token(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        terse_status status;
        const char *why;
    } cases[] = {
        { "a\n  {{ 1 + }}", TERSE_BAD_INPUT, "template 2:10: at \"}}\": an expression is missing" },
        { "{% for x in y %}\nb", TERSE_BAD_INPUT,
          "template 2:2: at the end of the template: expected {% endfor %}" },
        { "\n\n {% endif %}", TERSE_BAD_INPUT,
          "template 3:5: at \"endif\": not a statement that is built in, or one that nothing has begun" },
        { "\xC3\xA9\xC3\xA9{{ a b }}", TERSE_BAD_INPUT, "template 1:8: at \"b\": expected \"}}\"" },
        { "{{ 'abc }}", TERSE_BAD_INPUT, "template 1:4: at \"'abc }}\": the string has no end" },
        { "{{ (1, 2] }}", TERSE_BAD_INPUT, "template 1:9: at \"]\": a bracket that closes nothing" },
        { "x {{ 1 ", TERSE_BAD_INPUT, "template 1:3: at \"{{\": the tag has no end" },
        { "{# a", TERSE_BAD_INPUT, "template 1:1: at \"{#\": the comment has no end \"#}\"" },
        { "{{ 99999999999999999999 }}", TERSE_BAD_INPUT,
          "template 1:4: at \"99999999999999999999\": the integer has more than 64 bits" },
        { "a\r\nb\r{{ $ }}", TERSE_BAD_INPUT, "template 3:4: at \"$\": unexpected character" },
        { "{{ '\\ud800' }}", TERSE_BAD_INPUT, "template 1:5: at \"\\\": U+D800 is no character" },
        { "{% include 'x' %}", TERSE_BAD_INPUT,
          "template 1:4: at \"include\": not a statement that is built in, or one that nothing has begun" },
        { "{{ messages[0].content.x.y }}", TERSE_BAD_INPUT,
          "template 1:26: at \"y\": 'str object' has no attribute 'x'" },
        { "{{ nothing.at }}", TERSE_BAD_INPUT, "template 1:12: at \"at\": 'nothing' is undefined" },
        { "\n{{ 1 + 'a' }}", TERSE_BAD_INPUT, "template 2:6: at \"+\": '+' does not work on 'int' and 'str'" },
        { "{{ [1] | nope }}", TERSE_UNSUPPORTED,
          "template 1:10: at \"nope\": there is no filter named 'nope'" },
        { "{{ 1 is nope }}", TERSE_UNSUPPORTED, "template 1:9: at \"nope\": there is no test named 'nope'" },
        { "{{ 'a'.encode() }}", TERSE_UNSUPPORTED, "template 1:8: at \"encode\": encode: not built in" },
        { "{% if true %}\n{{ raise_exception('no ' ~ 1) }}{% endif %}", TERSE_BAD_INPUT,
          "template 2:4: at \"raise_exception\": raise_exception: no 1" },
        { "{{ messages.append(1) }}", TERSE_BAD_INPUT,
          "template 1:13: at \"append\": append: a template may not change a list; use + or namespace()" },
        { "{{ 9223372036854775807 + 1 }}", TERSE_UNSUPPORTED,
          "template 1:24: at \"+\": the result does not fit an integer of 64 bits" },
        { "\xFF", TERSE_BAD_INPUT, "template 1:1: not UTF-8" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(cases[i].source, &hello, cases[i].status, cases[i].why);
}

static void limits_end_what_would_not_end(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "steps" },
        { "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
          "bytes" },
        { "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
          "bytes" },
        { "{{ 'a' * 99999999999 }}", "bytes" },
        { "{{ 'a'.rjust(99999999999) }}", "bytes" },
        { "{{ [1] * 9223372036854775807 }}", "bytes" },
        { "{{ '%99999999d' % 1 }}", "takes more" },
        { "{{ range(100001) }}", "100000 numbers" },
        { "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "deep" },
        { "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l "
          "}}",
          "deep" },
        { "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l "
          "== [ns.l] }}",
          "deep" },
        { "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}", "deep" },
        { "{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = ns.l + [i] %}{% endfor %}",
          "takes more" },
        { "{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}", "bytes" },
        { "{% for i in range(99999) %}{% if 'b' in 'a' * 999999 %}{% endif %}{% endfor %}", "takes more" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        terse_text out = { 0 };
        assert_int_equal(render(cases[i][0], &hello, &out, NULL), TERSE_BAD_INPUT);
        if (!strstr(err.text, cases[i][1]))
            fail_msg("%s: %s", cases[i][0], err.text);
        terse_text_free(&out);
    }
    terse_template_input small = hello;
    small.limits.output = 4;
    assert_renders("{{ messages[0].content }}!!", &small, "Hi!!");
    assert_refused("{{ messages[0].content }}!!!", &small, TERSE_BAD_INPUT,
                   "template 1:26: at \"!\": a text of more than 4 bytes");
}

/* Sources that are nested deeper than the parser goes: every kind of nesting. */
static void deep_sources_are_refused(void **state)
{
    (void)state;
    static const char *const parts[][2] = {
        { "{{ ", "(" },      { "{{ ", "[" },       { "{{ ", "{1:" },           { "{{ ", "-" },
        { "{{ ", "not " },   { "", "{% if x %}" }, { "", "{% for x in y %}" }, { "{{ ", "x if x else " },
        { "{{ x", "[x" },    { "{{ ", "f(" },      { "{% for ", "(" },         { "", "{% macro m() %}" },
        { "{{ x", " | d(x" }
    };
    enum { TIMES = 100000 };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const size_t n = strlen(parts[i][1]), first = strlen(parts[i][0]);
        char *source = malloc(first + n * TIMES + 4);
        terse_template *t;
        assert_non_null(source);
        memcpy(source, parts[i][0], first);
        for (size_t k = 0; k < TIMES; k++)
            memcpy(source + first + k * n, parts[i][1], n);
        strcpy(source + first + n * TIMES, first ? " }}" : "");
        assert_int_equal(terse_template_open(&t, str(source), &err), TERSE_BAD_INPUT);
        assert_null(t);
        if (!strstr(err.text, "deep") && !strstr(err.text, "open brackets"))
            fail_msg("%s: %s", parts[i][1], err.text);
        free(source);
    }
}

/* A chain of operators is not nested for the parser, but for the evaluation. */
static void long_chains_are_fine_or_refused(void **state)
{
    (void)state;
    char *source = malloc(400000), *p = source;
    assert_non_null(source);
    p += sprintf(p, "{{ 0");
    for (int i = 0; i < 300; i++)
        p += sprintf(p, "+1");
    strcpy(p, " }}");
    assert_renders(source, &hello, "300");
    p -= 2;
    for (int i = 0; i < 100000; i++)
        p += sprintf(p, "+1");
    strcpy(p, " }}");
    terse_text out = { 0 };
    assert_int_equal(render(source, &hello, &out, NULL), TERSE_BAD_INPUT);
    assert_non_null(strstr(err.text, "deep"));
    terse_text_free(&out);
    free(source);
}

static void input_is_checked(void **state)
{
    (void)state;
    static const struct {
        terse_template_input input;
        const char *why;
    } cases[] = {
        { { .messages = { "", 0 } }, "messages: must be a JSON array" },
        { { .messages = { "{}", 2 } }, "messages: must be a JSON array" },
        { { .messages = { "[", 1 } }, "messages: not JSON" },
        { { .messages = { "[\"\xFF\"]", 5 } }, "messages: not JSON" },
        { { .messages = { "[1e999]", 7 } }, "messages: not JSON" },
        { { .messages = { "[]", 2 }, .tools = { "1", 1 } }, "tools: must be a JSON array" },
        { { .messages = { "[]", 2 }, .variables = { "[]", 2 } }, "variables: must be a JSON object" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        terse_text out = { 0 };
        assert_int_equal(render("x", &cases[i].input, &out, NULL), TERSE_BAD_INPUT);
        if (!strstr(err.text, cases[i].why))
            fail_msg("%s: %s", cases[i].why, err.text);
        terse_text_free(&out);
    }
    const terse_template_input all = { .messages = str("[]"),
                                       .tools = str("[1]"),
                                       .documents = str("[{\"a\": 2}]"),
                                       .variables =
                                           str("{\"deep\": {\"x\": [true, null]}, \"bos_token\": \"mine\"}"),
                                       .bos = str("<b>"),
                                       .generate = true };
    assert_renders("{{ tools }}{{ documents }}{{ deep.x }}{{ bos_token }}{{ eos_token is defined }}"
                   "{{ add_generation_prompt }}{{ messages }}",
                   &all, "[1][{'a': 2}][True, None]mineFalseTrue[]");
    const terse_template_input none = { .messages = str("[]") };
    assert_renders("{{ tools is none and documents is none }}{{ add_generation_prompt }}", &none, "TrueFalse");
}

static const char STRICT[] =
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
    "{% endif %}[{{ m.role }}:{{ m.content }}]{% endfor %}";

static void a_system_text_that_is_refused_is_folded(void **state)
{
    (void)state;
    terse_template_input in = { .messages =
                                    str("[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\","
                                        "\"name\":\"n\",\"content\":\"U\"},{\"role\":\"assistant\",\"content\":"
                                        "\"A\"}]") };
    terse_text out = { 0 };
    bool folded = true;
    assert_int_equal(render(STRICT, &in, &out, &folded), TERSE_BAD_INPUT);
    assert_false(folded);
    assert_non_null(strstr(err.text, "no system"));
    in.fold_system = true;
    assert_int_equal(render(STRICT, &in, &out, &folded), TERSE_OK);
    assert_true(folded);
    assert_string_equal(out.p, "[user:S\nU][assistant:A]");
    out.n = 0;
    /* Only what the template itself raises is a reason. */
    assert_int_equal(render("{% if messages[0].role == 'system' %}{{ 1 / 0 }}{% endif %}", &in, &out, &folded),
                     TERSE_BAD_INPUT);
    assert_false(folded);
    assert_int_equal(render("{{ raise_exception('never') }}", &in, &out, &folded), TERSE_BAD_INPUT);
    assert_false(folded);
    in.messages = str("[{\"role\":\"system\",\"content\":\"S\"}]");
    assert_int_equal(render(STRICT, &in, &out, &folded), TERSE_BAD_INPUT);
    assert_int_equal(render("{{ messages[0].role }}", &in, &out, &folded), TERSE_OK);
    assert_false(folded);
    terse_text_free(&out);
}

static void templates_may_be_shared_and_closed_twice(void **state)
{
    (void)state;
    terse_template *t = NULL;
    terse_text out = { 0 };
    assert_int_equal(terse_template_open(&t, str("{% set a = 1 %}{{ a }}"), &err), TERSE_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(terse_template_render(t, &hello, &out, NULL, &err), TERSE_OK);
    assert_string_equal(out.p, "111");
    terse_text_free(&out);
    terse_template_close(&t);
    assert_null(t);
    terse_template_close(&t);
    terse_template_close(NULL);
}

/* What is not built in is known before it is reached. */
static void what_is_missing_is_told(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "{{ 1 | abs is odd }}", NULL },
        { "{% if false %}{{ 1 | nope(2) | never }}{% endif %}", "nope" },
        { "{{ x is a.b }}", "a.b" },
        { "{% filter upper | pprint %}{% endfilter %}", "pprint" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        terse_template *t = NULL;
        assert_int_equal(terse_template_open(&t, str(cases[i][0]), &err), TERSE_OK);
        const terse_str missing = terse_template_missing(t);
        assert_int_equal(missing.p != NULL, cases[i][1] != NULL);
        if (missing.p) {
            assert_int_equal(missing.n, strlen(cases[i][1]));
            assert_memory_equal(missing.p, cases[i][1], missing.n);
        }
        terse_template_close(&t);
    }
}

static void every_refused_allocation_is_told(void **state)
{
    (void)state;
    static const char source[] =
        "{% macro m(a, b=[1]) %}{{ a ~ b }}{% endmacro %}{% for x in messages %}{{ m(x, {'k': 1}) }}"
        "{{ x | tojson(indent=2) | replace('a', 'b') | upper }}{{ x.items() | list | sort }}"
        "{% set y %}{{ '%s' % 1 }}{% endset %}{{ y.split('1') }}{% endfor %}";
    for (long n = 0;; n++) {
        terse_text out = { 0 };
        left = n;
        const terse_status st = render(source, &hello, &out, NULL);
        const bool refused = left == 0;
        left = -1;
        assert_int_equal(st, refused && st != TERSE_OK ? TERSE_NOMEM : TERSE_OK);
        terse_text_free(&out);
        if (!refused) {
            assert_true(n > 5);
            return;
        }
    }
}

/* golden/chat: the reference must match; where it raises, a folded system text is accepted, too. */
static void golden_conversations(void **state)
{
    (void)state;
    json_t *root = json_load_file(TERSE_SHARED_DIR "/golden/chat/chat.json", 0, NULL);
    if (!root) {
        print_message("SKIPPED: ../shared/golden/chat/chat.json is not there\n");
        skip();
    }
    const json_t *results = json_object_get(root, "results");
    assert_true(json_array_size(results) >= 48);
    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *r = json_array_get(results, i);
        const json_t *t = json_object_get(json_object_get(root, "templates"),
                                          json_string_value(json_object_get(r, "template")));
        const json_int_t at = json_integer_value(json_object_get(r, "conversation"));
        char *messages = json_dumps(json_array_get(json_object_get(root, "conversations"), (size_t)at), 0);
        const json_t *reference = json_object_get(r, "jinja2_reference");
        const terse_template_input in = {
            .messages = str(messages),
            .bos = str(json_string_value(json_object_get(t, "bos_token"))),
            .eos = str(json_string_value(json_object_get(t, "eos_token"))),
            .generate = json_is_true(json_object_get(r, "add_generation_prompt")),
            .fold_system = true,
        };
        terse_text out = { 0 };
        bool folded;
        if (render(json_string_value(json_object_get(t, "jinja")), &in, &out, &folded) != TERSE_OK)
            fail_msg("result %zu: %s", i, err.text);
        assert_int_equal(folded, json_is_null(reference));
        assert_string_equal(out.p, json_string_value(folded ? json_object_get(r, "jinja") : reference));
        terse_text_free(&out);
        free(messages);
    }
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_name_line_column_and_token),
        cmocka_unit_test(limits_end_what_would_not_end),
        cmocka_unit_test(deep_sources_are_refused),
        cmocka_unit_test(long_chains_are_fine_or_refused),
        cmocka_unit_test(input_is_checked),
        cmocka_unit_test(a_system_text_that_is_refused_is_folded),
        cmocka_unit_test(templates_may_be_shared_and_closed_twice),
        cmocka_unit_test(what_is_missing_is_told),
        cmocka_unit_test(every_refused_allocation_is_told),
        cmocka_unit_test(golden_conversations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
