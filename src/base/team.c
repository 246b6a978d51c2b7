/* base/team.c: the threads are OpenMP's, which keeps them between regions. Waiting is ours: it spins for a few
 * microseconds, then sleeps. A wait that only spins stands still whenever the system runs something else on one
 * of our cores. */
#include "base/team.h"

#include <assert.h>
#include <linux/futex.h>
#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPINS = 1500 }; /* about 20 us */

typedef struct {
    _Atomic int32_t n_thread;             /* every thread writes the same number before it uses it */
    _Alignas(64) _Atomic int32_t arrived; /* at the barrier, in this round */
    _Alignas(64) _Atomic uint32_t round;
    _Atomic int32_t sleepers;
} team;

static _Thread_local team *current;

static void pause_a_little(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

/* Returns once *word is no longer old. */
static void wait_while(_Atomic uint32_t *word, uint32_t old, _Atomic int32_t *sleepers)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(word, memory_order_acquire) != old)
            return;
        pause_a_little();
    }
    atomic_fetch_add(sleepers, 1); /* before the kernel looks at the word: no wake-up is lost */
    while (atomic_load(word) == old)
        syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, old, NULL, NULL, 0);
    atomic_fetch_sub(sleepers, 1);
}

static void wake_all(_Atomic uint32_t *word, _Atomic int32_t *sleepers)
{
    if (atomic_load(sleepers) > 0)
        syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

void terse_team_run(int32_t n_thread, terse_team_fn *fn, void *ctx)
{
    assert(n_thread >= 1);
    team t = { .n_thread = 0 };
    /* Dynamic adjustment would give fewer threads on a busy machine. The setting is the calling thread's: put
     * it back. */
    const int dynamic = omp_get_dynamic();
    omp_set_dynamic(0);
#pragma omp parallel num_threads(n_thread)
    {
        atomic_store_explicit(&t.n_thread, omp_get_num_threads(), memory_order_relaxed);
        current = &t;
        fn(ctx, omp_get_thread_num(), omp_get_num_threads());
        terse_team_barrier(); /* so that nobody waits long at the region's own end, which spins */
    }
    omp_set_dynamic(dynamic);
}

void terse_team_barrier(void)
{
    team *t = current;
    const uint32_t round = atomic_load(&t->round);
    if (atomic_fetch_add(&t->arrived, 1) + 1 < t->n_thread) {
        wait_while(&t->round, round, &t->sleepers);
        return;
    }
    atomic_store(&t->arrived, 0);
    atomic_store(&t->round, round + 1);
    wake_all(&t->round, &t->sleepers);
}

void terse_phase_reset(terse_phase *p)
{
    terse_ticket_reset(&p->ticket);
    atomic_store_explicit(&p->done, 0, memory_order_relaxed);
}

void terse_phase_finish(terse_phase *p, int32_t n)
{
    if (atomic_fetch_add(&p->done, 1) + 1 == (uint32_t)n)
        wake_all(&p->done, &p->sleepers);
}

void terse_phase_wait(terse_phase *p, int32_t n)
{
    for (uint32_t done; (done = atomic_load_explicit(&p->done, memory_order_acquire)) < (uint32_t)n;)
        wait_while(&p->done, done, &p->sleepers);
}
