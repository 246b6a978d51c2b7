/* cli/nearest.c: the edit distance counts insertions, deletions, changes and swaps of neighbours (Damerau 1964,
 * each place edited once). */
#include "nearest.h"

#include <string.h>

enum { MAX_WORD = 48 }; /* longer words are not misspelt names of ours */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t edit_distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t d[MAX_WORD + 1][MAX_WORD + 1];
    for (size_t i = 0; i <= n_a; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= n_b; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n_a; i++)
        for (size_t j = 1; j <= n_b; j++) {
            const size_t change = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            d[i][j] = least(change, least(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[n_a][n_b];
}

void terse_nearest_offer(terse_nearest *n, const char *known, size_t n_known)
{
    const size_t n_word = strlen(n->word), n_dash = strspn(n->word, "-");
    if (n_word > MAX_WORD || n_known > MAX_WORD)
        return;
    const size_t distance = edit_distance(n->word, n_word, known, n_known);
    /* One slip in two letters, two in five: more is another word. */
    if (distance > (n_word - n_dash + 1) / 3 || (n->best && distance >= n->distance))
        return;
    n->best = known;
    n->n_best = n_known;
    n->distance = distance;
}
