/* The built-in chat templates against what the models' own templates give (golden/chat.json), and what they
 * must refuse. */
#include "terse/template.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static terse_error err;

static terse_str str(const char *s)
{
    return (terse_str){ s, s ? strlen(s) : 0 };
}
static const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static terse_status render(const char *name, const terse_template_input *in, terse_text *out)
{
    terse_template *t = NULL;
    const terse_str source = terse_chat_template(name);
    assert_non_null(source.p);
    assert_int_equal(terse_template_open(&t, source, &err), TERSE_OK);
    const terse_status st = terse_template_render(t, in, out, NULL, &err);
    terse_template_close(&t);
    return st;
}

static void check_result(const json_t *root, const json_t *result)
{
    static const char *const names[][2] = { { "mistral-instruct", "mistral" } };
    const char *name = text_of(result, "template");
    const json_t *chat = json_object_get(json_object_get(root, "templates"), name);
    const size_t at = (size_t)json_integer_value(json_object_get(result, "conversation"));
    const json_t *reference = json_object_get(result, "jinja2_reference");
    char *messages = json_dumps(json_array_get(json_object_get(root, "conversations"), at), 0);
    const terse_template_input in = { .messages = str(messages),
                                      .bos = str(text_of(chat, "bos_token")),
                                      .eos = str(text_of(chat, "eos_token")),
                                      .generate =
                                          json_is_true(json_object_get(result, "add_generation_prompt")),
                                      .fold_system = true };
    terse_text out = { 0 };
    if (render(strcmp(name, names[0][0]) == 0 ? names[0][1] : name, &in, &out) != TERSE_OK)
        fail_msg("%s: %s", name, err.text);
    assert_string_equal(out.p,
                        json_is_string(reference) ? json_string_value(reference) : text_of(result, "jinja"));
    terse_text_free(&out);
    free(messages);
}

static void golden_conversations(void **state)
{
    (void)state;
    json_error_t why;
    json_t *root = json_load_file(TERSE_TEST_DIR "/golden/chat.json", 0, &why);
    if (!root)
        fail_msg("golden/chat.json: %s", why.text);
    const json_t *results = json_object_get(root, "results");
    assert_int_equal(json_array_size(results), 48);
    for (size_t i = 0; i < json_array_size(results); i++)
        check_result(root, json_array_get(results, i));
    json_decref(root);
}

static void names_are_listed(void **state)
{
    (void)state;
    int32_t n = 0;
    for (; terse_chat_name(n); n++)
        assert_non_null(terse_chat_template(terse_chat_name(n)).p);
    assert_int_equal(n, 6);
    assert_null(terse_chat_name(-1));
    assert_null(terse_chat_template("ChatML").p);
    assert_null(terse_chat_template(NULL).p);
}

static void turns_out_of_order_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        { "mistral", "[{\"role\":\"assistant\",\"content\":\"x\"}]" },
        { "mistral", "[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"user\",\"content\":\"y\"}]" },
        { "mistral", "[{\"role\":\"system\",\"content\":\"x\"}]" },
        { "mistral", "[{\"role\":\"system\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":\"y\"}]" },
        { "gemma", "[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"system\",\"content\":\"y\"}]" },
        { "gemma", "[{\"role\":\"system\",\"content\":\"x\"},{\"role\":\"user\",\"content\":\"y\"},"
                   "{\"role\":\"user\",\"content\":\"z\"}]" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        terse_text out = { 0 };
        const terse_template_input in = { .messages = str(cases[i][1]), .fold_system = true };
        assert_int_equal(render(cases[i][0], &in, &out), TERSE_BAD_INPUT);
        assert_non_null(strstr(err.text, "take turns"));
        assert_int_equal(out.n, 0);
        terse_text_free(&out);
    }
}

/* The templates trim as Python's strip does: Unicode white space too, and only at the ends. */
static void contents_are_trimmed(void **state)
{
    (void)state;
    const terse_template_input in = { .messages =
                                          str("[{\"role\":\"user\",\"content\":\"\\u3000\\u00a0\\u001c a "
                                              "\\u00a0 b\\u0085\\u2003\\n\"},{\"role\":\"assistant\","
                                              "\"content\":\" \\u3000\\n\"}]"),
                                      .bos = str("<bos>") };
    terse_text out = { 0 };
    assert_int_equal(render("gemma", &in, &out), TERSE_OK);
    assert_string_equal(out.p, "<bos><start_of_turn>user\na \xC2\xA0 b<end_of_turn>\n"
                               "<start_of_turn>model\n<end_of_turn>\n");
    terse_text_free(&out);
}

/* A vocabulary without bos and eos has none to write. */
static void no_tokens_no_texts(void **state)
{
    (void)state;
    const terse_template_input in = { .messages = str("[{\"role\":\"user\",\"content\":\"hi\"},"
                                                      "{\"role\":\"assistant\",\"content\":\"ho\"}]") };
    terse_text out = { 0 };
    assert_int_equal(render("mistral", &in, &out), TERSE_OK);
    assert_string_equal(out.p, "[INST] hi [/INST]ho");
    terse_text_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_conversations),
        cmocka_unit_test(names_are_listed),
        cmocka_unit_test(turns_out_of_order_are_refused),
        cmocka_unit_test(contents_are_trimmed),
        cmocka_unit_test(no_tokens_no_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
