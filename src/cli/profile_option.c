/* cli/profile_option.c: see the header. */
#include "profile_option.h"

#include <string.h>

terse_status terse_profile_find(terse_profile **p, const char *name, const terse_model *m, terse_error *err)
{
    terse_text path = { 0 };
    *p = NULL;
    if (!name)
        return TERSE_OK;
    if (strcmp(name, TERSE_PROFILE_AUTO) != 0)
        return terse_profile_open(p, name, m, err);
    terse_status st = terse_profile_path(m, &path, err);
    if (st == TERSE_OK)
        st = terse_profile_open(p, path.p, m, err);
    terse_text_free(&path);
    return st;
}

terse_status terse_profile_use(terse_profile **p, const char *name, const terse_model *m,
                               terse_session_opts *opts, terse_error *err)
{
    const terse_status st = terse_profile_find(p, name, m, err);
    if (*p && !opts->stop && *terse_profile_about(*p)->rule)
        opts->stop = terse_profile_about(*p)->rule;
    opts->profile = *p;
    return st;
}
