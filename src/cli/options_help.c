/* cli/options_help.c: names in a left column, text wrapped in a right one. */
#include "options_help.h"

#include "terminal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LEFT = 30, MIN_WIDTH = 60, MAX_WIDTH = 100 };

typedef struct {
    char p[1024];
    size_t n;
} text;

/* What does not fit is cut. */
TERSE_PRINTF(2, 3) static void add(text *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(t->p + t->n, sizeof t->p - t->n, fmt, ap);
    va_end(ap);
    if (n > 0)
        t->n = t->n + (size_t)n < sizeof t->p ? t->n + (size_t)n : sizeof t->p - 1;
}

/* Prints the words of s from column at on, with indent before further lines. */
static void print_wrapped(const char *s, size_t at, size_t indent, size_t width)
{
    bool fresh = true; /* nothing on this line yet */
    size_t n;
    for (const char *w; w = terse_next_word(&s, &n), n > 0;) {
        if (!fresh && at + 1 + n > width) {
            printf("\n%*s", (int)indent, "");
            at = indent;
            fresh = true;
        }
        printf("%s%.*s", fresh ? "" : " ", (int)n, w);
        at += n + !fresh;
        fresh = false;
    }
    putchar('\n');
}

static void add_size(text *t, size_t x)
{
    static const char units[] = "KMGT";
    int u = 0;
    while (x && x % 1024 == 0 && units[u]) {
        x /= 1024;
        u++;
    }
    add(t, "%zu", x);
    if (u)
        add(t, "%c", units[u - 1]);
}

static void add_default(text *t, const terse_option *o, const void *values)
{
    if (o->kind == TERSE_OPTION_IGNORED)
        return;
    const void *at = (const char *)values + o->at;
    if (o->preset) {
        add(t, " (default: %s)", o->preset);
        return;
    }
    switch (o->kind) {
    case TERSE_OPTION_INT:
        add(t, " (default: %d)", *(const int32_t *)at);
        break;
    case TERSE_OPTION_FLOAT:
        add(t, " (default: %g)", (double)*(const float *)at);
        break;
    case TERSE_OPTION_SIZE:
        add(t, " (default: ");
        add_size(t, *(const size_t *)at);
        add(t, ")");
        break;
    case TERSE_OPTION_SEED:
        add(t, " (default: %llu)", (unsigned long long)*(const uint64_t *)at);
        break;
    case TERSE_OPTION_STRING:
        if (*(const char *const *)at)
            add(t, " (default: %s)", *(const char *const *)at);
        break;
    default: /* a flag is off by default, or its text says more than "on" would */
        break;
    }
}

static void print_option(const terse_option *o, const void *values, size_t width)
{
    text left = { .n = 0 }, right = { .n = 0 };
    const char *list = o->names;
    size_t n;
    add(&left, "  ");
    for (const char *w; w = terse_next_word(&list, &n), n > 0;)
        add(&left, "%s%.*s", left.n > 2 ? ", " : "", (int)n, w);
    if (o->kind == TERSE_OPTION_IGNORED && o->choices)
        add(&left, " [%s]", o->value ? o->value : "VALUE");
    else if (o->value)
        add(&left, " %s", o->value);
    add(&right, "%s%s", o->kind == TERSE_OPTION_IGNORED ? "ignored: " : "", o->help);
    if (o->kind == TERSE_OPTION_STRING && o->choices)
        add(&right, "; one of: %s", o->choices);
    add_default(&right, o, values);
    if (left.n + 2 > LEFT)
        printf("%s\n%*s", left.p, LEFT, "");
    else
        printf("%-*s", LEFT, left.p);
    print_wrapped(right.p, LEFT, LEFT, width);
}

void terse_options_help(const terse_options *o, const terse_option_group *groups, int32_t n_group)
{
    const int32_t columns = terse_terminal_width(STDOUT_FILENO);
    const size_t width = columns < MIN_WIDTH ? MIN_WIDTH : columns > MAX_WIDTH ? MAX_WIDTH : (size_t)columns;
    printf("usage: terse %s\n", o->usage);
    print_wrapped(o->about, 0, 0, width);
    for (int32_t g = 0; g < n_group; g++) {
        printf("\n%s:\n", groups[g].title);
        for (int32_t i = 0; i < groups[g].n_option; i++)
            print_option(&groups[g].options[i], groups[g].values, width);
    }
    printf("\nThe environment sets options too: --some-name VALUE is TERSE_ARG_SOME_NAME=VALUE there.\n");
}
