/* cli/profile_option.h: what --profile names. */
#ifndef TERSE_CLI_PROFILE_OPTION_H
#define TERSE_CLI_PROFILE_OPTION_H

#include "terse/session.h"

#define TERSE_PROFILE_AUTO "auto"
#define TERSE_PROFILE_HELP                                                                                     \
    "how far each head may go under mass and value-share, a file that terse calibrate "                        \
    "made; " TERSE_PROFILE_AUTO ": the one beside the model"

/* name: a file, TERSE_PROFILE_AUTO, or NULL: *p becomes NULL. */
terse_status terse_profile_find(terse_profile **p, const char *name, const terse_model *m, terse_error *err);
/* The same, and *opts takes it; with no stop rule in *opts, the profile's own one. *p lives as long as *opts.
 */
terse_status terse_profile_use(terse_profile **p, const char *name, const terse_model *m,
                               terse_session_opts *opts, terse_error *err);

#endif
