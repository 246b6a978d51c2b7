/* Files in parts: opened as one by any of them, and each way in which parts may not belong together. */
#include "gguf_walk.h"
#include "terse/model.h"
#include "terse/quantize.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_PART = 3, MODEL_PARTS = 4 };

static char directory[] = "/tmp/terse-split-XXXXXX";
static volatile uint64_t sink;
static float data[N_PART][2][8];

static terse_str str(const char *s)
{
    return (terse_str){ s, strlen(s) };
}

static const char *part_path(int32_t no, int32_t count)
{
    static char path[4][128];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/m-%05d-of-%05d.gguf", directory, no + 1, count);
    return p;
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", directory);
    return system(command);
}

/* What a part says of itself; where it is saved is another matter. */
typedef struct {
    int32_t no, count, total;
    const char *arch;   /* NULL: not said */
    const char *second; /* name of its second tensor; NULL: the usual one */
    int32_t align;      /* 0: not said */
} part;

static void save(const part *p, const char *path)
{
    char name[32];
    terse_gguf_writer *w;
    terse_error err;
    assert_int_equal(terse_gguf_writer_open(&w, &err), TERSE_OK);
    if (p->arch)
        terse_gguf_writer_str(w, "general.architecture", str(p->arch));
    if (p->align)
        terse_gguf_writer_u32(w, "general.alignment", (uint32_t)p->align);
    if (p->no == 0)
        terse_gguf_writer_str(w, "general.name", str("parts"));
    const uint16_t no = (uint16_t)p->no, count = (uint16_t)p->count;
    terse_gguf_writer_u32(w, "split.no", no);
    terse_gguf_writer_u32(w, "split.count", count);
    if (p->total)
        terse_gguf_writer_i32(w, "split.tensors.count", p->total);
    for (int k = 0; k < 2; k++) {
        for (int i = 0; i < 8; i++)
            data[p->no % N_PART][k][i] = (float)(100 * p->no + 10 * k + i);
        snprintf(name, sizeof name, "t.%d.%d", p->no, k);
        terse_gguf_writer_tensor(w, k == 1 && p->second ? p->second : name, TERSE_TYPE_F32, 1,
                                 (const int64_t[]){ 8 }, data[p->no % N_PART][k]);
    }
    if (terse_gguf_writer_save(w, path, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    terse_gguf_writer_close(&w);
}

static const part good[N_PART] = { { 0, N_PART, 6, "llama", NULL, 0 },
                                   { 1, N_PART, 6, NULL, NULL, 64 },
                                   { 2, N_PART, 6, "llama", NULL, 0 } };

static void save_good(void)
{
    for (int32_t i = 0; i < N_PART; i++)
        save(&good[i], part_path(i, N_PART));
}

static void any_part_opens_all(void **state)
{
    (void)state;
    uint8_t hash[N_PART][16];
    size_t size = 0;
    struct stat st;
    save_good();
    for (int32_t i = 0; i < N_PART; i++) {
        assert_int_equal(stat(part_path(i, N_PART), &st), 0);
        size += (size_t)st.st_size;
    }
    for (int32_t i = 0; i < N_PART; i++) {
        terse_gguf *g;
        terse_error err;
        if (terse_gguf_open(&g, part_path(i, N_PART), &err) != TERSE_OK)
            fail_msg("%s", err.text);
        assert_string_equal(terse_gguf_path(g), part_path(0, N_PART));
        assert_non_null(terse_gguf_find_meta(g, "general.name"));
        assert_int_equal(terse_gguf_n_part(g), N_PART);
        assert_int_equal(terse_gguf_n_tensor(g), 2 * N_PART);
        assert_int_equal(terse_gguf_size(g), size);
        assert_null(terse_gguf_part_path(g, N_PART));
        for (int32_t k = 0; k < 2 * N_PART; k++) {
            const terse_tensor *t = terse_gguf_tensor(g, k);
            char name[64];
            snprintf(name, sizeof name, "t.%d.%d", k / 2, k % 2);
            assert_ptr_equal(terse_gguf_find_tensor(g, name), t);
            assert_int_equal(t->part, k / 2);
            assert_string_equal(terse_gguf_part_path(g, t->part), part_path(k / 2, N_PART));
            assert_memory_equal(t->data, data[k / 2][k % 2], sizeof data[0][0]);
        }
        sink = walk_gguf(g);
        terse_gguf_hash(g, hash[i]);
        assert_false(terse_gguf_broken(g));
        terse_gguf_close(&g);
        assert_memory_equal(hash[i], hash[0], sizeof hash[0]);
    }
    /* another weight in another part of the same shape is not seen by the hash; another name is */
    save(&(part){ 2, N_PART, 6, NULL, "other", 0 }, part_path(2, N_PART));
    terse_gguf *g;
    assert_int_equal(terse_gguf_open(&g, part_path(0, N_PART), NULL), TERSE_OK);
    terse_gguf_hash(g, hash[1]);
    assert_memory_not_equal(hash[0], hash[1], sizeof hash[0]);
    terse_gguf_close(&g);
}

static void refuse(const char *path, const char *part_of_text)
{
    terse_gguf *g;
    terse_error err;
    assert_int_equal(terse_gguf_open(&g, path, &err), TERSE_BAD_INPUT);
    assert_null(g);
    if (!strstr(err.text, part_of_text) || strchr(err.text, '\n'))
        fail_msg("wanted \"%s\" in \"%s\"", part_of_text, err.text);
}

static void parts_must_belong_together(void **state)
{
    (void)state;
    static const struct {
        part p;
        const char *text;
    } bad[] = {
        { { 0, N_PART, 6, "llama", NULL, 0 }, "says that it is part 1 of 3, its name says part 3 of 3" },
        { { 1, N_PART, 6, NULL, NULL, 0 }, "says that it is part 2 of 3" },
        { { 2, 4, 6, NULL, NULL, 0 }, "says that it is part 3 of 4" },
        { { 2, 1, 6, NULL, NULL, 0 }, "of 1, its name says part 3 of 3" },
        { { 3, N_PART, 6, NULL, NULL, 0 }, "split.no 3 (from 0) of split.count 3" },
        { { 2, N_PART, 6, "qwen2", NULL, 0 }, "another architecture than that of part 1" },
        { { 2, N_PART, 6, NULL, "t.0.1", 0 }, "tensor 't.0.1' is in an earlier part too" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        save_good();
        save(&bad[i].p, part_path(2, N_PART));
        refuse(part_path(0, N_PART), bad[i].text);
        refuse(part_path(1, N_PART), bad[i].text);
    }
    save_good();
    save(&(part){ 0, N_PART, 7, "llama", NULL, 0 }, part_path(0, N_PART));
    refuse(part_path(2, N_PART), "6 tensors in all parts, but split.tensors.count is 7");
    save(&(part){ 0, N_PART, 0, "llama", NULL, 0 }, part_path(0, N_PART)); /* need not be said */
    terse_gguf *g;
    assert_int_equal(terse_gguf_open(&g, part_path(0, N_PART), NULL), TERSE_OK);
    terse_gguf_close(&g);
}

/* A part that is a link to another, or a name that leads back to itself, says the wrong number. */
static void links_do_not_go_in_circles(void **state)
{
    (void)state;
    for (int32_t i = 0; i < N_PART; i++) {
        save_good();
        assert_int_equal(unlink(part_path(i, N_PART)), 0);
        assert_int_equal(symlink(part_path((i + 1) % N_PART, N_PART), part_path(i, N_PART)), 0);
        refuse(part_path(0, N_PART), i == 0 ? "cannot be found" : "its name says part");
        assert_int_equal(unlink(part_path(i, N_PART)), 0);
    }
}

static void a_missing_part_is_named(void **state)
{
    (void)state;
    char text[64];
    for (int32_t i = 0; i < N_PART; i++) {
        save_good();
        assert_int_equal(unlink(part_path(i, N_PART)), 0);
        snprintf(text, sizeof text, "part %d of 3 cannot be opened (all parts lie in one folder): ", i + 1);
        refuse(part_path((i + 1) % N_PART, N_PART), text);
        snprintf(text, sizeof text, "m-%05d-of-00003.gguf: No such file", i + 1);
        refuse(part_path((i + 1) % N_PART, N_PART), text);
    }
    save_good();
    assert_int_equal(truncate(part_path(1, N_PART), 100), 0);
    refuse(part_path(0, N_PART), "part 2 of 3 cannot be opened ");
    char renamed[128];
    snprintf(renamed, sizeof renamed, "%s/renamed.gguf", directory);
    save_good();
    assert_int_equal(rename(part_path(1, N_PART), renamed), 0);
    refuse(renamed, "does not end in -00002-of-00003.gguf");
    save(&(part){ 0, N_PART, 6, "llama", NULL, 0 }, renamed);
    refuse(renamed, "does not end in -00001-of-00003.gguf");
}

/* cmocka puts its own handlers around each test: this one puts ours back. */
static struct sigaction ours, of_cmocka;

static void a_truncated_part_breaks_the_file(void **state)
{
    (void)state;
    terse_gguf *g;
    save_good();
    assert_int_equal(sigaction(SIGBUS, &ours, &of_cmocka), 0);
    assert_int_equal(terse_gguf_open(&g, part_path(0, N_PART), NULL), TERSE_OK);
    const float *last = terse_gguf_find_tensor(g, "t.2.1")->data;
    assert_int_equal(truncate(part_path(2, N_PART), 0), 0);
    assert_true(*(const volatile float *)last == 0.0f);
    assert_true(terse_gguf_broken(g));
    terse_gguf_close(&g);
    sigaction(SIGBUS, &of_cmocka, NULL);
}

/* ---- a whole model ---- */

#define MODEL TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf"

/* The model that comes with terse in parts, tensors dealt out in turn. */
static void split_model(const terse_gguf *g)
{
    for (int32_t no = 0; no < MODEL_PARTS; no++) {
        terse_gguf_writer *w;
        terse_error err;
        assert_int_equal(terse_gguf_writer_open(&w, &err), TERSE_OK);
        for (int32_t i = 0; no == 0 && i < terse_gguf_n_meta(g); i++)
            terse_gguf_writer_copy(w, terse_gguf_meta(g, i));
        terse_gguf_writer_u32(w, "split.no", (uint32_t)no);
        terse_gguf_writer_u32(w, "split.count", MODEL_PARTS);
        terse_gguf_writer_i32(w, "split.tensors.count", terse_gguf_n_tensor(g));
        for (int32_t i = no; i < terse_gguf_n_tensor(g); i += MODEL_PARTS) {
            const terse_tensor *t = terse_gguf_tensor(g, i);
            char name[64];
            snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
            terse_gguf_writer_tensor(w, name, t->type, t->n_dim, t->ne, t->data);
        }
        if (terse_gguf_writer_save(w, part_path(no, MODEL_PARTS), &err) != TERSE_OK)
            fail_msg("%s", err.text);
        terse_gguf_writer_close(&w);
    }
}

/* Quantizing reads the parts and writes one file without any trace of them. */
static void a_model_in_parts_is_the_same_model(void **state)
{
    (void)state;
    terse_gguf *whole;
    terse_model *m;
    terse_error err;
    char out[128];
    assert_int_equal(terse_gguf_open(&whole, MODEL, &err), TERSE_OK);
    split_model(whole);
    if (terse_model_open(&m, part_path(1, MODEL_PARTS), &err) != TERSE_OK)
        fail_msg("%s", err.text);
    assert_int_equal(terse_model_about(m)->weight_bytes > 0, 1);
    terse_model_close(&m);
    snprintf(out, sizeof out, "%s/joined.gguf", directory);
    const terse_quantize_opts o = { .type = "Q8_0", .threads = 1 };
    if (terse_quantize_file(part_path(0, MODEL_PARTS), out, &o, NULL, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    terse_gguf *joined;
    assert_int_equal(terse_gguf_open(&joined, out, &err), TERSE_OK);
    assert_null(terse_gguf_find_meta(joined, "split.count"));
    assert_int_equal(terse_gguf_n_part(joined), 1);
    assert_int_equal(terse_gguf_n_tensor(joined), terse_gguf_n_tensor(whole));
    for (int32_t i = 0; i < terse_gguf_n_tensor(whole); i++) {
        const terse_tensor *t = terse_gguf_tensor(whole, i);
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        const terse_tensor *u = terse_gguf_find_tensor(joined, name);
        assert_non_null(u);
        assert_true(u->size == t->size && u->type == t->type);
        assert_memory_equal(u->data, t->data, t->size);
    }
    terse_gguf_close(&joined);
    assert_int_equal(terse_quantize_file(part_path(0, MODEL_PARTS), part_path(2, MODEL_PARTS), &o, NULL, &err),
                     TERSE_BAD_INPUT);
    assert_non_null(strstr(err.text, "input and output are one file"));
    terse_gguf_close(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_part_opens_all),
        cmocka_unit_test(parts_must_belong_together),
        cmocka_unit_test(links_do_not_go_in_circles),
        cmocka_unit_test(a_missing_part_is_named),
        cmocka_unit_test(a_truncated_part_breaks_the_file),
        cmocka_unit_test(a_model_in_parts_is_the_same_model),
    };
    terse_gguf *g;
    if (terse_gguf_open(&g, "/", NULL) != TERSE_BAD_INPUT || sigaction(SIGBUS, NULL, &ours) != 0)
        return 1;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
