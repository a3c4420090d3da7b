/*
 * A process that is killed while its filesystem is frozen leaves it frozen: the loop device stays attached, with the
 * name of its image for the only trace. The name says whose it was.
 */
#include "nested-freeze.h"

#include <dirent.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "fsbackup-nested-freeze"

/* Field 22 of /proc/PID/stat, which a later process of the same pid does not share; 0 when there is none. */
static unsigned long long start_time(int pid) {
    char file[64], text[1024];
    unsigned long long start = 0;
    snprintf(file, sizeof file, "/proc/%d/stat", pid);
    FILE *stat = fopen(file, "re");
    if (stat == NULL) return 0;
    size_t length = fread(text, 1, sizeof text - 1, stat);
    fclose(stat);
    text[length] = '\0';
    /* The command's name may hold anything. */
    const char *rest = strrchr(text, ')');
    if (rest == NULL) return 0;
    int found = sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &start);
    return found == 1 ? start : 0;
}

static unsigned long pid_namespace(void) {
    struct stat stat_buffer;
    return stat("/proc/self/ns/pid", &stat_buffer) == 0 ? (unsigned long)stat_buffer.st_ino : 0;
}

void image_name(char *name, unsigned long size) {
    snprintf(name, size, NAME ":%lu:%d:%llu", pid_namespace(), (int)getpid(), start_time((int)getpid()));
}

/* Whether the image is one of ours whose process, in this PID namespace, is dead. */
static bool is_leftover(const char *loop_name) {
    char file[300], image[256] = "";
    unsigned long namespace = 0;
    unsigned long long start = 0;
    int pid = 0;
    snprintf(file, sizeof file, "/sys/block/%s/loop/backing_file", loop_name);
    FILE *stream = fopen(file, "re");
    if (stream == NULL) return false;
    const char *line = fgets(image, sizeof image, stream);
    fclose(stream);
    if (line == NULL || sscanf(image, "/memfd:" NAME ":%lu:%d:%llu", &namespace, &pid, &start) != 3) return false;
    return namespace == pid_namespace() && start_time(pid) != start;
}

void thaw_leftovers(void) {
    DIR *directory = opendir("/sys/block");
    if (directory == NULL) return;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char device[300];
        if (strncmp(entry->d_name, "loop", 4) != 0 || !is_leftover(entry->d_name)) continue;
        snprintf(device, sizeof device, "/dev/%sp1", entry->d_name);
        /* The mount of a device whose filesystem lives on shows that one, frozen as it is. */
        int fd = mount_privately(device);
        if (fd < 0) continue;
        ioctl(fd, FITHAW, 0);
        close(fd);
    }
    closedir(directory);
}
