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

terse_topology terse_topology_of(const char *description, const char *allowed, const char *slow)
{
    terse_topology t = { 0 };
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0)
        return (terse_topology){ 1, 1 };
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    if (set && load(topology, description)) {
        if (description)
            hwloc_bitmap_list_sscanf(set, allowed);
        else if (hwloc_get_cpubind(topology, set, HWLOC_CPUBIND_THREAD) != 0)
            hwloc_bitmap_fill(set);
        t.n_cpu = count_within(topology, HWLOC_OBJ_PU, set);
        if (description && slow)
            invent_slow(topology, slow);
        keep_fastest(topology, set);
        t.n_core = count_within(topology, HWLOC_OBJ_CORE, set);
    }
    hwloc_bitmap_free(set);
    hwloc_topology_destroy(topology);
    if (t.n_cpu < 1)
        t.n_cpu = 1;
    if (t.n_core < 1) /* a system that tells of CPUs but not of cores */
        t.n_core = t.n_cpu;
    return t;
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
