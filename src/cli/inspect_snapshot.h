/* cli/inspect_snapshot.h: terse inspect on what terse_session_save writes. */
#ifndef TERSE_CLI_INSPECT_SNAPSHOT_H
#define TERSE_CLI_INSPECT_SNAPSHOT_H

#include "terse/base.h"

/* Does the file begin like one? */
bool terse_is_snapshot(const char *path);
/* Checks all of it and prints what it holds to stdout. */
terse_status terse_inspect_snapshot(const char *path, bool json, terse_error *err);

#endif
