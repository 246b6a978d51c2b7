/* bench/bench_attend.c: the walk alone, over a store of random keys and values that is far larger than the
 * caches. One sample is one token's attention in all layers and KV heads, heads shared out among the threads as
 * the engine does it; a round of the read probe comes before each. Medians. bench_attend [--types K/V,..]
 * [--groups N,..] [--dims N,..] [--depths N,..] [--threads N,..] [--stop RULE]
 *                [--mib N] [--samples N] [--tier NAME] [--json] */
#include "samples.h"

#include "base/memory.h"
#include "base/team.h"
#include "terse/attend.h"
#include "terse/probe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_SAMPLES = 1000, MAX_THREADS = 256, HEADS = 8, MAX_DIM = 512, MAX_GROUP = 64 };

typedef struct {
    const char *types, *stop, *tier;
    int_list groups, dims, depths, threads, mib, samples;
    uint32_t cpu;
    bool json;
} options;

/* One store, and the threads that walk it. */
typedef struct {
    const options *o;
    terse_kv *kv;
    terse_attend *attend;
    terse_kv_type type_k, type_v;
    int32_t n_layer, dim, depth, group, n_thread;
    terse_team *team;
    terse_phase *phases; /* [n_layer] */
    terse_walk *walks[MAX_THREADS];
    terse_attend_stats stats[MAX_THREADS];
    float *query; /* [group][dim] */
    float *out;   /* [n_thread][group][dim] */
} bench;

/* In [-1, 1): xorshift64* (Vigna 2016). */
static float random_float(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return (float)(int32_t)(*s * 0x2545f4914f6cdd1d >> 32) * 0x1p-31f;
}

static void fill_part(void *ctx, int32_t thread, int32_t n_thread)
{
    bench *b = ctx;
    const int32_t n = b->n_layer * HEADS;
    float k[MAX_DIM], v[MAX_DIM];
    (void)thread, (void)n_thread;
    for (int32_t u; (u = terse_phase_take(&b->phases[0])) < n; terse_phase_finish(&b->phases[0], n)) {
        uint64_t seed = (uint64_t)u * 0x9e3779b97f4a7c15 + 1;
        for (int32_t t = 0; t < b->depth; t++) {
            for (int32_t d = 0; d < b->dim; d++) {
                k[d] = random_float(&seed);
                v[d] = random_float(&seed);
            }
            terse_kv_put(b->kv, u / HEADS, u % HEADS, t, k, v);
        }
    }
    terse_phase_wait(&b->phases[0], n);
}

static terse_status open_store(bench *b, terse_error *err)
{
    const terse_kv_opts one = { .n_layer = 1,
                                .n_head = 1,
                                .dim_k = b->dim,
                                .dim_v = b->dim,
                                .type_k = b->type_k,
                                .type_v = b->type_v,
                                .ctx = b->depth };
    terse_status st = terse_kv_open(&b->kv, &one, err);
    if (st != TERSE_OK)
        return st;
    const size_t layer = terse_kv_token_bytes(b->kv) * (size_t)b->depth * HEADS;
    terse_kv_close(&b->kv);
    terse_kv_opts all = one;
    b->n_layer = all.n_layer = (int32_t)((((size_t)b->o->mib.v[0] << 20) + layer - 1) / layer);
    all.n_head = HEADS;
    if ((st = terse_kv_open(&b->kv, &all, err)) != TERSE_OK ||
        (st = terse_kv_reserve(b->kv, b->depth, err)) != TERSE_OK)
        return st;
    b->phases = terse_calloc64((size_t)b->n_layer, sizeof *b->phases);
    if (!b->phases)
        return terse_fail(err, TERSE_NOMEM, "no memory for %d layers", b->n_layer);
    terse_team *team;
    if ((st = terse_team_open(&team, terse_cpu_threads(), err)) != TERSE_OK)
        return st;
    terse_team_run(team, fill_part, b);
    terse_team_close(&team);
    terse_kv_commit(b->kv, b->depth);
    terse_kv_center(b->kv);
    return TERSE_OK;
}

static void walk_part(void *ctx, int32_t thread, int32_t n_thread)
{
    bench *b = ctx;
    float *out = b->out + (size_t)thread * (size_t)b->group * (size_t)b->dim;
    const float scale = 1.0f / sqrtf((float)b->dim);
    (void)n_thread;
    for (int32_t l = 0; l < b->n_layer; l++) {
        for (int32_t h; (h = terse_phase_take(&b->phases[l])) < HEADS; terse_phase_finish(&b->phases[l], HEADS))
            terse_walk_decode(b->walks[thread], l, h, b->depth, scale, b->query, out, &b->stats[thread]);
        terse_phase_wait(&b->phases[l], HEADS); /* the next layer needs this one's output */
    }
}

/* Nanoseconds of one token. */
static double sample(bench *b)
{
    for (int32_t l = 0; l < b->n_layer; l++)
        terse_phase_reset(&b->phases[l]);
    const int64_t start = terse_now_ns();
    terse_team_run(b->team, walk_part, b);
    return (double)(terse_now_ns() - start);
}

static void print(const bench *b, double *ns, double *roofline, size_t n)
{
    terse_attend_stats sum = { 0 };
    for (int32_t t = 0; t < b->n_thread; t++)
        terse_attend_stats_add(&sum, &b->stats[t]);
    const double bytes = (double)(sum.bytes_k + sum.bytes_v + sum.bytes_summary) / (double)n;
    const quartiles time = samples_quartiles(ns, n), roof = samples_quartiles(roofline, n);
    const double units = (double)b->n_layer * HEADS * b->depth, gbs = bytes / time.median;
    const char *k = terse_kv_type_name(b->type_k), *v = terse_kv_type_name(b->type_v);
    if (b->o->json)
        printf(
            "{ \"bench\": \"attend\", \"tier\": \"%s\", \"type_k\": \"%s\", \"type_v\": \"%s\", \"group\": %d, "
            "\"dim\": %d, \"depth\": %d, \"threads\": %d, \"stop\": \"%s\", \"mib\": %.0f, \"samples\": %zu, "
            "\"ns_per_token_head\": %.4f, \"ns_q1\": %.4f, \"ns_q3\": %.4f, \"bytes_ratio\": %.4f, \"gb_s\": "
            "%.2f, "
            "\"roofline_gb_s\": %.2f, \"fraction\": %.3f }\n",
            terse_cpu_tier_name(b->o->cpu), k, v, b->group, b->dim, b->depth, b->n_thread,
            terse_attend_stop_text(b->attend), (double)terse_kv_bytes(b->kv) / (1 << 20), n,
            time.median / units, time.q1 / units, time.q3 / units, bytes * (double)n / (double)sum.bytes_dense,
            gbs, roof.median, gbs / roof.median);
    else
        printf("%4s/%-4s %5d %5d %7d %8d  %9.3f  %9.3f  %9.3f  %7.3f  %7.2f  %8.2f  %7.1f%%\n", k, v, b->group,
               b->dim, b->depth, b->n_thread, time.median / units, time.q1 / units, time.q3 / units,
               bytes * (double)n / (double)sum.bytes_dense, gbs, roof.median, 100 * gbs / roof.median);
    fflush(stdout);
}

static terse_status measure(bench *b, terse_error *err)
{
    static double ns[MAX_SAMPLES], roofline[MAX_SAMPLES];
    const size_t row = (size_t)b->group * (size_t)b->dim, n = (size_t)b->o->samples.v[0];
    terse_probe *probe = NULL;
    uint64_t seed = 7;
    terse_status st = TERSE_OK;
    b->query = terse_calloc64(row, sizeof *b->query);
    b->out = terse_calloc64(row * (size_t)b->n_thread, sizeof *b->out);
    if (!b->query || !b->out)
        st = terse_fail(err, TERSE_NOMEM, "no memory for %d rows", b->group);
    for (size_t i = 0; i < row && st == TERSE_OK; i++)
        b->query[i] = 3.0f * random_float(&seed);
    for (int32_t t = 0; t < b->n_thread && st == TERSE_OK; t++)
        st = terse_walk_open(&b->walks[t], b->kv, b->attend, b->group, b->o->cpu, err);
    if (st == TERSE_OK)
        st = terse_team_open(&b->team, b->n_thread, err);
    if (st == TERSE_OK)
        st = terse_probe_open(&probe, b->n_thread, 0, b->o->cpu, err);
    if (st == TERSE_OK) {
        sample(b);
        memset(b->stats, 0, sizeof b->stats);
        for (size_t i = 0; i < n; i++) {
            roofline[i] = terse_probe_read(probe);
            ns[i] = sample(b);
        }
        print(b, ns, roofline, n);
    }
    terse_probe_close(&probe);
    terse_team_close(&b->team);
    for (int32_t t = 0; t < b->n_thread; t++)
        terse_walk_close(&b->walks[t]);
    free(b->query);
    free(b->out);
    return st;
}

/* All groups and thread counts over one store. */
static terse_status run_store(bench *b, terse_error *err)
{
    const options *o = b->o;
    terse_status st = open_store(b, err);
    for (int32_t g = 0; g < o->groups.n; g++)
        for (int32_t t = 0; t < o->threads.n && st == TERSE_OK; t++) {
            b->group = o->groups.v[g];
            b->n_thread = o->threads.v[t];
            st = measure(b, err);
        }
    free(b->phases);
    terse_kv_close(&b->kv);
    return st;
}

/* Takes "K/V" or one name for both off the list. */
static terse_status next_types(const char **list, bench *b, terse_error *err)
{
    char word[32], *slash;
    const size_t n = strcspn(*list, ",");
    snprintf(word, sizeof word, "%.*s", (int)n, *list);
    *list += n + ((*list)[n] == ',');
    if ((slash = strchr(word, '/')))
        *slash = '\0';
    const terse_status st = terse_kv_type_parse(word, &b->type_k, err);
    return st == TERSE_OK ? terse_kv_type_parse(slash ? slash + 1 : word, &b->type_v, err) : st;
}

static terse_status run(const options *o, terse_error *err)
{
    terse_attend *attend;
    terse_status st = terse_attend_open(&attend, "dense", o->stop, 0, err);
    if (st == TERSE_OK && !o->json)
        printf("walk, tier %s, stop %s; time per token and KV head\n%9s %5s %5s %7s %8s  %9s  %9s  %9s  %7s  "
               "%7s  %8s  "
               "%8s\n",
               terse_cpu_tier_name(o->cpu), terse_attend_stop_text(attend), "K/V", "group", "dim", "depth",
               "threads", "ns", "q1", "q3", "bytes", "GB/s", "roofline", "fraction");
    for (const char *list = o->types; *list && st == TERSE_OK;) {
        bench b = { .o = o, .attend = attend };
        st = next_types(&list, &b, err);
        for (int32_t d = 0; d < o->dims.n; d++)
            for (int32_t n = 0; n < o->depths.n && st == TERSE_OK; n++) {
                b.dim = o->dims.v[d];
                b.depth = o->depths.v[n];
                st = run_store(&b, err);
            }
    }
    terse_attend_close(&attend);
    return st;
}

static bool parse(options *o, int argc, char **argv)
{
    const struct {
        const char *name;
        int_list *list;
        long min, max;
    } lists[] = { { "--groups", &o->groups, 1, MAX_GROUP }, { "--dims", &o->dims, 16, MAX_DIM },
                  { "--depths", &o->depths, 1, 1 << 24 },   { "--threads", &o->threads, 1, MAX_THREADS },
                  { "--mib", &o->mib, 1, 1 << 20 },         { "--samples", &o->samples, 1, MAX_SAMPLES } };
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        bool known = strcmp(name, "--json") == 0;
        o->json |= known;
        if (!known && ++i == argc)
            return false;
        const char **text = strcmp(name, "--types") == 0  ? &o->types
                            : strcmp(name, "--stop") == 0 ? &o->stop
                            : strcmp(name, "--tier") == 0 ? &o->tier
                                                          : NULL;
        if (text && !known) {
            *text = argv[i];
            known = true;
        }
        for (size_t l = 0; l < sizeof lists / sizeof *lists && !known; l++)
            known = strcmp(name, lists[l].name) == 0 &&
                    samples_list(lists[l].list, argv[i], lists[l].min, lists[l].max);
        if (!known)
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    const int32_t cores = terse_cpu_threads() < MAX_THREADS ? terse_cpu_threads() : MAX_THREADS;
    options o = { .types = "f32,f16,q8",
                  .groups = { { 1, 4, 8 }, 3 },
                  .dims = { { 64, 128 }, 2 },
                  .depths = { { 4096, 16384 }, 2 },
                  .threads = { { 1, cores }, cores > 1 ? 2 : 1 },
                  .mib = { { 256 }, 1 },
                  .samples = { { 15 }, 1 } };
    terse_error err;
    if (!parse(&o, argc, argv)) {
        fprintf(stderr,
                "usage: bench_attend [--types K/V,..] [--groups N,..] [--dims N,..] [--depths N,..]\n"
                "                    [--threads N,..] [--stop RULE] [--mib N] [--samples N] [--tier NAME] "
                "[--json]\n");
        return 2;
    }
    terse_status st = terse_cpu_tiers_upto(o.tier, &o.cpu, &err);
    if (st == TERSE_OK)
        st = run(&o, &err);
    if (st != TERSE_OK)
        fprintf(stderr, "bench_attend: %s\n", err.text);
    return terse_status_exit(st);
}
