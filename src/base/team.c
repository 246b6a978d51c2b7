/* base/team.c: helpers that wait for work, and the end of a phase. The helpers are one OpenMP team, in a
 * parallel region that lasts as long as the terse_team; a thread of its own opens it. All waiting is ours: it
 * spins for some microseconds, then sleeps. OpenMP's own barriers spin for milliseconds at the end of every
 * region, and whenever the system runs something else on one of our cores, everything stands still meanwhile.
 */
#include "base/team.h"

#include "base/memory.h"

#include <linux/futex.h>
#include <omp.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SPINS = 1500 }; /* some 20 us */
#define OPEN (1u << 31)

struct terse_team {
    int32_t n_thread; /* asked for; once ready: there */
    bool hosted;      /* host runs */
    _Atomic uint32_t ready;
    _Atomic int32_t ready_sleepers;
    pthread_t host;
    cpu_set_t *place; /* [n_thread] or NULL */
    atomic_bool quit;
    terse_team_fn *fn;
    void *ctx;
    _Alignas(64) _Atomic uint32_t job; /* how many runs there have been: helpers wait for it to change */
    _Atomic int32_t job_sleepers;
    _Alignas(64) _Atomic uint32_t gate; /* OPEN while a run may be joined, plus the helpers inside */
    _Atomic int32_t gate_sleepers;
};

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

/* ---- helpers ---- */

/* Counts itself in, unless the run is over. */
static bool enter(terse_team *t)
{
    uint32_t g = atomic_load(&t->gate);
    while (g & OPEN)
        if (atomic_compare_exchange_weak(&t->gate, &g, g + 1))
            return true;
    return false;
}

static void leave(terse_team *t)
{
    if (atomic_fetch_sub(&t->gate, 1) == 1) /* the last one, and the gate is closed */
        wake_all(&t->gate, &t->gate_sleepers);
}

static void help(terse_team *t, int32_t thread)
{
    if (t->place) /* what the system refuses is not worth failing for */
        sched_setaffinity(0, sizeof *t->place, &t->place[thread]);
    for (uint32_t seen = 0;;) {
        wait_while(&t->job, seen, &t->job_sleepers);
        seen = atomic_load(&t->job);
        if (atomic_load(&t->quit))
            return;
        if (!enter(t))
            continue;
        seen = atomic_load(&t->job); /* the run that it is in now */
        t->fn(t->ctx, thread, t->n_thread);
        leave(t);
    }
}

static void *host(void *ctx)
{
    terse_team *t = ctx;
    /* Dynamic adjustment would give fewer threads on a busy machine. */
    omp_set_dynamic(0);
#pragma omp parallel num_threads(t->n_thread - 1)
    {
#pragma omp single
        {
            t->n_thread = omp_get_num_threads() + 1; /* OMP_THREAD_LIMIT may have made it fewer */
            atomic_store(&t->ready, 1);
            wake_all(&t->ready, &t->ready_sleepers);
        }
        help(t, omp_get_thread_num() + 1);
    }
    return NULL;
}

terse_status terse_team_open_at(terse_team **out, int32_t n_thread, const cpu_set_t *place, terse_error *err)
{
    *out = NULL;
    terse_team *t = terse_calloc64(1, sizeof *t);
    if (t && place && (t->place = terse_calloc64((size_t)n_thread, sizeof *place)) != NULL)
        memcpy(t->place, place, (size_t)n_thread * sizeof *place);
    if (!t || (place && !t->place)) {
        free(t);
        return terse_fail(err, TERSE_NOMEM, "no memory for a team of threads");
    }
    t->n_thread = n_thread;
    if (n_thread > 1 && pthread_create(&t->host, NULL, host, t) != 0) {
        free(t->place);
        free(t);
        return terse_fail(err, TERSE_NOMEM, "the system gives no thread for a team of %d", n_thread);
    }
    t->hosted = n_thread > 1;
    if (t->hosted)
        wait_while(&t->ready, 0, &t->ready_sleepers);
    *out = t;
    return TERSE_OK;
}

terse_status terse_team_open(terse_team **out, int32_t n_thread, terse_error *err)
{
    return terse_team_open_at(out, n_thread, NULL, err);
}

void terse_team_close(terse_team **p)
{
    terse_team *t = p ? *p : NULL;
    if (!t)
        return;
    if (t->hosted) {
        atomic_store(&t->quit, true);
        atomic_fetch_add(&t->job, 1);
        wake_all(&t->job, &t->job_sleepers);
        pthread_join(t->host, NULL);
    }
    free(t->place);
    free(t);
    *p = NULL;
}

int32_t terse_team_size(const terse_team *t)
{
    return t->n_thread;
}

void terse_team_run(terse_team *t, terse_team_fn *fn, void *ctx)
{
    t->fn = fn;
    t->ctx = ctx;
    atomic_store(&t->gate, OPEN);
    atomic_fetch_add(&t->job, 1);
    wake_all(&t->job, &t->job_sleepers);
    fn(ctx, 0, t->n_thread);
    atomic_fetch_and(&t->gate, ~OPEN);
    for (uint32_t g; (g = atomic_load(&t->gate)) != 0;)
        wait_while(&t->gate, g, &t->gate_sleepers);
}

/* ---- phases ---- */

void terse_phase_reset(terse_phase *p)
{
    terse_ticket_reset(&p->ticket);
    for (int32_t r = 0; r < TERSE_RANGES; r++)
        atomic_store_explicit(&p->range[r], 0, memory_order_relaxed);
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
