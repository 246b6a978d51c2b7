/* bench/report.h: the results of all benchmarks, as one JSON array of flat records (docs/bench.md names the
 * fields). Tables for people are each benchmark's own. */
#ifndef TERSE_BENCH_REPORT_H
#define TERSE_BENCH_REPORT_H

#include "samples.h"
#include "terse/probe.h"

#include <jansson.h>

/* { .json } is the start; not json: nothing is printed here. */
typedef struct {
    bool json;
    bool failed; /* no memory, or stdout does not take it */
    int32_t n;   /* records printed */
} report;

/* Output format of -o: "table" or "json"; false if it is neither. */
bool report_format(report *r, const char *name);

/* A record with what every benchmark says first. NULL without memory; the functions below take that. */
json_t *report_record(const char *bench, const char *isa, int32_t n_threads);
/* Adds all fields of more (stolen) to record. */
void report_add(json_t *record, json_t *more);
/* null if x is no finite number */
json_t *report_real(double x);

/* Times of units of work that read `bytes` each, beside what the machine gave. */
typedef struct {
    terse_timing machine;
    terse_spread ns; /* of one unit */
    double bytes, gbs, fraction;
} report_times;
/* Of s[n], each of them units of work. room: [n], overwritten. */
report_times report_times_of(double bytes, const terse_sample *s, size_t n, double units, double *room);
/* "4/5" of n samples were taken while the machine was its own; "0/5!": none, and all of them count. */
typedef struct {
    char text[48];
} report_own;
report_own report_own_of(const report_times *t);
/* As fields. */
json_t *report_times_json(const report_times *t);

/* Prints record (stolen) as the next one of the array. */
void report_print(report *r, json_t *record);
/* Ends the array. False if something could not be printed. */
bool report_end(report *r);

#endif
