/* Real vocabularies against the ids and texts that the reference tokenizers give for 350 strings. The
 * vocabularies may not be shipped, so they are not in the repository: without them the tests say so and are
 * skipped. */
#include "terse/text.h"
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define GOLDEN TERSE_SHARED_DIR "/golden/tokenizers/"

typedef struct {
    terse_gguf *g;
    terse_vocab *v;
    char path[64]; /* the unpacked file */
} fixture;

/* Unpacks NAME.gguf.xz into a temporary file; false if it is not there. */
static bool unpack(const char *name, char path[64])
{
    char command[1024], buf[65536];
    snprintf(command, sizeof command, GOLDEN "%s.gguf.xz", name);
    if (access(command, R_OK) != 0)
        return false;
    snprintf(command, sizeof command, "xz -dc '" GOLDEN "%s.gguf.xz'", name);
    snprintf(path, 64, "/tmp/terse-vocab-XXXXXX");
    const int fd = mkstemp(path);
    FILE *in = popen(command, "r");
    assert_true(fd >= 0 && in);
    size_t n;
    while ((n = fread(buf, 1, sizeof buf, in)) > 0)
        assert_int_equal(write(fd, buf, n), n);
    assert_int_equal(close(fd), 0);
    assert_int_equal(pclose(in), 0);
    return true;
}

/* Opens the vocabulary; skips the test if the files are missing. Returns what terse_vocab_open does. */
static terse_status open_vocab(fixture *f, const char *name, terse_error *err)
{
    memset(f, 0, sizeof *f);
    if (!unpack(name, f->path)) {
        printf("SKIPPED: no golden tokenizers in %s\n", GOLDEN);
        skip();
    }
    assert_int_equal(terse_gguf_open(&f->g, f->path, err), TERSE_OK);
    const int64_t start = terse_now_ns();
    const terse_status st = terse_vocab_open(&f->v, f->g, err);
    printf("%s: vocabulary read in %.1f ms\n", name, (double)(terse_now_ns() - start) / 1e6);
    return st;
}

static void close_vocab(fixture *f)
{
    terse_vocab_close(&f->v);
    terse_gguf_close(&f->g);
    unlink(f->path);
}

static int digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static terse_text from_hex(const json_t *hex)
{
    const char *s = json_string_value(hex);
    terse_text t = { 0 };
    assert_non_null(s);
    assert_int_equal(terse_text_append(&t, "", 0, NULL), TERSE_OK);
    for (; *s; s += 2) {
        const char c = (char)(digit(s[0]) * 16 + digit(s[1]));
        assert_int_equal(terse_text_append(&t, &c, 1, NULL), TERSE_OK);
    }
    return t;
}

static bool same_ids(const terse_tokens *t, const json_t *ids)
{
    bool same = json_array_size(ids) == t->n;
    for (size_t i = 0; i < t->n && same; i++)
        same = json_integer_value(json_array_get(ids, i)) == t->ids[i];
    return same;
}

static const json_t *either(const json_t *c, const char *key, const json_t *otherwise)
{
    const json_t *x = json_object_get(c, key);
    return x ? x : otherwise;
}

/* Compares a text with the golden one (absent: the input) from byte `from` on. Returns the number of failures.
 */
static int check_text(const json_t *c, const char *key, const terse_text *input, const terse_text *got,
                      size_t from)
{
    const json_t *hex = json_object_get(c, key);
    terse_text want = hex ? from_hex(hex) : *input;
    const bool same = got->n >= from && got->n - from == want.n && memcmp(got->p + from, want.p, want.n) == 0;
    if (!same)
        printf("case %d: %s: got \"%.*s\", want \"%.*s\"\n", (int)json_integer_value(json_object_get(c, "i")),
               key, (int)got->n, got->p, (int)want.n, want.p);
    if (hex)
        terse_text_free(&want);
    return !same;
}

/* Tokenizes and compares; the tokens stay in *t. */
static int check_ids(const terse_vocab *v, const json_t *c, const char *key, const terse_text *input,
                     const json_t *want, bool special, bool parse, terse_tokens *t)
{
    t->n = 0;
    assert_int_equal(terse_vocab_tokenize(v, input->p, input->n, special, parse, t, NULL), TERSE_OK);
    if (same_ids(t, want))
        return 0;
    printf("case %d: %s: got", (int)json_integer_value(json_object_get(c, "i")), key);
    for (size_t i = 0; i < t->n; i++)
        printf(" %d", t->ids[i]);
    printf("\n");
    return 1;
}

static int check_detok(const terse_vocab *v, const json_t *c, const char *key, const terse_text *input,
                       const terse_tokens *t, bool show)
{
    terse_text got = { 0 };
    size_t from = 0;
    assert_int_equal(terse_text_append(&got, "", 0, NULL), TERSE_OK);
    assert_int_equal(terse_vocab_detokenize(v, t->ids, t->n, show, &got, NULL), TERSE_OK);
    if (strcmp(key, "detok_bos_rm") == 0 && terse_vocab_adds_bos(v)) {
        terse_text bos = { 0 };
        assert_int_equal(terse_vocab_piece(v, terse_vocab_bos(v), true, &bos, NULL), TERSE_OK);
        from = bos.n;
        terse_text_free(&bos);
    }
    const int failed = check_text(c, key, input, &got, from);
    terse_text_free(&got);
    return failed;
}

/* The plain concatenation of pieces, specials shown; and the stream, which must be the same with the first
 * blank gone, where the pieces are UTF-8 and nothing is hidden. */
static int check_pieces(const terse_vocab *v, const json_t *c, const terse_text *input, const terse_tokens *t)
{
    terse_text got = { 0 };
    assert_int_equal(terse_text_append(&got, "", 0, NULL), TERSE_OK);
    for (size_t i = 0; i < t->n; i++)
        assert_int_equal(terse_vocab_piece(v, t->ids[i], true, &got, NULL), TERSE_OK);
    const int failed = check_text(c, "pieces", input, &got, 0);
    terse_text_free(&got);
    return failed;
}

static int check_case(const terse_vocab *v, const json_t *c, const json_t *string)
{
    terse_text input = from_hex(json_object_get(string, "hex"));
    terse_tokens t = { 0 };
    int failed = 0;
    if (json_object_get(c, "rejected")) { /* the reference gives up; ours must only survive */
        assert_int_equal(terse_vocab_tokenize(v, input.p, input.n, true, true, &t, NULL), TERSE_OK);
    } else {
        const json_t *ids = json_object_get(c, "ids");
        const json_t *parse = either(c, "ids_parse", ids);
        const json_t *bos = either(c, "ids_bos_parse", parse);
        failed += check_ids(v, c, "ids", &input, ids, false, false, &t);
        failed += check_detok(v, c, "detok", &input, &t, true);
        failed += check_ids(v, c, "ids_parse", &input, parse, false, true, &t);
        failed += check_detok(v, c, "detok_parse", &input, &t, true);
        failed += check_detok(v, c, "detok_parse_hide", &input, &t, false);
        failed += check_pieces(v, c, &input, &t);
        failed += check_ids(v, c, "ids_bos_parse", &input, bos, true, true, &t);
        failed += check_detok(v, c, "detok_bos_rm", &input, &t, true);
    }
    terse_tokens_free(&t);
    terse_text_free(&input);
    return failed;
}

static void run_vocab(const char *name)
{
    fixture f;
    terse_error err = { 0 };
    char path[512];
    int failed = 0;
    if (open_vocab(&f, name, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    json_t *strings = json_load_file(GOLDEN "strings.json", JSON_ALLOW_NUL, NULL);
    snprintf(path, sizeof path, GOLDEN "%s.json", name);
    json_t *golden = json_load_file(path, JSON_ALLOW_NUL, NULL);
    const json_t *cases = json_object_get(golden, "cases");
    assert_int_equal(json_array_size(cases), 350);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const size_t at = (size_t)json_integer_value(json_object_get(c, "i"));
        failed += check_case(f.v, c, json_array_get(strings, at)) != 0;
    }
    json_decref(golden);
    json_decref(strings);
    close_vocab(&f);
    assert_int_equal(failed, 0);
}

static void llama_bpe(void **state)
{
    (void)state;
    run_vocab("llama-bpe");
}
static void qwen2(void **state)
{
    (void)state;
    run_vocab("qwen2");
}
static void gpt_2(void **state)
{
    (void)state;
    run_vocab("gpt-2");
}
static void llama_spm(void **state)
{
    (void)state;
    run_vocab("llama-spm");
}
static void phi_3(void **state)
{
    (void)state;
    run_vocab("phi-3");
}

static void deepseek_llm(void **state)
{
    (void)state;
    run_vocab("deepseek-llm");
}
static void gemma_4(void **state)
{
    (void)state;
    run_vocab("gemma-4");
}

/* 1 MiB of every kind of run, in time that a quadratic step would miss by far, and back to the same text. */
static void long_runs(void **state)
{
    (void)state;
    static const char *const vocabs[] = {
        "llama-spm", "llama-bpe", "qwen2", "gpt-2", "deepseek-llm", "gemma-4"
    };
    static const char *const runs[] = { "a", " ", "\n", "\xE0\xBD\xB3", "0", " a", "\n ", "'s" };
    const char *size = getenv("TERSE_TEST_RUN_MIB");
    const size_t n = (size_t)(size ? atoi(size) : 1) << 20;
    char *text = malloc(n);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof vocabs / sizeof vocabs[0]; i++) {
        fixture f;
        assert_int_equal(open_vocab(&f, vocabs[i], NULL), TERSE_OK);
        for (size_t r = 0; r < sizeof runs / sizeof runs[0]; r++) {
            const size_t len = strlen(runs[r]);
            const size_t used = n / len * len;
            terse_tokens t = { 0 };
            terse_text back = { 0 };
            for (size_t k = 0; k < used; k++)
                text[k] = runs[r][k % len];
            const clock_t start = clock(); /* of this process: others do not count */
            assert_int_equal(terse_vocab_tokenize(f.v, text, used, false, false, &t, NULL), TERSE_OK);
            const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
            printf("%s: run of \"%s\": %zu bytes, %zu tokens, %.3f s\n", vocabs[i], r == 2 ? "\\n" : runs[r],
                   used, t.n, seconds);
            assert_true(seconds < 20.0);
            for (size_t k = 0; k < t.n; k++)
                assert_int_equal(terse_vocab_piece(f.v, t.ids[k], true, &back, NULL), TERSE_OK);
            const size_t prefix = i == 0;
            assert_int_equal(back.n, used + prefix);
            assert_memory_equal(back.p + prefix, text, used);
            terse_text_free(&back);
            terse_tokens_free(&t);
        }
        close_vocab(&f);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llama_bpe), cmocka_unit_test(qwen2),     cmocka_unit_test(gpt_2),
        cmocka_unit_test(llama_spm), cmocka_unit_test(phi_3),     cmocka_unit_test(deepseek_llm),
        cmocka_unit_test(gemma_4),   cmocka_unit_test(long_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
