/* attend/stop_none.c: dense attention reads everything. */
#include "attend/stop.h"

const terse_stop terse_stop_none = {
    .name = "none",
    .help = "read every page",
    .bounded = true,
    .strands = true,
};
