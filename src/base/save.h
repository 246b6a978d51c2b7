/* base/save.h: a file that is replaced as a whole. The bytes go to a temporary in the same directory, which
 * takes the name only when all of it is on the disk: at any moment the path holds the old file or the new one.
 */
#ifndef TERSE_BASE_SAVE_H
#define TERSE_BASE_SAVE_H

#include "terse/base.h"

/* Owned by the caller; { 0 } is closed. */
typedef struct {
    char *path; /* NULL: closed */
    char *temp;
    int fd;
} terse_save;

/* On failure *s is closed. An existing path must be a regular file. */
terse_status terse_save_open(terse_save *s, const char *path, terse_error *err);
terse_status terse_save_write(terse_save *s, const void *p, size_t n, terse_error *err);
/* Syncs, renames, syncs the directory. Closes *s; after a failure the temporary is gone. */
terse_status terse_save_commit(terse_save *s, terse_error *err);
/* Removes the temporary. A closed *s is fine. */
void terse_save_abort(terse_save *s);

#endif
