/* Chat formats against what the models' own templates give (golden/chat.json), and what they must refuse. */
#include "text_fixture.h"

#include <jansson.h>

static json_t *load_golden(void)
{
    json_error_t err;
    json_t *root = json_load_file(TERSE_TEST_DIR "/golden/chat.json", 0, &err);
    if (!root)
        fail_msg("golden/chat.json: %s", err.text);
    return root;
}

static terse_str json_str(const json_t *s)
{
    return (terse_str){ json_string_value(s), json_string_length(s) };
}
static const char *text_of(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

/* A vocabulary with just the template's bos and eos. */
static void open_vocab(vocab_fixture *f, const json_t *chat)
{
    spec s = { 0 };
    spec_add(&s, "<unk>", UNKNOWN, 0.0f);
    const int32_t bos = spec_add(&s, text_of(chat, "bos_token"), CONTROL, 0.0f);
    const int32_t eos = spec_add(&s, text_of(chat, "eos_token"), CONTROL, 0.0f);
    terse_gguf_writer *w = spec_writer(&s, "llama", NULL);
    terse_gguf_writer_u32(w, "tokenizer.ggml.bos_token_id", (uint32_t)bos);
    terse_gguf_writer_u32(w, "tokenizer.ggml.eos_token_id", (uint32_t)eos);
    fixture_open(f, w);
}

enum { MAX_MESSAGES = 8 };

static int32_t read_messages(const json_t *conversation, terse_message *m)
{
    const int32_t n = (int32_t)json_array_size(conversation);
    assert_true(n <= MAX_MESSAGES);
    for (int32_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(conversation, (size_t)i);
        m[i] = (terse_message){ json_str(json_object_get(one, "role")),
                                json_str(json_object_get(one, "content")) };
    }
    return n;
}

static void check_result(const json_t *root, const json_t *result)
{
    const json_t *chat = json_object_get(json_object_get(root, "templates"), text_of(result, "template"));
    const json_t *conversations = json_object_get(root, "conversations");
    const size_t at = (size_t)json_integer_value(json_object_get(result, "conversation"));
    const bool generate = json_is_true(json_object_get(result, "add_generation_prompt"));
    const json_t *reference = json_object_get(result, "jinja2_reference");
    const char *want = json_is_string(reference) ? json_string_value(reference) : text_of(result, "jinja");
    const terse_chat_format *format = terse_chat_detect(json_str(json_object_get(chat, "jinja")));
    terse_message messages[MAX_MESSAGES];
    const int32_t n = read_messages(json_array_get(conversations, at), messages);
    vocab_fixture f;
    assert_non_null(format);
    open_vocab(&f, chat);
    for (int with_vocab = 0; with_vocab < 2; with_vocab++) {
        terse_text out = { 0 };
        bool has_bos = false;
        assert_int_equal(terse_text_append(&out, "x", 1, NULL), TERSE_OK);
        assert_int_equal(
            terse_chat_render(format, with_vocab ? f.v : NULL, messages, n, generate, &out, &has_bos, &f.err),
            TERSE_OK);
        assert_string_equal(out.p + 1, want);
        const char *bos = text_of(chat, "bos_token");
        assert_int_equal(has_bos, strncmp(want, bos, strlen(bos)) == 0);
        terse_text_free(&out);
    }
    fixture_close(&f);
}

static void golden_conversations(void **state)
{
    (void)state;
    json_t *root = load_golden();
    const json_t *results = json_object_get(root, "results");
    assert_int_equal(json_array_size(results), 48);
    for (size_t i = 0; i < json_array_size(results); i++)
        check_result(root, json_array_get(results, i));
    json_decref(root);
}

static void templates_are_recognised(void **state)
{
    (void)state;
    static const char *const names[][2] = { { "chatml", "chatml" }, { "llama3", "llama3" },
                                            { "gemma", "gemma" },   { "mistral-instruct", "mistral" },
                                            { "phi3", "phi3" },     { "zephyr", "zephyr" } };
    json_t *root = load_golden();
    for (size_t i = 0; i < 6; i++) {
        const json_t *chat = json_object_get(json_object_get(root, "templates"), names[i][0]);
        const terse_chat_format *f = terse_chat_detect(json_str(json_object_get(chat, "jinja")));
        assert_non_null(f);
        assert_string_equal(terse_chat_name(f), names[i][1]);
        assert_ptr_equal(f, terse_chat_by_name(names[i][1]));
    }
    json_decref(root);
    assert_null(terse_chat_detect(str("")));
    assert_null(terse_chat_detect((terse_str){ NULL, 0 }));
    assert_null(terse_chat_detect(str("{{ messages }}")));
    assert_null(terse_chat_detect(str("<|im_start|>user<|im_sep|>x<|im_end|>")));      /* phi-4 */
    assert_null(terse_chat_detect(str("[INST] <<SYS>>\\n'' <</SYS>>\\n\\n [/INST]"))); /* Llama 2 */
    assert_null(terse_chat_detect(str("[INST] x[/INST]")));                            /* later Mistrals */
    assert_null(terse_chat_detect(str("[gMASK]<sop><|user|>\\n<|assistant|>eos_token")));
}

static void names_are_listed(void **state)
{
    (void)state;
    int32_t n = 0;
    for (; terse_chat_name_at(n); n++)
        assert_string_equal(terse_chat_name(terse_chat_by_name(terse_chat_name_at(n))), terse_chat_name_at(n));
    assert_int_equal(n, 6);
    assert_null(terse_chat_name_at(-1));
    assert_null(terse_chat_by_name("ChatML"));
    assert_null(terse_chat_by_name(NULL));
}

typedef struct {
    const char *format;
    const char *roles[4];
} refusal;

static void roles_out_of_order_are_refused(void **state)
{
    (void)state;
    static const refusal cases[] = {
        { "chatml", { "tool" } },
        { "chatml", { "" } },
        { "chatml", { "user", "user\n" } },
        { "mistral", { "assistant" } },
        { "mistral", { "user", "user" } },
        { "mistral", { "user", "assistant", "assistant" } },
        { "mistral", { "system" } },
        { "mistral", { "system", "assistant" } },
        { "mistral", { "system", "system", "user" } },
        { "gemma", { "user", "system" } },
        { "gemma", { "user", "assistant", "system" } },
        { "gemma", { "system", "user", "user" } },
        { "zephyr", { "user", "function" } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        terse_message m[4];
        terse_text out = { 0 };
        terse_error err = { 0 };
        bool has_bos = true;
        int32_t n = 0;
        for (; n < 4 && cases[i].roles[n]; n++)
            m[n] = (terse_message){ str(cases[i].roles[n]), str("x") };
        assert_int_equal(terse_text_append(&out, "before", 6, NULL), TERSE_OK);
        assert_int_equal(
            terse_chat_render(terse_chat_by_name(cases[i].format), NULL, m, n, true, &out, &has_bos, &err),
            TERSE_BAD_INPUT);
        assert_string_equal(out.p, "before");
        assert_false(has_bos);
        assert_true(err.text[0]);
        terse_text_free(&out);
    }
    terse_text out = { 0 };
    assert_int_equal(terse_chat_render(terse_chat_by_name("chatml"), NULL, NULL, 0, true, &out, NULL, NULL),
                     TERSE_BAD_INPUT);
}

/* The templates trim as Python's strip does: Unicode white space too, and only at the ends. */
static void contents_are_trimmed(void **state)
{
    (void)state;
    static const char content[] = "\xE3\x80\x80\xC2\xA0\x1C\v a \xC2\xA0 b\xC2\x85\xE2\x80\x83\n";
    const terse_message all[] = { { str("user"), str(content) } };
    const terse_message none[] = { { str("user"), str(" \xE3\x80\x80\n") },
                                   { str("assistant"), str("\x80 \x80") } };
    terse_text out = { 0 };
    const terse_chat_format *f = terse_chat_by_name("gemma");
    assert_int_equal(terse_chat_render(f, NULL, all, 1, false, &out, NULL, NULL), TERSE_OK);
    assert_string_equal(out.p, "<bos><start_of_turn>user\na \xC2\xA0 b<end_of_turn>\n");
    out.n = 0;
    assert_int_equal(terse_chat_render(f, NULL, none, 2, false, &out, NULL, NULL), TERSE_OK);
    assert_string_equal(
        out.p, "<bos><start_of_turn>user\n<end_of_turn>\n<start_of_turn>model\n\x80 \x80<end_of_turn>\n");
    terse_text_free(&out);
}

/* A vocabulary without bos has none to write. */
static void no_bos_no_bos_text(void **state)
{
    (void)state;
    vocab_fixture f;
    spec s = { 0 };
    spec_add_letters(&s);
    fixture_open(&f, spec_writer(&s, "gpt2", "gpt-2"));
    const terse_message m[] = { { str("user"), str("hi") } };
    terse_text out = { 0 };
    bool has_bos = true;
    assert_int_equal(terse_chat_render(terse_chat_by_name("mistral"), f.v, m, 1, true, &out, &has_bos, &f.err),
                     TERSE_OK);
    assert_string_equal(out.p, "[INST] hi [/INST]");
    assert_false(has_bos);
    terse_text_free(&out);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_conversations), cmocka_unit_test(templates_are_recognised),
        cmocka_unit_test(names_are_listed),     cmocka_unit_test(roles_out_of_order_are_refused),
        cmocka_unit_test(contents_are_trimmed), cmocka_unit_test(no_bos_no_bos_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
