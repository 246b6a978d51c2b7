/* tests/test_cli.c: the parser of options, the shared groups, what goes to a terminal, and the program itself.
 */
#include "cli/args.h"
#include "cli/interrupt.h"
#include "cli/nearest.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "terse/attend.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MODEL "'" TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf'"

/* ---- capturing what is printed ---- */

/* Sends fd (1 or 2) to a temporary file; returns the descriptor to give back to capture_end. */
static int capture_begin(int fd, FILE **file)
{
    fflush(NULL);
    const int saved = dup(fd);
    *file = tmpfile();
    assert_non_null(*file);
    assert_true(dup2(fileno(*file), fd) >= 0);
    return saved;
}

static void capture_end(int fd, int saved, FILE *file, char *text, size_t size)
{
    fflush(NULL);
    assert_true(dup2(saved, fd) >= 0);
    close(saved);
    rewind(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
}

/* ---- the parser ---- */

typedef struct {
    bool on, off;
    int32_t n, any;
    float x;
    const char *word, *choice;
    size_t size;
    uint64_t seed;
} values;

#define AT(field) offsetof(values, field)
static const terse_option options[] = {
    { "--on", TERSE_OPTION_ON, AT(on), .help = "on" },
    { "-no --no-off", TERSE_OPTION_OFF, AT(off), .help = "off" },
    { "-n --number --n-umber", TERSE_OPTION_INT, AT(n), -1, 100, "N", .help = "number" },
    { "--any", TERSE_OPTION_INT, AT(any), .value = "N", .preset = "what fits", .help = "any" },
    { "-x --exact", TERSE_OPTION_FLOAT, AT(x), -2, 2, "X", .help = "float" },
    { "-w --word", TERSE_OPTION_STRING, AT(word), .value = "W", .help = "word" },
    { "--choice", TERSE_OPTION_STRING, AT(choice), .value = "C", .choices = "red green", .help = "choice" },
    { "--size", TERSE_OPTION_SIZE, AT(size), .value = "S", .help = "size" },
    { "--seed", TERSE_OPTION_SEED, AT(seed), .value = "S", .help = "seed" },
    { "-ig", TERSE_OPTION_IGNORED, .value = "N", .help = "needs no value of it" },
    { "-fa", TERSE_OPTION_IGNORED, .value = "on|off", .choices = "on off", .help = "always so" },
};
#undef AT

static const values defaults = { .off = true, .n = 7, .x = 0.5f, .size = 2 << 20 };
static values got;
static char *args[24]; /* argv of the last parse */
static int n_args;
static char said[4096], printed[16384];

/* Parses the words of line, separated by blanks, into got. */
static int parse(const char *line)
{
    static char copy[512];
    char *save = NULL;
    const terse_option_group group = { "all", options, sizeof options / sizeof *options, &got };
    const terse_options o = { "test [OPTION]...", "Tests.", &group, 1, 2 };
    FILE *out, *err;
    got = defaults;
    snprintf(copy, sizeof copy, "test %s", line);
    n_args = 0;
    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
        args[n_args++] = w;
    args[n_args] = NULL;
    const int saved_out = capture_begin(STDOUT_FILENO, &out), saved_err = capture_begin(STDERR_FILENO, &err);
    const int code = terse_options_parse(&o, &n_args, args);
    capture_end(STDERR_FILENO, saved_err, err, said, sizeof said);
    capture_end(STDOUT_FILENO, saved_out, out, printed, sizeof printed);
    return code;
}

/* The line is refused with one line of text that contains what. */
static void refuses(const char *line, const char *what)
{
    assert_int_equal(parse(line), 2);
    if (!strstr(said, what))
        fail_msg("%s: \"%s\" is not in \"%s\"", line, what, said);
    assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
    assert_string_equal(printed, "");
}

static void values_of_every_kind(void **state)
{
    (void)state;
    assert_int_equal(parse(""), TERSE_GO_ON);
    assert_memory_equal(&got, &defaults, sizeof got);
    assert_int_equal(n_args, 1);
    assert_int_equal(parse("--on --no-off -n -1 --any=-5 -x -1.5 -w word --choice green --size 3G --seed 12"),
                     TERSE_GO_ON);
    assert_true(got.on && !got.off);
    assert_int_equal(got.n, -1);
    assert_int_equal(got.any, -5);
    assert_float_equal(got.x, -1.5f, 0);
    assert_string_equal(got.word, "word");
    assert_string_equal(got.choice, "green");
    assert_true(got.size == (size_t)3 << 30);
    assert_true(got.seed == 12);
    assert_string_equal(said, "");
    assert_int_equal(parse("--number 1 --n-umber=2 --on=off -no=0 --size=5KiB --seed -1 -w="), TERSE_GO_ON);
    assert_int_equal(got.n, 2); /* the last one wins */
    assert_true(!got.on && got.off);
    assert_true(got.size == 5120 && got.seed == UINT64_MAX);
    assert_string_equal(got.word, "");
    assert_int_equal(parse("-w --x -w=-n --seed 18446744073709551615"), TERSE_GO_ON);
    assert_string_equal(got.word, "-n");
    assert_true(got.seed == UINT64_MAX);
}

static void arguments_stay(void **state)
{
    (void)state;
    assert_int_equal(parse("a -n 3 b"), TERSE_GO_ON);
    assert_int_equal(n_args, 3);
    assert_string_equal(args[1], "a");
    assert_string_equal(args[2], "b");
    assert_int_equal(got.n, 3);
    assert_int_equal(parse("- -n 3 -- -n"), TERSE_GO_ON);
    assert_int_equal(n_args, 3);
    assert_string_equal(args[1], "-");
    assert_string_equal(args[2], "-n");
    refuses("a b c", "\"c\"");
}

static void wrong_lines_are_refused(void **state)
{
    (void)state;
    refuses("--numbr 3", "--numbr; did you mean --number?");
    refuses("--nubmer=3", "--nubmer; did you mean --number?");
    refuses("-number", "did you mean --number?");
    refuses("--zebra", "unknown option --zebra; --help");
    refuses("-q", "unknown option -q; --help");
    refuses("-n", "-n needs a value");
    refuses("-n -x 1", "-n needs a value, and -x is an option");
    refuses("-n abc", "-n: \"abc\" is not a whole number");
    refuses("-n=", "-n: \"\" is not a whole number");
    refuses("-n 3.5", "not a whole number");
    refuses("--number 101", "--number: 101 is not within -1 .. 100");
    refuses("-n -2", "-n: -2 is not within -1 .. 100");
    refuses("--any 2147483648", "32 bits");
    refuses("--any 99999999999999999999", "32 bits");
    refuses("-x 2.5", "not within -2 .. 2");
    refuses("-x nan", "not a number");
    refuses("-x inf", "not a number");
    refuses("-x 1e39", "not a number");
    refuses("--choice blue", "\"blue\" is none of: red green");
    refuses("--choice gree", "none of");
    refuses("--size 5X", "not a size");
    refuses("--size -5", "not a size");
    refuses("--size 99999999999T", "memory");
    refuses("--seed -2", "not a seed");
    refuses("--seed 18446744073709551616", "not a seed");
    refuses("--on=maybe", "\"maybe\" is not on or off");
    refuses("--wo\033[31mrd", "\\x1b[31m");
}

static void ignored_options_leave_a_note(void **state)
{
    (void)state;
    assert_int_equal(parse("-ig 99 a"), TERSE_GO_ON);
    assert_string_equal(said, "terse: note: -ig is ignored: needs no value of it\n");
    assert_int_equal(n_args, 2);
    assert_int_equal(parse("-fa on a"), TERSE_GO_ON); /* its value goes with it */
    assert_int_equal(n_args, 2);
    assert_int_equal(parse("-fa a"), TERSE_GO_ON); /* not its value */
    assert_int_equal(n_args, 2);
    assert_string_equal(args[1], "a");
    assert_int_equal(parse("-fa"), TERSE_GO_ON);
}

static void the_environment_comes_first(void **state)
{
    (void)state;
    setenv("TERSE_ARG_NUMBER", "42", 1);
    setenv("TERSE_ARG_NO_OFF", "1", 1);
    setenv("TERSE_ARG_WORD", "", 1); /* as good as unset */
    setenv("TERSE_ARG_X", "1", 1);   /* short names are none */
    assert_int_equal(parse(""), TERSE_GO_ON);
    assert_int_equal(got.n, 42);
    assert_true(!got.off);
    assert_null(got.word);
    assert_float_equal(got.x, 0.5f, 0);
    assert_int_equal(parse("-n 3"), TERSE_GO_ON);
    assert_int_equal(got.n, 3);
    assert_int_equal(parse("--help"), 0); /* shows defaults, not what is set */
    assert_non_null(strstr(printed, "(default: 7)"));
    setenv("TERSE_ARG_NUMBER", "many", 1);
    refuses("", "TERSE_ARG_NUMBER: \"many\" is not a whole number");
    unsetenv("TERSE_ARG_NUMBER");
    unsetenv("TERSE_ARG_NO_OFF");
    unsetenv("TERSE_ARG_WORD");
    unsetenv("TERSE_ARG_X");
}

static void help_is_made_from_the_tables(void **state)
{
    (void)state;
    assert_int_equal(parse("-n 9 --help"), 0);
    assert_string_equal(said, "");
    assert_ptr_equal(strstr(printed, "usage: terse test [OPTION]...\nTests.\n"), printed);
    assert_non_null(strstr(printed, "\nall:\n"));
    assert_non_null(strstr(printed, "-n, --number, --n-umber N   number (default: 7)\n"));
    assert_non_null(strstr(printed, "any (default: what fits)"));
    assert_non_null(strstr(printed, "float (default: 0.5)"));
    assert_non_null(strstr(printed, "choice; one of: red green\n"));
    assert_non_null(strstr(printed, "size (default: 2M)"));
    assert_non_null(strstr(printed, "-fa [on|off]"));
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        assert_non_null(strstr(printed, options[i].help));
    assert_int_equal(parse("--version"), 0);
    assert_non_null(strstr(printed, terse_version()));
}

/* ---- the shared groups ---- */

static void shared_groups_agree(void **state)
{
    (void)state;
    terse_args_model model = terse_args_model_defaults();
    terse_args_kv kv = { 0 };
    terse_sample_opts sample = terse_sample_defaults();
    const terse_option_group groups[] = { terse_args_model_group(&model), terse_args_kv_group(&kv),
                                          terse_args_sample_group(&sample), terse_args_ignored_group() };
    const terse_options o = { "test", "Tests.", groups, 4, 0 };
    char line[] = "t -m f.gguf -c 4096 -t 3 -b 64 --ubatch-size 32 -ctk q8_0 -ctv f16 --kv-policy dense --stop "
                  "none --quality exact -s 5 --temp 0.7 --top-k 10 --top-p 0.9 --min-p 0.1 --typical 0.8 "
                  "--top-nsigma 2 --repeat-last-n -1 --repeat-penalty 1.1 --presence-penalty -0.5 "
                  "--frequency-penalty 0.25";
    char *argv[64], *save = NULL;
    int argc = 0;
    for (char *w = strtok_r(line, " ", &save); w; w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    assert_int_equal(terse_options_parse(&o, &argc, argv), TERSE_GO_ON);
    assert_string_equal(model.model, "f.gguf");
    assert_int_equal(model.ctx, 4096);
    assert_int_equal(model.threads, 3);
    assert_int_equal(model.batch, 64);
    assert_int_equal(model.ubatch, 32);
    assert_string_equal(kv.type_k, "q8_0");
    assert_string_equal(kv.type_v, "f16");
    assert_string_equal(kv.policy, "dense");
    assert_string_equal(kv.stop, "none");
    assert_string_equal(kv.quality, "exact");
    assert_true(sample.seed == 5);
    assert_int_equal(sample.top_k, 10);
    assert_int_equal(sample.penalty_last_n, -1);
    const float floats[][2] = { { sample.temp, 0.7f },
                                { sample.top_p, 0.9f },
                                { sample.min_p, 0.1f },
                                { sample.typical_p, 0.8f },
                                { sample.top_n_sigma, 2.0f },
                                { sample.penalty_repeat, 1.1f },
                                { sample.penalty_presence, -0.5f },
                                { sample.penalty_frequency, 0.25f } };
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++)
        assert_float_equal(floats[i][0], floats[i][1], 0);
    terse_error err;
    assert_int_equal(terse_sample_check(&sample, &err), TERSE_OK);
}

/* No name stands in two rows: the second one could never be reached. */
/* The text of --stop explains every rule there is, the text of --quality names rules that exist. */
static void help_knows_the_rules(void **state)
{
    (void)state;
    terse_args_kv kv = { 0 };
    const terse_option_group group = terse_args_kv_group(&kv);
    const char *stop = NULL, *quality = NULL, *name, *about;
    for (int32_t i = 0; i < group.n_option; i++) {
        stop = strcmp(group.options[i].names, "--stop") == 0 ? group.options[i].help : stop;
        quality = strcmp(group.options[i].names, "--quality") == 0 ? group.options[i].help : quality;
    }
    assert_non_null(stop);
    assert_non_null(quality);
    for (int32_t i = 0; terse_attend_stop_at(i, &name, &about); i++)
        if (!strstr(stop, name))
            fail_msg("--stop does not explain %s", name);
    static const char *const rules[] = { TERSE_QUALITY_EXACT, TERSE_QUALITY_SAFE, TERSE_QUALITY_FAST };
    for (int i = 0; i < 3; i++) {
        terse_attend *attend;
        assert_int_equal(terse_attend_open(&attend, "dense", rules[i], 0, NULL), TERSE_OK);
        terse_attend_close(&attend);
        assert_non_null(strstr(quality, rules[i]));
    }
}

static void shared_names_are_unique(void **state)
{
    (void)state;
    terse_args_model model;
    terse_args_kv kv;
    terse_sample_opts sample;
    const terse_option_group groups[] = { terse_args_model_group(&model), terse_args_kv_group(&kv),
                                          terse_args_sample_group(&sample), terse_args_ignored_group() };
    const char *seen[128];
    size_t n_seen[128], n = 0;
    for (int g = 0; g < 4; g++)
        for (int32_t i = 0; i < groups[g].n_option; i++) {
            const char *list = groups[g].options[i].names;
            size_t size;
            for (const char *w; w = terse_next_word(&list, &size), size > 0;) {
                for (size_t k = 0; k < n; k++)
                    assert_false(n_seen[k] == size && memcmp(seen[k], w, size) == 0);
                assert_true(n < 128);
                seen[n] = w;
                n_seen[n++] = size;
            }
        }
    assert_true(n > 30);
}

static void isa_comes_from_the_environment(void **state)
{
    (void)state;
    uint32_t cpu;
    terse_error err;
    unsetenv("TERSE_ISA");
    assert_int_equal(terse_args_isa(&cpu, &err), TERSE_OK);
    assert_int_equal(cpu, terse_cpu_tiers());
    setenv("TERSE_ISA", "scalar", 1);
    assert_int_equal(terse_args_isa(&cpu, &err), TERSE_OK);
    assert_int_equal(cpu, TERSE_CPU_SCALAR);
    setenv("TERSE_ISA", "mmx", 1);
    assert_int_equal(terse_args_isa(&cpu, &err), TERSE_BAD_INPUT);
    assert_non_null(strstr(err.text, "TERSE_ISA"));
    assert_non_null(strstr(err.text, "mmx"));
    unsetenv("TERSE_ISA");
}

/* ---- terminal, progress, Ctrl-C ---- */

static void writes(const char *text, size_t n, const char *want)
{
    char out[128];
    FILE *f = fmemopen(out, sizeof out, "w");
    assert_non_null(f);
    terse_terminal_write(f, text, n);
    fputc('\0', f);
    fclose(f);
    assert_string_equal(out, want);
}

static void text_cannot_steer_the_terminal(void **state)
{
    (void)state;
    writes("plain\n\ttext", 11, "plain\n\ttext");
    writes("a\033[2J\r\x7f\0b", 9, "a\\x1b[2J\\x0d\\x7f\\x00b");
    writes("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", 11, "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    writes("\xc2\x9b", 2, "\\xc2\\x9b");                              /* CSI as one character */
    writes("\x9b \xff \xc3", 5, "\\x9b \\xff \\xc3");                 /* not UTF-8, cut short */
    writes("\xc0\xaf \xed\xa0\x80", 6, "\\xc0\\xaf \\xed\\xa0\\x80"); /* too long a form, a surrogate */
    writes("\xf4\x90\x80\x80 \xe2\x82", 7, "\\xf4\\x90\\x80\\x80 \\xe2\\x82");
}

static void progress_fits_its_line(void **state)
{
    (void)state;
    char line[256];
    const int64_t s = 1000000000;
    const terse_progress p = { .label = "prefill", .unit = "tokens", .start = 5 * s };
    terse_progress_line(line, sizeof line, 200, &p, 7 * s, 250, 1000);
    assert_string_equal(line, "prefill [=====               ]  25%  250/1000 tokens  125.0 tokens/s  ETA 0:06");
    terse_progress_line(line, sizeof line, 200, &p, 15 * s, 10, 10000);
    assert_non_null(strstr(line, "ETA 2:46:30"));
    terse_progress_line(line, sizeof line, 200, &p, 7 * s, 250, 0);
    assert_string_equal(line, "prefill 250 tokens  125.0 tokens/s");
    terse_progress_line(line, sizeof line, 200, &p, 5 * s, 0, 10);
    assert_string_equal(line, "prefill [                    ]   0%  0/10 tokens  0.0 tokens/s");
    terse_progress_line(line, sizeof line, 200, &p, 7 * s, 12, 10);
    assert_non_null(strstr(line, "100%  10/10"));
    terse_progress_line(line, sizeof line, 20, &p, 7 * s, 250, 1000);
    assert_int_equal(strlen(line), 19);
}

static void no_progress_in_a_log(void **state)
{
    (void)state;
    FILE *err;
    char text[64];
    terse_progress p;
    const int saved = capture_begin(STDERR_FILENO, &err);
    terse_progress_begin(&p, "load", "bytes", true);
    terse_progress_update(&p, 1, 2);
    terse_progress_end(&p);
    capture_end(STDERR_FILENO, saved, err, text, sizeof text);
    assert_string_equal(text, "");
}

static void first_interrupt_sets_the_flag(void **state)
{
    (void)state;
    terse_interrupt_catch();
    assert_false(terse_interrupt_seen());
    raise(SIGINT);
    assert_true(terse_interrupt_seen());
    assert_true(atomic_load(terse_interrupt_flag()));
    terse_interrupt_clear();
    assert_false(terse_interrupt_seen());
    raise(SIGINT); /* the first one of the next answer */
    assert_true(terse_interrupt_seen());
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        raise(SIGINT); /* the second one */
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    signal(SIGINT, SIG_DFL);
}

/* ---- the program ---- */

/* Runs "terse TAIL" in a shell; its standard output and error in printed. */
static int program(const char *tail)
{
    char line[512];
    snprintf(line, sizeof line, "{ '%s' %s; } 2>&1", TERSE_PROGRAM, tail);
    FILE *f = popen(line, "r");
    assert_non_null(f);
    printed[fread(printed, 1, sizeof printed - 1, f)] = '\0';
    const int status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void the_program_explains_itself(void **state)
{
    (void)state;
    static const char *const helps[] = { "--help", "-h", "help" };
    for (int i = 0; i < 3; i++) {
        assert_int_equal(program(helps[i]), 0);
        assert_non_null(strstr(printed, "usage: terse COMMAND"));
    }
    assert_int_equal(program("--version"), 0);
    assert_non_null(strstr(printed, terse_version()));
    assert_int_equal(program(""), 2);
    assert_non_null(strstr(printed, "usage: terse COMMAND"));
    assert_int_equal(program("nosuchcommand"), 2);
    assert_non_null(strstr(printed, "unknown command \"nosuchcommand\""));
    assert_int_equal(program("help nosuchcommand"), 2);
    assert_int_equal(program("verison"), 2);
    assert_non_null(strstr(printed, "did you mean version?"));
    assert_int_equal(program("insepct x"), 2);
    assert_non_null(strstr(printed, "did you mean inspect?"));
}

/* Every command that --help lists has a help of its own. */
static void every_command_explains_itself(void **state)
{
    (void)state;
    char list[sizeof printed], *save = NULL;
    int n = 0;
    assert_int_equal(program("--help"), 0);
    const char *start = strstr(printed, "commands:\n");
    assert_non_null(start);
    strcpy(list, start + strlen("commands:\n"));
    for (char *l = strtok_r(list, "\n", &save); l && strncmp(l, "  terse", 7) != 0;
         l = strtok_r(NULL, "\n", &save)) {
        char name[32], tail[64], usage[64];
        assert_int_equal(sscanf(l, "  %31s", name), 1);
        snprintf(tail, sizeof tail, "help %s", name);
        snprintf(usage, sizeof usage, "usage: terse %s", name);
        assert_int_equal(program(tail), 0);
        assert_non_null(strstr(printed, usage));
        n++;
    }
    assert_true(n >= 1);
}

static void lost_output_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(program("--help >/dev/full"), 74);
    assert_non_null(strstr(printed, "cannot write to stdout: No space left"));
    assert_int_equal(program("--help >&-"), 74);
    /* A reader that is gone: no death by SIGPIPE. */
    char line[512];
    snprintf(line, sizeof line, "bash -c 'set -o pipefail; (sleep 0.2; \"%s\" --help) 2>/dev/null | true'",
             TERSE_PROGRAM);
    const int status = system(line);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 74);
}

/* Where a text is asked for, a folder is bad input; so is a second command to help about. */
static void folders_are_no_texts(void **state)
{
    (void)state;
    static const char *const lines[] = { "run " MODEL " -f /",
                                         "bench " MODEL " -f /",
                                         "logits " MODEL " -f / -o /dev/null",
                                         "logits " MODEL " --ids-file / -o /dev/null",
                                         "tokenize " MODEL " -f /",
                                         "tokenize " MODEL " --hex-lines -f /" };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_int_equal(program(lines[i]), 2);
        assert_string_equal(printed, "terse: cannot read /: Is a directory\n");
    }
    assert_int_equal(program("tokenize " MODEL " -f nowhere"), 2);
    assert_string_equal(printed, "terse: cannot open nowhere: No such file or directory\n");
    assert_int_equal(program("help run logits"), 2);
    assert_string_equal(printed, "terse: unexpected argument \"logits\"\n");
}

/* A file that is opened does not become the stream that was closed. */
static void closed_streams_stay_closed(void **state)
{
    (void)state;
    assert_int_equal(program("logits " MODEL " --ids 1 -o test_cli.out >&-"), 0);
    assert_int_equal(program("logits " MODEL " --ids 1 -o test_cli.out --stats 2>&-"), 74);
    unlink("test_cli.out");
    assert_int_equal(program("tokenize " MODEL " <&-"), 74);
    assert_string_equal(printed, "terse: cannot read stdin: Bad file descriptor\n");
    assert_int_equal(program("run " MODEL " -p x -n 1 >&-"), 74);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_of_every_kind),
        cmocka_unit_test(arguments_stay),
        cmocka_unit_test(wrong_lines_are_refused),
        cmocka_unit_test(ignored_options_leave_a_note),
        cmocka_unit_test(the_environment_comes_first),
        cmocka_unit_test(help_is_made_from_the_tables),
        cmocka_unit_test(shared_groups_agree),
        cmocka_unit_test(help_knows_the_rules),
        cmocka_unit_test(shared_names_are_unique),
        cmocka_unit_test(isa_comes_from_the_environment),
        cmocka_unit_test(text_cannot_steer_the_terminal),
        cmocka_unit_test(progress_fits_its_line),
        cmocka_unit_test(no_progress_in_a_log),
        cmocka_unit_test(first_interrupt_sets_the_flag),
        cmocka_unit_test(the_program_explains_itself),
        cmocka_unit_test(every_command_explains_itself),
        cmocka_unit_test(lost_output_is_an_error),
        cmocka_unit_test(folders_are_no_texts),
        cmocka_unit_test(closed_streams_stay_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
