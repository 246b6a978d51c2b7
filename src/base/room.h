/* base/room.h: terse_memory_room_now on an invented machine. */
#ifndef TERSE_BASE_ROOM_H
#define TERSE_BASE_ROOM_H

#include "terse/base.h"

/* Reads ROOT/proc/meminfo and the limits of the process's cgroup below root (terse_cgroup_memory); root is ""
 * for the system itself. address is SIZE_MAX. */
terse_memory_room terse_memory_room_of(const char *root);

#endif
