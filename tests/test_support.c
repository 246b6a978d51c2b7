/* What terse says of files that it cannot run: each copy of a small model lacks one thing, and just that one is
 * named. */
#include "make_model.h"
#include "terse/model.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/terse-support-XXXXXX";
static char whole[64], changed[64];

static terse_str str(const char *s)
{
    return (terse_str){ s, strlen(s) };
}

static int set_up(void **state)
{
    (void)state;
    terse_error err;
    const make_model_opts o = { .tokenizer = TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf",
                                .n_layer = 1,
                                .n_embd = 64,
                                .n_head = 2,
                                .n_ff = 64,
                                .types = make_model_uniform(TERSE_TYPE_Q8_0) };
    if (!mkdtemp(directory))
        return -1;
    snprintf(whole, sizeof whole, "%s/whole.gguf", directory);
    snprintf(changed, sizeof changed, "%s/changed.gguf", directory);
    if (make_model(whole, &o, &err) == TERSE_OK)
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(whole);
    unlink(changed);
    return rmdir(directory);
}

typedef struct {
    const char *key, *value; /* a key that gets another value, NULL: none; value NULL: it is left out */
    const char *tensor;      /* a tensor that is left out */
    const char *more;        /* a tensor too many, or one of type */
    int32_t n_more;
    terse_type type;
} change;

static bool named(terse_str s, const char *name)
{
    return name && s.n == strlen(name) && memcmp(s.p, name, s.n) == 0;
}

static void write_changed(const change *c)
{
    static const uint8_t zeros[64 * 64 * 4];
    terse_gguf_writer *w;
    terse_gguf *g;
    terse_error err;
    char name[64];
    assert_int_equal(terse_gguf_open(&g, whole, &err), TERSE_OK);
    assert_int_equal(terse_gguf_writer_open(&w, &err), TERSE_OK);
    for (int32_t i = 0; i < terse_gguf_n_meta(g); i++)
        if (!named(terse_gguf_meta(g, i)->key, c->key))
            terse_gguf_writer_copy(w, terse_gguf_meta(g, i));
    if (c->key && c->value)
        terse_gguf_writer_str(w, c->key, str(c->value));
    for (int32_t i = 0; i < terse_gguf_n_tensor(g); i++) {
        const terse_tensor *t = terse_gguf_tensor(g, i);
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        if (!named(t->name, c->tensor))
            terse_gguf_writer_tensor(w, name, t->type, t->n_dim, t->ne, t->data);
    }
    for (int32_t i = 0; i < c->n_more; i++) {
        snprintf(name, sizeof name, i ? "%s.%d" : "%s", c->more, i);
        terse_gguf_writer_tensor(w, name, c->type, 2, (const int64_t[]){ 64, 64 }, zeros);
    }
    if (terse_gguf_writer_save(w, changed, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    terse_gguf_writer_close(&w);
    terse_gguf_close(&g);
}

/* Item `what` alone is not supported and its text holds `text`; items behind an unknown architecture are open.
 * The model cannot be opened either. */
static void assert_missing(const change *c, terse_support_what what, const char *text)
{
    terse_support items[TERSE_SUPPORT_N];
    terse_gguf *g;
    terse_model *m;
    write_changed(c);
    assert_int_equal(terse_gguf_open(&g, changed, NULL), TERSE_OK);
    assert_false(terse_model_support(g, items));
    for (int32_t i = 0; i < TERSE_SUPPORT_N; i++) {
        const bool open = what == TERSE_SUPPORT_ARCH && (i == TERSE_SUPPORT_TENSORS || i == TERSE_SUPPORT_ROPE);
        const bool type_of_tensor = what == TERSE_SUPPORT_TYPES && i == TERSE_SUPPORT_TENSORS;
        if (items[i].checked == open || (!type_of_tensor && items[i].ok != (!open && i != (int32_t)what)))
            fail_msg("%s: checked %d, ok %d: %s", terse_support_name(i), items[i].checked, items[i].ok,
                     items[i].text);
    }
    if (!strstr(items[what].text, text))
        fail_msg("wanted \"%s\" in \"%s\"", text, items[what].text);
    assert_null(strstr(items[what].text, directory));
    terse_gguf_close(&g);
    assert_int_not_equal(terse_model_open(&m, changed, NULL), TERSE_OK);
}

static void all_is_well_with_a_whole_model(void **state)
{
    (void)state;
    terse_support items[TERSE_SUPPORT_N];
    terse_gguf *g;
    assert_int_equal(terse_gguf_open(&g, whole, NULL), TERSE_OK);
    assert_true(terse_model_support(g, items));
    for (int32_t i = 0; i < TERSE_SUPPORT_N; i++)
        assert_true(items[i].checked && items[i].ok && items[i].text[0]);
    assert_string_equal(items[TERSE_SUPPORT_ARCH].text, "llama");
    assert_string_equal(items[TERSE_SUPPORT_TOKENIZER].text, "gpt2, pre-tokenizer gpt-2, 8192 tokens");
    assert_string_equal(items[TERSE_SUPPORT_TYPES].text, "Q8_0 in 8 tensors");
    assert_string_equal(items[TERSE_SUPPORT_ROPE].text, "no scaling");
    assert_null(terse_support_name(-1));
    assert_null(terse_support_name(TERSE_SUPPORT_N));
    terse_gguf_close(&g);
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    assert_missing(&(change){ .key = "general.architecture", .value = "nonesuch" }, TERSE_SUPPORT_ARCH,
                   "'nonesuch'");
    assert_missing(&(change){ .key = "llama.block_count" }, TERSE_SUPPORT_ARCH, "'llama.block_count'");
    assert_missing(&(change){ .key = "tokenizer.ggml.pre", .value = "gpt-3" }, TERSE_SUPPORT_TOKENIZER,
                   "\"gpt-3\"");
    assert_missing(&(change){ .key = "tokenizer.ggml.pre" }, TERSE_SUPPORT_TOKENIZER,
                   "tokenizer.ggml.pre is missing");
    assert_missing(&(change){ .key = "tokenizer.ggml.model", .value = "rwkv" }, TERSE_SUPPORT_TOKENIZER,
                   "\"rwkv\"");
    assert_missing(&(change){ .tensor = "blk.0.attn_k.weight" }, TERSE_SUPPORT_TENSORS,
                   "tensor 'blk.0.attn_k.weight' is missing");
    assert_missing(
        &(change){ .more = "blk.0.extra.weight", .n_more = 3 }, TERSE_SUPPORT_TENSORS,
        "'blk.0.extra.weight' is not part of architecture llama as this build knows it (nor are 2 more)");
    assert_missing(&(change){ .tensor = "blk.0.attn_k.weight",
                              .more = "blk.0.attn_k.weight",
                              .n_more = 1,
                              .type = TERSE_TYPE_I32 },
                   TERSE_SUPPORT_TYPES, "I32 in 1 tensor: cannot be multiplied");
    assert_missing(&(change){ .key = "llama.rope.scaling.type", .value = "dynamic" }, TERSE_SUPPORT_ROPE,
                   "'dynamic'");
}

/* Two things at once are both said. */
static void all_that_is_missing_is_said(void **state)
{
    (void)state;
    terse_support items[TERSE_SUPPORT_N];
    terse_gguf *g;
    write_changed(&(change){ .key = "tokenizer.ggml.pre", .value = "x", .more = "extra", .n_more = 1 });
    assert_int_equal(terse_gguf_open(&g, changed, NULL), TERSE_OK);
    assert_false(terse_model_support(g, items));
    assert_false(items[TERSE_SUPPORT_TOKENIZER].ok || items[TERSE_SUPPORT_TENSORS].ok);
    assert_true(items[TERSE_SUPPORT_ARCH].ok && items[TERSE_SUPPORT_TYPES].ok && items[TERSE_SUPPORT_ROPE].ok);
    terse_gguf_close(&g);
}

/* The program says the same, for people and as JSON, and has done its work. */
static void the_program_says_it(void **state)
{
    (void)state;
    char command[512], out[1 << 16];
    write_changed(&(change){ .key = "tokenizer.ggml.pre", .value = "gpt-3" });
    for (int json = 0; json < 2; json++) {
        snprintf(command, sizeof command, "%s inspect %s%s", TERSE_PROGRAM, changed, json ? " --json" : "");
        FILE *f = popen(command, "r");
        assert_non_null(f);
        out[fread(out, 1, sizeof out - 1, f)] = '\0';
        assert_int_equal(pclose(f), 0);
        if (!json) {
            assert_non_null(strstr(out, "runs       no\n"));
            assert_non_null(strstr(out, "  architecture  yes  llama\n"));
            assert_non_null(strstr(out, "  tokenizer     NO   pre-tokenizer \"gpt-3\""));
            continue;
        }
        json_t *root = json_loads(out, 0, NULL);
        const json_t *items = json_object_get(root, "support");
        assert_true(json_is_false(json_object_get(root, "runs")));
        assert_int_equal(json_array_size(json_object_get(root, "parts")), 1);
        assert_true(json_is_true(json_object_get(json_object_get(items, "architecture"), "ok")));
        assert_true(json_is_false(json_object_get(json_object_get(items, "tokenizer"), "ok")));
        json_decref(root);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_well_with_a_whole_model),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(all_that_is_missing_is_said),
        cmocka_unit_test(the_program_says_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
