/* cli/json_real.c: see the header. */
#include "json_real.h"

#include <math.h>

json_t *terse_json_real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}
