/* terse_quantize_file and `terse quantize`: which tensor becomes what, the bytes, what is refused and what a
 * failure leaves behind: nothing. */
#include "gguf/mix.h"
#include "make_model.h"
#include "simd/quantize.h"
#include "terse/terse.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The linker sends the library's calls here (--wrap). */
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);

static long left = -1; /* allocations that still succeed; -1: all */
static bool refuse(void)
{
    return left >= 0 && left-- == 0;
}
void *__wrap_malloc(size_t n)
{
    return refuse() ? NULL : __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t size)
{
    return refuse() ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t n)
{
    return refuse() ? NULL : __real_realloc(p, n);
}
void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return refuse() ? NULL : __real_aligned_alloc(align, n);
}

static char directory[] = "/tmp/terse-quantize-XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[4][128];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", directory, name);
    return p;
}

/* Eight layers, so that the mixes have all their cases; an output of its own. */
static make_model_opts small(terse_type type, int32_t n_embd, int32_t n_expert)
{
    return (make_model_opts){ .n_layer = 8,
                              .n_embd = n_embd,
                              .n_head = 4,
                              .n_head_kv = 2,
                              .n_ff = 256,
                              .n_vocab = 64,
                              .n_expert = n_expert,
                              .output = true,
                              .bias = true,
                              .name = "small",
                              .types = make_model_uniform(type),
                              .seed = 5 };
}

static void make(const char *name, const make_model_opts *o)
{
    terse_error err;
    if (make_model(in_dir(name), o, &err) != TERSE_OK)
        fail_msg("%s", err.text);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    make("f32", (make_model_opts[]){ small(TERSE_TYPE_F32, 256, 0) });
    make("moe", (make_model_opts[]){ small(TERSE_TYPE_F16, 256, 8) });
    make("q8", (make_model_opts[]){ small(TERSE_TYPE_Q8_0, 256, 0) });
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "rm -r %s", directory);
    return system(line);
}

static terse_status quantize(const char *from, const char *to, const terse_quantize_opts *o,
                             terse_quantize_result *r, terse_error *err)
{
    return terse_quantize_file(in_dir(from), in_dir(to), o, r, err);
}

static terse_gguf *open_file(const char *name)
{
    terse_error err;
    terse_gguf *g;
    if (terse_gguf_open(&g, in_dir(name), &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return g;
}

static void has_type(const terse_gguf *g, const char *name, terse_type type)
{
    const terse_tensor *t = terse_gguf_find_tensor(g, name);
    if (!t || t->type != type)
        fail_msg("%s is %s, not %s", name, t ? terse_type_of(t->type)->name : "missing",
                 terse_type_of(type)->name);
}

static void layer_has_type(const terse_gguf *g, int32_t l, const char *part, terse_type type)
{
    char name[64];
    snprintf(name, sizeof name, "blk.%d.%s.weight", l, part);
    has_type(g, name, type);
}

/* What is written down for llama.cpp: of eight layers, 0, 3, 6 and 7 get more. */
static void mixes_are_those_of_the_field(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        terse_type most, value[8], down[8], output, embd;
        int32_t file_type;
    } mixes[] = {
#define Q4       TERSE_TYPE_Q4_K
#define Q5       TERSE_TYPE_Q5_K
#define Q6       TERSE_TYPE_Q6_K
#define EIGHT(t) { t, t, t, t, t, t, t, t }
        { "Q4_K_M", Q4, { Q6, Q4, Q4, Q6, Q4, Q4, Q6, Q6 }, { Q6, Q4, Q4, Q6, Q4, Q4, Q6, Q6 }, Q6, Q4, 15 },
        { "q4_k", Q4, { Q6, Q4, Q4, Q6, Q4, Q4, Q6, Q6 }, { Q6, Q4, Q4, Q6, Q4, Q4, Q6, Q6 }, Q6, Q4, 15 },
        { "Q4_K_S", Q4, { Q5, Q5, Q5, Q5, Q4, Q4, Q4, Q4 }, { Q5, Q4, Q4, Q4, Q4, Q4, Q4, Q4 }, Q6, Q4, 14 },
        { "Q5_K_M", Q5, { Q6, Q5, Q5, Q6, Q5, Q5, Q6, Q6 }, { Q6, Q5, Q5, Q6, Q5, Q5, Q6, Q6 }, Q6, Q5, 17 },
        { "Q5_K_S", Q5, EIGHT(Q5), EIGHT(Q5), Q6, Q5, 16 },
        { "Q6_K", Q6, EIGHT(Q6), EIGHT(Q6), Q6, Q6, 18 },
        { "Q8_0", TERSE_TYPE_Q8_0, EIGHT(TERSE_TYPE_Q8_0), EIGHT(TERSE_TYPE_Q8_0), TERSE_TYPE_Q8_0,
          TERSE_TYPE_Q8_0, 7 },
        { "Q4_0", TERSE_TYPE_Q4_0, EIGHT(TERSE_TYPE_Q4_0), EIGHT(TERSE_TYPE_Q4_0), Q6, TERSE_TYPE_Q4_0, 2 },
        { "F16", TERSE_TYPE_F16, EIGHT(TERSE_TYPE_F16), EIGHT(TERSE_TYPE_F16), TERSE_TYPE_F16, TERSE_TYPE_F16,
          1 },
        { "BF16", TERSE_TYPE_BF16, EIGHT(TERSE_TYPE_BF16), EIGHT(TERSE_TYPE_BF16), TERSE_TYPE_BF16,
          TERSE_TYPE_BF16, 32 },
    };
    for (size_t i = 0; i < sizeof mixes / sizeof *mixes; i++) {
        terse_error err;
        terse_quantize_result r;
        int32_t number = 0;
        terse_str name;
        if (quantize("f32", "out", &(terse_quantize_opts){ .type = mixes[i].type }, &r, &err) != TERSE_OK)
            fail_msg("%s", err.text);
        terse_gguf *g = open_file("out");
        for (int32_t l = 0; l < 8; l++) {
            layer_has_type(g, l, "attn_q", mixes[i].most);
            layer_has_type(g, l, "attn_k", mixes[i].most);
            layer_has_type(g, l, "attn_output", mixes[i].most);
            layer_has_type(g, l, "ffn_gate", mixes[i].most);
            layer_has_type(g, l, "attn_v", mixes[i].value[l]);
            layer_has_type(g, l, "ffn_down", mixes[i].down[l]);
            layer_has_type(g, l, "ffn_norm", TERSE_TYPE_F32);
        }
        has_type(g, "output.weight", mixes[i].output);
        has_type(g, "token_embd.weight", mixes[i].embd);
        has_type(g, "blk.0.attn_q.bias", TERSE_TYPE_F32);
        assert_int_equal(terse_gguf_get_i32(g, "general.file_type", true, &number, &err), TERSE_OK);
        assert_int_equal(number, mixes[i].file_type);
        assert_int_equal(terse_gguf_get_i32(g, "general.quantization_version", true, &number, &err), TERSE_OK);
        assert_int_equal(terse_gguf_get_str(g, "general.name", true, &name, &err), TERSE_OK);
        assert_true(number == 2 && name.n == 5 && memcmp(name.p, "small", 5) == 0);
        assert_int_equal(r.n_tensor, terse_gguf_n_tensor(g));
        size_t size = 0;
        for (int32_t t = 0; t < r.n_tensor; t++) {
            size += terse_gguf_tensor(g, t)->size;
            assert_int_equal(terse_gguf_tensor(g, t)->offset % 32, 0);
        }
        assert_int_equal(r.size_out, size);
        terse_gguf_close(&g);
    }
}

/* Experts by the same table; small tensors that were F16 become F32. */
static void routers_stay_exact(void **state)
{
    (void)state;
    terse_error err;
    if (quantize("moe", "out", &(terse_quantize_opts){ .type = "Q4_K_M" }, NULL, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    terse_gguf *g = open_file("out");
    layer_has_type(g, 3, "ffn_gate_inp", TERSE_TYPE_F32);
    layer_has_type(g, 3, "ffn_down_exps", TERSE_TYPE_Q6_K);
    layer_has_type(g, 4, "ffn_down_exps", TERSE_TYPE_Q4_K);
    layer_has_type(g, 4, "ffn_up_exps", TERSE_TYPE_Q4_K);
    layer_has_type(g, 4, "attn_v", TERSE_TYPE_Q8_0);
    layer_has_type(g, 4, "attn_k", TERSE_TYPE_Q8_0);
    layer_has_type(g, 4, "attn_output", TERSE_TYPE_Q5_K);
    terse_gguf_close(&g);
}

/* The caller's own choices come first, the first that fits of them; vectors are not asked. */
static void own_types_come_first(void **state)
{
    (void)state;
    static const char *const wrong[] = { "attn_q",        "=Q5_K",     "attn_q=",     "attn_q=Q9",
                                         "attn_q=Q5_K,,", "norm=Q5_K", "nothing=Q5_K" };
    terse_error err;
    terse_quantize_opts o = { .type = "Q6_K", .tensor_type = "blk.1.attn_q=Q4_0,attn_q=Q5_K,ffn_down=F16" };
    if (quantize("f32", "out", &o, NULL, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    terse_gguf *g = open_file("out");
    layer_has_type(g, 0, "attn_q", TERSE_TYPE_Q5_K);
    layer_has_type(g, 1, "attn_q", TERSE_TYPE_Q4_0);
    layer_has_type(g, 1, "ffn_down", TERSE_TYPE_F16);
    layer_has_type(g, 1, "attn_v", TERSE_TYPE_Q6_K);
    layer_has_type(g, 1, "attn_norm", TERSE_TYPE_F32);
    terse_gguf_close(&g);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        o.tensor_type = wrong[i];
        if (quantize("f32", "out", &o, NULL, &err) != TERSE_BAD_INPUT)
            fail_msg("\"%s\" was taken", wrong[i]);
    }
}

/* Predictors of SP-KV keep eight bits in files of fewer; in files of floats they are floats like the rest. */
static void predictors_keep_eight_bits(void **state)
{
    (void)state;
    static const char *const kinds[] = { "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16" };
    const char *const name = "blk.3.attn_kv_util.0.weight", *const bias = "blk.3.attn_kv_util.0.bias";
    const terse_tensor w = { .name = { name, strlen(name) }, .type = TERSE_TYPE_F16, .ne = { 512, 128, 1, 1 } };
    const terse_tensor b = { .name = { bias, strlen(bias) }, .type = TERSE_TYPE_F32, .ne = { 128, 1, 1, 1 } };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        terse_mixer m = { .mix = terse_mix_named(kinds[i]), .tied = true, .n_layer = 8 };
        assert_int_equal(terse_mixer_type(&m, &w), i < 5 ? TERSE_TYPE_Q8_0 : TERSE_TYPE_F16);
        assert_int_equal(terse_mixer_type(&m, &b), TERSE_TYPE_F32);
    }
}

/* Every row is what the encoder makes of it, with any number of threads; the error is the true one. */
static void rows_are_the_encoders(void **state)
{
    (void)state;
    terse_error err;
    terse_quantize_result r, again;
    assert_int_equal(quantize("f32", "one", &(terse_quantize_opts){ .type = "Q4_K_M", .threads = 1 }, &r, &err),
                     TERSE_OK);
    assert_int_equal(
        quantize("f32", "three", &(terse_quantize_opts){ .type = "Q4_K_M", .threads = 3 }, &again, &err),
        TERSE_OK);
    assert_true(r.error == again.error && r.squares == again.squares);
    terse_gguf *g = open_file("f32"), *a = open_file("one"), *b = open_file("three");
    double error = 0.0, squares = 0.0;
    for (int32_t i = 0; i < terse_gguf_n_tensor(g); i++) {
        const terse_tensor *t = terse_gguf_tensor(g, i), *p = terse_gguf_tensor(a, i),
                           *q = terse_gguf_tensor(b, i);
        uint8_t row[4096];
        float y[512];
        const size_t size = terse_type_row_size(p->type, t->ne[0]);
        assert_true(p->type == q->type && p->size == q->size && size <= sizeof row);
        assert_memory_equal(p->data, q->data, p->size);
        for (int64_t k = 0; k < t->ne[1]; k++) {
            const float *x = (const float *)t->data + k * t->ne[0];
            const terse_dot_type type = (terse_dot_type)terse_dot_type_of(p->type);
            terse_quantize_row(type, row, x, t->ne[0], true);
            assert_memory_equal((const uint8_t *)p->data + (size_t)k * size, row, size);
            terse_dequant_row(type, y, row, t->ne[0]);
            for (int64_t c = 0; p->type != t->type && c < t->ne[0]; c++) {
                error += pow((double)y[c] - (double)x[c], 2.0);
                squares += (double)x[c] * (double)x[c];
            }
        }
    }
    assert_true(fabs(error / r.error - 1.0) < 1e-9 && fabs(squares / r.squares - 1.0) < 1e-9);
    terse_gguf_close(&g);
    terse_gguf_close(&a);
    terse_gguf_close(&b);
}

/* Largest difference of the logits of 20 tokens, in deviations of the exact ones. */
static double distance(const char *a, const char *b)
{
    enum { N = 20, V = 64 };
    static float row[2][N * V];
    const char *const names[] = { a, b };
    int32_t tokens[N];
    double squares = 0.0, most = 0.0;
    for (int32_t t = 0; t < N; t++)
        tokens[t] = t * 11 % V;
    for (int i = 0; i < 2; i++) {
        terse_error err;
        terse_model *m;
        terse_session *s;
        if (terse_model_open(&m, in_dir(names[i]), &err) != TERSE_OK ||
            terse_session_open(&s, m, NULL, &err) != TERSE_OK ||
            terse_session_prefill(s, tokens, N, NULL, row[i], &err) != TERSE_OK)
            fail_msg("%s", err.text);
        terse_session_close(&s);
        terse_model_close(&m);
    }
    for (int32_t i = 0; i < N * V; i++) {
        squares += (double)row[0][i] * (double)row[0][i];
        most = fmax(most, fabs((double)row[0][i] - (double)row[1][i]));
    }
    return most / sqrt(squares / (N * V));
}

static void files_compute_the_same_model(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        double limit;
    } types[] = { { "F16", 0.05 }, { "BF16", 0.1 }, { "Q8_0", 0.1 }, { "Q6_K", 0.4 }, { "Q5_K_M", 0.8 } };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        terse_error err;
        assert_int_equal(quantize("f32", "out", &(terse_quantize_opts){ .type = types[i].type }, NULL, &err),
                         TERSE_OK);
        const double d = distance("f32", "out");
        if (!(d > 0.0 && d < types[i].limit))
            fail_msg("%s: logits off by %.3f", types[i].type, d);
    }
    assert_true(distance("f32", "moe") > 1.0); /* another model is far away */
}

static void odd_widths_fall_back(void **state)
{
    (void)state;
    terse_error err;
    make("odd", (make_model_opts[]){ small(TERSE_TYPE_F32, 96, 0) });
    assert_int_equal(quantize("odd", "out", &(terse_quantize_opts){ .type = "Q4_K_M" }, NULL, &err), TERSE_OK);
    terse_gguf *g = open_file("out");
    layer_has_type(g, 0, "attn_q", TERSE_TYPE_Q5_0); /* rows of 96 */
    layer_has_type(g, 0, "attn_v", TERSE_TYPE_Q8_0); /* Q6_K where they are long enough */
    layer_has_type(g, 1, "attn_v", TERSE_TYPE_Q5_0);
    layer_has_type(g, 1, "ffn_down", TERSE_TYPE_Q4_K); /* rows of 256 */
    has_type(g, "output.weight", TERSE_TYPE_Q8_0);
    terse_gguf_close(&g);
    make("odder", (make_model_opts[]){ small(TERSE_TYPE_F32, 72, 0) });
    assert_int_equal(quantize("odder", "out", &(terse_quantize_opts){ .type = "Q8_0" }, NULL, &err), TERSE_OK);
    g = open_file("out");
    layer_has_type(g, 0, "attn_q", TERSE_TYPE_F16);
    terse_gguf_close(&g);
}

/* ---- what is refused ---- */

static int32_t files(void)
{
    int32_t n = 0;
    DIR *d = opendir(directory);
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* A file of one matrix and a key, for what make_model does not make. */
static void write_matrix(const char *name, terse_type type, const void *data, const char *key, uint32_t value)
{
    terse_error err;
    terse_gguf_writer *w;
    assert_int_equal(terse_gguf_writer_open(&w, &err), TERSE_OK);
    terse_gguf_writer_str(w, "general.architecture", (terse_str){ "llama", 5 });
    terse_gguf_writer_u32(w, key, value);
    terse_gguf_writer_tensor(w, "blk.0.attn_q.weight", type, 2, (const int64_t[]){ 32, 2 }, data);
    assert_int_equal(terse_gguf_writer_save(w, in_dir(name), &err), TERSE_OK);
    terse_gguf_writer_close(&w);
}

static void refused(const char *from, const char *type, terse_status want, const char *word)
{
    terse_error err = { 0 };
    const int32_t before = files();
    const terse_status st = quantize(from, "never", &(terse_quantize_opts){ .type = type }, NULL, &err);
    if (st != want || !strstr(err.text, word))
        fail_msg("%s to %s: %d, \"%s\"", from, type, (int)st, err.text);
    assert_int_equal(files(), before);
}

static void bad_input_leaves_nothing(void **state)
{
    (void)state;
    float x[64];
    for (int i = 0; i < 64; i++)
        x[i] = (float)i;
    x[40] = NAN;
    write_matrix("nan", TERSE_TYPE_F32, x, "a", 1);
    x[40] = 1e6f;
    write_matrix("large", TERSE_TYPE_F32, x, "a", 1);
    write_matrix("part", TERSE_TYPE_F32, x, "split.count", 3);
    write_matrix("ints", TERSE_TYPE_I32, x, "a", 1);
    refused("nan", "Q8_0", TERSE_BAD_INPUT, "row 1: a weight is not a finite number");
    refused("large", "F16", TERSE_BAD_INPUT, "too large for F16");
    refused("part", "Q8_0", TERSE_BAD_INPUT, "missing key 'split.no'");
    refused("ints", "Q8_0", TERSE_UNSUPPORTED, "I32");
    refused("q8", "Q4_0", TERSE_BAD_INPUT, "--allow-requantize");
    refused("f32", "Q9", TERSE_BAD_INPUT, "Q9");
    refused("f32", NULL, TERSE_BAD_INPUT, "unknown");
    refused("missing", "Q8_0", TERSE_BAD_INPUT, "missing");
    terse_error err;
    assert_int_equal(quantize("large", "out", &(terse_quantize_opts){ .type = "BF16" }, NULL, &err), TERSE_OK);
    assert_int_equal(quantize("q8", "out", &(terse_quantize_opts){ .type = "Q8_0" }, NULL, &err), TERSE_OK);
    assert_int_equal(
        quantize("q8", "out", &(terse_quantize_opts){ .type = "Q4_0", .requantize = true }, NULL, &err),
        TERSE_OK);
    assert_int_equal(
        quantize("f32", "out", &(terse_quantize_opts){ .type = "Q4_0", .threads = -1 }, NULL, &err),
        TERSE_BAD_INPUT);
}

static void input_is_never_overwritten(void **state)
{
    (void)state;
    terse_error err;
    const terse_quantize_opts o = { .type = "Q8_0" };
    assert_int_equal(quantize("f32", "f32", &o, NULL, &err), TERSE_BAD_INPUT);
    assert_int_equal(symlink("f32", in_dir("soft")), 0);
    assert_int_equal(link(in_dir("f32"), in_dir("hard")), 0);
    assert_int_equal(quantize("f32", "soft", &o, NULL, &err), TERSE_BAD_INPUT);
    assert_int_equal(quantize("hard", "f32", &o, NULL, &err), TERSE_BAD_INPUT);
    unlink(in_dir("soft"));
    unlink(in_dir("hard"));
}

/* Sets the flag after some tensors. */
typedef struct {
    atomic_bool stop;
    int32_t after;
    size_t done, total;
} stopper;

static void count_tensor(void *ctx, const terse_quantize_tensor *t)
{
    stopper *s = ctx;
    assert_true(t->n_weight > 0 && t->error >= 0.0);
    if (s->after-- == 0)
        s->stop = true;
}

static void count_bytes(void *ctx, size_t done, size_t total)
{
    stopper *s = ctx;
    assert_true(done > s->done && done <= total);
    s->done = done;
    s->total = total;
}

static void abort_keeps_the_old_file(void **state)
{
    (void)state;
    terse_error err;
    char before[8] = "before", after[8] = { 0 };
    stopper s = { .after = 20 };
    terse_quantize_opts o = {
        .type = "Q8_0", .abort = &s.stop, .tensor = count_tensor, .progress = count_bytes
    };
    o.ctx = &s;
    FILE *f = fopen(in_dir("old"), "wb");
    assert_true(f && fwrite(before, 1, sizeof before, f) == sizeof before && fclose(f) == 0);
    const int32_t n = files();
    assert_int_equal(quantize("f32", "old", &o, NULL, &err), TERSE_INTERRUPTED);
    assert_true(s.done > 0 && s.done < s.total);
    assert_int_equal(files(), n);
    f = fopen(in_dir("old"), "rb");
    assert_true(f && fread(after, 1, sizeof after, f) == sizeof after && fclose(f) == 0);
    assert_memory_equal(before, after, sizeof before);
    s = (stopper){ .after = 1000 };
    assert_int_equal(quantize("f32", "old", &o, NULL, &err), TERSE_OK);
    assert_int_equal(s.done, s.total);
}

static void memory_may_fail_anywhere(void **state)
{
    (void)state;
    const terse_quantize_opts o = { .type = "Q8_0", .threads = 1 };
    terse_status st = TERSE_NOMEM;
    terse_error err;
    static const float x[64] = { 1.0f };
    write_matrix("tiny", TERSE_TYPE_F32, x, "a", 1);
    const int32_t before = files();
    long n = 0;
    for (; st != TERSE_OK && n < 1000; n++) {
        left = n;
        st = quantize("tiny", "scarce", &o, NULL, &err);
        left = -1;
        if (st != TERSE_OK) {
            assert_int_equal(st, TERSE_NOMEM);
            assert_int_equal(files(), before);
        }
    }
    assert_int_equal(st, TERSE_OK);
    assert_true(n > 15);
    unlink(in_dir("scarce"));
}

/* ---- the program ---- */

/* Runs `terse ARGS` in the directory: exit code, and a word that it must say. */
static void terse(int want, const char *args, const char *word)
{
    static char line[1024], said[1 << 16];
    snprintf(line, sizeof line, "cd %s && '%s' %s 2>&1 </dev/null", directory, TERSE_PROGRAM, args);
    FILE *p = popen(line, "r");
    assert_non_null(p);
    said[fread(said, 1, sizeof said - 1, p)] = '\0';
    const int status = pclose(p);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != want || !strstr(said, word))
        fail_msg("terse %s: %d, not %d: %s", args, status, want, said);
}

static void the_program_quantizes(void **state)
{
    (void)state;
    terse(0, "quantize f32 p.gguf Q4_K_M", "converted: ");
    terse(0, "quantize f32 p.gguf q8_0 -t 1 --verbose --no-progress",
          "| output.weight                | F32  | Q8_0 |");
    terse(0, "quantize q8 p.gguf Q6_K --allow-requantize", "RMS error 0.0");
    terse(0, "inspect p.gguf", "general.file_type");
    terse(0, "help quantize", "--allow-requantize");
    terse(2, "quantize q8 p.gguf Q6_K", "--allow-requantize");
    terse(2, "quantize f32 p.gguf Q7_K", "types are: Q4_K_M");
    terse(2, "quantize f32 p.gguf", "IN OUT TYPE");
    terse(2, "quantize f32 f32 Q8_0", "one file");
    terse(2, "quantize f32 p.gguf Q8_0 more", "unexpected");
    terse(2, "quantize --tread 2", "did you mean");
    terse(2, "quantize none p.gguf Q8_0", "none");
    terse(74, "quantize f32 no/such/p.gguf Q8_0", "no/such");
}

static void drafts_are_checked(void **state)
{
    (void)state;
    terse(2, "run f32 -p x --draft lookup", "none of: none ngram");
    terse(2, "run f32 -p x --draft ngram --draft-max 4 --draft-min 5", "min is 5; allowed: 1 to 4");
    terse(2, "run f32 -p x --draft ngram --draft-max 65", "--draft-max");
    terse(2, "run f32 -p x --draft ngram --draft-ngram 0", "--draft-ngram");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mixes_are_those_of_the_field), cmocka_unit_test(routers_stay_exact),
        cmocka_unit_test(own_types_come_first),         cmocka_unit_test(predictors_keep_eight_bits),
        cmocka_unit_test(rows_are_the_encoders),        cmocka_unit_test(files_compute_the_same_model),
        cmocka_unit_test(odd_widths_fall_back),         cmocka_unit_test(bad_input_leaves_nothing),
        cmocka_unit_test(input_is_never_overwritten),   cmocka_unit_test(abort_keeps_the_old_file),
        cmocka_unit_test(memory_may_fail_anywhere),     cmocka_unit_test(the_program_quantizes),
        cmocka_unit_test(drafts_are_checked),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
