/* tests/test_heat.c: temperatures and clocks of invented machines. */
#include "base/heat.h"
#include "file_tree.h"

#include <math.h>

static void put_cpu(int cpu, const char *now, const char *held, const char *most)
{
    const char *names[] = { "scaling_cur_freq", "scaling_max_freq", "cpuinfo_max_freq" };
    const char *texts[] = { now, held, most };
    for (int i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/cpufreq/%s", cpu, names[i]);
        put(path, texts[i]);
    }
}

static void a_kernel_that_is_silent(void **state)
{
    (void)state;
    const terse_heat h = terse_heat_of(tree);
    assert_true(isnan(h.celsius) && isnan(h.mhz) && isnan(h.mhz_held) && isnan(h.mhz_most));
}

static void the_hottest_zone_counts(void **state)
{
    (void)state;
    put("/sys/class/thermal/thermal_zone0/temp", "48250\n");
    put("/sys/class/thermal/thermal_zone1/temp", "not now\n");
    put("/sys/class/thermal/thermal_zone3/temp", "81500\n"); /* there is no 2 */
    assert_true(terse_heat_of(tree).celsius == 81.5);
}

/* Four slow cores, and four fast ones of which one is held down. */
static void the_fast_cores_count(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        put_cpu(i, "408000\n", "1800000\n", "1800000\n");
    for (int i = 4; i < 8; i++)
        put_cpu(i, i == 6 ? "1200000\n" : "2400000\n", i == 6 ? "1416000\n" : "2400000\n", "2400000\n");
    const terse_heat h = terse_heat_of(tree);
    assert_true(h.mhz == 1200 && h.mhz_held == 1416 && h.mhz_most == 2400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_kernel_that_is_silent, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(the_hottest_zone_counts, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(the_fast_cores_count, make_tree, remove_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
