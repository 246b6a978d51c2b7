/* base/probe.c: every thread reads its part of a buffer, with the kernel that does nothing else. */
#include "terse/probe.h"

#include "base/memory.h"
#include "base/team.h"
#include "simd/kernels.h"

#include <dirent.h>
#include <hwloc.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MIB   ((size_t)1 << 20)
#define LEAST (16 * MIB) /* read by each thread in a round */

enum { PROBES = 3, PEAK_NS = 500000 };

typedef void probe_part(terse_probe *p, int32_t i);

struct terse_probe {
    char *buffer;
    size_t mapped;
    size_t part; /* bytes of one thread, a multiple of 64 */
    int32_t n_thread;
    terse_team *team;
    terse_phase meet, work; /* of the running round */
    probe_part *what;       /* of the running round */
    int64_t start, end;     /* ns, of that */
    terse_kernels kernels;
    size_t n_pass; /* readings of a part in a round */
    size_t block;  /* bytes that are read together */
    int64_t fma_rounds, dot8_rounds;
    int64_t wall, cpu;    /* ns, when the sample began */
    int64_t ran, waited;  /* ns, when the probes before it began */
    _Atomic uint64_t sum; /* of all results: nothing would be computed if nobody used them */
};

terse_cache terse_cache_of(int32_t level)
{
    static const hwloc_obj_type_t types[] = { HWLOC_OBJ_L1CACHE, HWLOC_OBJ_L2CACHE, HWLOC_OBJ_L3CACHE };
    terse_cache c = { 0 };
    hwloc_topology_t topology;
    if (level < 1 || level > 3 || hwloc_topology_init(&topology) != 0)
        return c;
    const hwloc_obj_type_t type = types[level - 1];
    if (hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE) == 0 &&
        hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING) == 0 &&
        hwloc_topology_set_type_filter(topology, type, HWLOC_TYPE_FILTER_KEEP_ALL) == 0 &&
        hwloc_topology_load(topology) == 0)
        for (hwloc_obj_t o = NULL; (o = hwloc_get_next_obj_by_type(topology, type, o)); c.n++)
            if (o->attr->cache.size > c.size)
                c.size = (size_t)o->attr->cache.size;
    hwloc_topology_destroy(topology);
    return c;
}

void terse_cpu_name(char *name, size_t size)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "re");
    snprintf(name, size, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        colon += 1 + strspn(colon + 1, " \t");
        snprintf(name, size, "%.*s", (int)strcspn(colon, "\n"), colon);
        break;
    }
    if (f)
        fclose(f);
}

static void touch(void *ctx, int32_t thread, int32_t n_thread)
{
    terse_probe *p = ctx;
    (void)thread;
    for (int32_t i; (i = terse_phase_take(&p->work)) < n_thread; terse_phase_finish(&p->work, n_thread))
        memset(p->buffer + (size_t)i * p->part, i + 1, p->part);
    terse_phase_wait(&p->work, n_thread);
}

static void read_part(terse_probe *p, int32_t i)
{
    const char *part = p->buffer + (size_t)i * p->part;
    uint64_t sum = 0;
    for (size_t k = 0; k < p->n_pass; k++)
        sum += p->kernels.vec.read(part, p->part);
    atomic_fetch_add(&p->sum, sum);
}

/* A power of two of places, each of two blocks, in an order that leaves none out: the generator is a linear
 * congruential one of full period (Knuth's MMIX multiplier, modulo the number of places). */
static size_t places(const terse_probe *p)
{
    size_t n = 1;
    while (4 * n * p->block <= p->part)
        n *= 2;
    return n;
}

static size_t next_place(size_t at, size_t n)
{
    return (at * (size_t)6364136223846793005u + (size_t)1442695040888963407u) & (n - 1);
}

static void read_blocks(terse_probe *p, int32_t i)
{
    enum { AHEAD = 32 };
    const char *part = p->buffer + (size_t)i * p->part;
    const size_t n = places(p), step = 2 * p->block;
    const size_t ahead = p->block < 128    ? AHEAD
                         : p->block > 2048 ? 2
                                           : 4096 / p->block; /* 4 KiB on their way */
    uint64_t sum = 0;
    size_t soon = 0, at[AHEAD];
    for (size_t k = 0; k < ahead; k++)
        at[k] = soon = next_place(soon, n);
    for (size_t k = 0; k < n; k++) {
        const size_t now = at[k % ahead];
        at[k % ahead] = soon = next_place(soon, n);
        for (size_t b = 0; b < p->block; b += 64)
            __builtin_prefetch(part + soon * step + b, 0, 2);
        sum += p->kernels.vec.read(part + now * step, p->block);
    }
    atomic_fetch_add(&p->sum, sum);
}

static void fma_part(terse_probe *p, int32_t i)
{
    atomic_fetch_add(&p->sum, (uint64_t)p->kernels.peak.fma(p->fma_rounds, (float)(1 + i % 2)));
}

static void dot8_part(terse_probe *p, int32_t i)
{
    atomic_fetch_add(&p->sum, (uint64_t)p->kernels.peak.dot8(p->dot8_rounds, 1 + i % 2));
}

/* The clock starts when all threads are there: a piece of the first phase is to arrive. */
static void part_of_round(void *ctx, int32_t thread, int32_t n_thread)
{
    terse_probe *p = ctx;
    const int32_t i = terse_phase_take(&p->meet);
    if (i >= n_thread)
        return;
    terse_phase_finish(&p->meet, n_thread);
    terse_phase_wait(&p->meet, n_thread);
    if (thread == 0)
        p->start = terse_now_ns();
    p->what(p, i);
    terse_phase_finish(&p->work, n_thread);
    terse_phase_wait(&p->work, n_thread);
    if (thread == 0)
        p->end = terse_now_ns();
}

/* Nanoseconds in which all threads do their parts. */
static double round_of(terse_probe *p, probe_part *what)
{
    p->what = what;
    terse_phase_reset(&p->meet);
    terse_phase_reset(&p->work);
    terse_team_run(p->team, part_of_round, p);
    return (double)(p->end > p->start ? p->end - p->start : 1);
}

static double alone(terse_probe *p, probe_part *what)
{
    const int64_t start = terse_now_ns();
    what(p, 0);
    const int64_t ns = terse_now_ns() - start;
    return (double)(ns > 0 ? ns : 1);
}

/* Rounds that take PEAK_NS when nothing disturbs them: by the fastest of some tries. */
static void set_rounds(terse_probe *p, int64_t *rounds, probe_part *what)
{
    double rate = 0.0;
    for (*rounds = 256; *rounds < (int64_t)1 << 40; *rounds *= 2) {
        const double ns = alone(p, what), r = (double)*rounds / ns;
        rate = r > rate ? r : rate;
        if (ns > PEAK_NS)
            break;
    }
    *rounds = (int64_t)(rate * PEAK_NS) + 1;
}

static size_t default_size(void)
{
    const terse_cache l3 = terse_cache_of(3);
    const size_t caches = 4 * l3.size * (size_t)l3.n;
    return caches > 512 * MIB ? caches : 512 * MIB;
}

terse_status terse_probe_open(terse_probe **out, int32_t threads, size_t size, uint32_t cpu, terse_error *err)
{
    *out = NULL;
    if (threads < 0 || threads > 1024)
        return terse_fail(err, TERSE_BAD_INPUT, "%d threads: 1 to 1024 are possible", threads);
    terse_probe *p = terse_calloc64(1, sizeof *p);
    if (!p)
        return terse_fail(err, TERSE_NOMEM, "no memory for the bandwidth probe");
    terse_kernels_for(&p->kernels, cpu ? cpu : terse_cpu_tiers());
    const terse_status st = terse_team_open(&p->team, threads ? threads : terse_cpu_threads(), err);
    if (st != TERSE_OK) {
        terse_probe_close(&p);
        return st;
    }
    p->n_thread = terse_team_size(p->team);
    size = size ? size : default_size();
    if (size <= SIZE_MAX / 2) {
        p->part = terse_align_up((size + (size_t)p->n_thread - 1) / (size_t)p->n_thread, 64);
        p->mapped = terse_align_up(p->part * (size_t)p->n_thread, 2 * MIB);
        p->buffer = terse_pages_map(p->mapped);
    }
    if (!p->buffer) {
        terse_probe_close(&p);
        return terse_fail(err, TERSE_NOMEM, "no memory for a bandwidth probe of %zu bytes", size);
    }
    p->n_pass = p->part < LEAST ? LEAST / p->part : 1;
    terse_team_run(p->team, touch, p);
    set_rounds(p, &p->fma_rounds, fma_part);
    set_rounds(p, &p->dot8_rounds, dot8_part);
    *out = p;
    return TERSE_OK;
}

void terse_probe_close(terse_probe **p)
{
    if (!p || !*p)
        return;
    terse_team_close(&(*p)->team);
    if ((*p)->buffer)
        terse_pages_unmap((*p)->buffer, (*p)->mapped);
    free(*p);
    *p = NULL;
}

size_t terse_probe_size(const terse_probe *p)
{
    return p->part * (size_t)p->n_thread;
}

double terse_probe_read(terse_probe *p)
{
    const double ns = round_of(p, read_part);
    return (double)(p->n_pass * p->part * (size_t)p->n_thread) / ns;
}

double terse_probe_read_blocks(terse_probe *p, size_t block)
{
    p->block = block;
    if (block == 0 || block % 64 != 0 || block > p->part / 128)
        return 0.0;
    const double ns = round_of(p, read_blocks);
    return (double)(places(p) * block * (size_t)p->n_thread) / ns;
}

/* ---- samples ---- */

static double median3(const double *x)
{
    double y[PROBES];
    memcpy(y, x, sizeof y);
    return terse_spread_of(y, PROBES).median;
}

/* One thread and all of them take turns. */
static double measure_fma(terse_probe *p, double *one)
{
    double rate[PROBES], ratio[PROBES];
    for (int i = 0; i < PROBES; i++) {
        const double ns = alone(p, fma_part);
        rate[i] = (double)p->fma_rounds * p->kernels.peak.fma_ops / ns;
        ratio[i] = p->n_thread > 1 ? p->n_thread * ns / round_of(p, fma_part) : 1.0;
    }
    *one = median3(rate);
    return median3(ratio);
}

static int64_t cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Nanoseconds that the threads of this process have been ready to run and had no core; -1: the system does not
 * count it. */
static int64_t waited_now(void)
{
    int64_t sum = 0;
    DIR *tasks = opendir("/proc/self/task");
    bool told = tasks != NULL;
    for (const struct dirent *d; told && (d = readdir(tasks));) {
        char path[64 + sizeof d->d_name];
        unsigned long long ran, waited;
        if (d->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", d->d_name);
        FILE *f = fopen(path, "re");
        told = f && fscanf(f, "%llu %llu", &ran, &waited) == 2;
        sum += told ? (int64_t)waited : 0;
        if (f)
            fclose(f);
    }
    if (tasks)
        closedir(tasks);
    return told ? sum : -1;
}

void terse_probe_begin(terse_probe *p, terse_sample *s)
{
    double rate[PROBES];
    p->waited = waited_now();
    p->ran = cpu_now();
    for (int i = 0; i < PROBES; i++)
        rate[i] = terse_probe_read(p);
    s->read = median3(rate);
    s->fma_ratio = measure_fma(p, &s->fma);
    for (int i = 0; i < PROBES; i++)
        rate[i] = (double)p->dot8_rounds * p->n_thread * p->kernels.peak.dot8_ops / round_of(p, dot8_part);
    s->int8 = median3(rate);
    p->cpu = cpu_now();
    p->wall = terse_now_ns();
}

void terse_probe_end(terse_probe *p, terse_sample *s)
{
    double one;
    const int64_t wall = terse_now_ns() - p->wall, cpu = cpu_now() - p->cpu;
    s->ns = wall > 0 ? wall : 1;
    s->cpu_share = (double)cpu / ((double)s->ns * p->n_thread);
    const double ratio = measure_fma(p, &one);
    const int64_t waited = waited_now(), ran = cpu_now() - p->ran;
    s->core_share = s->cpu_share;
    if (p->waited >= 0 && waited >= p->waited && ran > 0)
        s->core_share = (double)ran / (double)(ran + waited - p->waited);
    s->fma_ratio = ratio < s->fma_ratio ? ratio : s->fma_ratio;
    s->own = s->core_share >= TERSE_OWN_CORE && s->fma_ratio >= TERSE_OWN_FMA * p->n_thread;
}
