/* cli/main.c: terse COMMAND ...: finds the command, runs it, and sees to it that what it wrote has arrived. */
#include "commands.h"
#include "nearest.h"
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *about;
} command;

static const command commands[] = {
    { "run", terse_cmd_run, "answer a prompt or chat" },
    { "bench", terse_cmd_bench, "measure the speed of prompts and generation" },
    { "eval", terse_cmd_eval, "measure what stop rules cost in quality, beside the bytes" },
    { "calibrate", terse_cmd_calibrate, "make a profile of how far each head may go" },
    { "inspect", terse_cmd_inspect, "show what is in a GGUF file" },
    { "logits", terse_cmd_logits, "write the logits of a sequence of tokens" },
    { "quantize", terse_cmd_quantize, "write a model with its weights in other types" },
    { "record", terse_cmd_record, "keep what attention works on" },
    { "replay", terse_cmd_replay, "try stop rules on what was kept, without the model" },
    { "template", terse_cmd_template, "show a conversation as the chat template writes it" },
    { "tokenize", terse_cmd_tokenize, "turn text into token ids and back" },
    { NULL, NULL, NULL },
};

static void print_help(FILE *out)
{
    fprintf(out, "usage: terse COMMAND [ARGUMENT]...\n"
                 "Runs quantized language models on CPUs.\n\ncommands:\n");
    for (const command *c = commands; c->name; c++)
        fprintf(out, "  %-12s%s\n", c->name, c->about);
    fprintf(out, "\n  terse help COMMAND   what a command does and its options\n"
                 "  terse --version      the version\n\n"
                 "exit codes: 0 done, 1 the work failed, 2 usage or bad input, 70 internal, 71 memory,\n"
                 "            74 input/output, 130 interrupted\n");
}

static const command *find_command(const char *name)
{
    terse_nearest nearest = { .word = name };
    for (const command *c = commands; c->name; c++) {
        if (strcmp(c->name, name) == 0)
            return c;
        terse_nearest_offer(&nearest, c->name, strlen(c->name));
    }
    terse_nearest_offer(&nearest, "help", 4);
    terse_nearest_offer(&nearest, "version", 7);
    if (nearest.best)
        terse_complain("unknown command \"%.80s\"; did you mean %s?", name, nearest.best);
    else
        terse_complain("unknown command \"%.80s\"; terse --help lists them", name);
    return NULL;
}

static int run(int argc, char **argv)
{
    static const char *const help[] = { "help", "--help", "-h" }, *const version[] = { "version", "--version",
                                                                                       "-v" };
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    bool wants_help = false;
    for (int i = 0; i < 3; i++) {
        if (strcmp(argv[1], version[i]) == 0) {
            printf("terse %s\n", terse_version());
            return 0;
        }
        wants_help |= strcmp(argv[1], help[i]) == 0;
    }
    if (wants_help && argc == 2) {
        print_help(stdout);
        return 0;
    }
    const command *c = find_command(argv[wants_help ? 2 : 1]);
    if (!c)
        return 2;
    if (wants_help && argc > 3) {
        terse_complain("unexpected argument \"%.80s\"", argv[3]);
        return 2;
    }
    if (wants_help) {
        char name[32], option[] = "--help", *args[] = { name, option, NULL };
        snprintf(name, sizeof name, "%s", c->name);
        return c->run(2, args);
    }
    return c->run(argc - 1, argv + 1);
}

/* A stream that is closed gets a file that can only be used the other way round: its use is still an error, but
 * no file of ours takes its number and then what was meant for the stream. */
static void fill_closed_streams(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0)
            return; /* without /dev/null there is nothing to put there */
}

int main(int argc, char **argv)
{
    fill_closed_streams();
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is a write error, and told as one */
    const int code = run(argc, argv);
    const bool failed = ferror(stdout) != 0;
    errno = 0;
    if (fclose(stdout) == 0 && !failed)
        return code;
    terse_complain("cannot write to stdout%s%s", errno ? ": " : "", errno ? strerror(errno) : "");
    return code == 0 ? 74 : code;
}
