/* base/machine.c: what the machine is and what the process has used: kernel tiers, clock, peak memory. */
#include "simd/cpu.h"
#include "terse/base.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

_Static_assert((int)TERSE_TIER_SCALAR == (int)TERSE_CPU_SCALAR && (int)TERSE_TIER_AVX2 == (int)TERSE_CPU_AVX2 &&
                   (int)TERSE_TIER_AVX512 == (int)TERSE_CPU_AVX512 &&
                   (int)TERSE_TIER_NEON == (int)TERSE_CPU_NEON &&
                   (int)TERSE_TIER_DOTPROD == (int)TERSE_CPU_DOTPROD &&
                   (int)TERSE_TIER_I8MM == (int)TERSE_CPU_I8MM,
               "simd/cpu.h and terse/base.h number the tiers alike");

static const struct {
    const char *name;
    uint32_t tier;
} tiers[] = { { "scalar", TERSE_CPU_SCALAR }, { "avx2", TERSE_CPU_AVX2 },       { "avx512", TERSE_CPU_AVX512 },
              { "neon", TERSE_CPU_NEON },     { "dotprod", TERSE_CPU_DOTPROD }, { "i8mm", TERSE_CPU_I8MM } };
enum { N_TIER = sizeof tiers / sizeof *tiers };

uint32_t terse_cpu_tiers(void)
{
    return terse_cpu_detect();
}

terse_status terse_cpu_tiers_upto(const char *name, uint32_t *mask, terse_error *err)
{
    const terse_cpuid id = terse_cpuid_read();
    const uint32_t have = terse_cpuid_tiers(&id);
    if (!name || !*name) {
        *mask = have;
        return TERSE_OK;
    }
    for (int i = 0; i < N_TIER; i++) {
        if (strcmp(name, tiers[i].name) != 0)
            continue;
        if (!(have & tiers[i].tier)) {
            char missing[160];
            terse_cpuid_missing(&id, tiers[i].tier, missing, sizeof missing);
            return terse_fail(err, TERSE_BAD_INPUT, "tier %s: this machine lacks %s", name, missing);
        }
        *mask = have & (2 * tiers[i].tier - 1);
        return TERSE_OK;
    }
    return terse_fail(err, TERSE_BAD_INPUT,
                      "tier \"%.40s\" is unknown; it is one of scalar, avx2, avx512, neon, dotprod, i8mm",
                      name);
}

const char *terse_cpu_tier_name(uint32_t mask)
{
    int i = N_TIER - 1;
    while (i > 0 && !(mask & tiers[i].tier))
        i--;
    return tiers[i].name;
}

/* VmHWM and not getrusage: ru_maxrss survives exec, so it can be the peak of whoever started us. */
size_t terse_peak_rss(void)
{
    size_t peak = 0;
    char line[256];
    FILE *f = fopen("/proc/self/status", "re");
    if (!f)
        return 0;
    while (!peak && fgets(line, sizeof line, f)) {
        unsigned long kib;
        if (sscanf(line, "VmHWM: %lu kB", &kib) == 1)
            peak = (size_t)kib * 1024;
    }
    fclose(f);
    return peak;
}

int64_t terse_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
