/* Tokenizing with vocabularies small enough to know the answer, and with the model that comes with terse. */
#include "text/split.h"
#include "text_fixture.h"

/* ---- words ---- */

typedef struct {
    char got[512]; /* the words, each followed by a bar */
} word_list;

static terse_status list_word(void *ctx, terse_str word, terse_error *err)
{
    (void)err;
    word_list *l = ctx;
    const size_t n = strlen(l->got);
    snprintf(l->got + n, sizeof l->got - n, "%.*s|", (int)word.n, word.p);
    return TERSE_OK;
}

static void assert_words(const char *pre, const char *text, const char *want)
{
    word_list l = { { 0 } };
    char repaired[1024];
    terse_split *s = NULL;
    assert_non_null(terse_pre_find(str(pre)));
    assert_int_equal(terse_split_open(&s, terse_pre_find(str(pre)), NULL), TERSE_OK);
    const terse_str all = { repaired, terse_split_repair(repaired, str(text)) };
    assert_int_equal(terse_split_words(s, all, list_word, &l, NULL), TERSE_OK);
    assert_string_equal(l.got, want);
    terse_split_close(&s);
    assert_null(s);
}

static void words_of_gpt2(void **state)
{
    (void)state;
    assert_words("gpt-2", "", "");
    assert_words("gpt-2", "Hello world, it's 12345!", "Hello| world|,| it|'s| 12345|!|");
    assert_words("gpt-2", "a   b\n\n c  ", "a|  | b|\n\n| c|  |");
    assert_words("gpt-2", "IT'S don't'll", "IT|'|S| don|'t|'ll|");
}

static void words_of_llama3(void **state)
{
    (void)state;
    assert_words("llama-bpe", "Hello (world) 12345", "Hello| (|world|)| |123|45|");
    assert_words("llama3", "IT'S a\tb\n\n  c", "IT|'S| a|\tb|\n\n| | c|");
    assert_words("llama-v3", "x!\n\ny \n z", "x|!\n\n|y| \n| z|");
}

static void words_of_qwen2(void **state)
{
    (void)state;
    assert_words("qwen2", "a123 4", "a|1|2|3| |4|");
}

/* U+180E is a format character since Unicode 6.3, but PCRE2 still counts it as white space. */
static void white_space_is_unicodes(void **state)
{
    (void)state;
    assert_words("gpt-2", "a\xE1\xA0\x8E", "a|\xE1\xA0\x8E|");
    assert_words("gpt-2", "a \xE1\xA0\x8E", "a| \xE1\xA0\x8E|");
    assert_words("gpt-2",
                 "a\xC2\x85\xC2\xA0\xE3\x80\x80"
                 "b",
                 "a|\xC2\x85\xC2\xA0|\xE3\x80\x80|b|");
}

static void surrogates_are_neither_letters_nor_space(void **state)
{
    (void)state;
    assert_words("gpt-2",
                 "a\xED\xA0\x80"
                 "b",
                 "a|\xED\xA0\x80|b|");
    assert_words("qwen2", "! \xED\xBF\xBF\xED\xA0\x80", "!| \xED\xBF\xBF\xED\xA0\x80|");
}

static void names_match_whole(void **state)
{
    (void)state;
    assert_null(terse_pre_find(str("llama")));
    assert_null(terse_pre_find(str("gpt")));
    assert_null(terse_pre_find(str("gpt-2 phi-2")));
    assert_null(terse_pre_find(str("")));
    assert_non_null(terse_pre_find(str("phi-2")));
}

static void assert_repaired(const char *text, size_t n, const char *want)
{
    char out[64] = "";
    const size_t got = terse_split_repair(out, (terse_str){ text, n });
    assert_int_equal(got, strlen(want));
    assert_memory_equal(out, want, got);
}

static void repair_keeps_what_it_can(void **state)
{
    (void)state;
    assert_repaired("a\xC3\xA9\xF0\x9F\x98\x80", 7, "a\xC3\xA9\xF0\x9F\x98\x80");
    assert_repaired("\xC0\xAF\xE0\x80\xAF\xF0\x80\x80\xAF", 9, "///"); /* overlong */
    assert_repaired("\xED\xA0\x80", 3, "\xED\xA0\x80");                /* a surrogate */
    assert_repaired("\xC3", 1, "\xEF\xBF\xBD");
    assert_repaired("\xE2\x82(", 3, "\xEF\xBF\xBD\xEF\xBF\xBD(");
    assert_repaired("\xF4\x90\x80\x80", 4,
                    "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"); /* past U+10FFFF */
    assert_repaired("\xFF\x80", 2, "\xEF\xBF\xBD\xEF\xBF\xBD");
}

/* ---- byte-level BPE ---- */

enum { HE = 256, LL, HELL, HELLO, AA, BLANK_A, BOS, EOS, USER, TURN, TURN_END };

static void open_bpe(vocab_fixture *f, const char *pre, bool bos_and_eos)
{
    spec s = { 0 };
    spec_add_letters(&s);
    spec_merge(&s, "h e", "he");
    spec_merge(&s, "l l", "ll");
    spec_merge(&s, "he ll", "hell");
    spec_merge(&s, "hell o", "hello");
    spec_merge(&s, "a a", "aa");
    spec_merge(&s, "\xC4\xA0 a",
               "\xC4\xA0"
               "a");
    spec_add(&s, "<bos>", CONTROL, 0.0f);
    spec_add(&s, "<eos>", CONTROL, 0.0f);
    spec_add(&s, "<user>", USER_DEFINED, 0.0f);
    spec_add(&s, "<turn>", CONTROL, 0.0f);
    spec_add(&s, "<turn>/", CONTROL, 0.0f);
    terse_gguf_writer *w = spec_writer(&s, "gpt2", pre);
    terse_gguf_writer_u32(w, "tokenizer.ggml.bos_token_id", BOS);
    terse_gguf_writer_u32(w, "tokenizer.ggml.eos_token_id", EOS);
    if (bos_and_eos) {
        terse_gguf_writer_bool(w, "tokenizer.ggml.add_bos_token", true);
        terse_gguf_writer_bool(w, "tokenizer.ggml.add_eos_token", true);
    }
    fixture_open(f, w);
}

static void bpe_merges_by_rank_then_from_the_left(void **state)
{
    (void)state;
    vocab_fixture f;
    open_bpe(&f, "gpt-2", false);
    assert_tokens(f.v, "", 0, PARSE | SPECIAL, NULL, 0);
    ASSERT_TOKENS(f.v, "hello", 0, HELLO);
    ASSERT_TOKENS(f.v, "hell", 0, HELL);
    ASSERT_TOKENS(f.v, "aaa", 0, AA, 'a');
    ASSERT_TOKENS(f.v, "aaaaa", 0, AA, AA, 'a');
    ASSERT_TOKENS(f.v, "llll", 0, LL, LL);
    ASSERT_TOKENS(f.v, " aa", 0, ' ', AA); /* "a a" ranks before "Ga" */
    ASSERT_TOKENS(f.v, " a", 0, BLANK_A);
    ASSERT_TOKENS(f.v, "hello aa", 0, HELLO, ' ', AA);
    fixture_close(&f);
}

static void bpe_bytes_survive(void **state)
{
    (void)state;
    vocab_fixture f;
    open_bpe(&f, "qwen2", false);
    ASSERT_TOKENS(f.v, "\xC3\xA9", 0, 0xC3, 0xA9);
    assert_tokens(f.v, "\0\x7F\xC2\xAD", 4, 0, (const int32_t[]){ 0, 0x7F, 0xC2, 0xAD }, 4);
    ASSERT_TOKENS(f.v, "\xFF", 0, 0xEF, 0xBF, 0xBD);
    ASSERT_TOKENS(f.v, "\xED\xA0\x80", 0, 0xED, 0xA0, 0x80);
    ASSERT_DETOK(f.v, "\xC3\xA9 \n\x7F", true, 0xC3, 0xA9, ' ', '\n', 0x7F);
    fixture_close(&f);
}

static void special_tokens_are_parsed_on_request(void **state)
{
    (void)state;
    vocab_fixture f;
    open_bpe(&f, "gpt-2", false);
    ASSERT_TOKENS(f.v, "<bos>", PARSE, BOS);
    ASSERT_TOKENS(f.v, "<bos>", 0, '<', 'b', 'o', 's', '>');
    ASSERT_TOKENS(f.v, "a<user>a", 0, 'a', USER, 'a');          /* user-defined ones always are */
    ASSERT_TOKENS(f.v, "<turn>/<turn>", PARSE, TURN_END, TURN); /* the longest wins */
    ASSERT_TOKENS(f.v, "<turn<turn>", PARSE, '<', 't', 'u', 'r', 'n', TURN);
    ASSERT_TOKENS(f.v, "<us", PARSE, '<', 'u', 's');
    ASSERT_TOKENS(f.v, "hel<bos>lo", PARSE, HE, 'l', BOS, 'l', 'o');
    fixture_close(&f);
}

static void bos_and_eos_go_around(void **state)
{
    (void)state;
    vocab_fixture f;
    open_bpe(&f, "gpt-2", true);
    assert_true(terse_vocab_adds_bos(f.v));
    ASSERT_TOKENS(f.v, "a", SPECIAL, BOS, 'a', EOS);
    ASSERT_TOKENS(f.v, "a", 0, 'a');
    ASSERT_TOKENS(f.v, "", SPECIAL, BOS, EOS);
    ASSERT_DETOK(f.v, "a", false, BOS, 'a', EOS);
    ASSERT_DETOK(f.v, "<bos>a<eos>", true, BOS, 'a', EOS);
    fixture_close(&f);
    open_bpe(&f, "gpt-2", false);
    assert_false(terse_vocab_adds_bos(f.v)); /* although there is one */
    assert_int_equal(terse_vocab_bos(f.v), BOS);
    ASSERT_TOKENS(f.v, "a", SPECIAL, 'a');
    fixture_close(&f);
    open_bpe(&f, "llama-bpe", false);
    assert_true(terse_vocab_adds_bos(f.v));
    ASSERT_TOKENS(f.v, "a", SPECIAL, BOS, 'a');
    fixture_close(&f);
}

/* llama-bpe takes a word that is a token as it is, even if no merge leads to it. */
static void whole_words_need_no_merges(void **state)
{
    (void)state;
    static const char *const pres[] = { "llama-bpe", "gpt-2" };
    for (int i = 0; i < 2; i++) {
        vocab_fixture f;
        spec s = { 0 };
        spec_add_letters(&s);
        const int32_t xyz = spec_add(&s, "xyz", NORMAL, 0.0f);
        fixture_open(&f, spec_writer(&s, "gpt2", pres[i]));
        if (i == 0)
            ASSERT_TOKENS(f.v, "xyz", 0, xyz);
        else
            ASSERT_TOKENS(f.v, "xyz", 0, 'x', 'y', 'z');
        ASSERT_TOKENS(f.v, "xyzz", 0, 'x', 'y', 'z', 'z');
        fixture_close(&f);
    }
}

static void a_byte_without_token_is_an_error_or_unknown(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        vocab_fixture f;
        spec s = { 0 };
        terse_tokens t = { 0 };
        spec_add(&s, "a", NORMAL, 0.0f);
        spec_add(&s, "<unk>", UNKNOWN, 0.0f);
        terse_gguf_writer *w = spec_writer(&s, "gpt2", "gpt-2");
        if (i == 1)
            terse_gguf_writer_u32(w, "tokenizer.ggml.unknown_token_id", 1);
        fixture_open(&f, w);
        assert_int_equal(terse_tokens_push(&t, 77, NULL), TERSE_OK);
        const terse_status st = terse_vocab_tokenize(f.v, "aba", 3, false, false, &t, &f.err);
        assert_int_equal(t.ids[0], 77);
        if (i == 0) {
            assert_int_equal(st, TERSE_BAD_INPUT);
            assert_non_null(strstr(f.err.text, "0x62"));
            assert_int_equal(t.n, 1); /* as it was */
        } else {
            assert_int_equal(st, TERSE_OK);
            assert_int_equal(t.n, 4);
            assert_int_equal(t.ids[2], 1);
        }
        terse_tokens_free(&t);
        fixture_close(&f);
    }
}

static void clean_up_removes_blanks_before_punctuation(void **state)
{
    (void)state;
    static const char text[] = "a , b . c ! d ? e ' f do n't I 'm it 's we 've they 're you 'll  .";
    for (int i = 0; i < 2; i++) {
        vocab_fixture f;
        terse_tokens t = { 0 };
        open_bpe(&f, i ? "qwen2" : "gpt-2", false);
        assert_int_equal(terse_vocab_tokenize(f.v, text, sizeof text - 1, false, false, &t, NULL), TERSE_OK);
        assert_detok(f.v, t.ids, t.n, true,
                     i ? text : "a, b. c! d? e'f don't I'm it's we've they're you 'll .");
        terse_tokens_free(&t);
        fixture_close(&f);
    }
}

/* ---- SentencePiece ---- */

#define SP "\xE2\x96\x81" /* U+2581, the blank of SentencePiece */

enum { S_A = 3 + 256, S_B, S_SP, S_AB, S_BA, S_SPA, S_SPSP, S_END, S_PLAIN };

static void open_spm(vocab_fixture *f, const char *name, bool prefix)
{
    spec s = { 0 };
    spec_add(&s, "<unk>", UNKNOWN, 0.0f);
    spec_add(&s, "<s>", CONTROL, 0.0f);
    spec_add(&s, "</s>", CONTROL, 0.0f);
    spec_add_bytes(&s);
    spec_add(&s, "a", NORMAL, -10.0f);
    spec_add(&s, "b", NORMAL, -11.0f);
    spec_add(&s, SP, NORMAL, -12.0f);
    spec_add(&s, "ab", NORMAL, -2.0f);
    spec_add(&s, "ba", NORMAL, -1.0f);
    spec_add(&s, SP "a", NORMAL, 0.5f);
    spec_add(&s, SP SP, NORMAL, 1.5f);
    spec_add(&s, "<|end|>", CONTROL, 0.0f);
    spec_add(&s, "<plain>", UNUSED, 0.0f);
    terse_gguf_writer *w = spec_writer(&s, "llama", NULL);
    terse_gguf_writer_str(w, "general.name", str(name));
    if (!prefix)
        terse_gguf_writer_bool(w, "tokenizer.ggml.add_space_prefix", false);
    fixture_open(f, w);
}

static void spm_merges_the_best_score_first(void **state)
{
    (void)state;
    vocab_fixture f;
    open_spm(&f, "x", false);
    ASSERT_TOKENS(f.v, "ab", 0, S_AB);
    ASSERT_TOKENS(f.v, "aba", 0, S_A, S_BA);  /* -1 beats -2 */
    ASSERT_TOKENS(f.v, " ab", 0, S_SPA, S_B); /* 0.5 beats -2 */
    ASSERT_TOKENS(f.v, "  ab", 0, S_SPSP, S_AB);
    ASSERT_TOKENS(f.v, "   ", 0, S_SPSP, S_SP);
    ASSERT_TOKENS(f.v, SP "a", 0, S_SPA);
    fixture_close(&f);
}

/* Words are encoded one by one only where no token reaches over a blank. */
static void spm_tokens_may_hold_blanks(void **state)
{
    (void)state;
    vocab_fixture f;
    spec s = { 0 };
    static const char *const texts[] = { "<unk>", "<s>", "</s>", "a", "b", SP, "a" SP, "a" SP "b" };
    for (int32_t i = 0; i < 8; i++)
        spec_add(&s, texts[i], i < 3 ? CONTROL : NORMAL, (float)i);
    terse_gguf_writer *w = spec_writer(&s, "llama", NULL);
    terse_gguf_writer_bool(w, "tokenizer.ggml.add_space_prefix", false);
    fixture_open(&f, w);
    ASSERT_TOKENS(f.v, "a b", 0, 7);
    ASSERT_TOKENS(f.v, "ba a b", 0, 4, 6, 7);
    fixture_close(&f);
}

static void spm_falls_back_to_bytes(void **state)
{
    (void)state;
    vocab_fixture f;
    open_spm(&f, "x", false);
    ASSERT_TOKENS(f.v,
                  "\xC3\xA9"
                  "ab",
                  0, 3 + 0xC3, 3 + 0xA9, S_AB);
    /* A cut character swallows what follows: F0 takes the next three bytes, whatever they are. */
    ASSERT_TOKENS(f.v, "\xF0\x9F\x98 a", 0, 3 + 0xF0, 3 + 0x9F, 3 + 0x98, 3 + 0xE2, 3 + 0x96, 3 + 0x81, S_A);
    ASSERT_TOKENS(f.v, "\xF0", 0, 3 + 0xF0);
    ASSERT_TOKENS(f.v, "\xFF\x80", 0, 3 + 0xFF, 3 + 0x80);
    assert_tokens(f.v, "\0", 1, 0, (const int32_t[]){ 3 }, 1);
    ASSERT_DETOK(f.v, "\xC3\xA9 ab", true, 3 + 0xC3, 3 + 0xA9, S_SP, S_AB);
    ASSERT_DETOK(f.v, "a", true, S_A, S_PLAIN); /* unused tokens stand for nothing */
    fixture_close(&f);
}

static void spm_prefix_goes_to_the_start_and_after_specials(void **state)
{
    (void)state;
    vocab_fixture f;
    open_spm(&f, "x", true);
    assert_true(terse_vocab_adds_bos(f.v));
    assert_tokens(f.v, "", 0, 0, NULL, 0);
    ASSERT_TOKENS(f.v, "", SPECIAL, 1);
    ASSERT_TOKENS(f.v, "a", SPECIAL, 1, S_SPA);
    ASSERT_TOKENS(f.v, "b<s>b", PARSE, S_SP, S_B, 1, S_SP, S_B);
    ASSERT_TOKENS(f.v, "<s></s>a", PARSE, 1, 2, S_SPA);
    ASSERT_TOKENS(f.v, "a<unk>", PARSE, S_SPA, 0);
    ASSERT_DETOK(f.v, "a", true, S_SPA);
    ASSERT_DETOK(f.v, "a a", true, S_SPA, S_SPA);
    ASSERT_DETOK(f.v, "<s> a", true, 1, S_SPA);
    ASSERT_DETOK(f.v, " a", false, 1, S_SPA);
    ASSERT_DETOK(f.v, " ", true, S_SPSP); /* only the added one goes */
    fixture_close(&f);
}

static void phi3_specials_strip_to_the_right(void **state)
{
    (void)state;
    vocab_fixture f;
    open_spm(&f, "Phi-3-mini", false);
    ASSERT_TOKENS(f.v, "<|end|> \n\t a", PARSE, S_END, S_A);
    ASSERT_TOKENS(f.v, "<|end|>  ", PARSE, S_END);
    ASSERT_TOKENS(f.v, "<s> a", PARSE, 1, S_SPA); /* bos does not */
    ASSERT_TOKENS(f.v, "</s> a", PARSE, 2, S_A);
    fixture_close(&f);
    open_spm(&f, "other", false);
    ASSERT_TOKENS(f.v, "<|end|> a", PARSE, S_END, S_SPA);
    fixture_close(&f);
}

/* ---- pieces, ends, streams ---- */

static void ends_are_known_by_id_and_name(void **state)
{
    (void)state;
    vocab_fixture f;
    open_spm(&f, "x", true);
    assert_int_equal(terse_vocab_eos(f.v), 2);
    assert_true(terse_vocab_is_end(f.v, 2));
    assert_true(terse_vocab_is_end(f.v, S_END));
    assert_false(terse_vocab_is_end(f.v, 1));
    assert_false(terse_vocab_is_end(f.v, -1));
    assert_false(terse_vocab_is_end(f.v, terse_vocab_size(f.v)));
    assert_int_equal(terse_vocab_find(f.v, str("ab")), S_AB);
    assert_int_equal(terse_vocab_find(f.v, str("abc")), -1);
    assert_int_equal(terse_vocab_find(f.v, str("")), -1);
    fixture_close(&f);
}

static void ids_out_of_range_have_no_text(void **state)
{
    (void)state;
    vocab_fixture f;
    open_spm(&f, "x", true);
    terse_text t = { 0 };
    const int32_t bad[] = { -1, terse_vocab_size(f.v), INT32_MAX, INT32_MIN };
    assert_int_equal(terse_text_append(&t, "x", 1, NULL), TERSE_OK);
    for (int i = 0; i < 4; i++) {
        const int32_t ids[] = { S_A, bad[i] };
        assert_int_equal(terse_vocab_piece(f.v, bad[i], true, &t, &f.err), TERSE_BAD_INPUT);
        assert_int_equal(terse_vocab_detokenize(f.v, ids, 2, true, &t, &f.err), TERSE_BAD_INPUT);
        assert_string_equal(t.p, "x");
    }
    terse_text_free(&t);
    fixture_close(&f);
}

/* Pushes bytes as byte tokens; every intermediate output must be whole characters. */
static void assert_stream(const terse_vocab *v, const char *bytes, size_t n, const char *want)
{
    terse_stream s = { 0 };
    terse_text out = { 0 };
    for (size_t i = 0; i < n; i++)
        assert_int_equal(terse_stream_push(&s, v, 3 + (uint8_t)bytes[i], &out, NULL), TERSE_OK);
    assert_int_equal(terse_stream_end(&s, &out, NULL), TERSE_OK);
    assert_string_equal(out.p, want);
    assert_int_equal(s.n_held, 0);
    assert_false(s.started);
    terse_text_free(&out);
}

static void streams_never_cut_a_character(void **state)
{
    (void)state;
    vocab_fixture f;
    terse_stream s = { 0 };
    terse_text out = { 0 };
    open_spm(&f, "x", false);
    static const char emoji[] = "\xF0\x9F\x98\x80";
    for (int i = 0; i < 3; i++) {
        assert_int_equal(terse_stream_push(&s, f.v, 3 + (uint8_t)emoji[i], &out, NULL), TERSE_OK);
        assert_int_equal(out.n, 0);
    }
    assert_int_equal(terse_stream_push(&s, f.v, 3 + 0x80, &out, NULL), TERSE_OK);
    assert_string_equal(out.p, emoji);
    terse_text_free(&out);
    assert_stream(f.v, "a\xC3\xA9z", 4, "a\xC3\xA9z");
    assert_stream(f.v, "\xF4\x8F\xBF\xBF\xEF\xBF\xBF", 7, "\xF4\x8F\xBF\xBF\xEF\xBF\xBF");
#define FFFD "\xEF\xBF\xBD"
    assert_stream(f.v, "\xE2\x82", 2, FFFD);
    assert_stream(f.v, "\xE2\x82z", 3, FFFD "z");
    assert_stream(f.v, "\xE2\xC3\xA9", 3, FFFD "\xC3\xA9");
    assert_stream(f.v, "\xFF\x80z", 3, FFFD FFFD "z");
    assert_stream(f.v, "\xC0\xAF", 2, FFFD FFFD);
    assert_stream(f.v, "\xED\xA0\x80", 3, FFFD FFFD FFFD);
    assert_stream(f.v, "\xF4\x90\x80\x80", 4, FFFD FFFD FFFD FFFD);
    assert_stream(f.v, "\xF0\x9F\x98\xF0\x9F\x98\x80", 7, FFFD "\xF0\x9F\x98\x80");
    fixture_close(&f);
}

static void streams_drop_the_added_blank_once(void **state)
{
    (void)state;
    vocab_fixture f;
    terse_stream s = { 0 };
    terse_text out = { 0 };
    open_spm(&f, "x", true);
    static const int32_t ids[] = { 1, S_SPA, S_SPA, S_END };
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        assert_int_equal(terse_stream_push(&s, f.v, ids[i], &out, NULL), TERSE_OK);
    assert_string_equal(out.p, "a a");
    assert_int_equal(terse_stream_push(&s, f.v, -5, &out, NULL), TERSE_BAD_INPUT);
    terse_text_free(&out);
    fixture_close(&f);
}

/* The vocabulary of the model that comes with terse. */
static void embedded_model(void **state)
{
    (void)state;
    static const char path[] = TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf";
    static const char text[] =
        "<|im_start|>user\nIt's 1815; d\xC3\xA9j\xC3\xA0 vu \xF0\x9F\x98\x80!<|im_end|>\n";
    terse_gguf *g;
    terse_vocab *v;
    terse_error err;
    terse_tokens t = { 0 };
    if (terse_gguf_open(&g, path, &err) != TERSE_OK || terse_vocab_open(&v, g, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    assert_int_equal(terse_vocab_size(v), 8192);
    assert_int_equal(terse_vocab_bos(v), 0);
    assert_true(terse_vocab_is_end(v, 1));
    assert_true(terse_vocab_is_end(v, terse_vocab_find(v, str("<|im_end|>"))));
    assert_int_equal(terse_vocab_tokenize(v, text, sizeof text - 1, true, true, &t, &err), TERSE_OK);
    assert_int_equal(t.ids[0], 0);
    assert_int_equal(t.ids[1], 2);
    terse_stream s = { 0 };
    terse_text out = { 0 };
    for (size_t i = 0; i < t.n; i++)
        assert_int_equal(terse_stream_push(&s, v, t.ids[i], &out, &err), TERSE_OK);
    assert_string_equal(out.p, "user\nIt's 1815; d\xC3\xA9j\xC3\xA0 vu \xF0\x9F\x98\x80!\n");
    assert_detok(v, t.ids + 1, t.n - 1, true, text);
    terse_text_free(&out);
    terse_tokens_free(&t);
    terse_vocab_close(&v);
    terse_gguf_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_of_gpt2),
        cmocka_unit_test(words_of_llama3),
        cmocka_unit_test(words_of_qwen2),
        cmocka_unit_test(white_space_is_unicodes),
        cmocka_unit_test(surrogates_are_neither_letters_nor_space),
        cmocka_unit_test(names_match_whole),
        cmocka_unit_test(repair_keeps_what_it_can),
        cmocka_unit_test(bpe_merges_by_rank_then_from_the_left),
        cmocka_unit_test(bpe_bytes_survive),
        cmocka_unit_test(special_tokens_are_parsed_on_request),
        cmocka_unit_test(bos_and_eos_go_around),
        cmocka_unit_test(whole_words_need_no_merges),
        cmocka_unit_test(a_byte_without_token_is_an_error_or_unknown),
        cmocka_unit_test(clean_up_removes_blanks_before_punctuation),
        cmocka_unit_test(spm_merges_the_best_score_first),
        cmocka_unit_test(spm_tokens_may_hold_blanks),
        cmocka_unit_test(spm_falls_back_to_bytes),
        cmocka_unit_test(spm_prefix_goes_to_the_start_and_after_specials),
        cmocka_unit_test(phi3_specials_strip_to_the_right),
        cmocka_unit_test(ends_are_known_by_id_and_name),
        cmocka_unit_test(ids_out_of_range_have_no_text),
        cmocka_unit_test(streams_never_cut_a_character),
        cmocka_unit_test(streams_drop_the_added_blank_once),
        cmocka_unit_test(embedded_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
