/* What single families of vocabularies need: texts kept as UTF-8 in a merge table, special tokens that only
 * their texts tell. */
#include "text/split.h"
#include "text_fixture.h"

/* ---- raw BPE: merges over characters, U+2581 for blanks ---- */

enum { UNK = 0, BOS = 1, BREAKS = 258, LETTER_A, LETTER_B, BAR, AB, BAR_A };

static void open_raw(vocab_fixture *f, const char *model, const char *pre, bool bos)
{
    static spec s;
    memset(&s, 0, sizeof s);
    spec_add(&s, "<unk>", UNKNOWN, 0.0f);
    spec_add(&s, "<bos>", CONTROL, 0.0f);
    spec_add_bytes(&s);
    spec_add(&s, "\n\n", NORMAL, 0.0f);
    spec_add(&s, "a", NORMAL, 0.0f);
    spec_add(&s, "b", NORMAL, 0.0f);
    spec_add(&s, "\xE2\x96\x81", NORMAL, 0.0f);
    spec_merge(&s, "a b", "ab");
    spec_merge(&s, "\xE2\x96\x81 a", "\xE2\x96\x81\x61");
    terse_gguf_writer *w = spec_writer(&s, model, pre);
    terse_gguf_writer_u32(w, "tokenizer.ggml.unknown_token_id", UNK);
    terse_gguf_writer_u32(w, "tokenizer.ggml.bos_token_id", BOS);
    terse_gguf_writer_bool(w, "tokenizer.ggml.add_bos_token", bos);
    fixture_open(f, w);
}

static void raw_words_start_as_characters(void **state)
{
    (void)state;
    vocab_fixture f;
    open_raw(&f, "gemma4", NULL, true);
    ASSERT_TOKENS(f.v, "abba a", 0, AB, LETTER_B, LETTER_A, BAR_A);
    ASSERT_TOKENS(f.v, "  ab", 0, BAR, BAR, AB);
    ASSERT_TOKENS(f.v, "a\xC3\xA9", 0, LETTER_A, 2 + 0xC3, 2 + 0xA9); /* no token: its bytes */
    ASSERT_TOKENS(f.v, "\xFF", 0, 2 + 0xEF, 2 + 0xBF, 2 + 0xBD);      /* no UTF-8: U+FFFD */
    ASSERT_TOKENS(f.v, "a\n\nb\n\n\n", 0, LETTER_A, BREAKS, LETTER_B, 12, 12, 12);
    ASSERT_DETOK(f.v, " ab\n\n\xC3\xA9", true, BAR, AB, BREAKS, 2 + 0xC3, 2 + 0xA9);
    fixture_close(&f);
}

static void gemma4_always_starts_with_bos(void **state)
{
    (void)state;
    vocab_fixture f;
    open_raw(&f, "gemma4", NULL, false);
    ASSERT_TOKENS(f.v, "ab", SPECIAL, BOS, AB);
    fixture_close(&f);
    open_raw(&f, "gpt2", "sarvam-moe", false);
    ASSERT_TOKENS(f.v, "ab", SPECIAL, AB);
    ASSERT_TOKENS(f.v, "\n\n", 0, 12, 12); /* no merge gives it, and only gemma4 looks */
    fixture_close(&f);
}

/* ---- special tokens by their texts ---- */

static void open_special(vocab_fixture *f, const char *const *texts, int32_t n, int32_t type, int32_t pad)
{
    static spec s;
    memset(&s, 0, sizeof s);
    spec_add_letters(&s);
    for (int32_t i = 0; i < n; i++)
        spec_add(&s, texts[i], type, 0.0f);
    terse_gguf_writer *w = spec_writer(&s, "gpt2", "gpt-2");
    if (pad >= 0)
        terse_gguf_writer_u32(w, "tokenizer.ggml.fim_pad_token_id", (uint32_t)pad);
    fixture_open(f, w);
}

static void fill_in_tokens_are_control_tokens(void **state)
{
    (void)state;
    static const char *const texts[] = { "<|fim_prefix|>", "<|fim_pad|>", "<|file_sep|>", "<tool_call>" };
    vocab_fixture f;
    open_special(&f, texts, 4, USER_DEFINED, -1);
    ASSERT_TOKENS(f.v, "<|fim_prefix|>", PARSE, 256);
    assert_tokens(f.v, "<tool_call>", 11, 0, (const int32_t[]){ 259 }, 1);
    ASSERT_DETOK(f.v, "<tool_call>", false, 256, 257, 258, 259); /* control tokens do not show */
    assert_false(terse_vocab_is_end(f.v, 256));
    assert_true(terse_vocab_is_end(f.v, 257) && terse_vocab_is_end(f.v, 258));
    fixture_close(&f);
    open_special(&f, texts, 4, USER_DEFINED, 259); /* named by id: the text says nothing */
    ASSERT_DETOK(f.v, "<|fim_pad|>", false, 257);
    assert_false(terse_vocab_is_end(f.v, 257));
    assert_true(terse_vocab_is_end(f.v, 259));
    fixture_close(&f);
}

/* In the format of gpt-oss a message ends without ending the turn, and its head is text. */
static void harmony_messages_show_their_heads(void **state)
{
    (void)state;
    static const char *const texts[] = { "<|end|>", "<|channel|>", "<|return|>", "<|call|>" };
    vocab_fixture f;
    open_special(&f, texts, 4, CONTROL, -1);
    ASSERT_DETOK(f.v, "<|end|><|channel|>", false, 256, 257, 258, 259);
    assert_false(terse_vocab_is_end(f.v, 256) || terse_vocab_is_end(f.v, 257));
    assert_true(terse_vocab_is_end(f.v, 258) && terse_vocab_is_end(f.v, 259));
    fixture_close(&f);
    open_special(&f, texts, 2, CONTROL, -1);
    assert_true(terse_vocab_is_end(f.v, 256));
    fixture_close(&f);
}

static void gemma4_shows_html(void **state)
{
    (void)state;
    static const char *const texts[] = { "</s>", "<|tool_response>" };
    vocab_fixture f;
    open_special(&f, texts, 2, USER_DEFINED, -1);
    ASSERT_DETOK(f.v, "</s>", false, 256, 257);
    assert_false(terse_vocab_is_end(f.v, 256));
    assert_true(terse_vocab_is_end(f.v, 257));
    fixture_close(&f);
    open_special(&f, texts, 1, USER_DEFINED, -1);
    assert_true(terse_vocab_is_end(f.v, 256));
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raw_words_start_as_characters),
        cmocka_unit_test(gemma4_always_starts_with_bos),
        cmocka_unit_test(fill_in_tokens_are_control_tokens),
        cmocka_unit_test(harmony_messages_show_their_heads),
        cmocka_unit_test(gemma4_shows_html),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
