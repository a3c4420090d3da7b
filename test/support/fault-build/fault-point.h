/* The acting side of native/fault-point.h, for the build of `buildWithFaults`; see fault-point.ts beside it. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const struct {
    const char *name;
    int number;
} fault_errnos[] = {{"EIO", EIO}, {"EINVAL", EINVAL}, {"EBUSY", EBUSY}, {"ENOSPC", ENOSPC}, {"ENOMEM", ENOMEM}, {"EPERM", EPERM}};

/* 0, or the errno that the boundary is to fail with. Neither allocates nor locks: it runs while filesystems are frozen. */
static inline int fault_act(const char *name) {
    const char *trace = getenv("FSBACKUP_FAULT_TRACE"), *fault = getenv("FSBACKUP_FAULT");
    if (trace != NULL && *trace != '\0') {
        char line[128];
        int length = snprintf(line, sizeof line, "%s\n", name);
        int fd = open(trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0) {
            (void)!write(fd, line, (size_t)length);
            close(fd);
        }
    }
    size_t length = strlen(name);
    while (fault != NULL && (strncmp(fault, name, length) != 0 || fault[length] != '=')) {
        fault = strchr(fault, ',');
        if (fault != NULL) fault++;
    }
    if (fault == NULL) return 0;
    const char *action = fault + length + 1;
    if (strncmp(action, "kill", 4) == 0) kill(getpid(), SIGKILL);
    if (strncmp(action, "stop", 4) == 0) kill(getpid(), SIGSTOP);
    if (strncmp(action, "delay:", 6) == 0) {
        long ms = strtol(action + 6, NULL, 10);
        struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
        nanosleep(&pause, NULL);
    }
    if (strncmp(action, "fail:", 5) == 0)
        for (size_t i = 0; i < sizeof fault_errnos / sizeof *fault_errnos; i++) {
            size_t end = strlen(fault_errnos[i].name);
            if (strncmp(action + 5, fault_errnos[i].name, end) == 0 && strchr(",", action[5 + end]) != NULL)
                return fault_errnos[i].number;
        }
    return 0;
}

#define FAULT_POINT(name) ((void)fault_act(name))
#define FAULT_ERRNO(name) fault_act(name)
