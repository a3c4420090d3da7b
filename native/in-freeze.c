#include "in-freeze.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The start of a file of a thread in /proc; "" where it cannot be read. */
static void read_of(pid_t process, pid_t thread, const char *name, char *text, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/%s", (int)process, (int)thread, name);
    ssize_t length = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        length = read(fd, text, size - 1);
        close(fd);
    }
    text[length < 0 ? 0 : length] = '\0';
}

bool waits_in_freeze(pid_t process, pid_t thread) {
    char text[4096]; /* 64 calls deep at most */
    read_of(process, thread, "stack", text, sizeof text);
    if (strstr(text, "freeze_super") == NULL) return false;
    /*
     * Past its last wait the filesystem is frozen, and the function about to return: one that is kept from its processor just
     * there (R) does not wait. One that a cgroup's freezer holds (D as well) has left the function.
     */
    read_of(process, thread, "stat", text, sizeof text);
    const char *state = strrchr(text, ')');
    return state != NULL && strncmp(state, ") D", 3) == 0;
}
