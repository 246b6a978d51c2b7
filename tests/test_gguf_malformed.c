/* test_gguf_malformed: one valid tiny file, one mutation per row. Each must fail with its status and one line
 * that names the reason, the offset of the field and the key or tensor. */
#include "gguf_walk.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define STR(s) ((terse_str){ (s), sizeof(s) - 1 })
#define NAME63 "blk.0.a_name_that_is_as_long_as_a_name_can_be_in_a_gguf_file.xx"

enum { ALL = UINT16_MAX, BIG = 64 * 1024 };

typedef struct {
    uint8_t *p;
    size_t n;
} blob;

static char directory[] = "/tmp/terse-malformed-XXXXXX";
static char path[128];
static blob valid;    /* case 0 */
static blob long_key; /* valid, with a key of 65535 bytes */
static volatile uint64_t sink;

static void add_all(terse_gguf_writer *w)
{
    static const uint64_t u64s[] = { 1, 2 };
    static const terse_str strs[] = { { "first", 5 }, { "last", 4 } };
    static uint8_t data[1024];
    terse_gguf_writer_str(w, "general.architecture", STR("llama"));
    terse_gguf_writer_u32(w, "general.alignment", 32);
    terse_gguf_writer_u32(w, "split.count", 1);
    terse_gguf_writer_u32(w, "split.no", 0);
    terse_gguf_writer_bool(w, "k.bool", true);
    terse_gguf_writer_u32(w, "dup.a", 1);
    terse_gguf_writer_u32(w, "dup.b", 2);
    terse_gguf_writer_array(w, "k.u64s", TERSE_META_U64, u64s, 2);
    terse_gguf_writer_strs(w, "k.strs", strs, 2);
    terse_gguf_writer_tensor(w, "t.f32", TERSE_TYPE_F32, 2, (const int64_t[]){ 8, 2 }, data);
    terse_gguf_writer_tensor(w, "t.q4k", TERSE_TYPE_Q4_K, 1, (const int64_t[]){ 256 }, data);
    terse_gguf_writer_tensor(w, NAME63, TERSE_TYPE_F32, 1, (const int64_t[]){ 8 }, data);
    terse_gguf_writer_tensor(w, "u.f32", TERSE_TYPE_F32, 1, (const int64_t[]){ 8 }, data);
}

static blob read_all(const char *from)
{
    struct stat st;
    const int fd = open(from, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    blob b = { malloc((size_t)st.st_size), (size_t)st.st_size };
    assert_non_null(b.p);
    assert_int_equal(read(fd, b.p, b.n), b.n);
    close(fd);
    return b;
}

static blob build(bool with_long_key)
{
    static char key[65536];
    terse_gguf_writer *w;
    terse_error err;
    assert_int_equal(terse_gguf_writer_open(&w, &err), TERSE_OK);
    add_all(w);
    memset(key, 'k', sizeof key - 1);
    if (with_long_key)
        terse_gguf_writer_u32(w, key, 1);
    assert_int_equal(terse_gguf_writer_save(w, path, &err), TERSE_OK);
    terse_gguf_writer_close(&w);
    return read_all(path);
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/valid.gguf", directory);
    long_key = build(true);
    valid = build(false);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(valid.p);
    free(long_key.p);
    return unlink(path) != 0 || rmdir(directory) != 0;
}

/* Opens the bytes as a file; closes what opened, after walking it. */
static terse_status open_bytes(const blob *b, terse_error *err)
{
    char name[32];
    terse_gguf *g;
    const int fd = memfd_create("mutated", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, b->p, b->n), b->n);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    const terse_status st = terse_gguf_open(&g, name, err);
    close(fd); /* the mapping holds the file */
    if (st == TERSE_OK)
        sink = walk_gguf(g);
    else
        assert_null(g);
    terse_gguf_close(&g);
    return st;
}

static blob copy_of(const blob *b)
{
    blob c = { malloc(b->n), b->n };
    assert_non_null(c.p);
    memcpy(c.p, b->p, b->n);
    return c;
}

/* Offset of the record of a key or tensor: its length field. */
static size_t record(const blob *b, const char *name)
{
    const size_t n = strlen(name);
    const uint64_t length = n;
    for (size_t i = 24; i + 8 + n <= b->n; i++)
        if (memcmp(b->p + i, &length, 8) == 0 && memcmp(b->p + i + 8, name, n) == 0)
            return i;
    fail_msg("no record of %s", name);
    return 0;
}

typedef enum {
    SET,  /* the value itself */
    PAST, /* one more than what is left of the file behind the field, divided by value */
} mode;

/* Writes width bytes at `at` in the record of name (NULL: the file). The error must be reported at `report` in
 * the same record, or in no fixed place (ALL). */
typedef struct {
    const char *name;
    size_t at;
    int width;
    mode how;
    uint64_t value;
    size_t report;
    terse_status status;
    const char *reason;
} row;

enum {
    KEY = 8,         /* of the bytes of a name in its record */
    A_TYPE = 8 + 17, /* general.alignment */
    A_VALUE = A_TYPE + 4,
    S_VALUE = 8 + 11 + 4, /* split.count */
    K_TYPE = 8 + 6,       /* k.u64s, k.strs, k.bool */
    K_VALUE = K_TYPE + 4,
    K_COUNT = K_VALUE + 4,
    K_FIRST = K_COUNT + 8,
    K_LAST = K_FIRST + 8 + 5, /* second string of k.strs */
    G_VALUE = 8 + 20 + 4,     /* general.architecture */
    T_NDIM = 8 + 5,           /* t.f32, t.q4k, u.f32 */
    T_NE = T_NDIM + 4,
    T2_TYPE = T_NE + 16, /* t.f32 has two dimensions */
    T2_OFFSET = T2_TYPE + 4,
};

#define BAD   TERSE_BAD_INPUT
#define UNS   TERSE_UNSUPPORTED
#define ARCH  "general.architecture"
#define ALIGN "general.alignment"
static const row rows[] = {
    { NULL, 0, 4, SET, 0x4c4d4747, 0, BAD, "not a GGUF file" }, /* "GGML" */
    { NULL, 0, 4, SET, 0x47475546, 0, BAD, "not a GGUF file" }, /* "FUGG" */
    { NULL, 4, 4, SET, 0, 4, UNS, "unsupported version 0" },
    { NULL, 4, 4, SET, 1, 4, UNS, "unsupported version 1" },
    { NULL, 4, 4, SET, 4, 4, UNS, "unsupported version 4" },
    { NULL, 4, 4, SET, UINT32_MAX, 4, UNS, "unsupported version 4294967295" },
    { NULL, 4, 4, SET, 0x03000000, 4, UNS, "big-endian file not supported" },
    { NULL, 8, 8, SET, 1ull << 63, 8, BAD, "tensor count 9223372036854775808 exceeds file" },
    { NULL, 8, 8, SET, UINT64_MAX, 8, BAD, "tensor count" },
    { NULL, 8, 8, PAST, 24, 8, BAD, "tensor count" },
    { NULL, 16, 8, SET, UINT64_MAX, 16, BAD, "kv count 18446744073709551615 exceeds file" },
    { NULL, 16, 8, PAST, 13, 16, BAD, "kv count" },
    { ARCH, 0, 8, SET, UINT64_MAX, 0, BAD, "exceeds file" },
    { ARCH, 0, 8, PAST, 1, 0, BAD, "exceeds file" },
    { ARCH, 0, 8, SET, 0, 0, BAD, "bad key" },
    { ARCH, KEY + 3, 1, SET, 0, 0, BAD, "bad key" },
    { ARCH, KEY + 3, 1, SET, 0xff, 0, BAD, "bad key" },
    { "dup.b", KEY + 4, 1, SET, 'a', 0, BAD, "bad key: duplicate" },
    { ALIGN, A_TYPE, 4, SET, 13, A_TYPE, BAD, "unknown value type 13" },
    { ALIGN, A_TYPE, 4, SET, 255, A_TYPE, BAD, "unknown value type 255" },
    { ALIGN, A_TYPE, 4, SET, UINT32_MAX, A_TYPE, BAD, "unknown value type 4294967295" },
    { ARCH, G_VALUE, 8, PAST, 1, G_VALUE, BAD, "exceeds file" },
    { ARCH, G_VALUE, 8, SET, UINT64_MAX, G_VALUE, BAD, "exceeds file" },
    { "k.bool", K_VALUE, 1, SET, 2, K_VALUE, BAD, "bool is neither 0 nor 1" },
    { "k.u64s", K_VALUE, 4, SET, 13, K_VALUE, BAD, "unknown value type 13 in array" },
    { "k.u64s", K_VALUE, 4, SET, 9, K_VALUE, UNS, "array of arrays" },
    { "k.u64s", K_COUNT, 8, SET, 1ull << 61, K_COUNT, BAD,
      "array of 2305843009213693952 elements exceeds file" },
    { "k.u64s", K_COUNT, 8, PAST, 8, K_COUNT, BAD, "exceeds file" },
    { "k.strs", K_COUNT, 8, SET, UINT64_MAX, K_COUNT, BAD, "exceeds file" },
    { "k.strs", K_LAST, 8, PAST, 1, K_LAST, BAD, "array element: string of" },
    { "k.strs", K_LAST, 8, SET, UINT64_MAX, K_LAST, BAD, "exceeds file" },
    { ALIGN, A_VALUE, 4, SET, 0, A_VALUE, BAD, "bad alignment 0" },
    { ALIGN, A_VALUE, 4, SET, 3, A_VALUE, BAD, "bad alignment 3" },
    { ALIGN, A_VALUE, 4, SET, 4, A_VALUE, BAD, "bad alignment 4" },
    { ALIGN, A_VALUE, 4, SET, 1u << 21, A_VALUE, BAD, "bad alignment" },
    { ALIGN, A_VALUE, 4, SET, 1u << 31, A_VALUE, BAD, "bad alignment" },
    { ALIGN, A_TYPE, 4, SET, TERSE_META_I32, A_VALUE, BAD, "bad alignment" },
    { ALIGN, A_TYPE, 4, SET, TERSE_META_F32, A_VALUE, BAD, "bad alignment" },
    { "split.count", S_VALUE, 4, SET, 3, S_VALUE, BAD, "does not end in -00001-of-00003.gguf" },
    { "split.count", S_VALUE - 4, 4, SET, TERSE_META_F32, S_VALUE, BAD, "wrong type, found f32" },
    { "split.count", S_VALUE, 4, SET, UINT32_MAX, S_VALUE, BAD, "value out of range" },
    { "t.f32", T_NDIM, 4, SET, 0, T_NDIM, BAD, "bad dimension count 0" },
    { "t.f32", T_NDIM, 4, SET, 5, T_NDIM, BAD, "bad dimension count 5" },
    { "t.f32", T_NDIM, 4, SET, UINT32_MAX, T_NDIM, BAD, "bad dimension count 4294967295" },
    { "t.f32", T_NE, 8, SET, 0, T_NE, BAD, "bad dimension 0" },
    { "t.f32", T_NE, 8, SET, 1ull << 63, T_NE, BAD, "bad dimension 9223372036854775808" },
    { "t.f32", T_NE, 8, SET, UINT64_MAX, T_NE, BAD, "bad dimension" },
    { "t.f32", T_NE, 8, SET, INT64_MAX, T_NE + 8, BAD, "tensor size overflow" },
    { "t.f32", T_NE, 8, SET, 1ull << 61, T_NE, BAD, "tensor size overflow" },
    { "t.f32", T_NE, 8, SET, 1ull << 40, ALL, BAD, "tensor data exceeds file" },
    { "t.q4k", T_NE, 8, SET, 255, T_NE, BAD, "row of 255 values is not a multiple of the Q4_K block of 256" },
    { "t.f32", T2_TYPE, 4, SET, 4, T2_TYPE, UNS, "unsupported tensor type 4" },
    { "t.f32", T2_TYPE, 4, SET, 5, T2_TYPE, UNS, "unsupported tensor type 5" },
    { "t.f32", T2_TYPE, 4, SET, 36, T2_TYPE, UNS, "unsupported tensor type 36" },
    { "t.f32", T2_TYPE, 4, SET, TERSE_TYPE_COUNT, T2_TYPE, UNS, "unsupported tensor type" },
    { "t.f32", T2_TYPE, 4, SET, UINT32_MAX, T2_TYPE, UNS, "unsupported tensor type 4294967295" },
    { "t.f32", 0, 8, SET, 0, 0, BAD, "bad tensor name" },
    { "t.f32", 0, 8, SET, UINT64_MAX, 0, BAD, "exceeds file" },
    { "t.f32", KEY + 2, 1, SET, 0, 0, BAD, "bad tensor name" },
    { NAME63, 0, 8, SET, 64, 0, BAD, "bad tensor name: 64 bytes" },
    { "u.f32", KEY, 1, SET, 't', 0, BAD, "bad tensor name: duplicate" },
    { "t.f32", T2_OFFSET, 8, SET, UINT64_MAX, T2_OFFSET, BAD, "tensor data exceeds file" },
    { "t.f32", T2_OFFSET, 8, SET, UINT64_MAX - 31, T2_OFFSET, BAD, "tensor data exceeds file" },
    { "t.f32", T2_OFFSET, 8, SET, 8, T2_OFFSET, BAD, "not a multiple of the alignment 32" },
    { "t.f32", T2_OFFSET, 8, SET, 256, ALL, BAD, "tensor data exceeds file: 64 bytes" },
};

static void check_error(const row *r, const terse_error *err, terse_status st, size_t report)
{
    char where[64];
    if (st != r->status || !strstr(err->text, r->reason))
        fail_msg("wanted status %d, \"%s\"; got %d, \"%s\"", r->status, r->reason, st, err->text);
    assert_int_equal(err->status, st);
    snprintf(where, sizeof where, " at offset %zu", report);
    if (!strstr(err->text, r->report == ALL ? " at offset " : where))
        fail_msg("wanted \"%s\" in \"%s\"", where, err->text);
    /* The record is named unless its own name is what is wrong. */
    if (r->name && r->at > 8 + strlen(r->name) && !strstr(err->text, r->name))
        fail_msg("wanted \"%s\" in \"%s\"", r->name, err->text);
    assert_null(strchr(err->text, '\n'));
    assert_true(strncmp(err->text, "/proc/self/fd/", 14) == 0);
}

static void every_row_is_refused(void **state)
{
    (void)state;
    terse_error err;
    assert_int_equal(open_bytes(&valid, &err), TERSE_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const row *r = &rows[i];
        blob b = copy_of(&valid);
        const size_t base = r->name ? record(&b, r->name) : 0;
        const size_t field = base + r->at;
        const uint64_t value = r->how == SET ? r->value : (b.n - (r->name ? field + 8 : 24)) / r->value + 1;
        memcpy(b.p + field, &value, (size_t)r->width);
        const terse_status st = open_bytes(&b, &err);
        check_error(r, &err, st, base + r->report);
        free(b.p);
    }
}

static void a_key_of_65536_bytes_is_refused(void **state)
{
    (void)state;
    terse_error err;
    assert_int_equal(open_bytes(&long_key, &err), TERSE_OK);
    blob b = copy_of(&long_key);
    const uint64_t was = 65535, is = 65536;
    uint8_t *length = memmem(b.p, b.n, &was, sizeof was);
    assert_non_null(length);
    memcpy(length, &is, sizeof is);
    assert_int_equal(open_bytes(&b, &err), TERSE_BAD_INPUT);
    assert_non_null(strstr(err.text, "bad key: 65536 bytes"));
    free(b.p);
}

/* Cut after every byte, the last one included: always an error, with an offset inside the file. */
static void every_truncation_is_refused(void **state)
{
    (void)state;
    for (size_t n = 0; n < valid.n; n++) {
        terse_error err;
        blob b = { malloc(n ? n : 1), n };
        memcpy(b.p, valid.p, n);
        if (open_bytes(&b, &err) != TERSE_BAD_INPUT)
            fail_msg("cut to %zu of %zu bytes", n, valid.n);
        const char *at = strstr(err.text, " at offset ");
        assert_non_null(at);
        assert_true(strtoull(at + 11, NULL, 10) <= n);
        if (n < 24)
            assert_non_null(strstr(err.text, "truncated header"));
        free(b.p);
    }
}

/* Every byte of header, metadata and tensor table replaced by several values: no crash, and whatever opens can
 * be walked without leaving the file (the sanitizers watch). */
static void no_corrupt_byte_crashes(void **state)
{
    (void)state;
    const size_t end = record(&valid, "u.f32") + T_NE + 8 + 4 + 8;
    int opened = 0, refused = 0;
    blob b = copy_of(&valid);
    for (size_t i = 0; i < end; i++) {
        const uint8_t was = b.p[i];
        const uint8_t values[] = { (uint8_t)(was ^ 1), (uint8_t)(was ^ 0x80), 0, 0xff, (uint8_t)(was + 16) };
        for (size_t v = 0; v < sizeof values; v++) {
            terse_error err;
            b.p[i] = values[v];
            if (open_bytes(&b, &err) == TERSE_OK)
                opened++;
            else
                refused++;
        }
        b.p[i] = was;
    }
    assert_true(opened > 100 && refused > 1000);
    free(b.p);
}

static void expect_refusal(const char *file, const char *reason)
{
    terse_gguf *g;
    terse_error err;
    if (terse_gguf_open(&g, file, &err) != TERSE_BAD_INPUT)
        fail_msg("%s: not refused as bad input", file);
    assert_null(g);
    if (!strstr(err.text, reason))
        fail_msg("wanted \"%s\" in \"%s\"", reason, err.text);
}

static void what_is_not_a_regular_file_is_refused(void **state)
{
    (void)state;
    char fifo[128], loop[128], very_long[5000];
    snprintf(fifo, sizeof fifo, "%s/fifo", directory);
    snprintf(loop, sizeof loop, "%s/loop", directory);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(symlink(loop, loop), 0);
    memset(very_long, 'x', sizeof very_long - 1);
    very_long[sizeof very_long - 1] = '\0';
    expect_refusal(directory, "not a regular file");
    expect_refusal(fifo, "not a regular file");
    expect_refusal("/dev/zero", "not a regular file");
    expect_refusal(loop, strerror(ELOOP));
    expect_refusal("/no/such/file.gguf", strerror(ENOENT));
    expect_refusal(very_long, strerror(ENAMETOOLONG));
    unlink(fifo);
    unlink(loop);
}

/* A hole of a terabyte behind a valid file costs address space, not time and not memory. */
static void a_sparse_file_opens_without_reading_the_hole(void **state)
{
    (void)state;
    char name[32];
    terse_gguf *g;
    terse_error err;
    const int fd = memfd_create("sparse", MFD_CLOEXEC);
    assert_int_equal(write(fd, valid.p, valid.n), valid.n);
    assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    const terse_status st = terse_gguf_open(&g, name, &err);
    close(fd);
    if (st == TERSE_OK)
        assert_true(terse_gguf_size(g) == (size_t)1 << 40 && terse_gguf_n_tensor(g) == 4);
    else
        assert_int_equal(st, TERSE_NOMEM); /* less address space than that */
    terse_gguf_close(&g);
}

static void a_long_path_leaves_room_for_the_reason(void **state)
{
    (void)state;
    char deep[1024];
    terse_gguf *g;
    terse_error err;
    size_t n = 0;
    while (n < 900)
        n += (size_t)snprintf(deep + n, sizeof deep - n, "/proc/..");
    snprintf(deep + n, sizeof deep - n, "/dev/null");
    assert_int_equal(terse_gguf_open(&g, deep, &err), TERSE_BAD_INPUT);
    assert_non_null(strstr(err.text, "/dev/null: not a regular file"));
}

/* A file of one page of header and 16 pages of ones. */
static void save_big(void)
{
    static uint8_t ones[BIG];
    terse_gguf_writer *w;
    terse_error err;
    memset(ones, 1, sizeof ones);
    assert_int_equal(terse_gguf_writer_open(&w, &err), TERSE_OK);
    terse_gguf_writer_u32(w, "general.alignment", 4096);
    terse_gguf_writer_tensor(w, "ones", TERSE_TYPE_I8, 1, (const int64_t[]){ BIG }, ones);
    assert_int_equal(terse_gguf_writer_save(w, path, &err), TERSE_OK);
    terse_gguf_writer_close(&w);
}

static sigjmp_buf back;
static volatile sig_atomic_t n_foreign;
static void on_foreign(int sig, siginfo_t *info, void *context)
{
    (void)sig, (void)info, (void)context;
    n_foreign++;
    siglongjmp(back, 1);
}

static struct sigaction ours, of_cmocka;

/* The first map remembers the handler that it finds, here a foreign one. cmocka puts its own handlers around
 * each test: the tests of SIGBUS put ours back. */
static bool catch_sigbus(void)
{
    struct sigaction sa = { .sa_flags = SA_SIGINFO, .sa_sigaction = on_foreign };
    terse_gguf *g;
    return sigaction(SIGBUS, &sa, NULL) == 0 && terse_gguf_open(&g, "/", NULL) == TERSE_BAD_INPUT &&
           sigaction(SIGBUS, NULL, &ours) == 0 && ours.sa_sigaction != on_foreign;
}

static void a_file_truncated_after_open_reads_as_zeros(void **state)
{
    (void)state;
    terse_gguf *g, *other;
    terse_error err;
    save_big();
    assert_int_equal(sigaction(SIGBUS, &ours, &of_cmocka), 0);
    assert_int_equal(terse_gguf_open(&g, path, &err), TERSE_OK);
    const uint8_t *ones = terse_gguf_find_tensor(g, "ones")->data;
    assert_int_equal(ones[BIG - 1], 1);
    assert_int_equal(truncate(path, 2 * 4096), 0);
    assert_false(terse_gguf_broken(g));
    assert_int_equal(((volatile const uint8_t *)ones)[4096], 0);
    assert_true(terse_gguf_broken(g));
    assert_int_equal(ones[0], 1);
    for (int i = 4096; i < BIG; i++)
        assert_int_equal(ones[i], 0);
    assert_int_equal(n_foreign, 0);
    /* Another map, even in the same place, starts whole. */
    terse_gguf_close(&g);
    save_big();
    assert_int_equal(terse_gguf_open(&other, path, &err), TERSE_OK);
    assert_false(terse_gguf_broken(other));
    terse_gguf_close(&other);
    sigaction(SIGBUS, &of_cmocka, NULL);
}

static void a_fault_elsewhere_goes_to_the_handler_before_ours(void **state)
{
    (void)state;
    const int fd = memfd_create("foreign", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, 4096), 0);
    volatile const uint8_t *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(sigaction(SIGBUS, &ours, &of_cmocka), 0);
    if (sigsetjmp(back, 1) == 0)
        sink = p[0];
    assert_int_equal(n_foreign, 1);
    sigaction(SIGBUS, &of_cmocka, NULL);
    munmap((void *)(uintptr_t)p, 4096);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_refused),
        cmocka_unit_test(a_key_of_65536_bytes_is_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(no_corrupt_byte_crashes),
        cmocka_unit_test(what_is_not_a_regular_file_is_refused),
        cmocka_unit_test(a_sparse_file_opens_without_reading_the_hole),
        cmocka_unit_test(a_long_path_leaves_room_for_the_reason),
        cmocka_unit_test(a_file_truncated_after_open_reads_as_zeros),
        cmocka_unit_test(a_fault_elsewhere_goes_to_the_handler_before_ours),
    };
    if (!catch_sigbus())
        return 1;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
