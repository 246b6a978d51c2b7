/* tests/check_vec.c: norm, rope, gate and residual. */
#include "checkkernel.h"

enum { MOST = 1100 };

/* n floats that end at a guard page, wild ones if asked for. */
static float *floats(checkkernel *c, int32_t n, bool wild)
{
    float *x = check_alloc((size_t)n * sizeof *x);
    for (int32_t i = 0; i < n; i++)
        x[i] = wild ? check_wild(c) : 4.0f * check_float(c);
    return x;
}

static void drop(float *x, int32_t n)
{
    check_free(x, (size_t)n * sizeof *x);
}

/* Runs one operation on copies of the same input, scalar and tier. */
static bool check_one(checkkernel *c, const char *name, int32_t n, bool wild,
                      void (*run)(const terse_vec_kernels *k, float *y, const float *a, const float *b,
                                  int32_t n))
{
    if (!check_wanted(c, name))
        return true;
    float *a = floats(c, n, wild), *b = floats(c, n, wild), *want = floats(c, n, wild),
          *got = floats(c, n, wild);
    for (int32_t i = 0; i < n; i++)
        got[i] = want[i];
    run(&c->want.vec, want, a, b, n);
    run(&c->got.vec, got, a, b, n);
    const bool same = check_floats(c, want, got, (size_t)n, "%s n %d%s", name, n, wild ? " wild" : "");
    drop(a, n);
    drop(b, n);
    drop(want, n);
    drop(got, n);
    return same;
}

static void rms_norm(const terse_vec_kernels *k, float *y, const float *a, const float *b, int32_t n)
{
    k->rms_norm(y, a, b, n, 1e-5f);
}

static void rms_norm_in_place(const terse_vec_kernels *k, float *y, const float *a, const float *b, int32_t n)
{
    (void)a;
    k->rms_norm(y, y, b, n, 1e-5f);
}

static void layer_norm(const terse_vec_kernels *k, float *y, const float *a, const float *b, int32_t n)
{
    k->layer_norm(y, a, b, n % 2 ? b : NULL, n, 1e-5f);
}

static void layer_norm_in_place(const terse_vec_kernels *k, float *y, const float *a, const float *b, int32_t n)
{
    k->layer_norm(y, y, b, a, n, 1e-5f);
}

static void rope(const terse_vec_kernels *k, float *y, const float *a, const float *b, int32_t n)
{
    (void)b;
    k->rope_pairs(y, a, n / 2 * 2);
}

static void silu(const terse_vec_kernels *k, float *y, const float *a, const float *b, int32_t n)
{
    k->silu_mul(y, a, b, n);
}

static void silu_in_place(const terse_vec_kernels *k, float *y, const float *a, const float *b, int32_t n)
{
    (void)b;
    k->silu_mul(y, y, a, n);
}

static void halves(const terse_vec_kernels *k, float *y, const float *a, const float *b, int32_t n)
{
    (void)b;
    k->rope_halves(y, a, n / 2 * 2);
}

static void gelu(const terse_vec_kernels *k, float *y, const float *a, const float *b, int32_t n)
{
    k->gelu_mul(y, a, b, n);
}

static void gelu_in_place(const terse_vec_kernels *k, float *y, const float *a, const float *b, int32_t n)
{
    (void)b;
    k->gelu_mul(y, y, a, n);
}

static void clamped(const terse_vec_kernels *k, float *y, const float *a, const float *b, int32_t n)
{
    k->swiglu_clamped(y, a, b, n);
}

static void clamped_in_place(const terse_vec_kernels *k, float *y, const float *a, const float *b, int32_t n)
{
    (void)b;
    k->swiglu_clamped(y, y, a, n);
}

static void softcap(const terse_vec_kernels *k, float *y, const float *a, const float *b, int32_t n)
{
    (void)a, (void)b;
    k->softcap(y, n, 3.0f);
}

static void add(const terse_vec_kernels *k, float *y, const float *a, const float *b, int32_t n)
{
    (void)b;
    k->add(y, a, n);
}

static void axpy(const terse_vec_kernels *k, float *y, const float *a, const float *b, int32_t n)
{
    k->axpy(y, b[0], a, n);
}

static const struct {
    const char *name;
    void (*run)(const terse_vec_kernels *k, float *y, const float *a, const float *b, int32_t n);
} operations[] = { { "rms_norm", rms_norm },
                   { "rms_norm_in_place", rms_norm_in_place },
                   { "layer_norm", layer_norm },
                   { "layer_norm_in_place", layer_norm_in_place },
                   { "rope_pairs", rope },
                   { "rope_halves", halves },
                   { "silu_mul", silu },
                   { "silu_mul_in_place", silu_in_place },
                   { "gelu_mul", gelu },
                   { "gelu_mul_in_place", gelu_in_place },
                   { "swiglu_clamped", clamped },
                   { "swiglu_clamped_in_place", clamped_in_place },
                   { "softcap", softcap },
                   { "add", add },
                   { "axpy", axpy } };
enum { N_OPERATION = sizeof operations / sizeof *operations };

/* Sums of whole numbers: any length, and nothing read past the end. */
static bool check_read(checkkernel *c)
{
    bool same = true;
    for (size_t size = 0; size <= 2048 && check_wanted(c, "read"); size += 64) {
        uint64_t *x = check_alloc(size);
        for (size_t i = 0; i < size / sizeof *x; i++)
            x[i] = check_bits(c);
        const uint64_t want = c->want.vec.read(x, size), got = c->got.vec.read(x, size);
        same &= check_bytes(c, &want, &got, sizeof want, "read %zu bytes", size);
        check_free(x, size);
    }
    return same;
}

bool check_vec(checkkernel *c)
{
    bool same = check_read(c);
    for (int i = 0; i < N_OPERATION; i++)
        for (int32_t n = 1; n <= MOST; n += n < 70 ? 1 : 97)
            for (int wild = 0; wild < 2; wild++)
                same &= check_one(c, operations[i].name, n, wild, operations[i].run);
    return same;
}

typedef struct {
    const terse_vec_kernels *k;
    float *y, *a, *b;
    int32_t n;
    void (*run)(const terse_vec_kernels *k, float *y, const float *a, const float *b, int32_t n);
} timed;

static void run_timed(void *ctx)
{
    const timed *t = ctx;
    t->run(t->k, t->y, t->a, t->b, t->n);
}

void bench_vec(checkkernel *c)
{
    const int32_t n = 4096;
    timed t = { .k = &c->got.vec, .n = n };
    t.y = floats(c, n, false);
    t.a = floats(c, n, false);
    t.b = floats(c, n, false);
    for (int i = 0; i < N_OPERATION; i++) {
        t.run = operations[i].run;
        if (check_wanted(c, operations[i].name))
            check_time(c, operations[i].name, 12.0 * n, 0.0, run_timed, &t);
    }
    drop(t.y, n);
    drop(t.a, n);
    drop(t.b, n);
}
