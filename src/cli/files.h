/* cli/files.h: a file read as a whole, and a file written as a whole or not at all. */
#ifndef TERSE_CLI_FILES_H
#define TERSE_CLI_FILES_H

#include "terse/text.h"

#include <stdio.h>

/* A file to be read; path NULL or "-": stdin. TERSE_BAD_INPUT if it cannot be opened; then *f is NULL. */
terse_status terse_input_open(FILE **f, const char *path, terse_error *err);
/* Says whether reading went well, right after it: errno still tells why. TERSE_BAD_INPUT for a directory. */
terse_status terse_input_close(FILE *f, const char *path, terse_error *err);

/* Appends what is in the file (NULL or "-": stdin) to *text, whose p is not NULL afterwards. TERSE_BAD_INPUT if
 * it cannot be opened, is a directory or has more than 512 MiB. */
terse_status terse_file_read(const char *path, terse_text *text, terse_error *err);

/* A file being written; { 0 } is closed. A regular file takes its name when it is complete; until then the path
 * keeps what it held. Devices and pipes are written as they are. */
typedef struct {
    FILE *f;
    const char *path; /* borrowed until the close */
    char *temp;       /* NULL: f writes to path itself */
} terse_output;
/* path "-": stdout. */
terse_status terse_output_open(terse_output *o, const char *path, terse_error *err);
terse_status terse_output_write(terse_output *o, const void *p, size_t n, terse_error *err);
/* keep: the file is complete; otherwise what was written of it is removed. Closes *o; a closed *o is fine. */
terse_status terse_output_close(terse_output *o, bool keep, terse_error *err);

#endif
