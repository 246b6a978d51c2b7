/* bench/report.c: see the header. */
#include "report.h"

#include "terse/base.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

bool report_format(report *r, const char *name)
{
    r->json = strcmp(name, "json") == 0;
    return r->json || strcmp(name, "table") == 0;
}

json_t *report_record(const char *bench, const char *isa, int32_t n_threads)
{
    char cpu[128], when[32];
    struct tm tm;
    const time_t now = time(NULL);
    terse_cpu_name(cpu, sizeof cpu);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:s}", "bench", bench, "build_version", terse_version(),
                     "cpu_info", cpu, "isa", isa, "n_threads", n_threads, "test_time", when);
}

void report_add(json_t *record, json_t *more)
{
    /* A record that is not whole must not be printed as if it were. */
    if (record && (!more || json_object_update(record, more) != 0))
        json_object_clear(record);
    json_decref(more);
}

json_t *report_real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

report_times report_times_of(double bytes, const terse_sample *s, size_t n, double units, double *room)
{
    report_times t = { .machine = terse_timing_of(s, n, units, room), .bytes = bytes };
    const terse_spread *ns = &t.machine.ns;
    t.ns = (terse_spread){ ns->mean / units,   ns->stddev / units, ns->q1 / units,
                           ns->median / units, ns->q3 / units,     ns->n };
    t.gbs = bytes / t.ns.median;
    t.fraction = t.gbs / t.machine.read;
    return t;
}

report_own report_own_of(const report_times *t)
{
    report_own own;
    snprintf(own.text, sizeof own.text, "%zu/%zu%s", t->machine.n_own, t->machine.n,
             t->machine.n_own ? "" : "!");
    return own;
}

json_t *report_times_json(const report_times *t)
{
    const terse_timing *m = &t->machine;
    json_t *all = json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "n_samples",
                            (json_int_t)m->n, "n_own", (json_int_t)m->n_own, "bytes", report_real(t->bytes),
                            "avg_ns", report_real(t->ns.mean), "stddev_ns", report_real(t->ns.stddev),
                            "median_ns", report_real(t->ns.median), "q1_ns", report_real(t->ns.q1), "q3_ns",
                            report_real(t->ns.q3), "gbs", report_real(t->gbs), "roofline_gbs",
                            report_real(m->read), "roofline_fraction", report_real(t->fraction));
    report_add(all, json_pack("{s:o, s:o, s:o, s:o, s:o}", "cpu_share", report_real(m->cpu_share), "core_share",
                              report_real(m->core_share), "fma_gflops", report_real(m->fma), "fma_ratio",
                              report_real(m->fma_ratio), "int8_gops", report_real(m->int8)));
    return all;
}

void report_print(report *r, json_t *record)
{
    if (json_object_size(record) == 0) {
        r->failed = true;
    } else {
        fputs(r->n++ ? ",\n" : "[\n", stdout);
        r->failed |= json_dumpf(record, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) != 0;
        fflush(stdout); /* the next one may take minutes */
    }
    json_decref(record);
}

bool report_end(report *r)
{
    if (r->json)
        fputs(r->n ? "\n]\n" : "[\n]\n", stdout);
    r->failed |= fflush(stdout) != 0 || ferror(stdout) != 0;
    if (r->failed)
        fprintf(stderr, "the report could not be written: no memory, or stdout does not take it\n");
    return !r->failed;
}
