/* base/team.h: a team of threads that runs one function together. The only file of the project that knows
 * OpenMP is team.c. */
#ifndef TERSE_BASE_TEAM_H
#define TERSE_BASE_TEAM_H

#include <stdatomic.h>
#include <stdint.h>

/* thread is 0 .. n_thread-1; 0 is the caller's own thread. */
typedef void terse_team_fn(void *ctx, int32_t thread, int32_t n_thread);

/* Runs fn on n_thread threads (>= 1) and returns when all have come back. If the system gives fewer threads, fn
 * sees the smaller n_thread. Not reentrant from inside fn. */
void terse_team_run(int32_t n_thread, terse_team_fn *fn, void *ctx);
/* All threads of the running team wait for each other. Call it from every thread or from none. */
void terse_team_barrier(void);

/* A counter that the team's threads take work from. Reset by one thread, with a barrier before the next use. */
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
typedef struct {
    terse_ticket ticket;
    _Alignas(64) _Atomic uint32_t done;
    _Atomic int32_t sleepers;
} terse_phase;
/* By one thread, while no team uses the phase. */
void terse_phase_reset(terse_phase *p);
static inline int32_t terse_phase_take(terse_phase *p)
{
    return terse_ticket_take(&p->ticket);
}
void terse_phase_finish(terse_phase *p, int32_t n);
void terse_phase_wait(terse_phase *p, int32_t n);

#endif
