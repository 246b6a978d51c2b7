/* fuzz_gguf: any bytes, opened as a file and walked. Must not crash, leak, or read outside the file. */
#include "gguf_walk.h"

#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[32];
    terse_gguf *g;
    terse_error err;
    const int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        __builtin_trap();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const terse_status st = terse_gguf_open(&g, path, &err);
    if (st == TERSE_OK)
        sink = walk_gguf(g);
    else if (g || err.status != st || !err.text[0])
        __builtin_trap();
    terse_gguf_close(&g);
    close(fd);
    return 0;
}
