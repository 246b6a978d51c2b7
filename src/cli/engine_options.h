/* cli/engine_options.h: the options of every command that computes with a model (run, bench, logits): the
 * groups "model and threads", "kv and attention" and "cores", and what they mean for a session. */
#ifndef TERSE_CLI_ENGINE_OPTIONS_H
#define TERSE_CLI_ENGINE_OPTIONS_H

#include "args.h"
#include "cpu_option.h"
#include "terse/session.h"

typedef struct {
    terse_args_model model;
    terse_args_kv kv;
    terse_cpu_options cpu;
} terse_engine_options;
enum { TERSE_ENGINE_GROUPS = 3 };

terse_engine_options terse_engine_defaults(void);
/* The groups write into *o. */
void terse_engine_groups(terse_engine_options *o, terse_option_group groups[TERSE_ENGINE_GROUPS]);

/* The model file, from -m or as the one argument that is no option, argv[1]. NULL if there is none or there are
 * two, with the complaint made: the command ends with 2. */
const char *terse_engine_model(const terse_engine_options *o, int argc, char **argv);

/* Fills *out, less abort; TERSE_ISA is read here. Strings are borrowed from *o and from constants. Rules and
 * policies are checked when the session opens. */
terse_status terse_engine_session(const terse_engine_options *o, terse_session_opts *out, terse_error *err);

#endif
