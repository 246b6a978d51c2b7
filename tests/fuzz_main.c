/* fuzz_main: replays files, or all files of folders, through a fuzz target that is built without a fuzzer. */
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int n_replayed;

static int replay(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)ftw;
    if (flag != FTW_F)
        return flag == FTW_D ? 0 : -1;
    const size_t size = (size_t)st->st_size;
    uint8_t *data = malloc(size ? size : 1); /* exactly the size: a sanitizer sees any read past it */
    FILE *f = fopen(path, "rb");
    const int ok = data && f && fread(data, 1, size, f) == size;
    if (f)
        fclose(f);
    if (ok)
        LLVMFuzzerTestOneInput(data, size);
    else
        fprintf(stderr, "%s: cannot read\n", path);
    free(data);
    n_replayed += ok;
    return ok ? 0 : -1;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (nftw(argv[i], replay, 8, FTW_PHYS) != 0) {
            fprintf(stderr, "%s: not replayed\n", argv[i]);
            return 1;
        }
    }
    printf("%d inputs replayed\n", n_replayed);
    return n_replayed > 0 ? 0 : 1;
}
