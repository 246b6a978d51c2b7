/* cli/generate.h: prompts in the shapes of RULER, from the text that is part of the program or another one. */
#ifndef TERSE_CLI_GENERATE_H
#define TERSE_CLI_GENERATE_H

#include "terse/eval.h"

/* Appends lines of JSON to *out; source: a file in the format of models/ruler.txt, NULL: that one. */
terse_status terse_generate(terse_text *out, const terse_vocab *v, const char *source,
                            const terse_ruler_opts *o, terse_error *err);
/* The same into a file ("-": stdout), which appears when it is complete. */
terse_status terse_generate_file(const char *path, const terse_vocab *v, const char *source,
                                 const terse_ruler_opts *o, terse_error *err);

#endif
