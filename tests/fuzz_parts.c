/* fuzz_parts: any bytes as the two parts of a split file: a byte that says which part is opened, two bytes of
 * the first part's length, then both. Must not crash, leak, or read outside the files. */
#include "gguf_walk.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static void write_file(const char *path, const uint8_t *data, size_t size)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd) != 0)
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char directory[] = "/tmp/terse-fuzz-parts-XXXXXX", path[2][64];
    terse_gguf *g;
    terse_error err;
    if (size < 3)
        return 0;
    size_t first = data[1] | (size_t)data[2] << 8;
    first = first < size - 3 ? first : size - 3;
    if (!mkdtemp(directory))
        __builtin_trap();
    for (int i = 0; i < 2; i++)
        snprintf(path[i], sizeof path[i], "%s/m-%05d-of-00002.gguf", directory, i + 1);
    write_file(path[0], data + 3, first);
    write_file(path[1], data + 3 + first, size - 3 - first);
    const terse_status st = terse_gguf_open(&g, path[data[0] & 1], &err);
    if (st == TERSE_OK)
        sink = walk_gguf(g);
    else if (g || err.status != st || !err.text[0] || strchr(err.text, '\n'))
        __builtin_trap();
    terse_gguf_close(&g);
    for (int i = 0; i < 2; i++)
        unlink(path[i]);
    rmdir(directory);
    return 0;
}
