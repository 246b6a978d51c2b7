/* base/team.c: the team is OpenMP's, which keeps its threads between regions. */
#include "base/team.h"

#include <assert.h>
#include <omp.h>

void terse_team_run(int32_t n_thread, terse_team_fn *fn, void *ctx)
{
    assert(n_thread >= 1);
    /* Dynamic adjustment would give fewer threads on a busy machine. The setting is the calling thread's: put
     * it back. */
    const int dynamic = omp_get_dynamic();
    omp_set_dynamic(0);
#pragma omp parallel num_threads(n_thread)
    fn(ctx, omp_get_thread_num(), omp_get_num_threads());
    omp_set_dynamic(dynamic);
}

void terse_team_barrier(void)
{
#pragma omp barrier
}
