/* base/heat.h: terse_heat_read of an invented machine. */
#ifndef TERSE_BASE_HEAT_H
#define TERSE_BASE_HEAT_H

#include "terse/probe.h"

/* Reads ROOT/sys/class/thermal and ROOT/sys/devices/system/cpu; root is "" for the system itself. */
terse_heat terse_heat_of(const char *root);

#endif
