/* bench/bench_attn.c: the kernels of page attention, one thread. In the cache one page is worked on again and
 * again; streaming, a buffer far larger than the caches is walked page by page, each call fetching the next
 * page as the walk does. Summaries of pages (moments, box) are worked on by the tile, and told by the page. A
 * sample of the read probe over as much memory comes before each. Medians.
 *   bench_attn [--types NAME,..] [--groups N,..] [--dims N,..] [--kernel score,mix,moments,box]
 *              [--mode cache,stream] [--mib N] [--samples N] [--tier NAME] [-o table|json] */
#include "report.h"

#include "base/memory.h"
#include "simd/kernels.h"

#include <stdio.h>
#include <string.h>

enum { P = TERSE_PAGE, MAX_SAMPLES = 1000, MAX_DIM = 512, MAX_GROUP = 64, N_DISTINCT = 16, CALLS = 50 };

/* Summaries have one type, which comes after those of pages. */
enum { SUMMARY = TERSE_PAGE_TYPES, N_TYPE };
static const char *const type_names[N_TYPE] = { "f32", "f16", "q8", "bf16", "q4", "sum" };

typedef enum { SCORE, MIX, MOMENTS, BOX, N_KERNEL } kernel;
static const char *const kernel_names[N_KERNEL] = { "score", "mix", "moments", "box" };

typedef struct {
    const char *types, *kernel, *mode, *tier;
    int_list groups, dims, mib, samples;
    uint32_t cpu;
    report report;
} options;

/* One kernel over one buffer. */
typedef struct {
    options *o;
    const terse_kernels *k;
    terse_page_type type;
    kernel kernel;
    bool stream;
    int32_t dim, group;
    int32_t n_page; /* of a block */
    char *blocks;   /* [n_block] of block_size bytes */
    size_t block_size, n_block;
    void *query;  /* @64, of group rows */
    float *s, *w; /* [group][P] */
    float *out;   /* [group][dim] */
    float *keep;  /* [group] */
} bench;

/* In [-1, 1): xorshift64* (Vigna 2016). */
static float random_float(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return (float)(int32_t)(*s * 0x2545f4914f6cdd1d >> 32) * 0x1p-31f;
}

static void fill_block(const bench *b, char *block, uint64_t *seed)
{
    float x[MAX_DIM], more[MAX_DIM];
    for (int32_t t = 0; t < (b->kernel < MOMENTS ? P : TERSE_TILE); t++) {
        for (int32_t d = 0; d < b->dim; d++) {
            x[d] = random_float(seed);
            more[d] = x[d] + 1.0f;
        }
        if (b->kernel == SCORE)
            terse_page_put_k(b->type, block, t, x, b->dim);
        else if (b->kernel == MIX)
            terse_page_put_v(b->type, block, t, x, b->dim);
        else if (b->kernel == MOMENTS)
            terse_moments_put(block, t, x, more, b->dim);
        else
            terse_box_put(block, t, x, more, b->dim);
    }
}

/* Some blocks of random tokens, or pages, then copies of them. */
static void fill_blocks(bench *b)
{
    uint64_t seed = 1;
    for (size_t i = 0; i < b->n_block; i++) {
        char *block = b->blocks + i * b->block_size;
        if (i >= N_DISTINCT)
            memcpy(block, block - N_DISTINCT * b->block_size, b->block_size);
        else
            fill_block(b, block, &seed);
    }
}

static void fill_rows(bench *b)
{
    uint64_t seed = 2;
    float x[MAX_DIM];
    for (int32_t r = 0; r < b->group; r++) {
        for (int32_t d = 0; d < b->dim; d++)
            x[d] = random_float(&seed);
        if (b->kernel == MOMENTS)
            terse_moments_query((char *)b->query + (size_t)r * terse_moments_query_size(b->dim), x, 1, b->dim);
        else if (b->kernel == BOX)
            memcpy((float *)b->query + r * b->dim, x, (size_t)b->dim * sizeof *x);
        else
            terse_query_prepare(b->type, (char *)b->query + (size_t)r * terse_query_size(b->type, b->dim), x, 1,
                                b->dim, 0.125f);
        for (int32_t t = 0; t < P; t++)
            b->w[r * P + t] = 1.0f + random_float(&seed);
        b->keep[r] = 1.0f; /* as in most pages of a walk: the largest score has been seen */
    }
}

/* All calls over all blocks. */
static void pass(const bench *b, int32_t calls)
{
    for (int32_t c = 0; c < calls; c++)
        for (size_t i = 0; i < b->n_block; i++) {
            const char *block = b->blocks + i * b->block_size;
            const char *ahead = i + 1 < b->n_block ? block + b->block_size : b->blocks;
            if (b->kernel == SCORE)
                b->k->attn.score[b->type](b->s, b->query, block, b->group, b->dim, ahead);
            else if (b->kernel == MIX)
                b->k->attn.mix[b->type](b->out, b->keep, b->w, block, terse_tokens_first(P), b->group, b->dim,
                                        ahead, terse_tokens_first(P));
            else if (b->kernel == MOMENTS)
                b->k->summary.moments(b->s, b->w, P, b->query, block, b->group, b->dim);
            else
                b->k->summary.box(b->s, P, b->query, block, b->group, b->dim);
        }
}

static void print(const bench *b, const report_times *t)
{
    const char *name = kernel_names[b->kernel], *mode = b->stream ? "stream" : "cache";
    if (!b->o->report.json) {
        printf("%-6s %-7s %-4s %5d %5d  %-6s %7.0f  %9.1f  %9.1f  %9.1f  %7.2f  %8.2f  %7.1f%% %6s\n",
               b->k->attn.tier, name, type_names[b->type], b->group, b->dim, mode, t->bytes, t->ns.median,
               t->ns.q1, t->ns.q3, t->gbs, t->machine.read, 100.0 * t->fraction, report_own_of(t).text);
        fflush(stdout);
        return;
    }
    json_t *r = report_record("attn", b->k->attn.tier, 1);
    report_add(r, json_pack("{s:s, s:s, s:i, s:i, s:s}", "kernel", name, "type", type_names[b->type], "group",
                            b->group, "dim", b->dim, "mode", mode));
    report_add(r, report_times_json(t));
    report_print(&b->o->report, r);
}

static terse_status measure(bench *b, terse_error *err)
{
    static terse_sample samples[MAX_SAMPLES];
    static double room[MAX_SAMPLES];
    const size_t n = (size_t)b->o->samples.v[0];
    const int32_t calls = b->stream ? 1 : CALLS;
    terse_probe *probe;
    const terse_status st = terse_probe_open(&probe, 1, b->n_block * b->block_size, b->o->cpu, err);
    if (st != TERSE_OK)
        return st;
    fill_rows(b);
    memset(b->out, 0, (size_t)(b->group * b->dim) * sizeof *b->out);
    pass(b, calls);
    for (size_t i = 0; i < n; i++) {
        terse_probe_begin(probe, &samples[i]);
        pass(b, calls);
        terse_probe_end(probe, &samples[i]);
    }
    terse_probe_close(&probe);
    const double pages = (double)(b->n_block * (size_t)(calls * b->n_page));
    const report_times t = report_times_of((double)b->block_size / b->n_page, samples, n, pages, room);
    print(b, &t);
    return TERSE_OK;
}

/* Every group, for one type, dim, kernel and mode. */
static terse_status run_buffer(bench *b, terse_error *err)
{
    const size_t row = MAX_GROUP;
    terse_status st = TERSE_OK;
    b->n_page = b->kernel < MOMENTS ? 1 : TERSE_TILE;
    b->block_size = b->kernel == MOMENTS ? terse_moments_size(b->dim)
                    : b->kernel == BOX   ? terse_box_size(b->dim)
                                         : terse_page_block_size(b->type, b->dim);
    b->n_block = b->stream ? ((size_t)b->o->mib.v[0] << 20) / b->block_size : 1;
    const size_t map_size = terse_align_up(b->n_block * b->block_size, (size_t)2 << 20);
    b->blocks = terse_pages_map(map_size);
    b->query = terse_calloc64(row, terse_query_size(TERSE_PAGE_F32, b->dim)); /* the largest of all */
    b->s = terse_calloc64(row * P, sizeof *b->s);
    b->w = terse_calloc64(row * P, sizeof *b->w);
    b->out = terse_calloc64(row * (size_t)b->dim, sizeof *b->out);
    b->keep = terse_calloc64(row, sizeof *b->keep);
    if (!b->blocks || !b->query || !b->s || !b->w || !b->out || !b->keep)
        st = terse_fail(err, TERSE_NOMEM, "no memory for %d MiB", b->o->mib.v[0]);
    else
        fill_blocks(b);
    for (int32_t g = 0; g < b->o->groups.n && st == TERSE_OK; g++) {
        b->group = b->o->groups.v[g];
        st = measure(b, err);
    }
    terse_pages_unmap(b->blocks, map_size);
    free(b->query);
    free(b->s);
    free(b->w);
    free(b->out);
    free(b->keep);
    return st;
}

/* Whether the comma list has the word; every list of NULL has. */
static bool chosen(const char *list, const char *word)
{
    const size_t n = strlen(word);
    for (const char *p = list; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
        if (!strncmp(p, word, n) && (!p[n] || p[n] == ','))
            return true;
    return !list;
}

static terse_status run(options *o, terse_error *err)
{
    terse_kernels k;
    terse_status st = TERSE_OK;
    terse_kernels_for(&k, o->cpu);
    if (!o->report.json)
        printf(
            "page attention, per page; fraction: of reading as much memory\n%-6s %-7s %-4s %5s %5s  %-6s %7s  "
            "%9s  %9s  %9s  %7s  %8s  %8s %6s\n",
            "tier", "", "type", "group", "dim", "mode", "bytes", "ns", "q1", "q3", "GB/s", "roofline",
            "fraction", "own");
    for (int type = 0; type < N_TYPE; type++)
        for (int32_t d = 0; d < o->dims.n; d++)
            for (int i = 0; i < 4 && st == TERSE_OK; i++) {
                bench b = { .o = o, .k = &k, .type = (terse_page_type)type, .dim = o->dims.v[d] };
                b.stream = i / 2;
                b.kernel = (kernel)(i % 2 + (type == SUMMARY ? MOMENTS : SCORE));
                if (chosen(o->types, type_names[type]) && chosen(o->kernel, kernel_names[b.kernel]) &&
                    chosen(o->mode, b.stream ? "stream" : "cache") && terse_page_dim_ok(b.type, b.dim))
                    st = run_buffer(&b, err);
            }
    return st;
}

static bool parse(options *o, int argc, char **argv)
{
    const struct {
        const char *name;
        int_list *list;
        long min, max;
    } lists[] = { { "--groups", &o->groups, 1, MAX_GROUP },
                  { "--dims", &o->dims, 16, MAX_DIM },
                  { "--mib", &o->mib, 1, 1 << 16 },
                  { "--samples", &o->samples, 1, MAX_SAMPLES } };
    const struct {
        const char *name, **text;
    } texts[] = {
        { "--types", &o->types }, { "--kernel", &o->kernel }, { "--mode", &o->mode }, { "--tier", &o->tier }
    };
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc)
            return false;
        const char *name = argv[i], *value = argv[i + 1];
        bool known = strcmp(name, "-o") == 0 && report_format(&o->report, value);
        for (size_t t = 0; t < sizeof texts / sizeof *texts && !known; t++)
            if (strcmp(name, texts[t].name) == 0) {
                *texts[t].text = value;
                known = true;
            }
        for (size_t l = 0; l < sizeof lists / sizeof *lists && !known; l++)
            known = strcmp(name, lists[l].name) == 0 &&
                    samples_list(lists[l].list, value, lists[l].min, lists[l].max);
        if (!known)
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    options o = { .groups = { { 1, 2, 4, 8 }, 4 },
                  .dims = { { 32, 64, 80, 96, 128, 256 }, 6 },
                  .mib = { { 64 }, 1 },
                  .samples = { { 9 }, 1 } };
    terse_error err;
    if (!parse(&o, argc, argv)) {
        fprintf(
            stderr,
            "usage: bench_attn [--types NAME,..] [--groups N,..] [--dims N,..] [--kernel NAME,..]\n"
            "                  [--mode cache,stream] [--mib N] [--samples N] [--tier NAME]\n"
            "                  [-o table|json]\n"
            "types: f32, f16, q8, bf16, q4 of pages, sum of summaries; kernels: score, mix, moments, box\n");
        return 2;
    }
    terse_status st = terse_cpu_tiers_upto(o.tier, &o.cpu, &err);
    if (st == TERSE_OK)
        st = run(&o, &err);
    if (st != TERSE_OK)
        fprintf(stderr, "bench_attn: %s\n", err.text);
    const bool written = report_end(&o.report);
    return terse_status_exit(st != TERSE_OK || written ? st : TERSE_IO);
}
