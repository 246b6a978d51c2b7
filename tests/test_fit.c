/* tests/test_fit.c: what is said before work begins where memory is short, and --cpu-mask, --cpu-range. */
#include "../src/cli/cpu_option.h"
#include "../src/cli/fit.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)

static const terse_memory_room plenty = { 8000 * MIB, 8000 * MIB, SIZE_MAX, SIZE_MAX };

static terse_fit example(bool whole)
{
    return (terse_fit){ .need = { .weights = 1000 * MIB, .kv = 2000 * MIB, .work = 100 * MIB, .ctx = 20000 },
                        .kv_q8 = 1100 * MIB,
                        .whole = whole };
}

static void nothing_is_said_where_all_fits(void **state)
{
    (void)state;
    const terse_fit f = example(true);
    char note[512];
    terse_error err;
    assert_int_equal(terse_fit_check(&f, &plenty, note, sizeof note, &err), TERSE_OK);
    assert_string_equal(note, "");
    terse_memory_room exact = plenty;
    exact.group = 3100 * MIB;
    assert_int_equal(terse_fit_check(&f, &exact, note, sizeof note, &err), TERSE_OK);
    assert_string_equal(note, "");
}

static void keys_and_values_that_cannot_be_had_are_an_error(void **state)
{
    (void)state;
    const terse_fit f = example(true);
    terse_memory_room room = plenty;
    char note[512];
    terse_error err;
    room.group = 1500 * MIB;
    assert_int_equal(terse_fit_check(&f, &room, note, sizeof note, &err), TERSE_NOMEM);
    assert_non_null(strstr(err.text, "20000 tokens take 2000 MiB"));
    assert_non_null(strstr(err.text, "cgroup is 1500 MiB"));
    assert_non_null(strstr(err.text, "-c 14000 or less")); /* 1400 MiB at 0.1 MiB each */
    assert_non_null(strstr(err.text, "-ctk q8 -ctv q8 (1100 MiB)"));
    room.group = 1000 * MIB; /* q8 does not help then */
    assert_int_equal(terse_fit_check(&f, &room, note, sizeof note, &err), TERSE_NOMEM);
    assert_null(strstr(err.text, "q8"));
    room.group = 50 * MIB; /* nor does a shorter context */
    assert_int_equal(terse_fit_check(&f, &room, note, sizeof note, &err), TERSE_NOMEM);
    assert_null(strstr(err.text, "-c "));
    room = plenty;
    room.machine = 2000 * MIB;
    assert_int_equal(terse_fit_check(&f, &room, note, sizeof note, &err), TERSE_NOMEM);
    assert_non_null(strstr(err.text, "machine"));
    room = plenty;
    room.address = 3000 * MIB; /* weights are mapped: 2000 are left */
    assert_int_equal(terse_fit_check(&f, &room, note, sizeof note, &err), TERSE_NOMEM);
    assert_non_null(strstr(err.text, "ulimit -v"));
    assert_non_null(strstr(err.text, "2000 MiB: try"));
    room.address = 500 * MIB;
    assert_int_equal(terse_fit_check(&f, &room, note, sizeof note, &err), TERSE_NOMEM);
}

/* Nobody asked for the whole context: it may never be filled. */
static void a_context_by_default_is_only_noted(void **state)
{
    (void)state;
    const terse_fit f = example(false);
    terse_memory_room room = plenty;
    char note[512];
    terse_error err;
    room.group = 1500 * MIB;
    assert_int_equal(terse_fit_check(&f, &room, note, sizeof note, &err), TERSE_OK);
    assert_non_null(strstr(note, "-c 14000 or less"));
    room.group = 2500 * MIB; /* keys and values would fit, and are not there yet: no word of the weights */
    assert_int_equal(terse_fit_check(&f, &room, note, sizeof note, &err), TERSE_OK);
    assert_string_equal(note, "");
}

static void weights_that_do_not_stay_are_noted(void **state)
{
    (void)state;
    const terse_fit f = example(true);
    terse_memory_room room = plenty;
    char note[512];
    terse_error err;
    room.available = 2500 * MIB;
    assert_int_equal(terse_fit_check(&f, &room, note, sizeof note, &err), TERSE_OK);
    assert_non_null(strstr(note, "1000 MiB of weights"));
    assert_non_null(strstr(note, "2500 MiB of memory are free"));
}

/* ---- the program ---- */

/* Exit code of the program under a limit of its address space in MiB (0: none); what it wrote to stderr. */
static int run_limited(size_t limit, const char *const *argv, char *out, size_t size)
{
    int p[2], status = -1;
    assert_int_equal(pipe(p), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit as = { limit * MIB, limit * MIB };
        if (limit && setrlimit(RLIMIT_AS, &as) != 0)
            _exit(99);
        dup2(p[1], 2);
        close(p[0]);
        execv(TERSE_PROGRAM, (char *const *)(uintptr_t)argv);
        _exit(98);
    }
    close(p[1]);
    size_t n = 0;
    for (ssize_t got; n < size - 1 && (got = read(p[0], out + n, size - 1 - n)) > 0;)
        n += (size_t)got;
    out[n] = '\0';
    close(p[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define MODEL TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf"

static void a_context_that_is_too_large_ends_before_work(void **state)
{
    (void)state;
    char out[2048];
    static const char *const argv[] = { "terse",    "run", MODEL, "-p",   "x",   "-n",   "1",   "-c",
                                        "16777216", "-t",  "1",   "-ctk", "f32", "-ctv", "f32", NULL };
    const terse_memory_room room = terse_memory_room_now();
    if (room.machine > (size_t)120 << 30 && room.group > (size_t)120 << 30)
        skip(); /* it would fit: 128 GiB */
    assert_int_equal(run_limited(0, argv, out, sizeof out), 71);
    assert_non_null(strstr(out, "keys and values of 16777216 tokens take 131072 MiB"));
    assert_non_null(strstr(out, "or less"));
}

static void address_space_that_is_too_small_is_told(void **state)
{
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* the sanitizer needs terabytes of it */
#else
    char out[2048];
    static const char *const argv[] = { "terse", "run", MODEL,    "-p", "x", "-n",
                                        "1",     "-c",  "400000", "-t", "1", NULL };
    assert_int_equal(run_limited(1000, argv, out, sizeof out), 71);
    assert_non_null(strstr(out, "ulimit -v"));
    assert_int_equal(run_limited(28, argv, out, sizeof out), 71); /* the libraries fit, the file does not */
    assert_non_null(strstr(out, "ulimit -v"));
#endif
}

/* ---- cores ---- */

static void cpus_are_named_by_mask_and_range(void **state)
{
    (void)state;
    terse_error err;
    cpu_set_t before, after;
    char text[32];
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    int first = 0;
    while (!CPU_ISSET(first, &before))
        first++;
    static const char *const bad_masks[] = { "", "0x", "12g", "0x0", "-1" };
    for (size_t i = 0; i < sizeof bad_masks / sizeof *bad_masks; i++)
        assert_int_equal(terse_cpu_limit(bad_masks[i], NULL, &err), TERSE_BAD_INPUT);
    static const char *const bad_ranges[] = { "", "-", "3-1", "a", "1,", ",1", "0-1-2", "99999999", "1023" };
    for (size_t i = 0; i < sizeof bad_ranges / sizeof *bad_ranges; i++)
        assert_int_equal(terse_cpu_limit(NULL, bad_ranges[i], &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_cpu_limit(NULL, NULL, &err), TERSE_OK);
    assert_int_equal(terse_cpu_limit(NULL, "0-", &err), TERSE_OK);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    snprintf(text, sizeof text, "%d,1022", first);
    assert_int_equal(terse_cpu_limit(NULL, text, &err), TERSE_OK);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    const bool range_ok = CPU_COUNT(&after) == 1 && CPU_ISSET(first, &after);
    sched_setaffinity(0, sizeof before, &before);
    snprintf(text, sizeof text, "0x%X", first < 31 ? 1u << first : 0);
    const terse_status st = terse_cpu_limit(text, NULL, &err);
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    sched_setaffinity(0, sizeof before, &before);
    assert_true(range_ok);
    if (first < 31)
        assert_true(st == TERSE_OK && CPU_COUNT(&after) == 1 && CPU_ISSET(first, &after));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_said_where_all_fits),
        cmocka_unit_test(keys_and_values_that_cannot_be_had_are_an_error),
        cmocka_unit_test(a_context_by_default_is_only_noted),
        cmocka_unit_test(weights_that_do_not_stay_are_noted),
        cmocka_unit_test(a_context_that_is_too_large_ends_before_work),
        cmocka_unit_test(address_space_that_is_too_small_is_told),
        cmocka_unit_test(cpus_are_named_by_mask_and_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
