/* Unigram vocabularies trained by SentencePiece, with the ids and texts that it gives for 150 strings each
 * (golden/unigram.json, made by the script beside it); and tables that are damaged. */
#include "text/charsmap.h"
#include "text_fixture.h"

#include <jansson.h>
#include <time.h>

static uint8_t *bytes_of_hex(const char *hex, size_t *n)
{
    *n = strlen(hex) / 2;
    uint8_t *p = malloc(*n + 1);
    assert_non_null(p);
    for (size_t i = 0; i < *n; i++) {
        const char pair[3] = { hex[2 * i], hex[2 * i + 1], '\0' };
        p[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return p;
}

static terse_str str_of(const json_t *s)
{
    return (terse_str){ json_string_value(s), json_string_length(s) };
}

/* Writes a vocabulary of the golden file and opens it. */
static void open_golden(vocab_fixture *f, const json_t *e)
{
    const json_t *tokens = json_object_get(e, "tokens");
    const size_t n = json_array_size(tokens);
    terse_str *texts = calloc(n, sizeof *texts);
    float *scores = calloc(n, sizeof *scores);
    int32_t *types = calloc(n, sizeof *types);
    size_t n_map;
    uint8_t *map = bytes_of_hex(json_string_value(json_object_get(e, "charsmap")), &n_map);
    terse_gguf_writer *w;
    assert_true(texts && scores && types && terse_gguf_writer_open(&w, NULL) == TERSE_OK);
    for (size_t i = 0; i < n; i++) {
        texts[i] = str_of(json_array_get(tokens, i));
        scores[i] = (float)json_number_value(json_array_get(json_object_get(e, "scores"), i));
        types[i] = (int32_t)json_integer_value(json_array_get(json_object_get(e, "types"), i));
    }
    terse_gguf_writer_str(w, "general.architecture", str("t5"));
    terse_gguf_writer_str(w, "tokenizer.ggml.model", str("t5"));
    terse_gguf_writer_strs(w, "tokenizer.ggml.tokens", texts, n);
    terse_gguf_writer_array(w, "tokenizer.ggml.scores", TERSE_META_F32, scores, n);
    terse_gguf_writer_array(w, "tokenizer.ggml.token_type", TERSE_META_I32, types, n);
    terse_gguf_writer_bool(w, "tokenizer.ggml.add_space_prefix",
                           json_is_true(json_object_get(e, "add_space_prefix")));
    terse_gguf_writer_bool(w, "tokenizer.ggml.remove_extra_whitespaces",
                           json_is_true(json_object_get(e, "remove_extra_whitespaces")));
    if (n_map > 0)
        terse_gguf_writer_array(w, "tokenizer.ggml.precompiled_charsmap", TERSE_META_U8, map, n_map);
    fixture_open(f, w);
    free(texts);
    free(scores);
    free(types);
    free(map);
}

static int check_case(const terse_vocab *v, const json_t *c)
{
    const terse_str text = str_of(json_array_get(c, 0)), decoded = str_of(json_array_get(c, 2));
    const json_t *ids = json_array_get(c, 1);
    terse_tokens t = { 0 };
    terse_text back = { 0 };
    bool unknown = false;
    assert_int_equal(terse_vocab_tokenize(v, text.p, text.n, false, false, &t, NULL), TERSE_OK);
    bool same = t.n == json_array_size(ids);
    for (size_t i = 0; i < t.n && same; i++) {
        same = t.ids[i] == json_integer_value(json_array_get(ids, i));
        unknown = unknown || t.ids[i] == 2;
    }
    if (!same) {
        print_message("\"%.*s\":", (int)text.n, text.p);
        for (size_t i = 0; i < t.n; i++)
            print_message(" %d", t.ids[i]);
        print_message("\n");
    } else if (!unknown) { /* SentencePiece shows unknown tokens in a way of its own */
        assert_int_equal(terse_vocab_detokenize(v, t.ids, t.n, false, &back, NULL), TERSE_OK);
        same = back.n == decoded.n && (back.n == 0 || memcmp(back.p, decoded.p, back.n) == 0);
        if (!same)
            print_message("got back \"%.*s\", wanted \"%.*s\"\n", (int)back.n, back.p, (int)decoded.n,
                          decoded.p);
    }
    terse_text_free(&back);
    terse_tokens_free(&t);
    return !same;
}

static void ids_are_those_of_sentencepiece(void **state)
{
    (void)state;
    const char *other = getenv("TERSE_TEST_UNIGRAM"); /* the output of the script for another vocabulary */
    json_error_t err;
    json_t *root = json_load_file(other ? other : TERSE_TEST_DIR "/golden/unigram.json", JSON_ALLOW_NUL, &err);
    if (!root)
        fail_msg("golden/unigram.json: %s", err.text);
    int failed = 0;
    assert_true(json_array_size(root) > 0);
    for (size_t k = 0; k < json_array_size(root); k++) {
        vocab_fixture f;
        const json_t *e = json_array_get(root, k), *cases = json_object_get(e, "cases");
        open_golden(&f, e);
        assert_true(json_array_size(cases) >= 100);
        for (size_t i = 0; i < json_array_size(cases); i++)
            failed += check_case(f.v, json_array_get(cases, i));
        fixture_close(&f);
    }
    json_decref(root);
    assert_int_equal(failed, 0);
}

static void conventions_are_those_of_t5(void **state)
{
    (void)state;
    vocab_fixture f;
    json_t *root = json_load_file(TERSE_TEST_DIR "/golden/unigram.json", JSON_ALLOW_NUL, NULL);
    assert_non_null(root);
    open_golden(&f, json_array_get(root, 0));
    assert_int_equal(terse_vocab_eos(f.v), 1);
    assert_true(terse_vocab_is_end(f.v, 1));
    assert_false(terse_vocab_adds_bos(f.v));
    ASSERT_TOKENS(f.v, "", SPECIAL, 1);       /* eos goes behind */
    ASSERT_TOKENS(f.v, "<extra_id_0>", 0, 3); /* user-defined: always parsed */
    ASSERT_TOKENS(f.v, "</s>", PARSE, 1);
    fixture_close(&f);
    json_decref(root);
}

static void long_runs(void **state)
{
    (void)state;
    static const char *const runs[] = { "a", " ", "\xEF\xB7\xBA", "\xE4\xB8\xAD", "the ", "\xFF", "a\xCC\x81" };
    const size_t n = 1 << 20;
    char *text = malloc(n);
    vocab_fixture f;
    json_t *root = json_load_file(TERSE_TEST_DIR "/golden/unigram.json", JSON_ALLOW_NUL, NULL);
    assert_true(text && root);
    for (size_t k = 0; k < json_array_size(root); k++) {
        open_golden(&f, json_array_get(root, k));
        for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
            const size_t len = strlen(runs[r]), used = n / len * len;
            terse_tokens t = { 0 };
            for (size_t i = 0; i < used; i++)
                text[i] = runs[r][i % len];
            const clock_t start = clock(); /* of this process: others do not count */
            assert_int_equal(terse_vocab_tokenize(f.v, text, used, false, false, &t, NULL), TERSE_OK);
            const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
            print_message("%zu: run %zu: %zu bytes, %zu tokens, %.3f s\n", k, r, used, t.n, seconds);
            assert_true(seconds < 20.0);
            terse_tokens_free(&t);
        }
        fixture_close(&f);
    }
    json_decref(root);
    free(text);
}

/* ---- damaged tables ---- */

/* units[n], then the text "x". */
static bool open_map(terse_charsmap *c, uint8_t *blob, const uint32_t *units, uint32_t n)
{
    const uint32_t size = n * 4;
    memcpy(blob, &size, 4);
    memcpy(blob + 4, units, size);
    memcpy(blob + 4 + size, "x", 2);
    return terse_charsmap_open(c, blob, 4 + size + 2);
}

static void damaged_tables_replace_nothing(void **state)
{
    (void)state;
    uint8_t blob[64] = { 0 };
    terse_charsmap c = { 0 };
    terse_str to;
    char text[2048];
    memset(text, 'a', sizeof text);
    const terse_str as = { text, sizeof text };
    assert_int_equal(terse_charsmap_find(&c, as, &to), 0);
    for (size_t n = 0; n < 9; n++) { /* too short, or without a text that ends */
        const uint32_t size = 4;
        memcpy(blob, &size, 4);
        blob[8] = 'x';
        assert_false(terse_charsmap_open(&c, blob, n));
    }
    memset(blob, 0xFF, sizeof blob); /* an array longer than the table */
    assert_false(terse_charsmap_open(&c, blob, sizeof blob));
    memset(blob, 0, sizeof blob); /* no array */
    assert_false(terse_charsmap_open(&c, blob, sizeof blob));
    /* children far outside */
    assert_true(open_map(&c, blob, (const uint32_t[]){ UINT32_MAX }, 1));
    assert_int_equal(terse_charsmap_find(&c, as, &to), 0);
    /* the root's children start at 'a' XOR 1: unit 1 is 'a', is the end of a sequence, and leads back to itself
     */
    const uint32_t root = ('a' ^ 1u) << 10, loop = ('a' ^ 0u) << 10 | 1u << 8 | 'a';
    assert_true(open_map(&c, blob, (const uint32_t[]){ root, loop, 0 }, 3));
    const size_t n = terse_charsmap_find(&c, as, &to);
    assert_true(n <= 256);
    /* a text outside of the texts */
    assert_true(open_map(&c, blob, (const uint32_t[]){ root, 3u << 10 | 1u << 8 | 'a', 1u << 31 | 2 }, 3));
    assert_int_equal(terse_charsmap_find(&c, as, &to), 0);
    assert_true(open_map(&c, blob, (const uint32_t[]){ root, 3u << 10 | 1u << 8 | 'a', 1u << 31 | 0 }, 3));
    assert_int_equal(terse_charsmap_find(&c, as, &to), 1);
    assert_int_equal(to.n, 1);
    assert_int_equal(to.p[0], 'x');
}

/* A vocabulary of four tokens with this table (none if type is not of an array) and this score of the second.
 */
static void refuse(terse_meta_type type, float score, const char *part)
{
    vocab_fixture f;
    static spec s;
    memset(&s, 0, sizeof s);
    for (int i = 0; i < 4; i++)
        spec_add(&s, &"abcd"[i], NORMAL, i == 1 ? score : -1.0f);
    terse_gguf_writer *w = spec_writer(&s, "t5", NULL);
    if (type != TERSE_META_STR)
        terse_gguf_writer_array(w, "tokenizer.ggml.precompiled_charsmap", type, s.scores, 3);
    fixture_save(&f, w);
    assert_int_equal(terse_vocab_open(&f.v, f.g, &f.err), TERSE_BAD_INPUT);
    if (!strstr(f.err.text, part))
        fail_msg("wanted \"%s\" in \"%s\"", part, f.err.text);
    fixture_close(&f);
}

static void damaged_vocabularies_are_refused(void **state)
{
    (void)state;
    refuse(TERSE_META_U8, -1.0f, "tokenizer.ggml.precompiled_charsmap is not a table");
    refuse(TERSE_META_F32, -1.0f, "tokenizer.ggml.precompiled_charsmap is not a table");
    refuse(TERSE_META_STR, (float)strtod("nan", NULL), "tokenizer.ggml.scores[1] is not a number");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_those_of_sentencepiece),
        cmocka_unit_test(conventions_are_those_of_t5),
        cmocka_unit_test(long_runs),
        cmocka_unit_test(damaged_tables_replace_nothing),
        cmocka_unit_test(damaged_vocabularies_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
