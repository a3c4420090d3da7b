/*
 * A cgroup of the guards' own in every hierarchy in which one can be made: `cgroup.kill`, systemd's KillMode, a frozen or
 * exhausted cgroup of the caller must not reach them.
 */
#include "guard.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_HIERARCHIES 8
#define PREFIX "qsentry-"

static struct hierarchy {
    char mountpoint[256];
    char directory[288];
    bool entered;
} hierarchies[MAX_HIERARCHIES];
static unsigned hierarchy_count;

/* Of cgroup v1, those whose membership can stop or kill. */
static bool matters(const char *fstype, const char *super_options) {
    if (strcmp(fstype, "cgroup2") == 0) return true;
    if (strcmp(fstype, "cgroup") != 0) return false;
    return strstr(super_options, "name=systemd") || strstr(super_options, "freezer") ||
           strstr(super_options, "memory") || strstr(super_options, "pids");
}

static void find_hierarchies(void) {
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    if (mounts == NULL) return;
    char line[2048];
    while (hierarchy_count < MAX_HIERARCHIES && fgets(line, sizeof line, mounts) != NULL) {
        char mountpoint[256], fstype[64], super_options[512];
        const char *dash = strstr(line, " - ");
        if (dash == NULL || sscanf(line, "%*d %*d %*s %*s %255s", mountpoint) != 1 ||
            sscanf(dash, " - %63s %*s %511s", fstype, super_options) != 2 || !matters(fstype, super_options))
            continue;
        strcpy(hierarchies[hierarchy_count++].mountpoint, mountpoint);
    }
    fclose(mounts);
}

static bool join(const char *cgroup) {
    char path[384];
    snprintf(path, sizeof path, "%.288s/cgroup.procs", cgroup);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool joined = write(fd, "0", 1) == 1;
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

uint32_t cgroup_enter(void) {
    find_hierarchies();
    uint32_t warnings = hierarchy_count == 0 ? WARN_NO_CGROUP : 0;
    for (unsigned i = 0; i < hierarchy_count; i++) {
        struct hierarchy *h = &hierarchies[i];
        sweep(h->mountpoint);
        snprintf(h->directory, sizeof h->directory, "%.255s/" PREFIX "%d", h->mountpoint, getpid());
        /* Again, since the sweep of guards that start beside us may take it while it is empty. */
        for (int attempt = 0; attempt < 3 && !h->entered; attempt++)
            h->entered = (mkdir(h->directory, 0755) == 0 || errno == EEXIST) && join(h->directory);
        if (!h->entered) warnings |= WARN_NO_CGROUP;
    }
    return warnings;
}

void cgroup_leave(void) {
    for (unsigned i = 0; i < hierarchy_count; i++) {
        if (!hierarchies[i].entered || !join(hierarchies[i].mountpoint)) continue;
        rmdir(hierarchies[i].directory);
    }
}
