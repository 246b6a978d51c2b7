/* terse/base.h: status codes, errors, what the machine is. Every other header of ours includes this one. */
#ifndef TERSE_BASE_H
#define TERSE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define TERSE_API              __attribute__((visibility("default")))
#define TERSE_PRINTF(fmt, arg) __attribute__((format(printf, fmt, arg)))
#else
#define TERSE_API
#define TERSE_PRINTF(fmt, arg)
#endif

/* A borrowed run of bytes, not NUL-terminated. */
typedef struct {
    const char *p;
    size_t n;
} terse_str;

typedef enum {
    TERSE_OK = 0,
    TERSE_BAD_INPUT,   /* a file, flag or argument from outside is wrong */
    TERSE_UNSUPPORTED, /* well formed, but not something this build can do */
    TERSE_NOMEM,       /* memory, or the limit that the caller set */
    TERSE_IO,          /* the operating system refused to read or write */
    TERSE_INTERRUPTED, /* the caller's abort flag was set */
    TERSE_INTERNAL     /* a defect of terse */
} terse_status;

/* What went wrong, for a person: one line, what and where and, if known, what to do. */
typedef struct {
    terse_status status;
    char text[512];
} terse_error;

/* Fills *err (if not NULL) from a printf format and returns status, so that it can be a return's expression. */
TERSE_API terse_status terse_fail(terse_error *err, terse_status status, const char *fmt, ...)
    TERSE_PRINTF(3, 4);
/* Exit code of a program that ends with status: 0, 2 bad input, 70 internal, 71 memory, 74 I/O, 130
 * interrupted. */
TERSE_API int terse_status_exit(terse_status status);
/* "0.1.0" */
TERSE_API const char *terse_version(void);

/* Kernel tiers, as a mask of what may be used. A tier needs all of its features and the operating system's
 * consent to save its registers. scalar is always there. */
enum {
    TERSE_CPU_SCALAR = 1u << 0,
    TERSE_CPU_AVX2 = 1u << 1,   /* AVX2, FMA, F16C, BMI2 */
    TERSE_CPU_AVX512 = 1u << 2, /* the above, AVX-512 F BW DQ VL VNNI */
    TERSE_CPU_NEON = 1u << 3,   /* 64-bit ARM, any */
    TERSE_CPU_DOTPROD =
        1u << 4,              /* the above, dot products of bytes (Armv8.2 dotprod: Cortex-A76, Neoverse N1) */
    TERSE_CPU_I8MM = 1u << 5, /* the above, products of matrices of bytes (Armv8.6: Neoverse N2, Cortex-A710) */
    TERSE_CPU_LAST = TERSE_CPU_I8MM
};
/* All tiers that this machine can run. Thread-safe. */
TERSE_API uint32_t terse_cpu_tiers(void);
/* Mask of the tiers up to the named one ("scalar", "avx2", "avx512", "neon", "dotprod", "i8mm"; NULL or "":
 * everything the machine has). TERSE_BAD_INPUT if the name is unknown or the machine lacks it. */
TERSE_API terse_status terse_cpu_tiers_upto(const char *name, uint32_t *mask, terse_error *err);
/* Name of the highest tier in the mask. */
TERSE_API const char *terse_cpu_tier_name(uint32_t mask);

/* Threads that a new session uses by default: the physical cores the process may run on, of the fastest kind
 * where cores differ, at most what the cgroup CPU quota (v1 or v2, every level up to the root) allows rounded
 * down, at least 1. */
TERSE_API int32_t terse_cpu_threads(void);
/* Logical CPUs in the process's affinity mask: the most threads worth asking for. */
TERSE_API int32_t terse_cpu_logical(void);
/* Memory that this process may have, in bytes; SIZE_MAX: no limit, or unknown. */
typedef struct {
    size_t machine;   /* physical memory and swap */
    size_t available; /* of the physical memory, what is free or can be freed */
    size_t group;     /* the tightest limit of its cgroup, v1 or v2, and of all groups above */
    size_t address;   /* address space (ulimit -v) */
} terse_memory_room;
TERSE_API terse_memory_room terse_memory_room_now(void);
/* Peak resident set of this process in bytes; 0 if unknown. */
TERSE_API size_t terse_peak_rss(void);
/* Monotonic clock in nanoseconds. */
TERSE_API int64_t terse_now_ns(void);

#endif
