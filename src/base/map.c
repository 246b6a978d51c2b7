/* base/map.c: read-only file mappings that survive a truncation of the file.
 *
 * Reading a mapped page that the file no longer has raises SIGBUS. One handler for the process, installed by
 * the first map, looks the address up in a table of our mappings, marks the mapping as broken and puts zero
 * pages over the rest of it, so that the reader goes on until it asks terse_map_broken. An address that is not
 * ours goes to whoever handled SIGBUS before us. */
#include "base/map.h"

#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { N_SLOT = 256 }; /* files mapped at the same time in one process */

/* start is 0 unless the slot is published: it is stored last and cleared first, so that the handler never pairs
 * the start of one mapping with the end of another. */
typedef struct {
    atomic_bool taken;
    atomic_bool broken;
    atomic_uintptr_t start;
    atomic_uintptr_t end; /* one past the last mapped page */
} slot;

/* The one mutable global of the library: a signal handler has no other way to find the mappings. Lock-free
 * atomics only, because the handler may interrupt any thread at any point. */
static slot slots[N_SLOT];
_Static_assert(ATOMIC_POINTER_LOCK_FREE == 2 && ATOMIC_BOOL_LOCK_FREE == 2, "the handler may not take locks");

/* Written once, before the handler can run. */
static struct sigaction previous;
static uintptr_t page_size;
static int install_errno;

static slot *slot_of(uintptr_t addr, uintptr_t *end)
{
    for (int i = 0; i < N_SLOT; i++) {
        const uintptr_t start = atomic_load(&slots[i].start);
        if (!start || addr < start)
            continue;
        *end = atomic_load(&slots[i].end);
        if (addr < *end && atomic_load(&slots[i].start) == start)
            return &slots[i];
    }
    return NULL;
}

static void pass_on(int sig, siginfo_t *info, void *context)
{
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(sig, info, context);
    } else if (previous.sa_handler == SIG_IGN && info->si_code <= 0) {
        return; /* sent by kill: may be ignored; a real fault may not */
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(sig);
    } else {
        signal(sig, SIG_DFL);
        raise(sig); /* pending until this handler returns, then ends the process as it would have without us */
    }
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
    const int saved = errno;
    const uintptr_t addr = (uintptr_t)info->si_addr;
    uintptr_t end = 0;
    slot *s = info->si_code > 0 ? slot_of(addr, &end) : NULL;
    if (s) {
        /* The mark comes first: another thread may read the zero pages as soon as they are there. */
        atomic_store(&s->broken, true);
        const uintptr_t page = addr & ~(page_size - 1);
        /* mmap is not on the list of async-signal-safe functions, but on Linux it is a plain system call. */
        if (mmap((void *)page, end - page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
            MAP_FAILED) {
            errno = saved;
            return;
        }
    }
    pass_on(sig, info, context);
    errno = saved;
}

static void install(void)
{
    struct sigaction sa = { .sa_flags = SA_SIGINFO | SA_ONSTACK, .sa_sigaction = on_sigbus };
    sigemptyset(&sa.sa_mask);
    page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (sigaction(SIGBUS, NULL, &previous) != 0 || sigaction(SIGBUS, &sa, NULL) != 0)
        install_errno = errno;
}

static terse_status fail_errno(const char *path, int e, terse_error *err)
{
    switch (e) {
    case ENOENT:
    case EACCES:
    case EPERM:
    case ELOOP:
    case ENOTDIR:
    case EISDIR:
    case ENAMETOOLONG:
    case ENXIO:
    case ENODEV:
    case EINVAL:
        return terse_fail(err, TERSE_BAD_INPUT, "%s: %s", terse_path_shown(path), strerror(e));
    case ENOMEM:
        return terse_fail(err, TERSE_NOMEM, "%s: %s: end other programs, or take a smaller file",
                          terse_path_shown(path), strerror(e));
    default:
        return terse_fail(err, TERSE_IO, "%s: %s", terse_path_shown(path), strerror(e));
    }
}

static int32_t slot_take(void)
{
    for (int32_t i = 0; i < N_SLOT; i++) {
        bool expected = false;
        if (atomic_compare_exchange_strong(&slots[i].taken, &expected, true))
            return i;
    }
    return -1;
}

static terse_status map_fd(terse_map *m, int fd, const char *path, terse_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fail_errno(path, errno, err);
    if (!S_ISREG(st.st_mode))
        return terse_fail(err, TERSE_BAD_INPUT, "%s: not a regular file", terse_path_shown(path));
    if (st.st_size <= 0)
        return terse_fail(err, TERSE_BAD_INPUT, "%s: empty file, truncated header at offset 0",
                          terse_path_shown(path));
    const uint64_t size = (uint64_t)st.st_size;
    if (size > SIZE_MAX - page_size)
        return terse_fail(err, TERSE_NOMEM, "%s: %llu bytes do not fit the address space",
                          terse_path_shown(path), (unsigned long long)size);
    const int32_t i = slot_take();
    if (i < 0)
        return terse_fail(err, TERSE_NOMEM, "%s: more than %d files are mapped", terse_path_shown(path),
                          N_SLOT);
    void *p = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        const int e = errno;
        struct rlimit lim = { .rlim_cur = RLIM_INFINITY };
        atomic_store(&slots[i].taken, false);
        if (e != ENOMEM || getrlimit(RLIMIT_AS, &lim) != 0 || lim.rlim_cur == RLIM_INFINITY)
            return fail_errno(path, e, err);
        return terse_fail(
            err, TERSE_NOMEM,
            "%s: mapping needs %llu bytes of address space, the process may have %llu in all: raise ulimit -v",
            terse_path_shown(path), (unsigned long long)size, (unsigned long long)lim.rlim_cur);
    }
    /* Large pages where the file system can read files into them: weights are read end to end for every token,
     * and each small page costs a walk through the page tables. What is in the page cache already stays as it
     * is. */
    madvise(p, (size_t)size, MADV_HUGEPAGE);
    *m = (terse_map){ .data = p, .size = (size_t)size, .slot = i };
    atomic_store(&slots[i].broken, false);
    atomic_store(&slots[i].end, ((uintptr_t)p + (size_t)size + page_size - 1) & ~(page_size - 1));
    atomic_store(&slots[i].start, (uintptr_t)p);
    return TERSE_OK;
}

terse_status terse_map_open(terse_map *m, const char *path, terse_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    *m = (terse_map){ .slot = -1 };
    pthread_once(&once, install);
    if (install_errno)
        return terse_fail(err, TERSE_INTERNAL, "SIGBUS handler: %s", strerror(install_errno));
    /* O_NONBLOCK: opening a FIFO must not wait for a writer. It changes nothing for a regular file. */
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(path, errno, err);
    const terse_status status = map_fd(m, fd, path, err);
    close(fd);
    return status;
}

void terse_map_close(terse_map *m)
{
    if (m->data) {
        slot *s = &slots[m->slot];
        atomic_store(&s->start, 0);
        atomic_store(&s->end, 0);
        munmap((void *)(uintptr_t)m->data, m->size);
        atomic_store(&s->taken, false);
    }
    *m = (terse_map){ .slot = -1 };
}

bool terse_map_broken(const terse_map *m)
{
    return m->data && atomic_load(&slots[m->slot].broken);
}
