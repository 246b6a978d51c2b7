/* base/heat.c: what the kernel tells of temperature and clocks. A board without a fan slows down by itself: its
 * cores' highest frequency is lowered, which is what to look at beside a benchmark. Documentation/ABI/testing:
 * sysfs-class-thermal, sysfs-devices-system-cpu of Linux. */
#include "base/heat.h"

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

enum { N_ZONE = 64, N_CPU = 1024 }; /* where looking ends: zones and CPUs are numbered, with gaps */

/* The number in ROOT FOLDER number / NAME; NAN if it is not there or is something else. */
static double number_in(const char *root, const char *folder, int number, const char *name)
{
    char path[PATH_MAX];
    double x = NAN;
    const int n = snprintf(path, sizeof path, "%s%s%d/%s", root, folder, number, name);
    FILE *f = n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
    if (!f)
        return NAN;
    if (fscanf(f, "%lf", &x) != 1 || !isfinite(x))
        x = NAN;
    fclose(f);
    return x;
}

static double hottest(const char *root)
{
    double top = NAN;
    for (int i = 0; i < N_ZONE; i++) /* fmax passes NAN over */
        top = fmax(top, number_in(root, "/sys/class/thermal/thermal_zone", i, "temp") / 1000);
    return top;
}

terse_heat terse_heat_of(const char *root)
{
    static const char folder[] = "/sys/devices/system/cpu/cpu";
    terse_heat h = { .celsius = hottest(root), .mhz = NAN, .mhz_held = NAN, .mhz_most = NAN };
    for (int i = 0; i < N_CPU; i++) {
        const double most = number_in(root, folder, i, "cpufreq/cpuinfo_max_freq") / 1000;
        if (isnan(most) || most < h.mhz_most) /* slower cores do not count */
            continue;
        const double now = number_in(root, folder, i, "cpufreq/scaling_cur_freq") / 1000;
        const double held = number_in(root, folder, i, "cpufreq/scaling_max_freq") / 1000;
        const bool faster = !(most == h.mhz_most);
        h.mhz_most = most;
        h.mhz = faster ? now : fmin(h.mhz, now);
        h.mhz_held = faster ? held : fmin(h.mhz_held, held);
    }
    return h;
}

terse_heat terse_heat_read(void)
{
    return terse_heat_of("");
}
