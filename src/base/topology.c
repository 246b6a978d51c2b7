/* base/topology.c: physical cores within the affinity mask, by hwloc. Where cores differ (big.LITTLE) those of
 * the fastest kind count: work is dealt out in pieces, but a phase ends with its last piece. */
#include "base/topology.h"

#include "terse/base.h"

#include <hwloc.h>

/* Only cores and CPUs, and none of the probing that moves the calling thread from CPU to CPU: that is quick
 * enough (0.5 ms) to be done on every call. */
static bool load(hwloc_topology_t topology, const char *description)
{
    return hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE) == 0 &&
           hwloc_topology_set_type_filter(topology, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL) == 0 &&
           hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING |
                                                  HWLOC_TOPOLOGY_FLAG_NO_DISTANCES |
                                                  HWLOC_TOPOLOGY_FLAG_NO_MEMATTRS) == 0 &&
           (!description || hwloc_topology_set_synthetic(topology, description) == 0) &&
           hwloc_topology_load(topology) == 0;
}

static int32_t count_within(hwloc_topology_t topology, hwloc_obj_type_t type, hwloc_const_bitmap_t allowed)
{
    int32_t n = 0;
    for (hwloc_obj_t o = NULL; (o = hwloc_get_next_obj_by_type(topology, type, o));)
        n += hwloc_bitmap_intersects(o->cpuset, allowed) != 0;
    return n;
}

/* Takes from the set all CPUs but those of the fastest kind that it has. Kinds are in order of their speed, and
 * none has a number where hwloc cannot tell. */
static void keep_fastest(hwloc_topology_t topology, hwloc_bitmap_t set)
{
    hwloc_bitmap_t kind = hwloc_bitmap_alloc();
    for (int i = hwloc_cpukinds_get_nr(topology, 0) - 1; kind && i >= 0; i--) {
        int efficiency = -1;
        if (hwloc_cpukinds_get_info(topology, (unsigned)i, kind, &efficiency, NULL, NULL, 0) != 0 ||
            efficiency < 0)
            break;
        if (hwloc_bitmap_intersects(kind, set)) {
            hwloc_bitmap_and(set, set, kind);
            break;
        }
    }
    hwloc_bitmap_free(kind);
}

/* The CPUs of an invented machine that are of a slower kind. */
static void invent_slow(hwloc_topology_t topology, const char *slow)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    hwloc_bitmap_t rest = hwloc_bitmap_dup(hwloc_topology_get_topology_cpuset(topology));
    if (set && rest && hwloc_bitmap_list_sscanf(set, slow) == 0) {
        hwloc_bitmap_andnot(rest, rest, set);
        hwloc_cpukinds_register(topology, set, 0, 0, NULL, 0);
        hwloc_cpukinds_register(topology, rest, 1, 0, NULL, 0);
    }
    hwloc_bitmap_free(rest);
    hwloc_bitmap_free(set);
}

/* A machine and the CPUs of it that may be used. */
typedef struct {
    hwloc_topology_t topology;
    hwloc_bitmap_t allowed, fast; /* fast: those of the fastest kind among them */
} view;

static void view_close(view *v)
{
    hwloc_bitmap_free(v->fast);
    hwloc_bitmap_free(v->allowed);
    if (v->topology)
        hwloc_topology_destroy(v->topology);
}

/* False if nothing can be found out; to be closed in any case. */
static bool view_open(view *v, const char *description, const char *allowed, const char *slow)
{
    *v = (view){ .allowed = hwloc_bitmap_alloc() };
    if (hwloc_topology_init(&v->topology) != 0) {
        v->topology = NULL;
        return false;
    }
    if (!v->allowed || !load(v->topology, description))
        return false;
    if (description)
        hwloc_bitmap_list_sscanf(v->allowed, allowed);
    else if (hwloc_get_cpubind(v->topology, v->allowed, HWLOC_CPUBIND_THREAD) != 0)
        hwloc_bitmap_fill(v->allowed);
    if (description && slow)
        invent_slow(v->topology, slow);
    v->fast = hwloc_bitmap_dup(v->allowed);
    if (v->fast)
        keep_fastest(v->topology, v->fast);
    return v->fast != NULL;
}

terse_topology terse_topology_of(const char *description, const char *allowed, const char *slow)
{
    terse_topology t = { 0 };
    view v;
    if (view_open(&v, description, allowed, slow)) {
        t.n_cpu = count_within(v.topology, HWLOC_OBJ_PU, v.allowed);
        t.n_core = count_within(v.topology, HWLOC_OBJ_CORE, v.fast);
    }
    view_close(&v);
    if (t.n_cpu < 1)
        t.n_cpu = 1;
    if (t.n_core < 1) /* a system that tells of CPUs but not of cores */
        t.n_core = t.n_cpu;
    return t;
}

/* The CPUs of the set as the system takes them; false if there are none or one has too large a number. */
static bool to_system(cpu_set_t *out, hwloc_const_bitmap_t set)
{
    const int last = hwloc_bitmap_last(set);
    CPU_ZERO(out);
    if (last < 0 || last >= CPU_SETSIZE)
        return false;
    for (int i = hwloc_bitmap_first(set); i >= 0; i = hwloc_bitmap_next(set, i))
        CPU_SET(i, out);
    return true;
}

/* The next places, of cores that have a CPU in `of`. */
static int32_t add_cores(const view *v, hwloc_const_bitmap_t of, cpu_set_t *place, int32_t at, int32_t n)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    for (hwloc_obj_t o = NULL;
         set && at < n && (o = hwloc_get_next_obj_by_type(v->topology, HWLOC_OBJ_CORE, o));)
        if (hwloc_bitmap_intersects(o->cpuset, of)) {
            hwloc_bitmap_and(set, o->cpuset, of);
            at += to_system(&place[at], set);
        }
    hwloc_bitmap_free(set);
    return at;
}

bool terse_topology_places(const char *description, const char *allowed, const char *slow, bool each,
                           cpu_set_t *place, int32_t n)
{
    bool found = false;
    view v;
    hwloc_bitmap_t rest = NULL;
    if (view_open(&v, description, allowed, slow) && (rest = hwloc_bitmap_dup(v.allowed)) != NULL) {
        hwloc_bitmap_andnot(rest, rest, v.fast);
        if (each) {
            const int32_t n_fast = add_cores(&v, v.fast, place, 0, n);
            found = add_cores(&v, rest, place, n_fast, n) == n;
        } else if (!hwloc_bitmap_iszero(rest) && count_within(v.topology, HWLOC_OBJ_CORE, v.fast) >= n) {
            found = to_system(&place[0], v.fast);
            for (int32_t i = 1; i < n; i++)
                place[i] = place[0];
        }
    }
    hwloc_bitmap_free(rest);
    view_close(&v);
    return found;
}

bool terse_cpu_places(bool each, cpu_set_t *place, int32_t n)
{
    return terse_cgroup_cpus("") >= n && terse_topology_places(NULL, NULL, NULL, each, place, n);
}

int32_t terse_cpu_threads(void)
{
    const int32_t cores = terse_topology_of(NULL, NULL, NULL).n_core;
    const int32_t quota = terse_cgroup_cpus("");
    return cores < quota ? cores : quota;
}

int32_t terse_cpu_logical(void)
{
    return terse_topology_of(NULL, NULL, NULL).n_cpu;
}
