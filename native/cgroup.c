/*
 * A cgroup of the guards' own in every hierarchy in which one can be made: `cgroup.kill`, systemd's KillMode, a frozen or
 * exhausted cgroup of the caller must not reach them.
 */
#include "guard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_HIERARCHIES 8
#define PREFIX "qsentry-"

/* As one of its mounts shows it: that of its root, where there is one. */
static struct hierarchy {
    unsigned device[2];
    bool unified; /* cgroup v2 */
    bool whole;
    char mountpoint[256];
    char options[256];
    char directory[288];
    bool entered;
} hierarchies[MAX_HIERARCHIES];
static unsigned hierarchy_count;

/* Of cgroup v1, those whose membership can stop or kill. `controllers`: as super options, or as /proc/PID/cgroup names them. */
static bool matters(bool unified, const char *controllers) {
    return unified || strstr(controllers, "name=systemd") || strstr(controllers, "freezer") ||
           strstr(controllers, "memory") || strstr(controllers, "pids");
}

static struct hierarchy *find(const unsigned *device) {
    for (unsigned i = 0; i < hierarchy_count; i++)
        if (memcmp(hierarchies[i].device, device, sizeof hierarchies[i].device) == 0) return &hierarchies[i];
    return NULL;
}

static void note(const struct hierarchy *seen) {
    struct hierarchy *known = find(seen->device);
    if (known == NULL && hierarchy_count < MAX_HIERARCHIES) hierarchies[hierarchy_count++] = *seen;
    if (known != NULL && seen->whole && !known->whole) *known = *seen;
}

static void find_hierarchies(void) {
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    if (mounts == NULL) return;
    char line[2048];
    while (fgets(line, sizeof line, mounts) != NULL) {
        struct hierarchy seen = {.entered = false};
        char root[256] = "", fstype[64] = "";
        const char *dash = strstr(line, " - ");
        /* Of a line that is longer than ours nothing is known, so it is passed over. */
        if (dash != NULL &&
            sscanf(line, "%*d %*d %u:%u %255s %255s", &seen.device[0], &seen.device[1], root, seen.mountpoint) == 4)
            sscanf(dash, " - %63s %*s %255s", fstype, seen.options);
        seen.unified = strcmp(fstype, "cgroup2") == 0;
        seen.whole = strcmp(root, "/") == 0;
        if ((seen.unified || strcmp(fstype, "cgroup") == 0) && matters(seen.unified, seen.options)) note(&seen);
    }
    fclose(mounts);
}

/*
 * With the options that it has: a mount that lacks one takes it from all others (nsdelegate, memory_recursiveprot). Those of
 * every filesystem are none of the hierarchy's own.
 */
static void set_options(int context, const char *options) {
    char copy[256], *rest = copy;
    strcpy(copy, options);
    for (const char *option; (option = strsep(&rest, ",")) != NULL;)
        if (strcmp(option, "rw") != 0 && strcmp(option, "ro") != 0)
            syscall(SYS_fsconfig, context, FSCONFIG_SET_FLAG, option, NULL, 0);
}

/*
 * Where all mounts show but a part, as in a container without a cgroup namespace, whose end would be ours: one of our own, in no
 * directory, that shows it from its root. What is not permitted is left as it was: one call fails after the other.
 */
static void show_whole(struct hierarchy *h) {
    int context = (int)syscall(SYS_fsopen, "cgroup2", FSOPEN_CLOEXEC);
    set_options(context, h->options);
    int mount = -1;
    if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
        mount = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
    close(context);
    if (mount >= 0) snprintf(h->mountpoint, sizeof h->mountpoint, "/proc/self/fd/%d", mount);
}

static bool join(const char *cgroup) {
    char path[384];
    snprintf(path, sizeof path, "%.288s/cgroup.procs", cgroup);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool joined = fd >= 0 && write(fd, "0", 1) == 1;
    close(fd);
    return joined;
}

/* Empty cgroups that killed guards left; one in use answers EBUSY. */
static void sweep(const char *mountpoint) {
    DIR *directory = opendir(mountpoint);
    if (directory == NULL) return;
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) == 0)
            unlinkat(dirfd(directory), entry->d_name, AT_REMOVEDIR);
    closedir(directory);
}

/*
 * The next line of a /proc/PID/cgroup of the hierarchy that `like` is a line of another of: what comes after its second colon, or NULL.
 * All of these files have the same order.
 */
static const char *path_like(FILE *cgroups, const char *like, char *line, int size) {
    const char *path = strchr(strchr(like, ':') + 1, ':') + 1;
    while (fgets(line, size, cgroups) != NULL)
        if (strncmp(line, like, (size_t)(path - like)) == 0) return line + (path - like);
    return NULL;
}

/* Whether the first of two paths, each with the newline of its line, is the second, or above it, and is not the root. */
static bool holds(const char *outer, const char *inner) {
    size_t length = strcspn(outer, "\n");
    return length > 1 && strncmp(outer, inner, length) == 0 && strchr("/\n", inner[length]) != NULL;
}

/* Whether what ends the cgroup of the command line ends us too, wherever we have gone: ours is still that one, or lies in it. */
static bool dies_with(FILE *holders, FILE *ours) {
    char holder[1024], own[1024];
    while (fgets(holder, sizeof holder, holders) != NULL) {
        const char *controllers = strchr(holder, ':');
        if (controllers == NULL || strchr(controllers + 1, ':') == NULL) continue;
        bool unified = strncmp(holder, "0::", 3) == 0;
        const char *path = path_like(ours, holder, own, sizeof own);
        const char *holder_path = strchr(controllers + 1, ':') + 1;
        if (matters(unified, controllers) && path != NULL && holds(holder_path, path)) return true;
    }
    return false;
}

static bool shares_cgroup(pid_t process) {
    char name[64];
    snprintf(name, sizeof name, "/proc/%d/cgroup", (int)process);
    FILE *holders = fopen(name, "re"), *ours = fopen("/proc/self/cgroup", "re");
    bool shared = holders != NULL && ours != NULL && dies_with(holders, ours);
    if (holders != NULL) fclose(holders);
    if (ours != NULL) fclose(ours);
    return shared;
}

uint32_t cgroup_enter(void) {
    find_hierarchies();
    uint32_t warnings = hierarchy_count == 0 ? WARN_NO_CGROUP : 0;
    for (unsigned i = 0; i < hierarchy_count; i++) {
        struct hierarchy *h = &hierarchies[i];
        if (h->unified && !h->whole) show_whole(h);
        sweep(h->mountpoint);
        snprintf(h->directory, sizeof h->directory, "%.255s/" PREFIX "%d", h->mountpoint, getpid());
        /* Again, since the sweep of guards that start beside us may take it while it is empty. */
        for (int attempt = 0; attempt < 3 && !h->entered; attempt++)
            h->entered = (mkdir(h->directory, 0755) == 0 || errno == EEXIST) && join(h->directory);
        if (!h->entered) warnings |= WARN_NO_CGROUP;
    }
    if (shares_cgroup(guard.holder_pid)) warnings |= WARN_NO_CGROUP;
    return warnings;
}

void cgroup_leave(void) {
    for (unsigned i = 0; i < hierarchy_count; i++)
        if (hierarchies[i].entered && join(hierarchies[i].mountpoint)) rmdir(hierarchies[i].directory);
}
