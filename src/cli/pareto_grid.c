/* cli/pareto_grid.c: see the header. */
#include "pareto_grid.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { STOPS = 8 };

#define SHARES                                                                                                 \
    {                                                                                                          \
        "budget:share=0.05", "budget:share=0.1", "budget:share=0.2", "budget:share=0.3", "budget:share=0.5",   \
            "budget:share=0.7"                                                                                 \
    }

static const struct {
    terse_grid_family family;
    const char *policy, *stop[STOPS];
} rows[] = {
    { { "dense", TERSE_REFERENCE, "everything is read" }, "dense", { "none" } },
    { { "sinks + newest pages", TERSE_FLOOR, "StreamingLLM at a share of the pages" },
      "dense:order=newest",
      SHARES },
    { { "random pages", TERSE_FLOOR, "sinks, recent window, then pages drawn at random" },
      "dense:order=random",
      SHARES },
    { { "Quest", TERSE_FLOOR, "pages by the boxes of their keys, a share of them" },
      "dense:order=box",
      SHARES },
    { { "oracle, top pages", TERSE_CEILING, "pages by their true shares, known for free" },
      "dense:order=oracle",
      SHARES },
    { { "oracle, top-p", TERSE_CEILING, "the same, until the true rest is small" },
      "dense:order=oracle",
      { "mass:delta=0.002,floor=0", "mass:delta=0.005,floor=0", "mass:delta=0.01,floor=0",
        "mass:delta=0.02,floor=0", "mass:delta=0.05,floor=0", "mass:delta=0.1,floor=0" } },
    { { "mass", TERSE_METHOD, "pages by estimated share, until the estimated rest is small" },
      "dense",
      { "mass:delta=0.001", "mass:delta=0.002", "mass:delta=0.004", "mass:delta=0.01", "mass:delta=0.02",
        "mass:delta=0.05", "mass:delta=0.1" } },
    { { "mass + value-share", TERSE_METHOD, "and without values of tokens with small exact shares" },
      "dense",
      { "mass:delta=0.001+value-share:left=0.002", "mass:delta=0.002+value-share:left=0.004",
        TERSE_QUALITY_SAFE, "mass:delta=0.008+value-share:left=0.014", TERSE_QUALITY_FAST,
        "mass:delta=0.05+value-share:left=0.1" } },
    { { "mass + key-share + value-share", TERSE_METHOD,
        "and without channels of keys in pages with small shares" },
      "dense",
      { "mass:delta=0.005+key-share:left=0.0007+value-share:left=0.006",
        "mass:delta=0.01+key-share:left=0.003+value-share:left=0.024",
        "mass:delta=0.03+key-share:left=0.01+value-share:left=0.05" } },
    { { "value-skip", TERSE_METHOD, "all keys, values while the error is proved to be small" },
      "dense",
      { "value-skip:eps=0.03", "value-skip:eps=0.1", "value-skip:eps=0.3" } },
    { { "certified", TERSE_METHOD, "until boxes of the keys prove that the error is small" },
      "dense",
      { "certified:eps=0.1", "certified:eps=0.5" } },
    { { "ART, first to last", TERSE_METHOD, "stability of the output, as published" },
      "dense:order=oldest",
      { "stability", "stability:tau=1e-3", "stability:tau=1e-2" } },
    { { "ART, newest first", TERSE_METHOD, "the same, sinks and the newest pages first" },
      "dense:order=newest",
      { "stability", "stability:tau=1e-4", "stability:tau=1e-3", "stability:tau=1e-2" } },
    { { "ART, by mass", TERSE_METHOD, "the same, pages by estimated share" },
      "dense:order=mass",
      { "stability:tau=1e-4", "stability:tau=1e-3", "stability:tau=1e-2" } },
    { { "weight", TERSE_METHOD, "until pages have next to no share" },
      "dense",
      { "weight:tau=1e-5", "weight:tau=1e-4", "weight:tau=1e-3" } },
};
enum { N_ROWS = sizeof rows / sizeof *rows };

/* Settings that are looked at head by head. */
static const char *const mapped[][2] = {
    { "dense:order=box", "budget:share=0.2" },
    { "dense:order=oracle", "mass:delta=0.02,floor=0" },
    { "dense:order=newest", "stability:tau=1e-3" },
    { "dense", "value-skip:eps=0.1" },
};

static void add(terse_grid *g, int32_t family, const char *policy, const char *stop)
{
    assert(g->n < TERSE_MAX_SETTINGS);
    terse_grid_setting s = { .family = family };
    if (strcmp(policy, "dense") == 0)
        s.label = strcmp(stop, TERSE_QUALITY_SAFE) == 0   ? "safe"
                  : strcmp(stop, TERSE_QUALITY_FAST) == 0 ? "fast"
                                                          : NULL;
    s.map = s.label != NULL;
    for (size_t i = 0; i < sizeof mapped / sizeof *mapped; i++)
        s.map |= strcmp(policy, mapped[i][0]) == 0 && strcmp(stop, mapped[i][1]) == 0;
    g->rule[g->n] = (terse_eval_rule){ .policy = policy, .stop = stop };
    g->setting[g->n++] = s;
}

void terse_grid_default(terse_grid *g)
{
    g->n = g->n_family = 0;
    for (int32_t i = 0; i < N_ROWS; i++) {
        g->family[g->n_family++] = rows[i].family;
        for (int32_t s = 0; s < STOPS && rows[i].stop[s]; s++)
            add(g, i, rows[i].policy, rows[i].stop[s]);
    }
}

/* "mass + value-share" of "mass:delta=0.1+value-share", with the policy before it unless that is plain. */
static void name_family(char name[64], const terse_eval_rule *r)
{
    const char *policy = r->policy ? r->policy : "dense", *stop = r->stop ? r->stop : "none";
    size_t n = 0;
    bool skip = false;
    name[0] = '\0';
    if (strcmp(policy, "dense") != 0)
        n = (size_t)snprintf(name, 64, "%.30s, ", policy);
    for (const char *p = stop; *p && n < 60; p++) {
        if (*p == '+' && !(p[1] >= '0' && p[1] <= '9')) {
            skip = false;
            memcpy(name + n, " + ", 3);
            n += 3;
            continue;
        }
        skip |= *p == ':';
        if (!skip)
            name[n++] = *p;
    }
    name[n] = '\0';
}

void terse_grid_given(terse_grid *g, const terse_rules *rules)
{
    g->n = g->n_family = 0;
    g->family[g->n_family++] = rows[0].family;
    add(g, 0, rows[0].policy, rows[0].stop[0]);
    for (int32_t r = 0; r < rules->n; r++) {
        char name[64];
        int32_t f = 1;
        name_family(name, &rules->rule[r]);
        while (f < g->n_family && strcmp(g->family[f].name, name) != 0)
            f++;
        if (f == g->n_family) {
            memcpy(g->name[f], name, sizeof name);
            g->family[g->n_family++] = (terse_grid_family){ .name = g->name[f], .role = TERSE_METHOD };
        }
        add(g, f, rules->rule[r].policy ? rules->rule[r].policy : "dense",
            rules->rule[r].stop ? rules->rule[r].stop : "none");
        g->setting[g->n - 1].map = r < 6;
    }
}

const char *terse_grid_role_name(terse_grid_role role)
{
    static const char *const names[] = { "reference", "floor", "ceiling", "method" };
    return names[role];
}
