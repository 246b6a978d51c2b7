/* base/topology.h: how many threads make sense here, and where. These functions take what they look at as an
 * argument, so that a test can invent the machine; terse_cpu_threads and terse_cpu_logical look at the real
 * one. */
#ifndef TERSE_BASE_TOPOLOGY_H
#define TERSE_BASE_TOPOLOGY_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int32_t n_core; /* physical cores of the fastest kind with at least one allowed logical CPU */
    int32_t n_cpu;  /* allowed logical CPUs */
} terse_topology;

/* description: NULL for this machine and the calling thread's affinity, or a machine as hwloc describes one
 * ("core:4 pu:2") with the list of allowed logical CPUs ("0-2,6") and of those of a slower kind ("0-3", or
 * NULL). At least one core and CPU, also when nothing can be found out. */
terse_topology terse_topology_of(const char *description, const char *allowed, const char *slow);

/* Where n threads may run, from the fastest kind of core on; the machine as above.
 *   each      a core for each, with all of its allowed logical CPUs
 *   not each  all of them on any core of the fastest kind, where there are others too
 * False, and place is not to be used, if there are fewer such cores than threads, or the system does not tell.
 */
bool terse_topology_places(const char *description, const char *allowed, const char *slow, bool each,
                           cpu_set_t *place, int32_t n);

/* terse_topology_places for this process. False too where the CPU quota of its cgroup is less than n. */
bool terse_cpu_places(bool each, cpu_set_t *place, int32_t n);

/* CPUs that the quotas of this process's cgroup and of all its parents allow, rounded down but at least 1;
 * INT32_MAX if there is no quota. Reads ROOT/proc/self/{cgroup,mountinfo} and the mounts that these name, under
 * root too; root is "" for the system itself. */
int32_t terse_cgroup_cpus(const char *root);
/* Bytes of memory that its limits allow in the same way; SIZE_MAX if there is none. */
size_t terse_cgroup_memory(const char *root);

#endif
