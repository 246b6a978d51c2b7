/* bench/roofline.c: read bandwidth by threads and by what the data fits into, and of blocks from all over the
 * memory, as a walk reads them that chooses its pages. Rounds of all take turns.
 *   roofline [--threads N,..] [--rounds N] [--tier NAME] [-o table|json] */
#include "report.h"

#include <stdio.h>
#include <string.h>

enum { MAX_ROUNDS = 1000, LEVELS = 7, MEMORY = 3 };
static const char *const level_names[LEVELS] = { "L1", "L2", "L3", "memory", "8 KiB", "4 KiB", "128 B" };
/* A page's keys and values (f16, 64 channels), its keys alone, a token's values. */
static const size_t block[LEVELS] = { [4] = 8192, [5] = 4096, [6] = 128 };

typedef struct {
    int_list threads;
    int_list rounds;
    const char *tier;
    report report;
} options;

static bool parse(options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--json") == 0) {
            o->report.json = true;
            continue;
        }
        i++;
        if (strcmp(argv[i - 1], "--tier") == 0 && *value)
            o->tier = value;
        else if (!(strcmp(argv[i - 1], "-o") == 0 && report_format(&o->report, value)) &&
                 !(strcmp(argv[i - 1], "--threads") == 0 && samples_list(&o->threads, value, 1, 1024)) &&
                 !(strcmp(argv[i - 1], "--rounds") == 0 && samples_list(&o->rounds, value, 1, MAX_ROUNDS)))
            return false;
    }
    return true;
}

/* 1, 2, 4, .. and as many as a session takes. */
static int_list default_threads(void)
{
    const int32_t most = terse_cpu_threads();
    int_list l = { .n = 0 };
    for (int32_t t = 1; t < most && l.n < SAMPLES_LIST - 1; t *= 2)
        l.v[l.n++] = t;
    l.v[l.n++] = most;
    return l;
}

/* Bytes of the whole buffer: half of each thread's own cache, half of one L3 for all; 0: the probe's default,
 * memory. SIZE_MAX: there is no such cache, or the threads' parts would fit into a smaller one. */
static size_t size_of(int level, int32_t threads)
{
    if (level >= MEMORY)
        return 0;
    const terse_cache c = terse_cache_of(level + 1), below = terse_cache_of(level);
    const size_t part = level < 2 ? c.size / 2 : c.size / 2 / (size_t)threads;
    return c.size > 0 && part > below.size ? part * (size_t)threads : SIZE_MAX;
}

static void print(options *o, const char *level, int32_t threads, size_t size, double *rate, size_t n)
{
    const terse_spread q = terse_spread_of(rate, n);
    const double part = (double)size / threads;
    if (o->report.json) {
        json_t *r = report_record("roofline", o->tier, threads);
        report_add(r, json_pack("{s:s, s:I, s:i, s:o, s:o, s:o, s:o}", "level", level, "bytes_per_thread",
                                (json_int_t)part, "n_samples", (int)n, "gbs", report_real(q.median), "gbs_q1",
                                report_real(q.q1), "gbs_q3", report_real(q.q3), "gbs_max",
                                report_real(rate[n - 1])));
        report_print(&o->report, r);
    } else {
        printf("%7d  %-7s %12.0f  %8.1f  %8.1f  %8.1f  %8.1f\n", threads, level, part / 1024, q.median, q.q1,
               q.q3, rate[n - 1]);
    }
    fflush(stdout);
}

static terse_status measure(options *o, int32_t threads, uint32_t cpu, terse_error *err)
{
    static double rate[LEVELS][MAX_ROUNDS];
    terse_probe *probe[LEVELS] = { NULL };
    terse_status st = TERSE_OK;
    const int32_t rounds = o->rounds.v[0];
    for (int l = 0; l <= MEMORY && st == TERSE_OK; l++) {
        const size_t size = size_of(l, threads);
        if (size != SIZE_MAX)
            st = terse_probe_open(&probe[l], threads, size, cpu, err);
    }
    for (int32_t r = 0; r < rounds && st == TERSE_OK; r++)
        for (int l = 0; l < LEVELS; l++) {
            terse_probe *p = probe[l < MEMORY ? l : MEMORY];
            if (p && l < MEMORY)
                terse_probe_read(p); /* the data comes back into its cache */
            if (p)
                rate[l][r] = block[l] ? terse_probe_read_blocks(p, block[l]) : terse_probe_read(p);
        }
    for (int l = 0; l < LEVELS && st == TERSE_OK; l++) {
        const terse_probe *p = probe[l < MEMORY ? l : MEMORY];
        if (p)
            print(o, level_names[l], threads, terse_probe_size(p), rate[l], (size_t)rounds);
    }
    for (int l = 0; l <= MEMORY; l++)
        terse_probe_close(&probe[l]);
    return st;
}

int main(int argc, char **argv)
{
    options o = { .threads = default_threads(), .rounds = { { 40 }, 1 } };
    uint32_t cpu;
    terse_error err;
    if (!parse(&o, argc, argv)) {
        fprintf(stderr, "usage: roofline [--threads N,..] [--rounds N] [--tier NAME] [-o table|json]\n");
        return 2;
    }
    terse_status st = terse_cpu_tiers_upto(o.tier, &cpu, &err);
    if (st == TERSE_OK) {
        o.tier = terse_cpu_tier_name(cpu);
        if (!o.report.json)
            printf("read bandwidth, tier %s, GB/s\n%7s  %-7s %12s  %8s  %8s  %8s  %8s\n", o.tier, "threads",
                   "level", "KiB/thread", "median", "q1", "q3", "max");
    }
    for (int32_t i = 0; i < o.threads.n && st == TERSE_OK; i++)
        st = measure(&o, o.threads.v[i], cpu, &err);
    if (st != TERSE_OK)
        fprintf(stderr, "roofline: %s\n", err.text);
    const bool written = report_end(&o.report);
    return st != TERSE_OK || written ? terse_status_exit(st) : terse_status_exit(TERSE_IO);
}
