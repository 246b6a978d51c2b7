/* terse/probe.h: how fast this machine reads memory: the roofline that decoding is held against. */
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

#endif
