/* base/room.c: how much memory there is for this process. Linux, Documentation/filesystems/proc.rst. */
#include "base/room.h"

#include "base/topology.h"

#include <limits.h>
#include <stdio.h>
#include <sys/resource.h>

terse_memory_room terse_memory_room_of(const char *root)
{
    terse_memory_room room = { SIZE_MAX, SIZE_MAX, terse_cgroup_memory(root), SIZE_MAX };
    char path[PATH_MAX], line[128];
    const int n = snprintf(path, sizeof path, "%s/proc/meminfo", root);
    FILE *f = n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
    unsigned long long kib, total = 0, swap = 0;
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "MemTotal: %llu kB", &kib) == 1)
            total = kib;
        else if (sscanf(line, "SwapTotal: %llu kB", &kib) == 1)
            swap = kib;
        else if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1 && kib <= SIZE_MAX / 1024)
            room.available = (size_t)kib * 1024;
    }
    if (f)
        fclose(f);
    if (total > 0 && total <= SIZE_MAX / 2048 && swap <= SIZE_MAX / 2048)
        room.machine = (size_t)(total + swap) * 1024;
    return room;
}

terse_memory_room terse_memory_room_now(void)
{
    terse_memory_room room = terse_memory_room_of("");
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < SIZE_MAX)
        room.address = (size_t)limit.rlim_cur;
    return room;
}
