/* bench/bench_dot.c: how near to the speed of memory one thread multiplies a matrix too large for the caches.
 *   bench_dot [--mib N] [--passes N] [--tier NAME] [--type NAME] [-o table|json]
 * Per type: passes of one product (one token, the decode step) and rounds of a loop that only reads as much, in
 * turn, so that both see the same machine. */
#include "report.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "simd/kernels.h"
#include "terse/base.h"
#include "terse/gguf.h"

enum { N_VALUE = 4096, MAX_PASSES = 1000, MIN_ROW_SIZE = N_VALUE / 256 * 50 }; /* of IQ1_S */

typedef struct {
    size_t mib;
    int passes;
    const char *tier, *type;
    report report;
} options;

/* Bytes that are finite numbers in nearly every type: the exponents of f16, bf16 and f32 scales stay small. */
static void fill(uint8_t *p, size_t size)
{
    uint64_t u = 88172645463325252;
    for (size_t i = 0; i + 8 <= size; i += 8) {
        u ^= u << 13;
        u ^= u >> 7;
        u ^= u << 17;
        const uint64_t v = u & 0x3bff3bff3bff3bff;
        memcpy(p + i, &v, sizeof v);
    }
}

static bool acts_alloc(terse_acts *a, float *x)
{
    for (int32_t i = 0; i < N_VALUE; i++)
        x[i] = (float)(i * 37 % 101 - 50) / 50.0f;
    *a = (terse_acts){ .n = N_VALUE, .n_token = 1, .n_pad = N_VALUE, .x = x, .x_stride = N_VALUE };
    a->q = terse_calloc64(N_VALUE, 1);
    a->d = terse_calloc64(N_VALUE / 32, sizeof *a->d);
    a->s = terse_calloc64(N_VALUE / 32, sizeof *a->s);
    a->sum = terse_calloc64(N_VALUE / 16, sizeof *a->sum);
    return a->q && a->d && a->s && a->sum;
}

typedef struct {
    options *o;
    terse_kernels kernels;
    uint8_t *w;
    float *y;
    terse_acts acts;
    terse_probe *probe;
} bench;

static void print(bench *b, const char *type, int32_t n_row, const report_times *t)
{
    if (!b->o->report.json) {
        printf("%7s  %7.2f  %8.2f  %7.1f%%  %6s\n", type, t->gbs, t->machine.read, 100 * t->fraction,
               report_own_of(t).text);
        fflush(stdout);
        return;
    }
    json_t *r = report_record("dot", b->kernels.dot.tier, 1);
    report_add(r, json_pack("{s:s, s:i, s:i}", "type", type, "n_in", N_VALUE, "n_out", n_row));
    report_add(r, report_times_json(t));
    report_print(&b->o->report, r);
}

static void measure(bench *b, uint32_t ggml_type)
{
    static terse_sample samples[MAX_PASSES];
    static double room[MAX_PASSES];
    const terse_dot_type type = (terse_dot_type)terse_dot_type_of(ggml_type);
    char name[16] = "";
    for (size_t i = 0; i + 1 < sizeof name && terse_type_of(ggml_type)->name[i]; i++)
        name[i] = (char)tolower((unsigned char)terse_type_of(ggml_type)->name[i]);
    const size_t row_size = terse_type_row_size(ggml_type, N_VALUE);
    const int32_t n_row = (int32_t)((b->o->mib << 20) / row_size);
    if (b->o->type && strcmp(b->o->type, name) != 0)
        return;
    for (int i = 0; i < b->o->passes; i++) {
        terse_probe_begin(b->probe, &samples[i]);
        b->kernels.dot.rows(type, b->y, (size_t)n_row, b->w, row_size, n_row, &b->acts);
        terse_probe_end(b->probe, &samples[i]);
    }
    const report_times t =
        report_times_of((double)n_row * (double)row_size, samples, (size_t)b->o->passes, 1.0, room);
    print(b, name, n_row, &t);
}

static bool parse(options *o, int argc, char **argv)
{
    if (argc % 2 == 0)
        return false;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--mib") == 0)
            o->mib = strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--passes") == 0)
            o->passes = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--tier") == 0)
            o->tier = argv[i + 1];
        else if (strcmp(argv[i], "--type") == 0)
            o->type = argv[i + 1];
        else if (strcmp(argv[i], "-o") != 0 || !report_format(&o->report, argv[i + 1]))
            return false;
    }
    return o->mib >= 1 && o->mib <= 16384 && o->passes >= 1 && o->passes <= MAX_PASSES;
}

int main(int argc, char **argv)
{
    options o = { .mib = 128, .passes = 40 };
    if (!parse(&o, argc, argv)) {
        fprintf(stderr, "usage: bench_dot [--mib N] [--passes N] [--tier NAME] [--type NAME] "
                        "[-o table|json]\n");
        return 2;
    }
    uint32_t mask;
    terse_error err;
    if (terse_cpu_tiers_upto(o.tier, &mask, &err) != TERSE_OK) {
        fprintf(stderr, "bench_dot: %s\n", err.text);
        return 2;
    }
    bench b = { .o = &o,
                .w = terse_calloc64(o.mib << 20, 1),
                .y = terse_calloc64((o.mib << 20) / MIN_ROW_SIZE, sizeof *b.y) };
    float *x = terse_calloc64(N_VALUE, sizeof *x);
    terse_kernels_for(&b.kernels, mask);
    if (!b.w || !b.y || !x || !acts_alloc(&b.acts, x) ||
        terse_probe_open(&b.probe, 1, o.mib << 20, mask, &err) != TERSE_OK) {
        fprintf(stderr, "bench_dot: no memory\n");
        return 71;
    }
    fill(b.w, o.mib << 20);
    b.kernels.dot.quantize(&b.acts, 0);
    if (!o.report.json)
        printf("dot products of %zu MiB, tier %s, one thread\n%7s  %7s  %8s  %8s  %6s\n", o.mib,
               b.kernels.dot.tier, "type", "GB/s", "roofline", "fraction", "own");
    for (uint32_t type = 0; type < TERSE_TYPE_COUNT; type++)
        if (terse_dot_type_of(type) >= 0)
            measure(&b, type);
    terse_probe_close(&b.probe);
    free(b.acts.q);
    free(b.acts.d);
    free(b.acts.s);
    free(b.acts.sum);
    free(x);
    free(b.y);
    free(b.w);
    return report_end(&o.report) ? 0 : terse_status_exit(TERSE_IO);
}
