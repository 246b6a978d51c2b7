/* base/save.c: write to a temporary, fsync, rename, fsync the directory. A rename alone is atomic, but it may
 * reach the disk before the data does. */
#include "base/save.h"

#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { N_TRY = 100, TEMP_EXTRA = 64 };

static terse_status fail_errno(const char *path, const char *what, terse_error *err)
{
    return terse_fail(err, errno == ENOMEM ? TERSE_NOMEM : TERSE_IO, "%s: %s: %s", terse_path_shown(path), what,
                      strerror(errno));
}

/* Length of the directory in path, with its slash; 0 for the current one. */
static size_t directory_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* The name is not derived from the target's, which may already be as long as a name can be. O_EXCL keeps two
 * writers of one process, or of two machines on one disk, apart. */
static int open_temp(char *temp, size_t size, const char *path)
{
    const int dir = (int)directory_length(path);
    for (int i = 0; i < N_TRY; i++) {
        snprintf(temp, size, "%.*s.terse-%ld-%d.tmp", dir, path, (long)getpid(), i);
        const int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0)
            return fd;
        if (errno != EEXIST)
            break;
    }
    temp[0] = '\0'; /* nothing of ours to remove */
    return -1;
}

terse_status terse_save_open(terse_save *s, const char *path, terse_error *err)
{
    struct stat st;
    *s = (terse_save){ .fd = -1 };
    /* A rename onto a device or a FIFO would replace it. */
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return terse_fail(err, TERSE_BAD_INPUT, "%s: not a regular file", terse_path_shown(path));
    const size_t size = directory_length(path) + TEMP_EXTRA;
    s->path = strdup(path);
    s->temp = calloc(1, size);
    if (!s->path || !s->temp) {
        terse_save_abort(s);
        return terse_fail(err, TERSE_NOMEM, "%s: no memory to save", terse_path_shown(path));
    }
    s->fd = open_temp(s->temp, size, path);
    if (s->fd < 0) {
        const terse_status status = fail_errno(path, "cannot create a file beside it", err);
        terse_save_abort(s);
        return status;
    }
    return TERSE_OK;
}

terse_status terse_save_write(terse_save *s, const void *p, size_t n, terse_error *err)
{
    enum { MOST = 1 << 30 }; /* Linux writes less than 2 GiB per call */
    const char *at = p;
    while (n > 0) {
        const ssize_t done = write(s->fd, at, n < MOST ? n : MOST);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return fail_errno(s->path, "cannot write", err);
        at += done;
        n -= (size_t)done;
    }
    return TERSE_OK;
}

static bool sync_directory(const char *dir)
{
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES; /* a directory that may be written but not read cannot be synced */
    const bool ok = fsync(fd) == 0 || errno == EINVAL; /* EINVAL: the file system has nothing to sync */
    const int e = errno;
    close(fd);
    errno = e;
    return ok;
}

terse_status terse_save_commit(terse_save *s, terse_error *err)
{
    terse_status status = TERSE_OK;
    if (fsync(s->fd) != 0)
        status = fail_errno(s->path, "cannot sync", err);
    if (close(s->fd) != 0 && status == TERSE_OK)
        status = fail_errno(s->path, "cannot close", err);
    s->fd = -1;
    if (status == TERSE_OK && rename(s->temp, s->path) != 0)
        status = fail_errno(s->path, "cannot rename", err);
    if (status == TERSE_OK) {
        s->temp[directory_length(s->path)] = '\0'; /* the file has its new name; its directory remains */
        if (!sync_directory(s->temp[0] ? s->temp : "."))
            status = fail_errno(s->path, "cannot sync the directory", err);
        s->temp[0] = '\0';
    }
    terse_save_abort(s);
    return status;
}

void terse_save_abort(terse_save *s)
{
    if (!s->path && !s->temp)
        return;
    if (s->fd >= 0)
        close(s->fd);
    if (s->temp && s->temp[0])
        unlink(s->temp);
    free(s->path);
    free(s->temp);
    *s = (terse_save){ .fd = -1 };
}
