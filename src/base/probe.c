/* base/probe.c: every thread reads its part of a buffer, with the kernel that does nothing else. */
#include "terse/probe.h"

#include "base/memory.h"
#include "base/team.h"
#include "simd/kernels.h"

#include <hwloc.h>
#include <string.h>

#define MIB   ((size_t)1 << 20)
#define LEAST (16 * MIB) /* read by each thread in a round */

struct terse_probe {
    char *buffer;
    size_t mapped;
    size_t part; /* bytes of one thread, a multiple of 64 */
    int32_t n_thread;
    terse_team *team;
    terse_phase meet, work; /* of the running round */
    uint64_t (*read)(const void *p, size_t size);
    int64_t start, end;   /* ns, of the running round */
    size_t n_read;        /* bytes read in it by all threads */
    _Atomic uint64_t sum; /* of everything read: it would be no reading if nobody used it */
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

static void touch(void *ctx, int32_t thread, int32_t n_thread)
{
    terse_probe *p = ctx;
    (void)thread;
    for (int32_t i; (i = terse_phase_take(&p->work)) < n_thread; terse_phase_finish(&p->work, n_thread))
        memset(p->buffer + (size_t)i * p->part, i + 1, p->part);
    terse_phase_wait(&p->work, n_thread);
}

/* The clock starts when all threads are there: a piece of the first phase is to arrive. */
static void read_part(void *ctx, int32_t thread, int32_t n_thread)
{
    terse_probe *p = ctx;
    const int32_t i = terse_phase_take(&p->meet);
    if (i >= n_thread)
        return;
    terse_phase_finish(&p->meet, n_thread);
    terse_phase_wait(&p->meet, n_thread);
    if (thread == 0)
        p->start = terse_now_ns();
    const char *part = p->buffer + (size_t)i * p->part;
    const size_t n_pass = p->part < LEAST ? LEAST / p->part : 1;
    uint64_t sum = 0;
    for (size_t k = 0; k < n_pass; k++)
        sum += p->read(part, p->part);
    atomic_fetch_add(&p->sum, sum);
    terse_phase_finish(&p->work, n_thread);
    terse_phase_wait(&p->work, n_thread);
    if (thread == 0) {
        p->end = terse_now_ns();
        p->n_read = n_pass * p->part * (size_t)n_thread;
    }
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
    terse_kernels kernels;
    terse_kernels_for(&kernels, cpu ? cpu : terse_cpu_tiers());
    p->read = kernels.vec.read;
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
    terse_team_run(p->team, touch, p);
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
    terse_phase_reset(&p->meet);
    terse_phase_reset(&p->work);
    terse_team_run(p->team, read_part, p);
    return (double)p->n_read / (double)(p->end > p->start ? p->end - p->start : 1);
}
