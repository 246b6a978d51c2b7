/* simd/cpu.c: what the machine has. One row per feature says where its bit is and which tier asks for it, so
 * that detection and the message about what is missing cannot disagree. Bit numbers: Intel SDM vol. 2A, CPUID;
 * vol. 1, 13.3 for XCR0; Linux, asm/hwcap.h of arm64. */
#include "simd/cpu.h"

#include <stdbool.h>
#include <stdio.h>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

enum reg { ECX1, EBX7, ECX7, XCR0, HWCAP, HWCAP2 };

static const struct feature {
    const char *name;
    uint32_t tier;
    enum reg reg;
    uint32_t bits; /* all of them are needed */
} features[] = {
    { "AVX", TERSE_TIER_AVX2, ECX1, 1u << 28 },          { "FMA", TERSE_TIER_AVX2, ECX1, 1u << 12 },
    { "F16C", TERSE_TIER_AVX2, ECX1, 1u << 29 },         { "AVX2", TERSE_TIER_AVX2, EBX7, 1u << 5 },
    { "BMI2", TERSE_TIER_AVX2, EBX7, 1u << 8 },          { "saved-YMM", TERSE_TIER_AVX2, XCR0, 0x06 },
    { "AVX512F", TERSE_TIER_AVX512, EBX7, 1u << 16 },    { "AVX512BW", TERSE_TIER_AVX512, EBX7, 1u << 30 },
    { "AVX512DQ", TERSE_TIER_AVX512, EBX7, 1u << 17 },   { "AVX512VL", TERSE_TIER_AVX512, EBX7, 1u << 31 },
    { "AVX512VNNI", TERSE_TIER_AVX512, ECX7, 1u << 11 }, { "saved-ZMM", TERSE_TIER_AVX512, XCR0, 0xe6 },
    { "ASIMD", TERSE_TIER_NEON, HWCAP, 1u << 1 },        { "ASIMDDP", TERSE_TIER_DOTPROD, HWCAP, 1u << 20 },
    { "I8MM", TERSE_TIER_I8MM, HWCAP2, 1u << 13 },
};

/* A tier and those that it needs below it: lower ones first. */
static const struct {
    uint32_t tier, with;
} chains[] = {
    { TERSE_TIER_AVX2, TERSE_TIER_AVX2 },
    { TERSE_TIER_AVX512, TERSE_TIER_AVX2 | TERSE_TIER_AVX512 },
    { TERSE_TIER_NEON, TERSE_TIER_NEON },
    { TERSE_TIER_DOTPROD, TERSE_TIER_NEON | TERSE_TIER_DOTPROD },
    { TERSE_TIER_I8MM, TERSE_TIER_NEON | TERSE_TIER_DOTPROD | TERSE_TIER_I8MM },
};
enum { N_FEATURE = sizeof features / sizeof *features, N_CHAIN = sizeof chains / sizeof *chains };

terse_cpuid terse_cpuid_read(void)
{
    terse_cpuid id = { 0 };
#if defined(__x86_64__) || defined(__i386__)
    enum { OSXSAVE = 1u << 27 };
    unsigned a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d))
        id.ecx1 = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
        id.ebx7 = b;
        id.ecx7 = c;
    }
    if (id.ecx1 & OSXSAVE) { /* without it XGETBV is an illegal instruction */
        __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
        id.xcr0 = (uint64_t)d << 32 | a;
    }
#elif defined(__aarch64__) && defined(__linux__)
    id.hwcap = getauxval(AT_HWCAP);
    id.hwcap2 = getauxval(AT_HWCAP2);
#endif
    return id;
}

static bool has(const terse_cpuid *id, const struct feature *f)
{
    const uint64_t regs[] = { [ECX1] = id->ecx1, [EBX7] = id->ebx7,   [ECX7] = id->ecx7,
                              [XCR0] = id->xcr0, [HWCAP] = id->hwcap, [HWCAP2] = id->hwcap2 };
    return (regs[f->reg] & f->bits) == f->bits;
}

static uint32_t chain_of(uint32_t tier)
{
    for (int i = 0; i < N_CHAIN; i++)
        if (chains[i].tier == tier)
            return chains[i].with;
    return 0; /* scalar */
}

void terse_cpuid_missing(const terse_cpuid *id, uint32_t tier, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < N_FEATURE; i++) {
        const struct feature *f = &features[i];
        if (!(f->tier & chain_of(tier)) || has(id, f))
            continue;
        const int n = snprintf(text + used, size - used, "%s%s", used ? " " : "", f->name);
        if (n < 0 || (size_t)n >= size - used)
            return;
        used += (size_t)n;
    }
}

uint32_t terse_cpuid_tiers(const terse_cpuid *id)
{
    uint32_t lacking = 0, mask = TERSE_TIER_SCALAR;
    for (int i = 0; i < N_FEATURE; i++)
        if (!has(id, &features[i]))
            lacking |= features[i].tier;
    for (int i = 0; i < N_CHAIN; i++)
        if (!(chains[i].with & lacking))
            mask |= chains[i].tier;
    return mask;
}

uint32_t terse_cpu_detect(void)
{
    const terse_cpuid id = terse_cpuid_read();
    return terse_cpuid_tiers(&id);
}
