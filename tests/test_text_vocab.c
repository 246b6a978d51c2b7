/* Vocabularies that are wrong, each with the error it must give; and memory that runs out at every allocation.
 */
#include "refuse.h"
#include "text_fixture.h"

/* ---- a good vocabulary of each kind, and ways to spoil it ---- */

enum { UNK, BOS, EOS, LETTERS };

static void fill(spec *s, bool spm)
{
    spec_add(s, "<unk>", UNKNOWN, 0.0f);
    spec_add(s, "<s>", CONTROL, 0.0f);
    spec_add(s, "</s>", CONTROL, 0.0f);
    if (spm) {
        spec_add_bytes(s);
        spec_add(s, "a", NORMAL, -1.0f);
        spec_add(s, "aa", NORMAL, -0.0f);
    } else {
        spec_add_letters(s);
        spec_merge(s, "a a", "aa");
        spec_merge(s, "aa a", "aaa");
    }
}

static void assert_refused(const char *what, terse_gguf_writer *w, terse_status status, const char *part)
{
    vocab_fixture f;
    fixture_save(&f, w);
    const terse_status st = terse_vocab_open(&f.v, f.g, &f.err);
    if (st != status || !strstr(f.err.text, part))
        fail_msg("%s: status %d, \"%s\"; expected %d and \"%s\"", what, st, f.err.text, status, part);
    assert_null(f.v);
    fixture_close(&f);
}

static void good_ones_are_good(void **state)
{
    (void)state;
    for (int spm = 0; spm < 2; spm++) {
        vocab_fixture f;
        spec s = { 0 };
        fill(&s, spm);
        fixture_open(&f, spec_writer(&s, spm ? "llama" : "gpt2", "gpt-2"));
        assert_int_equal(terse_vocab_size(f.v), s.n);
        assert_true(terse_vocab_has_text(f.v));
        fixture_close(&f);
    }
}

static void special_ids_must_be_tokens(void **state)
{
    (void)state;
    static const char *const keys[] = { "bos", "eos", "unknown", "eot", "eom" };
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
        char key[64];
        snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", keys[k]);
        spec s = { 0 };
        fill(&s, false);
        const uint32_t bad[] = { (uint32_t)s.n, UINT32_MAX, INT32_MAX, (uint32_t)INT32_MAX + 1 };
        for (int i = 0; i < 4; i++) {
            terse_gguf_writer *w = spec_writer(&s, "gpt2", "gpt-2");
            terse_gguf_writer_u32(w, key, bad[i]);
            assert_refused(key, w, TERSE_BAD_INPUT, key);
        }
        terse_gguf_writer *w = spec_writer(&s, "gpt2", "gpt-2");
        terse_gguf_writer_i32(w, key, -1);
        assert_refused(key, w, TERSE_BAD_INPUT, key);
        w = spec_writer(&s, "gpt2", "gpt-2");
        terse_gguf_writer_str(w, key, str("1"));
        assert_refused(key, w, TERSE_BAD_INPUT, key);
    }
    spec one = { 0 }; /* the defaults 1 and 2 are out of range */
    spec_add(&one, "a", NORMAL, 0.0f);
    assert_refused("one token", spec_writer(&one, "llama", NULL), TERSE_BAD_INPUT, "out of range");
}

static void arrays_must_fit_the_tokens(void **state)
{
    (void)state;
    spec s = { 0 };
    fill(&s, true);
    static const char *const keys[] = { "tokenizer.ggml.scores", "tokenizer.ggml.token_type" };
    for (int k = 0; k < 2; k++)
        for (int32_t n = 0; n <= s.n + 1; n += n == 0 ? s.n - 1 : 2) {
            terse_gguf_writer *w;
            assert_int_equal(terse_gguf_writer_open(&w, NULL), TERSE_OK);
            terse_gguf_writer_str(w, "tokenizer.ggml.model", str("llama"));
            terse_gguf_writer_strs(w, "tokenizer.ggml.tokens", s.tokens, (uint64_t)s.n);
            terse_gguf_writer_array(w, keys[k], k ? TERSE_META_I32 : TERSE_META_F32,
                                    k ? (const void *)s.types : (const void *)s.scores, (uint64_t)n);
            assert_refused(keys[k], w, TERSE_BAD_INPUT, keys[k]);
        }
}

static void tokens_must_be_texts(void **state)
{
    (void)state;
    static char big[1 << 20];
    memset(big, 'x', sizeof big);
    for (int i = 1; i < 5; i++) {
        spec s = { 0 };
        fill(&s, i % 2);
        terse_gguf_writer *w = NULL;
        if (i == 1) {
            s.tokens[7] = (terse_str){ big, sizeof big };
            w = spec_writer(&s, "llama", "gpt-2");
        } else {
            assert_int_equal(terse_gguf_writer_open(&w, NULL), TERSE_OK);
            terse_gguf_writer_str(w, "tokenizer.ggml.model", str("gpt2"));
            terse_gguf_writer_str(w, "tokenizer.ggml.pre", str("gpt-2"));
        }
        if (i == 3)
            terse_gguf_writer_strs(w, "tokenizer.ggml.tokens", s.tokens, 0);
        if (i == 4)
            terse_gguf_writer_array(w, "tokenizer.ggml.tokens", TERSE_META_I32, s.types, (uint64_t)s.n);
        assert_refused("tokens", w, TERSE_BAD_INPUT, "tokenizer.ggml.tokens");
    }
}

/* A token without text keeps its id and stands for nothing. */
static void holes_are_kept(void **state)
{
    (void)state;
    for (int spm = 0; spm < 2; spm++) {
        vocab_fixture f;
        spec s = { 0 };
        terse_text out = { 0 };
        fill(&s, spm);
        s.tokens[s.n] = str("");
        s.types[s.n++] = NORMAL;
        fixture_open(&f, spec_writer(&s, spm ? "llama" : "gpt2", "gpt-2"));
        assert_int_equal(terse_vocab_size(f.v), s.n);
        assert_int_equal(terse_vocab_find(f.v, str("")), -1);
        assert_int_equal(terse_vocab_piece(f.v, s.n - 1, true, &out, NULL), TERSE_OK);
        assert_int_equal(out.n, 0);
        terse_text_free(&out);
        fixture_close(&f);
    }
}

static void types_and_scores_are_checked(void **state)
{
    (void)state;
    static const int32_t types[] = { -1, 7, INT32_MAX, INT32_MIN };
    for (int i = 0; i < 4; i++) {
        spec s = { 0 };
        fill(&s, true);
        s.types[5] = types[i];
        assert_refused("type", spec_writer(&s, "llama", NULL), TERSE_BAD_INPUT, "tokenizer.ggml.token_type[5]");
    }
    static const char *const bytes[] = { "<0x-1>", "<0x1>",  "<0x100>", "<0xag>",
                                         "<0xff>", "0xFF00", "<0xFF",   "x" };
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++)
        for (int spm = 0; spm < 2; spm++) {
            spec s = { 0 };
            fill(&s, spm);
            s.tokens[5] = str(bytes[i]);
            s.types[5] = BYTE;
            assert_refused(bytes[i], spec_writer(&s, spm ? "llama" : "gpt2", "gpt-2"), TERSE_BAD_INPUT,
                           "tokenizer.ggml.tokens[5]");
        }
    spec s = { 0 };
    fill(&s, true);
    s.scores[6] = (float)strtod("nan", NULL);
    assert_refused("score", spec_writer(&s, "llama", NULL), TERSE_BAD_INPUT, "tokenizer.ggml.scores[6]");
}

static void merges_must_join_tokens_to_a_token(void **state)
{
    (void)state;
    static const char *const merges[] = {
        "aa", "", " ", "a ", " a", "a b", "? \xFF", "aaa aaa", "zz a", "a  a"
    };
    for (size_t i = 0; i < sizeof merges / sizeof merges[0]; i++) {
        spec s = { 0 };
        fill(&s, false);
        s.merges[1] = str(merges[i]);
        assert_refused(merges[i], spec_writer(&s, "gpt2", "gpt-2"), TERSE_BAD_INPUT,
                       "tokenizer.ggml.merges[1]");
    }
    spec s = { 0 };
    fill(&s, false);
    terse_gguf_writer *w;
    assert_int_equal(terse_gguf_writer_open(&w, NULL), TERSE_OK);
    terse_gguf_writer_str(w, "tokenizer.ggml.model", str("gpt2"));
    terse_gguf_writer_str(w, "tokenizer.ggml.pre", str("gpt-2"));
    terse_gguf_writer_strs(w, "tokenizer.ggml.tokens", s.tokens, (uint64_t)s.n);
    assert_refused("no merges", w, TERSE_BAD_INPUT, "tokenizer.ggml.merges");
}

static void what_is_not_built_in_is_named(void **state)
{
    (void)state;
    spec s = { 0 };
    fill(&s, false);
    assert_refused("model", spec_writer(&s, "bert", "gpt-2"), TERSE_UNSUPPORTED, "\"bert\"");
    assert_refused("pre", spec_writer(&s, "gpt2", "tekken2"), TERSE_UNSUPPORTED, "\"tekken2\"");
    assert_refused("those known", spec_writer(&s, "gpt2", "tekken2"), TERSE_UNSUPPORTED, "known: gpt-2 ");
    assert_refused("no pre", spec_writer(&s, "gpt2", NULL), TERSE_UNSUPPORTED, "tokenizer.ggml.pre is missing");
    terse_gguf_writer *w;
    assert_int_equal(terse_gguf_writer_open(&w, NULL), TERSE_OK);
    assert_refused("nothing", w, TERSE_BAD_INPUT, "tokenizer.ggml.model");
}

static void none_knows_its_size_only(void **state)
{
    (void)state;
    vocab_fixture f;
    terse_gguf_writer *w;
    terse_tokens t = { 0 };
    terse_text text = { 0 };
    assert_int_equal(terse_gguf_writer_open(&w, NULL), TERSE_OK);
    terse_gguf_writer_str(w, "general.architecture", str("llama"));
    terse_gguf_writer_str(w, "tokenizer.ggml.model", str("none"));
    terse_gguf_writer_u32(w, "llama.vocab_size", 100);
    fixture_open(&f, w);
    assert_int_equal(terse_vocab_size(f.v), 100);
    assert_false(terse_vocab_has_text(f.v));
    assert_int_equal(terse_vocab_bos(f.v), -1);
    assert_false(terse_vocab_is_end(f.v, 1));
    assert_int_equal(terse_vocab_find(f.v, str("a")), -1);
    assert_int_equal(terse_vocab_tokenize(f.v, "a", 1, true, true, &t, &f.err), TERSE_UNSUPPORTED);
    assert_int_equal(terse_vocab_piece(f.v, 1, true, &text, &f.err), TERSE_UNSUPPORTED);
    assert_int_equal(terse_vocab_detokenize(f.v, (int32_t[]){ 1 }, 1, true, &text, &f.err), TERSE_UNSUPPORTED);
    assert_int_equal(terse_vocab_detokenize(f.v, NULL, 0, true, &text, &f.err), TERSE_UNSUPPORTED);
    fixture_close(&f);
    assert_int_equal(terse_gguf_writer_open(&w, NULL), TERSE_OK);
    terse_gguf_writer_str(w, "general.architecture", str("llama"));
    terse_gguf_writer_str(w, "tokenizer.ggml.model", str("none"));
    terse_gguf_writer_i32(w, "llama.vocab_size", 0);
    assert_refused("size 0", w, TERSE_BAD_INPUT, "llama.vocab_size");
}

/* Of two tokens with one text the last is found, by look-ups, merges and as a special token. */
static void doubles_give_the_last(void **state)
{
    (void)state;
    vocab_fixture f;
    spec s = { 0 };
    fill(&s, false);
    spec_merge(&s, "aaa a", "aaaa");
    const int32_t aa = spec_add(&s, "aa", NORMAL, 0.0f);
    const int32_t bos = spec_add(&s, "<s>", USER_DEFINED, 0.0f);
    fixture_open(&f, spec_writer(&s, "gpt2", "gpt-2"));
    ASSERT_TOKENS(f.v, "aa", 0, aa);
    ASSERT_TOKENS(f.v, "aaa", 0, LETTERS + 256 + 1);
    ASSERT_TOKENS(f.v, "aaaa", 0, aa, aa); /* two pairs come before the third merge */
    ASSERT_TOKENS(f.v, "<s>", 0, bos);
    fixture_close(&f);
}

/* Texts need not be UTF-8, and letters outside the byte alphabet stay as they are. */
static void odd_token_texts_are_kept(void **state)
{
    (void)state;
    vocab_fixture f;
    spec s = { 0 };
    fill(&s, false);
    const int32_t odd = spec_add(&s, "a\xFF\xE2\x82\xAC\xC3", NORMAL, 0.0f);
    const int32_t user = spec_add(&s, "\xFF\xFE", USER_DEFINED, 0.0f);
    fixture_open(&f, spec_writer(&s, "gpt2", "gpt-2"));
    ASSERT_DETOK(f.v, "a\xFF\xE2\x82\xAC\xC3", true, odd);
    ASSERT_TOKENS(f.v, "a\xFF\xFE", 0, LETTERS + 'a', user);
    fixture_close(&f);
}

/* Every allocation of opening, tokenizing and detokenizing fails once. */
static void memory_runs_out(void **state)
{
    (void)state;
    static const char text[] = "aaaa <s>a\xED\xA0\x80\xFF aaa";
    static const char *const models[][2] = {
        { "gpt2", "llama-bpe" },    { "llama", NULL },    { "t5", NULL },
        { "gpt2", "deepseek-llm" }, { "gpt2", "gemma4" },
    };
    for (size_t k = 0; k < sizeof models / sizeof *models; k++) {
        vocab_fixture f;
        spec s = { 0 };
        fill(&s, strcmp(models[k][0], "gpt2") != 0);
        terse_gguf_writer *w = spec_writer(&s, models[k][0], models[k][1]);
        terse_gguf_writer_u32(w, "tokenizer.ggml.unknown_token_id", UNK);
        fixture_save(&f, w);
        terse_status st = TERSE_NOMEM;
        int32_t n = 0;
        for (; st != TERSE_OK; n++) {
            terse_tokens t = { 0 };
            terse_text out = { 0 };
            terse_stream stream = { 0 };
            assert_true(n < 1000);
            left = n;
            st = terse_vocab_open(&f.v, f.g, &f.err);
            if (st == TERSE_OK)
                st = terse_vocab_tokenize(f.v, text, sizeof text - 1, true, true, &t, &f.err);
            if (st == TERSE_OK)
                st = terse_vocab_detokenize(f.v, t.ids, t.n, true, &out, &f.err);
            if (st == TERSE_OK)
                st = terse_stream_push(&stream, f.v, LETTERS + 'a', &out, &f.err);
            left = -1;
            if (st != TERSE_OK && st != TERSE_NOMEM)
                fail_msg("%s: status %d, \"%s\"", models[k][0], st, f.err.text);
            terse_tokens_free(&t);
            terse_text_free(&out);
            terse_vocab_close(&f.v);
        }
        assert_true(n > 8);
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones_are_good),
        cmocka_unit_test(special_ids_must_be_tokens),
        cmocka_unit_test(arrays_must_fit_the_tokens),
        cmocka_unit_test(tokens_must_be_texts),
        cmocka_unit_test(holes_are_kept),
        cmocka_unit_test(types_and_scores_are_checked),
        cmocka_unit_test(merges_must_join_tokens_to_a_token),
        cmocka_unit_test(what_is_not_built_in_is_named),
        cmocka_unit_test(none_knows_its_size_only),
        cmocka_unit_test(doubles_give_the_last),
        cmocka_unit_test(odd_token_texts_are_kept),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
