/* terse/probe.h: what this machine gives: how fast it reads memory, the roofline that decoding is held against,
 * and how fast it calculates, which says whether its cores were there. Samples that carry both with them. */
#ifndef TERSE_PROBE_H
#define TERSE_PROBE_H

#include "terse/base.h"

/* The caches of one level. */
typedef struct {
    size_t size; /* bytes of the largest one; 0 if unknown */
    int32_t n;   /* how many the machine has */
} terse_cache;
/* level 1 (data), 2 or 3. */
TERSE_API terse_cache terse_cache_of(int32_t level);
/* The processor's name as the system tells it, or "unknown", cut to size. */
TERSE_API void terse_cpu_name(char *name, size_t size);

/* A buffer and the threads that read it together, each its own part. One caller at a time. */
typedef struct terse_probe terse_probe;
/* threads: 0: terse_cpu_threads(). size: bytes of the whole buffer, rounded up to 64 for each thread; 0: 512
 * MiB, or four times all level 3 caches if that is more. cpu: kernel tiers (0: all of the machine). Each thread
 * writes its part here, so that the memory is near it. */
TERSE_API terse_status terse_probe_open(terse_probe **out, int32_t threads, size_t size, uint32_t cpu,
                                        terse_error *err);
TERSE_API void terse_probe_close(terse_probe **p);
TERSE_API size_t terse_probe_size(const terse_probe *p); /* bytes of the buffer */
/* GB/s (1e9 bytes) of reading the whole buffer once, or as often as it takes to read 16 MiB per thread: the
 * clock runs from when all threads have started until all have ended. A machine that others use too is slow at
 * times: take several rounds, next to what is compared with them, and their median. */
TERSE_API double terse_probe_read(terse_probe *p);

/* GB/s of reading blocks of so many bytes (a multiple of 64) from all over the buffer, every other one, the
 * next ones fetched meanwhile: what a walk that chooses its pages can hope for, where terse_probe_read is the
 * rate of one that takes all of them as they lie. 0 if a thread's part has no room for 64 of them. */
TERSE_API double terse_probe_read_blocks(terse_probe *p, size_t block);

/* One timing, and what the machine gave around it. */
typedef struct {
    int64_t ns;
    double cpu_share;  /* CPU time of the process / (ns x threads); threads that wait for others may sleep */
    double core_share; /* of the time in which threads of the process wanted a core, from the first probe to the
                          last, that in which they had one; cpu_share where the system does not tell */
    double read;       /* GB/s, by all threads */
    double fma;        /* GFLOP/s of f32, by one thread */
    double fma_ratio;  /* all threads / one thread: their number if each has a core for itself */
    double int8;       /* GOP/s of bytes, by all threads, as the kernel tier multiplies them */
    bool own;          /* core_share >= TERSE_OWN_CORE and fma_ratio >= TERSE_OWN_FMA x threads */
} terse_sample;
#define TERSE_OWN_CORE 0.97
#define TERSE_OWN_FMA  0.75
/* Measures the machine, some 5 ms beside three times the buffer, and starts the clocks. */
TERSE_API void terse_probe_begin(terse_probe *p, terse_sample *s);
/* Stops the clocks; measures fma_ratio once more and keeps the worse one. */
TERSE_API void terse_probe_end(terse_probe *p, terse_sample *s);

/* What the kernel tells of heat and clocks: NAN what it does not. mhz are of the fastest cores, the slowest of
 * them; a machine that mhz_held < mhz_most holds down is too hot, or told to save power. */
typedef struct {
    double celsius;  /* of the hottest zone */
    double mhz;      /* now */
    double mhz_held; /* the most that the kernel allows now */
    double mhz_most; /* the most that the core can do */
} terse_heat;
/* Reads sysfs; some milliseconds. */
TERSE_API terse_heat terse_heat_read(void);

/* Where values lie: quantiles between neighbours in proportion, the sample's standard deviation. */
typedef struct {
    double mean, stddev, q1, median, q3;
    size_t n;
} terse_spread;
/* Sorts x[n]; n >= 1. */
TERSE_API terse_spread terse_spread_of(double *x, size_t n);
/* Of the samples that were taken while the machine was its own; of all of them if there is none. */
typedef struct {
    terse_spread ns, rate;                                    /* rate: units of work per second */
    double cpu_share, core_share, read, fma, fma_ratio, int8; /* medians */
    size_t n, n_own;                                          /* samples; those that were its own */
} terse_timing;
/* s[n], n >= 1, each of them units of work. room: [n], overwritten. */
TERSE_API terse_timing terse_timing_of(const terse_sample *s, size_t n, double units, double *room);

#endif
