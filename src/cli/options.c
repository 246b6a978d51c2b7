/* cli/options.c: finds options in argv and the environment, and stores their values. The command line is read
 * twice: first only to see whether help is asked for, so that help shows defaults and not what was set. */
#include "options.h"

#include "nearest.h"
#include "options_help.h"
#include "terminal.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    bool help, version;
} common_values;

static const terse_option common_options[] = {
    { "-h --help", TERSE_OPTION_ON, offsetof(common_values, help), .help = "show this help" },
    { "-v --version", TERSE_OPTION_ON, offsetof(common_values, version), .help = "show the version" },
};

typedef struct {
    terse_option_group groups[TERSE_MAX_GROUPS + 1]; /* the command's, then the common one */
    int32_t n_group;
    common_values common;
} parser;

/* An option as the command line or the environment gave it. */
typedef struct {
    const terse_option *option;
    const terse_option_group *group;
    const char *name; /* as it was written, for messages */
    size_t n_name;
    const char *value; /* NULL: none */
} setting;

const char *terse_next_word(const char **list, size_t *n)
{
    const char *word = *list + strspn(*list, " ");
    *n = strcspn(word, " ");
    *list = word + *n;
    return word;
}

static bool in_list(const char *list, const char *word, size_t n_word)
{
    size_t n;
    for (const char *w; w = terse_next_word(&list, &n), n > 0;)
        if (n == n_word && memcmp(w, word, n) == 0)
            return true;
    return false;
}

static bool find_option(const parser *p, const char *name, size_t n_name, setting *s)
{
    for (int32_t g = 0; g < p->n_group; g++)
        for (int32_t i = 0; i < p->groups[g].n_option; i++)
            if (in_list(p->groups[g].options[i].names, name, n_name)) {
                *s = (setting){ &p->groups[g].options[i], &p->groups[g], name, n_name, NULL };
                return true;
            }
    return false;
}

static bool unknown_option(const parser *p, const char *arg, size_t n_name)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(n_name < sizeof name ? n_name : sizeof name - 1), arg);
    terse_nearest nearest = { .word = name };
    for (int32_t g = 0; g < p->n_group; g++)
        for (int32_t i = 0; i < p->groups[g].n_option; i++) {
            size_t n;
            const char *list = p->groups[g].options[i].names;
            for (const char *w; w = terse_next_word(&list, &n), n > 0;)
                terse_nearest_offer(&nearest, w, n);
        }
    if (nearest.best)
        terse_complain("unknown option %s; did you mean %.*s?", name, (int)nearest.n_best, nearest.best);
    else
        terse_complain("unknown option %s; --help lists them", name);
    return false;
}

static bool wrong_value(const setting *s, const char *what)
{
    terse_complain("%.*s: \"%.80s\" is not %s", (int)s->n_name, s->name, s->value, what);
    return false;
}

static bool in_range(const setting *s, double x)
{
    const terse_option *o = s->option;
    if ((o->min == 0 && o->max == 0) || (x >= o->min && x <= o->max))
        return true;
    if (o->max >= FLT_MAX)
        terse_complain("%.*s: %s is below %.10g", (int)s->n_name, s->name, s->value, o->min);
    else
        terse_complain("%.*s: %s is not within %.10g .. %.10g", (int)s->n_name, s->name, s->value, o->min,
                       o->max);
    return false;
}

static bool store_bool(const setting *s, bool *to)
{
    const bool means = s->option->kind == TERSE_OPTION_ON;
    const char *v = s->value;
    const size_t n = v ? strlen(v) : 0;
    if (!v || in_list("1 on true yes", v, n))
        *to = means;
    else if (in_list("0 off false no", v, n))
        *to = !means;
    else
        return wrong_value(s, "on or off");
    return true;
}

static bool store_int(const setting *s, int32_t *to)
{
    char *end;
    errno = 0;
    const long long x = strtoll(s->value, &end, 10);
    if (end == s->value || *end)
        return wrong_value(s, "a whole number");
    if (errno || x < INT32_MIN || x > INT32_MAX)
        return wrong_value(s, "a number of 32 bits");
    if (!in_range(s, (double)x))
        return false;
    *to = (int32_t)x;
    return true;
}

static bool store_float(const setting *s, float *to)
{
    char *end;
    const double x = strtod(s->value, &end);
    if (end == s->value || *end || !(fabs(x) <= (double)FLT_MAX)) /* NaN and infinities are none either */
        return wrong_value(s, "a number");
    if (!in_range(s, x))
        return false;
    *to = (float)x;
    return true;
}

static bool store_size(const setting *s, size_t *to)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long x = strtoull(s->value, &end, 10);
    if (!isdigit((unsigned char)s->value[0]))
        return wrong_value(s, "a size like 512M");
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    bool overflow = errno != 0;
    if (unit) {
        overflow |= __builtin_mul_overflow(x, 1ull << 10 * (unit - units + 1), &x);
        end += strncmp(end + 1, "iB", 2) == 0 ? 3 : 1;
    }
    if (*end)
        return wrong_value(s, "a size like 512M");
    if (overflow || x > SIZE_MAX)
        return wrong_value(s, "a size that memory could have");
    if (!in_range(s, (double)x))
        return false;
    *to = (size_t)x;
    return true;
}

static bool store_seed(const setting *s, uint64_t *to)
{
    char *end;
    errno = 0;
    const unsigned long long x = strtoull(s->value, &end, 10);
    if (strcmp(s->value, "-1") == 0)
        *to = UINT64_MAX;
    else if (!isdigit((unsigned char)s->value[0]) || *end || errno)
        return wrong_value(s, "a seed (0 .. 18446744073709551615, or -1)");
    else
        *to = x;
    return true;
}

static bool store_string(const setting *s, const char **to)
{
    const char *choices = s->option->choices;
    if (choices && !in_list(choices, s->value, strlen(s->value))) {
        terse_complain("%.*s: \"%.80s\" is none of: %s", (int)s->n_name, s->name, s->value, choices);
        return false;
    }
    *to = s->value;
    return true;
}

static bool store(const setting *s)
{
    void *to = s->group->values ? (char *)s->group->values + s->option->at : NULL;
    switch (s->option->kind) {
    case TERSE_OPTION_ON:
    case TERSE_OPTION_OFF:
        return store_bool(s, to);
    case TERSE_OPTION_INT:
        return store_int(s, to);
    case TERSE_OPTION_FLOAT:
        return store_float(s, to);
    case TERSE_OPTION_STRING:
        return store_string(s, to);
    case TERSE_OPTION_SIZE:
        return store_size(s, to);
    case TERSE_OPTION_SEED:
        return store_seed(s, to);
    case TERSE_OPTION_IGNORED:
        terse_complain("note: %.*s is ignored: %s", (int)s->n_name, s->name, s->option->help);
        return true;
    }
    return false;
}

/* Whether the option needs a word after it; an IGNORED one takes what it knows and leaves the rest. */
static bool takes_next(const terse_option *o, const char *next)
{
    if (o->kind == TERSE_OPTION_ON || o->kind == TERSE_OPTION_OFF)
        return false;
    if (o->kind == TERSE_OPTION_IGNORED)
        return o->choices ? next && in_list(o->choices, next, strlen(next)) : o->value != NULL;
    return true;
}

/* The option at argv[*i], with *i moved on to the last word it uses. */
static bool read_option(const parser *p, int argc, char **argv, int *i, setting *s)
{
    const char *arg = argv[*i], *next = *i + 1 < argc ? argv[*i + 1] : NULL;
    const size_t n_name = strcspn(arg, "=");
    setting other;
    if (!find_option(p, arg, n_name, s))
        return unknown_option(p, arg, n_name);
    if (arg[n_name] == '=') {
        s->value = arg + n_name + 1;
        return true;
    }
    if (!takes_next(s->option, next))
        return true;
    if (!next) {
        terse_complain("%s needs a value", arg);
        return false;
    }
    if (find_option(p, next, strlen(next), &other)) { /* nearly always a value that was forgotten */
        terse_complain("%s needs a value, and %s is an option; write %s=%s if you mean it", arg, next, arg,
                       next);
        return false;
    }
    s->value = next;
    ++*i;
    return true;
}

/* Reads the command line. look: stores what is common to all commands only, and leaves argv as it is. */
static bool read_line(parser *p, int *argc, char **argv, int32_t max_args, bool look)
{
    int n_arg = 1;
    bool only_args = false;
    for (int i = 1; i < *argc; i++) {
        char *arg = argv[i];
        setting s;
        if (!only_args && strcmp(arg, "--") == 0) {
            only_args = true;
        } else if (only_args || arg[0] != '-' || !arg[1]) {
            if (n_arg > max_args) {
                terse_complain("unexpected argument \"%.80s\"", arg);
                return false;
            }
            if (!look)
                argv[n_arg] = arg;
            n_arg++;
        } else if (!read_option(p, *argc, argv, &i, &s)) {
            return false;
        } else if ((s.group->values == &p->common) == look && !store(&s)) {
            return false;
        }
    }
    if (!look)
        *argc = n_arg;
    return true;
}

/* Stores TERSE_ARG_<LONG_NAME> of every long name; an empty variable counts as none. */
static bool read_environment(const parser *p)
{
    for (int32_t g = 0; g < p->n_group - 1; g++) /* not the common ones */
        for (int32_t i = 0; i < p->groups[g].n_option; i++) {
            const terse_option *o = &p->groups[g].options[i];
            const char *list = o->names;
            size_t n;
            for (const char *w; w = terse_next_word(&list, &n), n > 0;) {
                char name[80] = "TERSE_ARG_";
                size_t k = strlen(name);
                for (size_t c = 2; c < n && k + 1 < sizeof name; c++)
                    name[k++] = w[c] == '-' ? '_' : (char)toupper((unsigned char)w[c]);
                const char *value = n > 2 && w[1] == '-' ? getenv(name) : NULL;
                const setting s = { o, &p->groups[g], name, k, value };
                if (value && *value && !store(&s))
                    return false;
            }
        }
    return true;
}

int terse_options_parse(const terse_options *o, int *argc, char **argv)
{
    parser p = { .n_group = o->n_group + 1 };
    assert(o->n_group <= TERSE_MAX_GROUPS);
    for (int32_t g = 0; g < o->n_group; g++)
        p.groups[g] = o->groups[g];
    p.groups[o->n_group] = (terse_option_group){ "other", common_options, 2, &p.common };
    if (!read_line(&p, argc, argv, o->max_args, true))
        return 2;
    if (p.common.help) {
        terse_options_help(o, p.groups, p.n_group);
        return 0;
    }
    if (p.common.version) {
        printf("terse %s\n", terse_version());
        return 0;
    }
    return read_environment(&p) && read_line(&p, argc, argv, o->max_args, false) ? TERSE_GO_ON : 2;
}
