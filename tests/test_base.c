/* tests/test_base.c: tiers, topology, cgroup quotas, the team, memory. Machines and cgroup trees are invented.
 */
#include "base/memory.h"
#include "base/room.h"
#include "base/team.h"
#include "base/topology.h"
#include "file_tree.h"
#include "simd/cpu.h"
#include "terse/base.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- tiers ---- */

/* Every bit set; the tests take away. */
static terse_cpuid everything(void)
{
    return (terse_cpuid){ .ecx1 = ~0u, .ebx7 = ~0u, .ecx7 = ~0u, .xcr0 = 0xe7 };
}

static void a_tier_needs_all_its_features(void **state)
{
    (void)state;
    const uint32_t s = TERSE_TIER_SCALAR, a2 = s | TERSE_TIER_AVX2, a512 = a2 | TERSE_TIER_AVX512;
    terse_cpuid id = everything();
    assert_int_equal(terse_cpuid_tiers(&id), a512);
    static const struct {
        int ecx1, ebx7, ecx7;
        uint32_t want_avx512;
    } cut[] = { { 12, -1, -1, 0 }, { 28, -1, -1, 0 }, { 29, -1, -1, 0 }, { -1, 5, -1, 0 },  { -1, 8, -1, 0 },
                { -1, 16, -1, 1 }, { -1, 17, -1, 1 }, { -1, 30, -1, 1 }, { -1, 31, -1, 1 }, { -1, -1, 11, 1 } };
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++) {
        id = everything();
        if (cut[i].ecx1 >= 0)
            id.ecx1 &= ~(1u << cut[i].ecx1);
        if (cut[i].ebx7 >= 0)
            id.ebx7 &= ~(1u << cut[i].ebx7);
        if (cut[i].ecx7 >= 0)
            id.ecx7 &= ~(1u << cut[i].ecx7);
        assert_int_equal(terse_cpuid_tiers(&id), cut[i].want_avx512 ? a2 : s);
    }
    memset(&id, 0, sizeof id);
    assert_int_equal(terse_cpuid_tiers(&id), s);
}

/* The two families of tiers know nothing of each other. */
static void arm_tells_of_its_tiers_by_capabilities(void **state)
{
    (void)state;
    enum { ASIMD = 1 << 1, ASIMDDP = 1 << 20, I8MM = 1 << 13 };
    char text[160];
    terse_cpuid id = { .hwcap = ASIMD };
    assert_int_equal(terse_cpuid_tiers(&id), TERSE_TIER_SCALAR | TERSE_TIER_NEON);
    terse_cpuid_missing(&id, TERSE_TIER_DOTPROD, text, sizeof text);
    assert_string_equal(text, "ASIMDDP");
    id.hwcap = ASIMDDP;
    assert_int_equal(terse_cpuid_tiers(&id), TERSE_TIER_SCALAR);
    terse_cpuid_missing(&id, TERSE_TIER_NEON, text, sizeof text);
    assert_string_equal(text, "ASIMD");
    id.hwcap = ASIMD | ASIMDDP;
    const uint32_t dotprod = TERSE_TIER_SCALAR | TERSE_TIER_NEON | TERSE_TIER_DOTPROD;
    assert_int_equal(terse_cpuid_tiers(&id), dotprod);
    id.hwcap2 = I8MM;
    assert_int_equal(terse_cpuid_tiers(&id), dotprod | TERSE_TIER_I8MM);
    id.hwcap = ASIMD;
    assert_int_equal(terse_cpuid_tiers(&id), TERSE_TIER_SCALAR | TERSE_TIER_NEON);
    terse_cpuid_missing(&id, TERSE_TIER_I8MM, text, sizeof text);
    assert_string_equal(text, "ASIMDDP");
}

static void a_tier_needs_the_system_to_save_its_registers(void **state)
{
    (void)state;
    terse_cpuid id = everything();
    id.xcr0 = 0x07; /* XMM and YMM, not ZMM */
    assert_int_equal(terse_cpuid_tiers(&id), TERSE_TIER_SCALAR | TERSE_TIER_AVX2);
    id.xcr0 = 0xa7; /* without the upper halves of ZMM0-15 */
    assert_int_equal(terse_cpuid_tiers(&id), TERSE_TIER_SCALAR | TERSE_TIER_AVX2);
    id.xcr0 = 0x03;
    assert_int_equal(terse_cpuid_tiers(&id), TERSE_TIER_SCALAR);
    id.xcr0 = 0;
    assert_int_equal(terse_cpuid_tiers(&id), TERSE_TIER_SCALAR);
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    char text[160], small[10];
    terse_cpuid id = everything();
    terse_cpuid_missing(&id, TERSE_TIER_AVX512, text, sizeof text);
    assert_string_equal(text, "");
    id.ebx7 &= ~(1u << 5 | 1u << 16);
    terse_cpuid_missing(&id, TERSE_TIER_AVX512, text, sizeof text);
    assert_string_equal(text, "AVX2 AVX512F");
    terse_cpuid_missing(&id, TERSE_TIER_AVX2, text, sizeof text);
    assert_string_equal(text, "AVX2");
    terse_cpuid_missing(&id, TERSE_TIER_SCALAR, text, sizeof text);
    assert_string_equal(text, "");
    memset(&id, 0, sizeof id);
    terse_cpuid_missing(&id, TERSE_TIER_AVX512, text, sizeof text);
    assert_non_null(strstr(text, "saved-ZMM")); /* the longest list fits what callers give */
    terse_cpuid_missing(&id, TERSE_TIER_AVX512, small, sizeof small);
    assert_true(strlen(small) < sizeof small);
}

static void tiers_by_name(void **state)
{
    (void)state;
    const uint32_t have = terse_cpu_tiers();
    uint32_t mask = 0;
    terse_error err;
    assert_true(have & TERSE_CPU_SCALAR);
    assert_int_equal(terse_cpu_tiers_upto(NULL, &mask, &err), TERSE_OK);
    assert_int_equal(mask, have);
    assert_int_equal(terse_cpu_tiers_upto("", &mask, &err), TERSE_OK);
    assert_int_equal(mask, have);
    assert_int_equal(terse_cpu_tiers_upto("scalar", &mask, &err), TERSE_OK);
    assert_int_equal(mask, TERSE_CPU_SCALAR);
    static const struct {
        const char *name;
        uint32_t tier;
    } tiers[] = { { "avx2", TERSE_CPU_AVX2 },
                  { "avx512", TERSE_CPU_AVX512 },
                  { "neon", TERSE_CPU_NEON },
                  { "dotprod", TERSE_CPU_DOTPROD },
                  { "i8mm", TERSE_CPU_I8MM } };
    for (size_t i = 0; i < sizeof tiers / sizeof *tiers; i++) {
        mask = 77;
        if (have & tiers[i].tier) {
            assert_int_equal(terse_cpu_tiers_upto(tiers[i].name, &mask, &err), TERSE_OK);
            assert_int_equal(mask, have & (2 * tiers[i].tier - 1));
            assert_string_equal(terse_cpu_tier_name(mask), tiers[i].name);
        } else {
            assert_int_equal(terse_cpu_tiers_upto(tiers[i].name, &mask, &err), TERSE_BAD_INPUT);
            assert_non_null(strstr(err.text, "lacks "));
            assert_int_equal(mask, 77);
        }
    }
    assert_int_equal(terse_cpu_tiers_upto("avx", &mask, &err), TERSE_BAD_INPUT);
    assert_non_null(strstr(err.text, "\"avx\""));
    assert_string_equal(terse_cpu_tier_name(TERSE_CPU_SCALAR), "scalar");
}

/* ---- topology ---- */

static void cores_are_counted_within_the_allowed_cpus(void **state)
{
    (void)state;
    static const struct {
        const char *machine, *allowed;
        int32_t n_core, n_cpu;
    } cases[] = { { "core:4 pu:2", "0-7", 4, 8 },   { "core:4 pu:2", "0-1", 1, 2 },
                  { "core:4 pu:2", "0,2,4", 3, 3 }, { "core:4 pu:2", "0-2,6", 3, 4 },
                  { "core:3 pu:1", "0-2", 3, 3 },   { "pack:2 core:8 pu:4", "0-63", 16, 64 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const terse_topology t = terse_topology_of(cases[i].machine, cases[i].allowed, NULL);
        assert_int_equal(t.n_core, cases[i].n_core);
        assert_int_equal(t.n_cpu, cases[i].n_cpu);
    }
    const terse_topology none = terse_topology_of("no machine", "0", NULL);
    assert_int_equal(none.n_core, 1);
    assert_int_equal(none.n_cpu, 1);
}

static void the_fastest_kind_of_core_counts(void **state)
{
    (void)state;
    static const struct {
        const char *allowed;
        int32_t n_core, n_cpu;
    } cases[] = { { "0-7", 4, 8 }, { "0-4", 1, 5 }, { "0-3", 4, 4 }, { "2,6-7", 2, 3 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) { /* four slow cores, then four fast ones */
        const terse_topology t = terse_topology_of("core:8 pu:1", cases[i].allowed, "0-3");
        assert_int_equal(t.n_core, cases[i].n_core);
        assert_int_equal(t.n_cpu, cases[i].n_cpu);
    }
}

/* Four slow cores, then four fast ones. */
static void places_are_on_the_fastest_cores_first(void **state)
{
    (void)state;
    cpu_set_t place[9];
    assert_true(terse_topology_places("core:8 pu:1", "0-7", "0-3", true, place, 5));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(CPU_COUNT(&place[i]), 1);
        assert_true(CPU_ISSET(i < 4 ? 4 + i : 0, &place[i]));
    }
    assert_false(terse_topology_places("core:8 pu:1", "0-7", "0-3", true, place, 9));
    assert_true(terse_topology_places("core:8 pu:1", "0-4", "0-3", true, place, 2));
    assert_true(CPU_ISSET(4, &place[0]) && CPU_ISSET(0, &place[1]));
    assert_true(terse_topology_places("core:8 pu:1", "0-7", "0-3", false, place, 4));
    for (int i = 0; i < 4; i++)
        assert_true(CPU_COUNT(&place[i]) == 4 && CPU_ISSET(4, &place[i]) && CPU_ISSET(7, &place[i]));
    assert_false(terse_topology_places("core:8 pu:1", "0-7", "0-3", false, place, 5));
    assert_false(terse_topology_places("core:8 pu:1", "0-3", "0-3", false, place, 2)); /* all alike */
}

/* A core is bound to as a whole, and only its CPUs that may be used. */
static void places_are_whole_cores(void **state)
{
    (void)state;
    cpu_set_t place[4];
    assert_true(terse_topology_places("core:4 pu:2", "0-5", NULL, true, place, 3));
    for (int i = 0; i < 3; i++)
        assert_true(CPU_COUNT(&place[i]) == 2 && CPU_ISSET(2 * i, &place[i]) &&
                    CPU_ISSET(2 * i + 1, &place[i]));
    assert_false(terse_topology_places("core:4 pu:2", "0-5", NULL, true, place, 4));
    assert_true(terse_topology_places("core:4 pu:2", "1,7", NULL, true, place, 2));
    assert_true(CPU_COUNT(&place[0]) == 1 && CPU_ISSET(1, &place[0]) && CPU_ISSET(7, &place[1]));
    assert_false(terse_topology_places("core:4 pu:2", "0-7", NULL, false, place, 1));
    assert_false(terse_topology_places("no machine", "0", NULL, true, place, 1));
}

static void affinity_limits_the_threads(void **state)
{
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_int_equal(terse_cpu_logical(), CPU_COUNT(&before));
    assert_in_range(terse_cpu_threads(), 1, CPU_COUNT(&before));
    int cpu = 0;
    while (!CPU_ISSET(cpu, &before))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    const int32_t logical = terse_cpu_logical(), threads = terse_cpu_threads();
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(logical, 1);
    assert_int_equal(threads, 1);
}

/* ---- cgroups: a tree of files in a temporary folder ---- */

#define V2_MOUNT "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNT "31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"

static void no_cgroup_is_no_quota(void **state)
{
    (void)state;
    assert_int_equal(terse_cgroup_cpus(tree), INT32_MAX);
    put("/proc/self/cgroup", "0::/a\n");
    assert_int_equal(terse_cgroup_cpus(tree), INT32_MAX);
    put("/proc/self/mountinfo", "garbage\n\n- - -\n1 2 3 4 5 6 7\n" V2_MOUNT);
    assert_int_equal(terse_cgroup_cpus(tree), INT32_MAX);
    put("/proc/self/cgroup", "garbage\n:\n\n0::\n");
    assert_int_equal(terse_cgroup_cpus(tree), INT32_MAX);
}

static void v2_takes_the_tightest_level(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/a/b/c\n");
    put("/proc/self/mountinfo", "24 1 0:2 / / rw - ext4 /dev/x rw\n" V2_MOUNT);
    put("/sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
    assert_int_equal(terse_cgroup_cpus(tree), 4);
    put("/sys/fs/cgroup/a/cpu.max", "350000 100000\n"); /* 3.5 */
    assert_int_equal(terse_cgroup_cpus(tree), 3);
    put("/sys/fs/cgroup/cpu.max", "50000 25000\n");
    assert_int_equal(terse_cgroup_cpus(tree), 2);
    put("/sys/fs/cgroup/a/b/c/cpu.max", "20000 100000\n"); /* 0.2: still one thread */
    assert_int_equal(terse_cgroup_cpus(tree), 1);
    put("/proc/self/cgroup", "0::/\n");
    assert_int_equal(terse_cgroup_cpus(tree), 2);
}

static void v1_takes_the_tightest_level(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "9:cpuset:/x\n4:cpu,cpuacct:/a/b\n1:name=systemd:/y\n");
    put("/proc/self/mountinfo", "29 24 0:25 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n" V1_MOUNT);
    put("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n");
    assert_int_equal(terse_cgroup_cpus(tree), INT32_MAX);
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "600000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
    assert_int_equal(terse_cgroup_cpus(tree), 6);
    put("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "270000\n");
    assert_int_equal(terse_cgroup_cpus(tree), 2);
    /* Both hierarchies at once: the v2 one without the controller, then with a tighter quota. */
    put("/proc/self/cgroup", "4:cpu,cpuacct:/a/b\n0::/u\n");
    put("/proc/self/mountinfo", V1_MOUNT "32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    assert_int_equal(terse_cgroup_cpus(tree), 2);
    put("/sys/fs/cgroup/unified/u/cpu.max", "100000 100000\n");
    assert_int_equal(terse_cgroup_cpus(tree), 1);
}

static void a_container_sees_part_of_the_tree(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/docker/id/inner\n");
    put("/proc/self/mountinfo", "30 24 0:26 /docker/id /sys\\040fs rw - cgroup2 cgroup rw\n");
    put("/sys fs/inner/cpu.max", "800000 100000\n");
    assert_int_equal(terse_cgroup_cpus(tree), 8);
    put("/sys fs/cpu.max", "300000 100000\n");
    assert_int_equal(terse_cgroup_cpus(tree), 3);
    put("/proc/self/cgroup", "0::/docker/identical/inner\n"); /* only looks like a group below the mount */
    assert_int_equal(terse_cgroup_cpus(tree), INT32_MAX);
    put("/proc/self/cgroup", "0::/../other\n"); /* outside of our cgroup namespace */
    assert_int_equal(terse_cgroup_cpus(tree), INT32_MAX);
}

static void bad_quota_files_are_no_quota(void **state)
{
    (void)state;
    static const char *const bad[] = { "",         "\n",  "max",       "100000",     "100000 0",
                                       "0 100000", "x y", "-5 100000", "100000 1e5", "100000x 100000" };
    put("/proc/self/cgroup", "0::/a\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put("/sys/fs/cgroup/a/cpu.max", bad[i]);
        assert_int_equal(terse_cgroup_cpus(tree), INT32_MAX);
    }
    put("/sys/fs/cgroup/a/cpu.max", "99999999999999999999999 1");
    assert_int_equal(terse_cgroup_cpus(tree), INT32_MAX);
}

#define V1_MEMORY "32 24 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"

static void memory_limits_are_those_of_all_levels(void **state)
{
    (void)state;
    assert_true(terse_cgroup_memory(tree) == SIZE_MAX);
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    assert_true(terse_cgroup_memory(tree) == SIZE_MAX);
    put("/sys/fs/cgroup/a/memory.max", "3000000000\n");
    assert_int_equal(terse_cgroup_memory(tree), 3000000000);
    put("/sys/fs/cgroup/a/b/memory.high", "2000000000\n");
    assert_int_equal(terse_cgroup_memory(tree), 2000000000);
    put("/sys/fs/cgroup/memory.max", "1000000000\n");
    assert_int_equal(terse_cgroup_memory(tree), 1000000000);
    put("/sys/fs/cgroup/memory.max", "-1 garbage\n");
    assert_int_equal(terse_cgroup_memory(tree), 2000000000);
}

/* The cpu controller's hierarchy says nothing of memory, and the other way round. */
static void memory_limits_of_v1(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "4:cpu,cpuacct:/other\n5:memory:/a/b\n");
    put("/proc/self/mountinfo", V1_MOUNT V1_MEMORY);
    put("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    assert_true(terse_cgroup_memory(tree) == SIZE_MAX);
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "536870912\n");
    assert_int_equal(terse_cgroup_memory(tree), 536870912);
    assert_int_equal(terse_cgroup_cpus(tree), INT32_MAX);
}

static void memory_of_the_machine(void **state)
{
    (void)state;
    terse_memory_room room = terse_memory_room_of(tree);
    assert_true(room.machine == SIZE_MAX && room.available == SIZE_MAX && room.group == SIZE_MAX);
    put("/proc/meminfo",
        "MemTotal:        8000 kB\nMemFree: 100 kB\nMemAvailable:    5000 kB\nSwapTotal: 1000 kB\n");
    put("/proc/self/cgroup", "0::/a\n");
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/sys/fs/cgroup/a/memory.max", "4096000\n");
    room = terse_memory_room_of(tree);
    assert_int_equal(room.machine, 9000 * 1024);
    assert_int_equal(room.available, 5000 * 1024);
    assert_int_equal(room.group, 4096000);
    put("/proc/meminfo", "MemTotal: x kB\nMemAvailable: 99999999999999999999999 kB\n");
    assert_true(terse_memory_room_of(tree).machine == SIZE_MAX);
}

/* ---- team ---- */

enum { N_ITEM = 1000, N_ROUND = 50, N_RUN = 20 };
typedef struct {
    terse_phase work[N_ROUND], check[N_ROUND];
    int32_t done[N_ITEM]; /* how often each item was taken */
    _Atomic int32_t bad;
} shared;

/* Takes items; when a phase has ended, every item has been taken exactly once more. */
static void take_items(void *ctx, int32_t thread, int32_t n_thread)
{
    shared *s = ctx;
    s->bad += thread < 0 || thread >= n_thread;
    for (int32_t r = 0; r < N_ROUND; r++) {
        terse_phase *work = &s->work[r], *check = &s->check[r];
        for (int32_t i; (i = terse_phase_take(work)) < N_ITEM; terse_phase_finish(work, N_ITEM))
            s->done[i]++;
        terse_phase_wait(work, N_ITEM);
        for (int32_t i; (i = terse_phase_take_near(check, thread, n_thread, N_ITEM)) < N_ITEM;
             terse_phase_finish(check, N_ITEM))
            s->bad += s->done[i] != r + 1;
        terse_phase_wait(check, N_ITEM);
    }
}

static void a_team_shares_the_work(void **state)
{
    (void)state;
    for (int32_t n = 1; n <= 5; n++) {
        terse_error err;
        terse_team *team;
        assert_int_equal(terse_team_open(&team, n, &err), TERSE_OK);
        assert_int_equal(terse_team_size(team), n);
        for (int32_t k = 0; k < N_RUN; k++) {
            shared *s = terse_calloc64(1, sizeof *s);
            assert_non_null(s);
            terse_team_run(team, take_items, s);
            assert_int_equal(s->bad, 0);
            for (int32_t i = 0; i < N_ITEM; i++)
                assert_int_equal(s->done[i], N_ROUND);
            free(s); /* nobody is inside any more */
        }
        terse_team_close(&team);
        assert_null(team);
    }
}

/* Every thread has a range of its own, in order, then the rest of the next one's. */
static void neighbours_are_taken_together(void **state)
{
    (void)state;
    for (int32_t n_thread = 1; n_thread <= 40; n_thread++) {
        terse_phase p = { 0 };
        bool seen[50] = { false };
        terse_phase_reset(&p);
        for (int32_t i = 0; i < 50; i++) { /* the last thread, alone */
            const int32_t k = terse_phase_take_near(&p, n_thread - 1, n_thread, 50);
            assert_in_range(k, 0, 49);
            assert_false(seen[k]);
            seen[k] = true;
            if (n_thread == 2)
                assert_int_equal(k, (25 + i) % 50);
        }
        assert_int_equal(terse_phase_take_near(&p, 0, n_thread, 50), 50);
    }
    terse_phase p = { 0 };
    for (int32_t i = 0; i < 3; i++) { /* in turn */
        assert_int_equal(terse_phase_take_near(&p, 0, 2, 6), i);
        assert_int_equal(terse_phase_take_near(&p, 1, 2, 6), 3 + i);
    }
    assert_int_equal(terse_phase_take_near(&p, 1, 2, 0), 0);
}

/* Notes where each thread may run. */
typedef struct {
    cpu_set_t seen[2];
    _Atomic int32_t n;
} sighting;

static void look_where(void *ctx, int32_t thread, int32_t n_thread)
{
    sighting *s = ctx;
    sched_getaffinity(0, sizeof *s->seen, &s->seen[thread]);
    for (s->n++; s->n < n_thread;) /* until the other one has been here too */
        sched_yield();
}

static void helpers_stay_in_their_place(void **state)
{
    (void)state;
    terse_error err;
    terse_team *team;
    cpu_set_t before, place[2];
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    int last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(last, &before))
        last--;
    CPU_ZERO(&place[1]);
    CPU_SET(last, &place[1]);
    place[0] = place[1];
    assert_int_equal(terse_team_open_at(&team, 2, place, &err), TERSE_OK);
    sighting s = { .n = 0 };
    terse_team_run(team, look_where, &s); /* the caller waits inside until the helper has come */
    assert_true(CPU_EQUAL(&s.seen[0], &before));
    assert_true(CPU_EQUAL(&s.seen[1], &place[1]));
    terse_team_close(&team);
}

/* ---- memory ---- */

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

static void heap_memory_is_aligned_and_zero(void **state)
{
    (void)state;
    static const size_t counts[] = { 0, 1, 63, 64, 65, 100000 };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        uint8_t *p = terse_calloc64(counts[i], 3);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % TERSE_ALIGN, 0);
        assert_true(all_zero(p, counts[i] * 3));
        memset(p, 0xff, counts[i] * 3);
        free(p);
    }
    assert_null(terse_calloc64(SIZE_MAX / 2, 3));
    assert_null(terse_calloc64(SIZE_MAX, 1));
    assert_null(terse_calloc64((size_t)PTRDIFF_MAX, 1));
}

static void pages_are_aligned_and_zero(void **state)
{
    (void)state;
    const size_t huge = 2 << 20;
    for (size_t n = 1; n <= 3; n++) {
        uint8_t *p = terse_pages_map(n * huge);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % huge, 0);
        assert_true(all_zero(p, n * huge));
        memset(p, 0xff, n * huge);
        terse_pages_unmap(p, n * huge);
    }
    assert_null(terse_pages_map((size_t)1 << 60));
    assert_null(terse_pages_map(SIZE_MAX / huge * huge));
    terse_pages_unmap(NULL, huge);
}

static void peak_and_clock_move(void **state)
{
    (void)state;
    const size_t huge = 2 << 20, size = 32 * huge, before = terse_peak_rss();
    const int64_t start = terse_now_ns();
    assert_true(before > 0);
    uint8_t *p = terse_pages_map(size);
    assert_non_null(p);
    memset(p, 1, size);
    assert_true(terse_peak_rss() >= before + size / 2);
    terse_pages_unmap(p, size);
    assert_true(terse_peak_rss() >= size / 2); /* a peak stays */
    assert_true(terse_now_ns() > start);
}

int main(void)
{
#define TREE_TEST(f) cmocka_unit_test_setup_teardown(f, make_tree, remove_tree)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tier_needs_all_its_features),
        cmocka_unit_test(arm_tells_of_its_tiers_by_capabilities),
        cmocka_unit_test(a_tier_needs_the_system_to_save_its_registers),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(tiers_by_name),
        cmocka_unit_test(cores_are_counted_within_the_allowed_cpus),
        cmocka_unit_test(the_fastest_kind_of_core_counts),
        cmocka_unit_test(places_are_on_the_fastest_cores_first),
        cmocka_unit_test(places_are_whole_cores),
        cmocka_unit_test(affinity_limits_the_threads),
        TREE_TEST(no_cgroup_is_no_quota),
        TREE_TEST(v2_takes_the_tightest_level),
        TREE_TEST(v1_takes_the_tightest_level),
        TREE_TEST(a_container_sees_part_of_the_tree),
        TREE_TEST(bad_quota_files_are_no_quota),
        TREE_TEST(memory_limits_are_those_of_all_levels),
        TREE_TEST(memory_limits_of_v1),
        TREE_TEST(memory_of_the_machine),
        cmocka_unit_test(a_team_shares_the_work),
        cmocka_unit_test(helpers_stay_in_their_place),
        cmocka_unit_test(neighbours_are_taken_together),
        cmocka_unit_test(heap_memory_is_aligned_and_zero),
        cmocka_unit_test(pages_are_aligned_and_zero),
        cmocka_unit_test(peak_and_clock_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
