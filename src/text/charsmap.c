/* text/charsmap.c: see charsmap.h. A unit of the double array (Yata's darts-clone) holds in bits 0 to 7 and 31
 * the byte that leads to it, in bit 8 whether a sequence ends here, in bits 10 to 30 where its children are,
 * times 256 if bit 9 is set. Child c of a unit is at its own place XOR that offset XOR c; child 0 holds the
 * value in 31 bits. */
#include "text/charsmap.h"

#include <string.h>

/* No sequence of the field's tables is longer than 20 bytes. A table made to lead in a circle ends here. */
enum { MAX_SEQUENCE = 256 };

/* A place outside of the table leads nowhere: no byte has this label, no text this number. */
static uint32_t unit_at(const terse_charsmap *c, size_t i)
{
    uint32_t unit = UINT32_MAX;
    if (i < c->n)
        memcpy(&unit, c->units + i * sizeof unit, sizeof unit);
    return unit;
}

static size_t children_of(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & (1u << 9)) >> 6);
}

bool terse_charsmap_open(terse_charsmap *c, const uint8_t *blob, size_t size)
{
    uint32_t units_size;
    if (size < sizeof units_size)
        return false;
    memcpy(&units_size, blob, sizeof units_size);
    const size_t rest = size - sizeof units_size;
    if (units_size > rest || units_size % sizeof(uint32_t) != 0 || units_size == 0)
        return false;
    *c = (terse_charsmap){ .units = blob + sizeof units_size, .n = units_size / sizeof(uint32_t) };
    c->texts = (const char *)c->units + units_size;
    c->texts_size = rest - units_size;
    return c->texts_size > 0 && c->texts[c->texts_size - 1] == '\0';
}

size_t terse_charsmap_find(const terse_charsmap *c, terse_str text, terse_str *to)
{
    size_t found = 0, at = c->n > 0 ? children_of(unit_at(c, 0)) : 0;
    for (size_t i = 0; c->n > 0 && i < text.n && i < MAX_SEQUENCE; i++) {
        const uint8_t byte = (uint8_t)text.p[i];
        at ^= byte;
        const uint32_t unit = unit_at(c, at);
        if (byte == 0 || (unit & (1u << 31 | 0xFF)) != byte)
            break;
        at ^= children_of(unit);
        if (!(unit >> 8 & 1))
            continue;
        const size_t value = unit_at(c, at) & ~(1u << 31);
        if (value >= c->texts_size)
            break;
        *to = (terse_str){ c->texts + value, strlen(c->texts + value) };
        found = i + 1;
    }
    return found;
}
