/* base/cgroup.c: the CPU quota and the memory limit of the process's cgroup. /proc/self/cgroup names the group
 * within each hierarchy, /proc/self/mountinfo tells where the hierarchy is mounted and which group is that
 * mount's top. A limit binds all groups below it, so every level from the group up to the mount is read and the
 * tightest one counts. Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1. */
#include "base/topology.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *open_below(const char *root, const char *dir, const char *name)
{
    char path[PATH_MAX];
    const int n = snprintf(path, sizeof path, "%s%s/%s", root, dir, name);
    return n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
}

/* Up to two words of a quota file: numbers, where -1 stands for anything else ("max"). */
static void read_quota(const char *root, const char *dir, const char *name, long long v[2])
{
    char word[2][24];
    FILE *f = open_below(root, dir, name);
    v[0] = v[1] = -1;
    if (!f)
        return;
    const int n = fscanf(f, "%23s %23s", word[0], word[1]);
    for (int i = 0; i < n; i++) {
        char *end;
        const long long x = strtoll(word[i], &end, 10);
        if (*end == '\0' && end != word[i])
            v[i] = x;
    }
    fclose(f);
}

/* What one group allows; INT64_MAX: it has no limit. */
typedef int64_t group_fn(const char *root, const char *dir, bool v2);

/* Whole CPUs. */
static int64_t group_cpus(const char *root, const char *dir, bool v2)
{
    long long quota[2], period[2];
    if (v2) {
        read_quota(root, dir, "cpu.max", quota); /* "200000 100000" or "max 100000" */
        period[0] = quota[1];
    } else {
        read_quota(root, dir, "cpu.cfs_quota_us", quota);
        read_quota(root, dir, "cpu.cfs_period_us", period);
    }
    if (quota[0] <= 0 || period[0] <= 0)
        return INT64_MAX;
    const long long cpus = quota[0] / period[0];
    return cpus < 1 ? 1 : cpus;
}

/* Bytes of memory. Above memory.high a group is slowed down until it hardly moves, so that counts as well. v1
 * writes the largest number of pages for "no limit". */
static int64_t group_bytes(const char *root, const char *dir, bool v2)
{
    static const char *const names[2] = { "memory.max", "memory.high" };
    int64_t least = INT64_MAX;
    for (int i = 0; i < (v2 ? 2 : 1); i++) {
        long long v[2];
        read_quota(root, dir, v2 ? names[i] : "memory.limit_in_bytes", v);
        if (v[0] >= 0 && v[0] < LLONG_MAX / 2 && v[0] < least)
            least = v[0];
    }
    return least;
}

static bool has_word(const char *list, const char *word)
{
    const size_t n = strlen(word);
    for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
        if (strcspn(p, ",") == n && memcmp(p, word, n) == 0)
            return true;
    return false;
}

/* The group of this process in the v2 hierarchy ("0::/a/b") or in v1's that has the controller
 * ("4:cpu,cpuacct:/a/b"). */
static bool find_group(const char *root, const char *controller, bool v2, char group[PATH_MAX])
{
    bool found = false;
    char *line = NULL;
    size_t cap = 0;
    FILE *f = open_below(root, "/proc/self", "cgroup");
    if (!f)
        return false;
    while (!found && getline(&line, &cap, f) > 0) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        controllers++;
        found = (v2 ? *controllers == '\0' : has_word(controllers, controller)) && strlen(path) < PATH_MAX;
        if (found)
            strcpy(group, path);
    }
    free(line);
    fclose(f);
    return found;
}

/* mountinfo writes blanks, tabs, newlines and backslashes as \ooo. */
static void unescape(char *s)
{
    char *out = s;
    while (*s) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
            s[3] <= '7') {
            *out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            s += 4;
        } else {
            *out++ = *s++;
        }
    }
    *out = '\0';
}

typedef struct {
    char *top;  /* the group that is mounted */
    char *dir;  /* where */
    bool is_v2; /* else it is v1 with the controller */
} mount;

/* "36 35 0:30 /top /dir rw,relatime shared:1 - cgroup cgroup rw,cpu": optional fields end at the lone "-". */
static bool parse_mount(char *line, const char *controller, mount *m)
{
    char *field[6], *save = NULL;
    line[strcspn(line, "\n")] = '\0';
    char *tail = strstr(line, " - ");
    if (!tail)
        return false;
    *tail = '\0';
    for (int i = 0; i < 6; i++)
        if (!(field[i] = strtok_r(i ? NULL : line, " ", &save)))
            return false;
    m->top = field[3];
    m->dir = field[4];
    unescape(m->top);
    unescape(m->dir);
    const char *type = strtok_r(tail + 3, " ", &save);
    const char *source = strtok_r(NULL, " ", &save);
    const char *options = strtok_r(NULL, " ", &save);
    m->is_v2 = type && strcmp(type, "cgroup2") == 0;
    return m->is_v2 ||
           (type && source && options && strcmp(type, "cgroup") == 0 && has_word(options, controller));
}

/* The tightest limit from the group up to the top of the mount. */
static int64_t walk_up(const char *root, const mount *m, const char *group, group_fn *allows)
{
    char dir[PATH_MAX];
    const size_t n_top = strcmp(m->top, "/") == 0 ? 0 : strlen(m->top);
    if (strncmp(group, m->top, n_top) != 0 || (group[n_top] != '/' && group[n_top] != '\0') ||
        strncmp(group, "/..", 3) == 0)
        return INT64_MAX; /* a mount of other groups than ours */
    const int n = snprintf(dir, sizeof dir, "%s%s", m->dir, group + n_top);
    if (n < 0 || (size_t)n >= sizeof dir)
        return INT64_MAX;
    const size_t n_dir = strlen(m->dir);
    int64_t least = INT64_MAX;
    for (;;) {
        const int64_t limit = allows(root, dir, m->is_v2);
        if (limit < least)
            least = limit;
        char *slash = strrchr(dir + n_dir, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

/* The tightest limit of all hierarchies that have the controller. */
static int64_t tightest(const char *root, const char *controller, group_fn *allows)
{
    int64_t least = INT64_MAX;
    char group[2][PATH_MAX]; /* v1, v2: a machine may have both */
    const bool found[2] = { find_group(root, controller, false, group[0]),
                            find_group(root, controller, true, group[1]) };
    char *line = NULL;
    size_t cap = 0;
    FILE *f = open_below(root, "/proc/self", "mountinfo");
    if (!f)
        return least;
    while (getline(&line, &cap, f) > 0) {
        mount m;
        if (!parse_mount(line, controller, &m) || !found[m.is_v2])
            continue;
        const int64_t limit = walk_up(root, &m, group[m.is_v2], allows);
        if (limit < least)
            least = limit;
    }
    free(line);
    fclose(f);
    return least;
}

int32_t terse_cgroup_cpus(const char *root)
{
    const int64_t cpus = tightest(root, "cpu", group_cpus);
    return cpus < INT32_MAX ? (int32_t)cpus : INT32_MAX;
}

size_t terse_cgroup_memory(const char *root)
{
    const int64_t bytes = tightest(root, "memory", group_bytes);
    return bytes < INT64_MAX ? (size_t)bytes : SIZE_MAX;
}
