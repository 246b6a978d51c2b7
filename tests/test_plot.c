/* tests/test_plot.c: bench/plot turns records into gnuplot's script with the right numbers, lines and labels,
 * and into SVG where gnuplot is there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static char directory[] = "/tmp/terse-plot-XXXXXX";
static char out[1 << 16]; /* stdout and stderr of the last command, or the file read last */

__attribute__((format(printf, 1, 2))) static int run(const char *fmt, ...)
{
    char command[1024], line[1200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    snprintf(line, sizeof line, "cd %s && %s 2>&1", directory, command);
    FILE *f = popen(line, "r");
    assert_non_null(f);
    out[fread(out, 1, sizeof out - 1, f)] = '\0';
    const int status = pclose(f);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static FILE *open_file(const char *name, const char *mode)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return fopen(path, mode);
}

static void write_text(const char *name, const char *text)
{
    FILE *f = open_file(name, "wb");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void read_text(const char *name)
{
    FILE *f = open_file(name, "rb");
    assert_non_null(f);
    out[fread(out, 1, sizeof out - 1, f)] = '\0';
    fclose(f);
}

static void has(const char *text)
{
    if (!strstr(out, text))
        fail_msg("no %s in %s", text, out);
}

static void has_not(const char *text)
{
    if (strstr(out, text))
        fail_msg("%s in %s", text, out);
}

/* Of bench_attend: one rule that is exact, one at two depths, out of order. */
static const char walks[] =
    "[{\"bench\":\"attend\",\"stop\":\"none\",\"type_k\":\"f16\",\"n_threads\":2,\"n_depth\":100,"
    "\"ns_per_head\":5000,\"bytes_per_head\":2048,\"bytes_ratio\":1.0,\"error_mean\":0.0},\n"
    "{\"bench\":\"attend\",\"stop\":\"skip:a=1\",\"type_k\":\"f16\",\"n_threads\":2,\"n_depth\":300,"
    "\"ns_per_head\":9000,\"bytes_per_head\":3072,\"bytes_ratio\":0.5,\"error_mean\":0.25},\n"
    "{\"bench\":\"attend\",\"stop\":\"skip:a=1\",\"type_k\":\"f16\",\"n_threads\":2,\"n_depth\":100,"
    "\"ns_per_head\":4000,\"bytes_per_head\":1024,\"bytes_ratio\":0.75,\"error_mean\":0.125}]";

static void depth_of_walks(void **state)
{
    (void)state;
    write_text("walks.json", walks);
    assert_int_equal(run("'%s' depth -o d.gp --title \"Anna's walk\" walks.json", PLOT), 0);
    read_text("d.gp");
    has("set output 'd.svg'");
    has("title 'Anna''s walk'");
    has("$p0s0 << EOD\n100 5 5 5 \"\" \"\"\nEOD");
    has("$p0s1 << EOD\n100 4 4 4 \"\" \"\"\n300 9 9 9 \"\" \"\"\nEOD");
    has("$p1s1 << EOD\n100 1 1 1 \"\" \"\"\n300 3 3 3 \"\" \"\"\nEOD");
    has("title 'none'");
    has("title 'skip:a=1'");
    has_not("f16"); /* alike in all: names nothing */
    has_not("threads");
    has_not("yerrorbars");
}

static void quality_of_walks(void **state)
{
    (void)state;
    write_text("walks.json", walks);
    assert_int_equal(run("'%s' quality -o q.gp - < walks.json", PLOT), 0);
    read_text("q.gp");
    has("set logscale y");
    has_not("'none'"); /* no error has no place on a logarithmic axis */
    has("$p0s0 << EOD\n50 0.25 0.25 0.25 \"a=1\" \"\"\nEOD");
    has("$p0s1 << EOD\n75 0.125 0.125 0.125 \"\" \"a=1\"\nEOD");
    has("title '300 tokens, skip'");
    has_not("$p1s0");
}

/* Of terse eval: one record, a stop rule that is an object, intervals; with answers there are two panels. */
static void quality_of_evaluations(void **state)
{
    (void)state;
    write_text("kl.json", "{\"kl\":{\"mean\":0.01,\"low\":-0.02,\"high\":0.04},\"bytes_ratio\":0.3,"
                          "\"stop\":{\"rule\":\"mass:delta=0.2,floor=0.05\"}}");
    assert_int_equal(run("'%s' quality -o q.gp kl.json", PLOT), 0);
    read_text("q.gp");
    has("30 0.01 0.01 0.04 \"delta=0.2,floor=0.05\" \"\"\n");
    has("title 'mass'");
    has("yerrorbars");
    has_not("$p1s0");
    write_text("tasks.json", "[{\"kl\":{\"mean\":0.5},\"bytes_ratio\":0.25,\"correct\":3,\"n\":4,"
                             "\"stop\":{\"rule\":\"stability\"}}]");
    assert_int_equal(run("'%s' quality -o q.gp tasks.json", PLOT), 0);
    read_text("q.gp");
    has("$p0s0 << EOD\n25 0.5 0.5 0.5 \"\" \"\"\nEOD");
    has("$p1s0 << EOD\n25 75 75 75 \"\" \"\"\nEOD");
}

/* Of terse bench: prompts are left out; several files make one plot. */
static void depth_of_models(void **state)
{
    (void)state;
    write_text("f16.json",
               "[{\"n_prompt\":5,\"n_gen\":0,\"n_depth\":0,\"avg_ns\":1,\"bytes_kv_per_token\":null,"
               "\"stop\":\"none\",\"type_k\":\"f16\"},"
               "{\"n_prompt\":0,\"n_gen\":4,\"n_depth\":0,\"avg_ns\":8000000,"
               "\"bytes_kv_per_token\":1048576,\"stop\":\"none\",\"type_k\":\"f16\"}]");
    write_text("q8.json", "[{\"n_gen\":2,\"n_depth\":7,\"avg_ns\":6000000,\"bytes_kv_per_token\":524288,"
                          "\"stop\":\"none\",\"type_k\":\"q8\"}]");
    assert_int_equal(run("'%s' depth -o d.gp f16.json q8.json", PLOT), 0);
    read_text("d.gp");
    has("$p0s0 << EOD\n0 2 2 2 \"\" \"\"\nEOD");
    has("$p0s1 << EOD\n7 3 3 3 \"\" \"\"\nEOD");
    has("$p1s1 << EOD\n7 0.5 0.5 0.5 \"\" \"\"\nEOD");
    has("title 'K f16, none'");
    has("title 'K q8, none'");
}

/* What a file says cannot become a command of gnuplot's. */
static void names_are_harmless(void **state)
{
    (void)state;
    write_text("evil.json", "[{\"stop\":\"x\\nEOD\\n'; system 'touch evil\",\"n_depth\":1,\"ns_per_head\":1,"
                            "\"bytes_per_head\":1}]");
    assert_int_equal(run("'%s' depth -o d.gp evil.json", PLOT), 0);
    read_text("d.gp");
    has("title 'x EOD  ; system  touch evil'");
}

static void wrong_lines_are_refused(void **state)
{
    (void)state;
    static const char *const args[] = {
        "",
        "depth",
        "pie -o a.gp walks.json",
        "depth walks.json",
        "depth -o a.png walks.json",
        "depth -o a.gp",
        "depth -o a.gp absent.json",
        "depth -o a.gp broken.json",
        "depth -o a.gp empty.json",
        "quality -o a.gp numbers.json",
        "depth -x -o a.gp walks.json",
        "depth walks.json -o",
    };
    write_text("walks.json", walks);
    write_text("broken.json", "[{]");
    write_text("empty.json", "[]");
    write_text("numbers.json", "[1, null, \"a\", [], {\"kl\": 3, \"bytes_ratio\": \"1\"}]");
    for (size_t i = 0; i < sizeof args / sizeof *args; i++)
        if (run("'%s' %s", PLOT, args[i]) != 2)
            fail_msg("%s was accepted: %s", args[i], out);
    assert_int_equal(run("'%s' depth -o absent/a.gp walks.json", PLOT), 74);
    assert_int_equal(run("PATH=/nowhere '%s' depth -o a.svg walks.json", PLOT), 1);
    has("gnuplot-nox");
}

static void gnuplot_draws_svg(void **state)
{
    (void)state;
    write_text("walks.json", walks);
    static const char *const kinds[] = { "depth", "quality" }, *const said[] = { "KV read, KiB", "% of dense" };
    for (int i = 0; i < 2; i++) {
        if (run("'%s' %s -o 'it''s.svg' walks.json", PLOT, kinds[i]) != 0)
            fail_msg("%s", out);
        assert_string_equal(out, ""); /* gnuplot warns of what it does not understand */
        read_text("its.svg");
        has("<svg ");
        has("</svg>");
        has(said[i]);
        has("skip");
    }
    assert_int_equal(run("'%s' depth -o absent/a.svg walks.json", PLOT), 1);
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char line[128];
    snprintf(line, sizeof line, "rm -r %s", directory);
    return system(line);
}

/* test_plot: what needs no gnuplot. test_plot svg: what does; 77 if it is not there. */
int main(int argc, char **argv)
{
    const struct CMUnitTest scripts[] = {
        cmocka_unit_test(depth_of_walks),         cmocka_unit_test(quality_of_walks),
        cmocka_unit_test(quality_of_evaluations), cmocka_unit_test(depth_of_models),
        cmocka_unit_test(names_are_harmless),     cmocka_unit_test(wrong_lines_are_refused),
    };
    const struct CMUnitTest svg[] = { cmocka_unit_test(gnuplot_draws_svg) };
    if (argc < 2 || strcmp(argv[1], "svg") != 0)
        return cmocka_run_group_tests(scripts, set_up, tear_down);
    if (system("command -v gnuplot >/dev/null") == 0)
        return cmocka_run_group_tests(svg, set_up, tear_down);
    fprintf(stderr, "gnuplot is not there (Debian: gnuplot-nox): no plot was drawn\n");
    return 77;
}
