/* cli/pareto_grid.h: the settings that terse eval pareto compares. A family is one method at several strengths:
 * a curve. */
#ifndef TERSE_CLI_PARETO_GRID_H
#define TERSE_CLI_PARETO_GRID_H

#include "rules.h"

typedef enum { TERSE_REFERENCE, TERSE_FLOOR, TERSE_CEILING, TERSE_METHOD } terse_grid_role;

typedef struct {
    const char *name;
    terse_grid_role role;
    const char *about; /* a few words; NULL: the name says it */
} terse_grid_family;

typedef struct {
    int32_t family;
    const char *label; /* short name of a setting that has one, or NULL */
    bool map;          /* worth a look at its layers and heads */
} terse_grid_setting;

enum { TERSE_MAX_SETTINGS = 1 + TERSE_MAX_RULES, TERSE_MAX_FAMILIES = TERSE_MAX_SETTINGS };

/* Dense attention comes first. */
typedef struct {
    terse_eval_rule rule[TERSE_MAX_SETTINGS]; /* of the i-th setting; all strings live as long as the program or
                                                 what they were made from */
    terse_grid_setting setting[TERSE_MAX_SETTINGS];
    terse_grid_family family[TERSE_MAX_FAMILIES];
    char name[TERSE_MAX_FAMILIES][64]; /* of families that were given */
    int32_t n, n_family;
} terse_grid;

/* The whole grid: floors, ceilings, every rule at several strengths. */
void terse_grid_default(terse_grid *g);
/* Dense attention and the rules that were asked for; a family is a policy with the names of its rules. */
void terse_grid_given(terse_grid *g, const terse_rules *rules);
/* "floor" */
const char *terse_grid_role_name(terse_grid_role role);

#endif
