/* base/topology.c: physical cores within the affinity mask, by hwloc. */
#include "base/topology.h"

#include "terse/base.h"

#include <hwloc.h>

/* Only cores and CPUs, and none of the probing that moves the calling thread from CPU to CPU: that is quick
 * enough (0.5 ms) to be done on every call. */
static bool load(hwloc_topology_t topology, const char *description)
{
    return hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE) == 0 &&
           hwloc_topology_set_type_filter(topology, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL) == 0 &&
           hwloc_topology_set_flags(
               topology, HWLOC_TOPOLOGY_FLAG_DONT_CHANGE_BINDING | HWLOC_TOPOLOGY_FLAG_NO_DISTANCES |
                             HWLOC_TOPOLOGY_FLAG_NO_MEMATTRS | HWLOC_TOPOLOGY_FLAG_NO_CPUKINDS) == 0 &&
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

terse_topology terse_topology_of(const char *description, const char *allowed)
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
    const int32_t cores = terse_topology_of(NULL, NULL).n_core;
    const int32_t quota = terse_cgroup_cpus("");
    return cores < quota ? cores : quota;
}

int32_t terse_cpu_logical(void)
{
    return terse_topology_of(NULL, NULL).n_cpu;
}
