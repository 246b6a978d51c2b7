/* cli/calibrate_heads.h: terse calibrate MODEL --heads: what policy duo must know of a model's heads. */
#ifndef TERSE_CLI_CALIBRATE_HEADS_H
#define TERSE_CLI_CALIBRATE_HEADS_H

#include "engine_options.h"

typedef struct {
    const char *file;      /* prompts as `terse eval tasks -f` reads them; NULL: needles are generated */
    int32_t prompts;       /* of each generated task */
    int32_t sinks, window; /* of a streaming head; 0: duo's own */
    const char *path;      /* of the profile; scales that are there stay */
    terse_session_opts opts;
} terse_calibrate_heads_values;

/* Measures, writes the profile and prints what was found. */
terse_status terse_calibrate_heads(const terse_calibrate_heads_values *o, const terse_model *m,
                                   terse_error *err);
/* Writes the profile, with what only a profile that is there already says of this model. */
terse_status terse_profile_update(const terse_profile_info *info, const char *path, const terse_model *m,
                                  terse_error *err);

#endif
