/* simd/cpu.h: which kernel tiers a machine can run. A tier needs every one of its CPU features, and an
 * operating system that saves the registers it uses. */
#ifndef TERSE_SIMD_CPU_H
#define TERSE_SIMD_CPU_H

#include <stddef.h>
#include <stdint.h>

/* The same bits as TERSE_CPU_* of the public header, which simd/ does not include (src/base/machine.c checks
 * it). avx512 needs the features of avx2 too, dotprod those of neon, i8mm those of both. */
enum {
    TERSE_TIER_SCALAR = 1u << 0,
    TERSE_TIER_AVX2 = 1u << 1,
    TERSE_TIER_AVX512 = 1u << 2,
    TERSE_TIER_NEON = 1u << 3,
    TERSE_TIER_DOTPROD = 1u << 4,
    TERSE_TIER_I8MM = 1u << 5,
};

/* What the machine said of itself. x86: registers of CPUID leaves 1 and 7, and XCR0, which tells what the
 * operating system saves. ARM: the capabilities that the kernel tells of (AT_HWCAP, AT_HWCAP2). Zero what there
 * is not. A test may invent one. */
typedef struct {
    uint32_t ecx1, ebx7, ecx7;
    uint64_t xcr0, hwcap, hwcap2;
} terse_cpuid;

terse_cpuid terse_cpuid_read(void);
/* Mask of the tiers that such a machine runs. Scalar is always in it. */
uint32_t terse_cpuid_tiers(const terse_cpuid *id);
/* Names of what the machine lacks for one tier, separated by blanks, cut to size bytes; "" if it lacks nothing.
 */
void terse_cpuid_missing(const terse_cpuid *id, uint32_t tier, char *text, size_t size);

/* The tiers that this machine can run. */
uint32_t terse_cpu_detect(void);

#endif
