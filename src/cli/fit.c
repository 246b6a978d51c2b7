/* cli/fit.c: see the header. */
#include "fit.h"

#include "terminal.h"

#include <stdio.h>
#include <string.h>

static double mib(size_t bytes)
{
    return (double)bytes / (1 << 20);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t sum(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

/* The least of what binds, and its name. */
static size_t most_of(const terse_fit *f, const terse_memory_room *room, const char **name)
{
    const size_t taken = f->need.weights; /* mapped weights take address space too */
    const size_t address = room->address == SIZE_MAX ? SIZE_MAX : room->address - smaller(taken, room->address);
    const size_t least = smaller(smaller(room->machine, room->group), address);
    *name = least == room->group     ? "the memory limit of the cgroup"
            : least == room->machine ? "this machine's memory"
                                     : "what the weights leave of the address space (ulimit -v)";
    return least;
}

/* Tokens whose keys and values fit. */
static int32_t tokens_within(const terse_fit *f, size_t most)
{
    const size_t left = most - smaller(most, f->need.work);
    return (int32_t)((double)left / ((double)f->need.kv / f->need.ctx));
}

terse_status terse_fit_check(const terse_fit *f, const terse_memory_room *room, char *note, size_t size,
                             terse_error *err)
{
    const terse_session_need *n = &f->need;
    const char *name;
    const size_t most = most_of(f, room, &name), there = smaller(room->group, room->available);
    const size_t resident = sum(sum(n->weights, n->work), f->whole ? n->kv : 0);
    note[0] = '\0';
    if (sum(n->kv, n->work) > most) {
        const int32_t fits = tokens_within(f, most);
        char less[40] = "", q8[60] = "", text[400];
        if (fits > 0)
            snprintf(less, sizeof less, "-c %d or less, ", fits);
        if (f->kv_q8 < n->kv && sum(f->kv_q8, n->work) <= most)
            snprintf(q8, sizeof q8, "-ctk q8 -ctv q8 (%.0f MiB), ", mib(f->kv_q8));
        snprintf(
            text, sizeof text,
            "keys and values of %d tokens take %.0f MiB, working memory %.0f MiB, and %s is %.0f MiB: try %s%s"
            "or a --kv-policy with a --kv-budget",
            n->ctx, mib(n->kv), mib(n->work), name, mib(most), less, q8);
        if (f->whole)
            return terse_fail(err, TERSE_NOMEM, "%s", text);
        snprintf(note, size, "note: a full context would not fit: %s", text);
    } else if (resident > there) {
        snprintf(
            note, size,
            "note: %.0f MiB of weights and %.0f MiB of keys, values and working memory, but %.0f MiB of memory "
            "are free: weights will be read from the file again and again. A smaller -c%s, or a file with "
            "fewer bits per weight would help",
            mib(n->weights), mib(resident - n->weights), mib(there),
            f->kv_q8 < n->kv ? ", -ctk q8 -ctv q8" : "");
    }
    return TERSE_OK;
}

terse_status terse_fit_here(const terse_model *m, const terse_session_opts *o, int32_t n, int32_t n_beside,
                            terse_error *err)
{
    const terse_memory_room room = terse_memory_room_now();
    terse_session_opts coded = *o;
    coded.type_k = coded.type_v = TERSE_KV_Q8;
    terse_fit fit = { .need = terse_session_measure(m, o),
                      .kv_q8 = terse_session_measure(m, &coded).kv,
                      .whole = o->ctx > 0 };
    fit.whole &= !fit.need.drops;
    fit.need.kv *= (size_t)n * (size_t)n_beside;
    fit.need.work *= (size_t)n;
    fit.kv_q8 *= (size_t)n * (size_t)n_beside;
    char note[512];
    const terse_status st = terse_fit_check(&fit, &room, note, sizeof note, err);
    if (st == TERSE_OK && note[0])
        terse_complain("%s", note);
    return st;
}
