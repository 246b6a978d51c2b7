/* tests/checkkernel.c: every tier of every kernel against the scalar tier, bit for bit.
 *   checkkernel [--tier NAME] [--match TEXT] [--seed N] [--bench]                                     */
#include "checkkernel.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "terse/base.h"

static const struct {
    const char *name;
    bool (*check)(checkkernel *c);
    void (*bench)(checkkernel *c);
} families[] = {
    { "dot", check_dot, bench_dot },
    { "vec", check_vec, bench_vec },
    { "attn", check_attn, bench_attn },
    { "summary", check_summary, bench_summary },
};
enum { N_FAMILY = sizeof families / sizeof *families };

bool check_wanted(const checkkernel *c, const char *name)
{
    return !c->match || strstr(name, c->match);
}

uint64_t check_bits(checkkernel *c) /* xorshift64* (Vigna 2016) */
{
    c->rng ^= c->rng >> 12;
    c->rng ^= c->rng << 25;
    c->rng ^= c->rng >> 27;
    return c->rng * 0x2545f4914f6cdd1d;
}

int32_t check_below(checkkernel *c, int32_t n)
{
    return (int32_t)((check_bits(c) >> 33) % (uint64_t)n);
}

float check_float(checkkernel *c)
{
    return (float)(int32_t)(check_bits(c) >> 32) * 0x1p-31f;
}

float check_wild(checkkernel *c)
{
    static const uint32_t special[] = {
        0,          0x80000000, 1,          0x80000001, 0x007fffff, 0x00800000,
        0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7e000000
    };
    uint32_t u = (uint32_t)(check_bits(c) >> 32);
    if (check_below(c, 8) == 0)
        u = special[check_below(c, sizeof special / sizeof *special)];
    else /* a modest exponent, so that sums of these stay numbers */
        u = (u & 0x807fffff) | (uint32_t)(112 + check_below(c, 30)) << 23;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static size_t pages_of(size_t size, size_t page)
{
    return (size + page - 1) / page * page;
}

void *check_alloc(size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), body = pages_of(size, page);
    uint8_t *p = mmap(NULL, body + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || (body && mprotect(p + page, body, PROT_READ | PROT_WRITE) != 0)) {
        perror("checkkernel: memory");
        exit(71);
    }
    memset(p + page, 0xa5, body);
    return p + page + body - size;
}

void check_free(void *p, size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), body = pages_of(size, page);
    munmap((uint8_t *)p + size - body - page, body + 2 * page);
}

static void say_difference(const checkkernel *c, const char *what, va_list ap)
{
    printf("DIFFERS  %s: ", c->tier);
    vprintf(what, ap);
}

static bool same_float(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b);
}

bool check_floats(checkkernel *c, const float *want, const float *got, size_t n, const char *what, ...)
{
    c->n_compared += (int64_t)n;
    for (size_t i = 0; i < n; i++)
        if (!same_float(want[i], got[i])) {
            va_list ap;
            va_start(ap, what);
            say_difference(c, what, ap);
            va_end(ap);
            printf(": [%zu] is %a, not %a\n", i, (double)got[i], (double)want[i]);
            return false;
        }
    return true;
}

bool check_bytes(checkkernel *c, const void *want, const void *got, size_t n, const char *what, ...)
{
    const uint8_t *w = want, *g = got;
    c->n_compared += (int64_t)n;
    for (size_t i = 0; i < n; i++)
        if (w[i] != g[i]) {
            va_list ap;
            va_start(ap, what);
            say_difference(c, what, ap);
            va_end(ap);
            printf(": byte %zu is %d, not %d\n", i, g[i], w[i]);
            return false;
        }
    return true;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void check_time(const checkkernel *c, const char *name, double bytes, double ops, void (*fn)(void *), void *ctx)
{
    enum { RUNS = 32 };
    double ns[RUNS];
    int64_t begin = terse_now_ns();
    fn(ctx);
    const int64_t once = terse_now_ns() - begin;
    const int repeat = once > 2000000 ? 1 : (int)(2000000 / (once + 1)) + 1;
    for (int i = 0; i < RUNS; i++) {
        begin = terse_now_ns();
        for (int j = 0; j < repeat; j++)
            fn(ctx);
        ns[i] = (double)(terse_now_ns() - begin) / repeat;
    }
    qsort(ns, RUNS, sizeof *ns, by_value);
    const double t = ns[RUNS / 8];
    printf("%-7s %-24s %12.0f ns", c->tier, name, t);
    if (bytes > 0)
        printf(" %8.2f GB/s", bytes / t);
    if (ops > 0)
        printf(" %8.1f GOP/s", ops / t);
    printf("\n");
    fflush(stdout);
}

typedef struct {
    const char *tier, *match;
    uint64_t seed;
    bool bench;
} options;

static bool parse(options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const bool more = i + 1 < argc;
        char *end = NULL;
        if (strcmp(argv[i], "--bench") == 0) {
            o->bench = true;
        } else if (strcmp(argv[i], "--tier") == 0 && more) {
            o->tier = argv[++i];
        } else if (strcmp(argv[i], "--match") == 0 && more) {
            o->match = argv[++i];
        } else if (strcmp(argv[i], "--seed") == 0 && more) {
            o->seed = strtoull(argv[++i], &end, 0);
            if (end == argv[i] || *end)
                return false;
        } else {
            return false;
        }
    }
    return true;
}

static checkkernel start(const options *o, const char *tier, uint32_t mask)
{
    checkkernel c = { .tier = tier, .match = o->match };
    c.rng = (o->seed + 1) * 0x9e3779b97f4a7c15;
    c.rng += c.rng == 0; /* the one state that xorshift never leaves */
    terse_kernels_for(&c.want, TERSE_CPU_SCALAR);
    terse_kernels_for(&c.got, mask);
    return c;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        uint32_t mask;
    } tiers[] = { { "scalar", TERSE_CPU_SCALAR },   { "avx2", TERSE_CPU_AVX2 },
                  { "avx512", TERSE_CPU_AVX512 },   { "neon", TERSE_CPU_NEON },
                  { "dotprod", TERSE_CPU_DOTPROD }, { "i8mm", TERSE_CPU_I8MM } };
    enum { N_TIER = sizeof tiers / sizeof *tiers };
    options o = { .seed = 1 };
    if (!parse(&o, argc, argv)) {
        fprintf(stderr, "usage: checkkernel [--tier NAME] [--match TEXT] [--seed N] [--bench]\n");
        return 2;
    }
    const uint32_t machine = terse_cpu_tiers();
    int n_tier = 0, n_bad = 0;
    printf("seed %llu\n", (unsigned long long)o.seed);
    for (int bench = 0; bench <= (o.bench && n_bad == 0); bench++) {
        for (int t = 0; t < N_TIER; t++) {
            if (!(machine & tiers[t].mask) || (o.tier && strcmp(o.tier, tiers[t].name) != 0))
                continue;
            checkkernel c = start(&o, tiers[t].name, TERSE_CPU_SCALAR | tiers[t].mask);
            n_tier++;
            for (int f = 0; f < N_FAMILY; f++) {
                if (bench) {
                    families[f].bench(&c);
                    continue;
                }
                c.n_compared = 0;
                const bool ok = families[f].check(&c);
                n_bad += !ok;
                printf("%-7s %-8s %s, %lld values\n", c.tier, families[f].name, ok ? "ok" : "FAILED",
                       (long long)c.n_compared);
            }
        }
    }
    if (n_tier == 0) {
        fprintf(stderr, "checkkernel: this machine has no tier '%s'\n", o.tier);
        return 2;
    }
    return n_bad ? 1 : 0;
}
