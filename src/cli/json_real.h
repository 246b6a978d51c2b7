/* cli/json_real.h: numbers that measure something, as JSON. */
#ifndef TERSE_CLI_JSON_REAL_H
#define TERSE_CLI_JSON_REAL_H

#include <jansson.h>

/* JSON knows no NaN and no infinity: they become null. NULL without memory. */
json_t *terse_json_real(double x);

#endif
