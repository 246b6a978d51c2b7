/* cli/cpu_option.c: see the header. */
#include "cpu_option.h"

#include "terminal.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(terse_cpu_options, field)
static const terse_option cpu_options[] = {
    { "-C --cpu-mask", TERSE_OPTION_STRING, AT(mask), .value = "M", .preset = "all",
      .help = "CPUs that threads may use, as bits of a hexadecimal number" },
    { "-Cr --cpu-range", TERSE_OPTION_STRING, AT(range), .value = "LO-HI", .preset = "all",
      .help = "CPUs that threads may use: 0-3, or 0-3,6; with --cpu-mask those of either" },
    { "--cpu-strict", TERSE_OPTION_INT, AT(strict), 0, 1, "0|1",
      .help =
          "1: threads are bound to a core each, the fastest kind first; 0: to the fastest kind of core, where "
          "there are several" },
};
#undef AT

terse_option_group terse_cpu_group(terse_cpu_options *o)
{
    return (terse_option_group){ "cores", cpu_options, (int32_t)(sizeof cpu_options / sizeof *cpu_options), o };
}

/* Adds the bits of the number; false if it is none, or has a bit beyond what the system takes. */
static bool add_mask(cpu_set_t *set, const char *text)
{
    const char *digits = strncmp(text, "0x", 2) == 0 || strncmp(text, "0X", 2) == 0 ? text + 2 : text;
    const size_t n = strlen(digits);
    for (size_t i = 0; i < n; i++) {
        const char c = digits[n - 1 - i];
        if (!isxdigit((unsigned char)c))
            return false;
        const int four = c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
        for (int b = 0; b < 4; b++) {
            if (four >> b & 1 && 4 * i + (size_t)b >= CPU_SETSIZE)
                return false;
            if (four >> b & 1)
                CPU_SET(4 * i + (size_t)b, set);
        }
    }
    return n > 0;
}

/* A number at *p, or preset where there is none; -1 if it is too large. */
static long number_at(const char **p, long preset)
{
    if (!isdigit((unsigned char)**p))
        return preset;
    char *end;
    const long v = strtol(*p, &end, 10);
    *p = end;
    return v < CPU_SETSIZE ? v : -1;
}

/* Adds "LO-HI,N,..". */
static bool add_range(cpu_set_t *set, const char *text)
{
    for (const char *p = text;; p++) {
        const char *start = p;
        const long low = number_at(&p, 0);
        const bool dash = *p == '-';
        p += dash;
        const long high = dash ? number_at(&p, CPU_SETSIZE - 1) : low;
        if (low < 0 || high < low || p == start || (dash && p == start + 1) || (*p && *p != ','))
            return false;
        for (long i = low; i <= high; i++)
            CPU_SET((size_t)i, set);
        if (!*p)
            return true;
    }
}

/* "0-3,6" of a set, cut to size. */
static void list_of(const cpu_set_t *set, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (int i = 0; i < CPU_SETSIZE && used < size; i++) {
        if (!CPU_ISSET(i, set))
            continue;
        const int first = i;
        while (i + 1 < CPU_SETSIZE && CPU_ISSET(i + 1, set))
            i++;
        const int n = i > first ? snprintf(out + used, size - used, "%s%d-%d", used ? "," : "", first, i)
                                : snprintf(out + used, size - used, "%s%d", used ? "," : "", first);
        used += n > 0 ? (size_t)n : size;
    }
}

terse_status terse_cpu_limit(const char *mask, const char *range, terse_error *err)
{
    cpu_set_t set, have;
    char list[80];
    CPU_ZERO(&set);
    if (!mask && !range)
        return TERSE_OK;
    if (mask && !add_mask(&set, mask))
        return terse_fail(err, TERSE_BAD_INPUT,
                          "--cpu-mask \"%.40s\": a hexadecimal number, 0xf for CPUs 0 to 3", mask);
    if (range && !add_range(&set, range))
        return terse_fail(err, TERSE_BAD_INPUT, "--cpu-range \"%.40s\": CPUs are named as in 0-3 or 0-3,6",
                          range);
    if (sched_getaffinity(0, sizeof have, &have) != 0)
        return terse_fail(err, TERSE_IO, "the system does not say which CPUs may be used: %s", strerror(errno));
    CPU_AND(&set, &set, &have);
    list_of(&have, list, sizeof list);
    if (CPU_COUNT(&set) == 0)
        return terse_fail(err, TERSE_BAD_INPUT, "%s \"%.40s\" has none of the CPUs that may be used here: %s",
                          range ? "--cpu-range" : "--cpu-mask", range ? range : mask, list);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        return terse_fail(err, TERSE_IO, "the system does not limit the threads to these CPUs: %s",
                          strerror(errno));
    return TERSE_OK;
}

terse_status terse_cpu_use(const terse_cpu_options *o, terse_session_opts *out, terse_error *err)
{
    out->pin = o->strict ? TERSE_PIN_EACH : TERSE_PIN_KIND;
    return terse_cpu_limit(o->mask, o->range, err);
}

void terse_cpu_note(const terse_session *s, const terse_session_opts *o)
{
    if (o->pin == TERSE_PIN_EACH && terse_session_threads(s) > 1 && !terse_session_pinned(s))
        terse_complain("note: --cpu-strict does nothing: there is not a core for each of the %d threads",
                       terse_session_threads(s));
}
