/* base/topology.h: how many threads make sense here. Both functions take what they look at as an argument, so
 * that a test can invent the machine; terse_cpu_threads and terse_cpu_logical look at the real one. */
#ifndef TERSE_BASE_TOPOLOGY_H
#define TERSE_BASE_TOPOLOGY_H

#include <stdint.h>

typedef struct {
    int32_t n_core; /* physical cores of the fastest kind with at least one allowed logical CPU */
    int32_t n_cpu;  /* allowed logical CPUs */
} terse_topology;

/* description: NULL for this machine and the calling thread's affinity, or a machine as hwloc describes one
 * ("core:4 pu:2") with the list of allowed logical CPUs ("0-2,6") and of those of a slower kind ("0-3", or
 * NULL). At least one core and CPU, also when nothing can be found out. */
terse_topology terse_topology_of(const char *description, const char *allowed, const char *slow);

/* CPUs that the quotas of this process's cgroup and of all its parents allow, rounded down but at least 1;
 * INT32_MAX if there is no quota. Reads ROOT/proc/self/{cgroup,mountinfo} and the mounts that these name, under
 * root too; root is "" for the system itself. */
int32_t terse_cgroup_cpus(const char *root);

#endif
