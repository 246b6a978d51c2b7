/* cli/prompt_cache.c: see prompt_cache.h. A missing file is a first run; one that does not fit is an error, for
 * it may be somebody's. */
#include "prompt_cache.h"

#include "terminal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

terse_status terse_prompt_cache_use(terse_runner *r, const int32_t *prompt, size_t n, size_t *held,
                                    terse_error *err)
{
    const char *path = r->o->run.cache;
    int32_t *ids, count;
    *held = 0;
    if (!path || access(path, F_OK) != 0)
        return TERSE_OK;
    const terse_status st = terse_session_load(r->session, path, &ids, &count, err);
    if (st != TERSE_OK)
        return st;
    size_t same = 0;
    while (same < (size_t)count && same + 1 < n && ids[same] == prompt[same])
        same++;
    free(ids);
    *held = same = (size_t)terse_runner_back(r, (int32_t)same);
    for (size_t i = 0; i < same; i++)
        terse_sampler_accept(r->sampler, prompt[i]);
    if (r->draft)
        terse_draft_tell(r->draft, prompt, (int32_t)same);
    if (!r->o->run.quiet)
        terse_complain("prompt cache: %zu of %zu tokens from %s", same, n, path);
    return TERSE_OK;
}

terse_status terse_prompt_cache_save(const terse_runner *r, const int32_t *ids, size_t n,
                                     const terse_tokens *more, terse_error *err)
{
    const size_t count = (size_t)terse_session_count(r->session), rest = count > n ? count - n : 0;
    if (!r->o->run.cache || r->o->run.cache_ro || count == 0)
        return TERSE_OK;
    int32_t *all = malloc(count * sizeof *all);
    if (!all)
        return terse_fail(err, TERSE_NOMEM, "no memory to save %zu tokens", count);
    memcpy(all, ids, (count - rest) * sizeof *all);
    if (rest)
        memcpy(all + n, more->ids, rest * sizeof *all);
    const terse_status st = terse_session_save(r->session, all, r->o->run.cache, err);
    free(all);
    return st;
}
