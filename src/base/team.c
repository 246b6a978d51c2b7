/* base/team.c: the threads are OpenMP's, which keeps them between regions. The barrier is ours: it spins for a
 * few microseconds, then sleeps. A barrier that only spins stands still whenever the system runs something else
 * on one of our cores, and a decode step has some hundred barriers. */
#include "base/team.h"

#include <assert.h>
#include <linux/futex.h>
#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPINS = 1500 }; /* about 20 us */

typedef struct {
    _Atomic int32_t n_thread; /* every thread writes the same number before it uses it */
    _Alignas(64) _Atomic int32_t arrived; /* in this round */
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
    }
    omp_set_dynamic(dynamic);
}

void terse_team_barrier(void)
{
    team *t = current;
    const uint32_t round = atomic_load(&t->round);
    if (atomic_fetch_add(&t->arrived, 1) + 1 == t->n_thread) {
        atomic_store(&t->arrived, 0);
        atomic_store(&t->round, round + 1);
        if (atomic_load(&t->sleepers) > 0)
            syscall(SYS_futex, &t->round, FUTEX_WAKE_PRIVATE, t->n_thread, NULL, NULL, 0);
        return;
    }
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&t->round, memory_order_acquire) != round)
            return;
        pause_a_little();
    }
    atomic_fetch_add(&t->sleepers, 1); /* before the kernel looks at round: no wake-up is lost */
    while (atomic_load(&t->round) == round)
        syscall(SYS_futex, &t->round, FUTEX_WAIT_PRIVATE, round, NULL, NULL, 0);
    atomic_fetch_sub(&t->sleepers, 1);
}
