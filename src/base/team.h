/* base/team.h: a team of threads that runs one function together. The only file of the project that knows
 * OpenMP is team.c. */
#ifndef TERSE_BASE_TEAM_H
#define TERSE_BASE_TEAM_H

#include "terse/base.h"

#include <sched.h>
#include <stdatomic.h>

/* thread is 0 .. n_thread-1; 0 is the caller's own thread. */
typedef void terse_team_fn(void *ctx, int32_t thread, int32_t n_thread);

/* A caller and n_thread - 1 helpers that sleep between runs. One caller at a time. */
typedef struct terse_team terse_team;
terse_status terse_team_open(terse_team **out, int32_t n_thread, terse_error *err);
/* Helper i (1 .. n_thread-1) stays on the CPUs place[i], which are copied; the caller's thread is left alone.
 * NULL: as terse_team_open. */
terse_status terse_team_open_at(terse_team **out, int32_t n_thread, const cpu_set_t *place, terse_error *err);
void terse_team_close(terse_team **t);
int32_t terse_team_size(const terse_team *t);

/* Runs fn on the caller's thread and on every helper that gets there before the caller has come back from it;
 * returns when all that began have come back. A helper that the system keeps from running is not waited for, so
 * fn must share its work out by tickets or phases, never by thread number. */
void terse_team_run(terse_team *t, terse_team_fn *fn, void *ctx);

/* A counter that threads take work from. Reset while no team uses it. */
typedef struct {
    _Alignas(64) _Atomic int32_t next;
} terse_ticket;
static inline void terse_ticket_reset(terse_ticket *t)
{
    atomic_store_explicit(&t->next, 0, memory_order_relaxed);
}
static inline int32_t terse_ticket_take(terse_ticket *t)
{
    return atomic_fetch_add_explicit(&t->next, 1, memory_order_relaxed);
}

/* A phase: pieces of work that any thread may take, and the moment when all of them are done. It ends when its
 * work is done, not when every thread has come by: a thread that the system has put aside holds nobody up
 * unless it has a piece in hand. It may come late and find the work of several phases gone; so what a piece
 * needs must be read after the piece was taken.
 *
 *     for (int32_t i; (i = terse_phase_take(p)) < n; terse_phase_finish(p, n))
 *         work on piece i;
 *     terse_phase_wait(p, n);
 *
 * n is the same on every thread. What was written in the phase is visible after the wait. */
enum { TERSE_RANGES = 16 };
typedef struct {
    terse_ticket ticket;
    _Atomic int32_t range[TERSE_RANGES]; /* pieces taken of each by terse_phase_take_near */
    _Alignas(64) _Atomic uint32_t done;
    _Atomic int32_t sleepers;
} terse_phase;
/* By one thread, while no team uses the phase. */
void terse_phase_reset(terse_phase *p);
static inline int32_t terse_phase_take(terse_phase *p)
{
    return terse_ticket_take(&p->ticket);
}
/* The same for pieces that lie one behind the other in memory: a thread takes neighbours while it can, so that
 * what it fetches past the end of a piece is its own next one. A range of pieces per thread, then what others
 * have left of theirs. A phase is taken from in one of the two ways. */
static inline int32_t terse_phase_take_near(terse_phase *p, int32_t thread, int32_t n_thread, int32_t n)
{
    const int32_t ranges = n_thread < TERSE_RANGES ? n_thread : TERSE_RANGES;
    const int32_t own = (int32_t)((int64_t)thread * ranges / n_thread);
    for (int32_t k = 0; k < ranges; k++) {
        const int32_t r = (own + k) % ranges;
        const int32_t from = (int32_t)((int64_t)n * r / ranges), to = (int32_t)((int64_t)n * (r + 1) / ranges);
        if (atomic_load_explicit(&p->range[r], memory_order_relaxed) >= to - from)
            continue;
        const int32_t i = atomic_fetch_add_explicit(&p->range[r], 1, memory_order_relaxed);
        if (i < to - from)
            return from + i;
    }
    return n;
}
void terse_phase_finish(terse_phase *p, int32_t n);
void terse_phase_wait(terse_phase *p, int32_t n);

#endif
