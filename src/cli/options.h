/* cli/options.h: one parser for the options of all commands. An option is a row of a table; rows come in groups
 * that commands share; a group writes into a struct of its own. What the struct holds before the parse is the
 * default, for the help text too.
 *
 *   --name VALUE   --name=VALUE   -n VALUE   --   (only arguments follow)
 *
 * The environment comes first: TERSE_ARG_TOP_K=20 is --top-k 20, and a command line that says otherwise wins.
 */
#ifndef TERSE_CLI_OPTIONS_H
#define TERSE_CLI_OPTIONS_H

#include "terse/base.h"

typedef enum {
    TERSE_OPTION_ON,      /* bool: becomes true, no value needed */
    TERSE_OPTION_OFF,     /* bool: becomes false, no value needed */
    TERSE_OPTION_INT,     /* int32_t */
    TERSE_OPTION_FLOAT,   /* float */
    TERSE_OPTION_STRING,  /* const char *, borrowed from argv or the environment */
    TERSE_OPTION_SIZE,    /* size_t, bytes: "64M"; K M G T are powers of 1024 */
    TERSE_OPTION_SEED,    /* uint64_t; -1 gives UINT64_MAX */
    TERSE_OPTION_IGNORED, /* other programs have it; one note on stderr says why it does nothing here (help) */
} terse_option_kind;

typedef struct {
    const char *names; /* separated by blanks, short ones first: "-n --predict --n-predict" */
    terse_option_kind kind;
    size_t at;         /* offsetof the value in the group's struct */
    double min, max;   /* of INT, FLOAT, SIZE; both 0: whatever the type holds */
    const char *value; /* what help calls the value: "N" */
    const char
        *choices; /* of STRING: the words allowed, separated by blanks. IGNORED: the value may be left out */
    const char *preset; /* what help says of the default in place of the value itself */
    const char *help;
} terse_option;

typedef struct {
    const char *title;
    const terse_option *options;
    int32_t n_option;
    void *values; /* the struct that the options write into; NULL if all are IGNORED */
} terse_option_group;

/* What a command accepts. --help and --version are always there. */
typedef struct {
    const char *usage; /* "run [MODEL] [OPTION]..." */
    const char *about; /* a sentence or two */
    const terse_option_group *groups;
    int32_t n_group;  /* at most TERSE_MAX_GROUPS */
    int32_t max_args; /* arguments that are no options */
} terse_options;
enum { TERSE_MAX_GROUPS = 12, TERSE_GO_ON = -1 };

/* Reads the environment and argv[1..]. Returns TERSE_GO_ON, with the arguments that are no options in
 * argv[1 .. *argc-1]; or the exit code with which the command ends at once (0: help or version was asked for
 * and printed, 2: wrong usage, told on stderr). */
int terse_options_parse(const terse_options *o, int *argc, char **argv);

/* Takes the next word off a list that is separated by blanks; n is its length, 0 at the end. */
const char *terse_next_word(const char **list, size_t *n);

#endif
