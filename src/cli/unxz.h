/* cli/unxz.h: .xz files read as they are. */
#ifndef TERSE_CLI_UNXZ_H
#define TERSE_CLI_UNXZ_H

#include "terse/text.h"

/* Puts the unpacked bytes in the place of *text if those are an .xz file; leaves anything else alone. name is
 * for errors. TERSE_BAD_INPUT if the file is damaged or has more than 512 MiB in it. */
terse_status terse_unxz(terse_text *text, const char *name, terse_error *err);

#endif
