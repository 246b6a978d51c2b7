/* cli/files.c: see the header. The temporary is in the same directory, so that taking the name is one step. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_INPUT = 1 << 29 };

static bool means_stdin(const char *path)
{
    return !path || strcmp(path, "-") == 0;
}

terse_status terse_input_open(FILE **f, const char *path, terse_error *err)
{
    *f = means_stdin(path) ? stdin : fopen(path, "rbe");
    return *f ? TERSE_OK : terse_fail(err, TERSE_BAD_INPUT, "cannot open %.200s: %s", path, strerror(errno));
}

terse_status terse_input_close(FILE *f, const char *path, terse_error *err)
{
    terse_status st = TERSE_OK;
    if (f && ferror(f)) /* a directory can be opened, but not read */
        st = terse_fail(err, errno == EISDIR ? TERSE_BAD_INPUT : TERSE_IO, "cannot read %.200s: %s",
                        means_stdin(path) ? "stdin" : path, strerror(errno));
    if (f && f != stdin)
        fclose(f);
    return st;
}

terse_status terse_file_read(const char *path, terse_text *text, terse_error *err)
{
    FILE *f;
    char buffer[1 << 16];
    size_t n;
    terse_error second;
    terse_status st = terse_input_open(&f, path, err);
    if (st == TERSE_OK)
        st = terse_text_append(text, "", 0, err);
    while (st == TERSE_OK && (n = fread(buffer, 1, sizeof buffer, f)) > 0)
        st = text->n + n > MAX_INPUT ? terse_fail(err, TERSE_BAD_INPUT, "%.200s: more than %d bytes",
                                                  means_stdin(path) ? "stdin" : path, MAX_INPUT)
                                     : terse_text_append(text, buffer, n, err);
    const terse_status closed = terse_input_close(f, path, st == TERSE_OK ? err : &second);
    return st == TERSE_OK ? closed : st;
}

static terse_status cannot_write(const terse_output *o, terse_error *err)
{
    return terse_fail(err, TERSE_IO, "cannot write %.200s: %s", o->path, strerror(errno));
}

/* PATH.PID.tmp, which must not exist yet. */
static FILE *open_temp(terse_output *o)
{
    const size_t size = strlen(o->path) + 32;
    o->temp = malloc(size);
    if (!o->temp)
        return NULL;
    snprintf(o->temp, size, "%s.%ld.tmp", o->path, (long)getpid());
    const int fd = open(o->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    FILE *f = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (f)
        return f;
    const int why = errno;
    if (fd >= 0) {
        close(fd);
        unlink(o->temp);
    }
    free(o->temp);
    o->temp = NULL;
    errno = why;
    return NULL;
}

terse_status terse_output_open(terse_output *o, const char *path, terse_error *err)
{
    struct stat s;
    *o = (terse_output){ .path = path };
    if (strcmp(path, "-") == 0)
        o->f = stdout;
    else if (stat(path, &s) == 0 && !S_ISREG(s.st_mode))
        o->f = fopen(path, "wbe");
    else
        o->f = open_temp(o);
    return o->f ? TERSE_OK : cannot_write(o, err);
}

terse_status terse_output_write(terse_output *o, const void *p, size_t n, terse_error *err)
{
    return fwrite(p, 1, n, o->f) == n ? TERSE_OK : cannot_write(o, err);
}

terse_status terse_output_close(terse_output *o, bool keep, terse_error *err)
{
    terse_status st = TERSE_OK;
    if (!o->f)
        return TERSE_OK;
    const bool failed = ferror(o->f) != 0;
    if ((o->f == stdout ? fflush(o->f) : fclose(o->f)) != 0 && keep)
        st = cannot_write(o, err);
    keep = keep && !failed && st == TERSE_OK;
    if (keep && o->temp && rename(o->temp, o->path) != 0) {
        st = cannot_write(o, err);
        keep = false;
    }
    if (!keep && o->temp)
        unlink(o->temp);
    free(o->temp);
    *o = (terse_output){ 0 };
    return st;
}
