/*
 * Finds out what this kernel does when a block device freezes itself while its filesystem is frozen: prints `refuses`,
 * `leaks` or `nests`, or fails with a line of why.
 *
 * On a tiny ext4 of its own, in memory: FIFREEZE, EXT4_IOC_SHUTDOWN with flags 0 (inside the kernel a freeze and a
 * thaw of the block device, as device-mapper's suspend makes them), FITHAW, unmount, mount again. Before 6.8 the
 * second step says EBUSY; where the freeze leaked, the last one does, for as long as the block device exists.
 *
 * Nothing has to be undone after a SIGKILL at any moment. The mount is in no namespace, it ends with its descriptor;
 * the loop device detaches itself with its last user, and takes its partition along: the filesystem lies on that, so
 * that a leaked freeze does not outlive it on /dev/loopN, where somebody else's filesystem may be next. Only both
 * processes killed in the same microseconds leave a frozen filesystem, which no path leads to: the next run thaws it.
 */
#include "nested-freeze.h"

#include <errno.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* fs/ext4/ext4.h; the same as XFS_IOC_GOINGDOWN. */
#define EXT4_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#define EXT4_GOING_FLAGS_DEFAULT 0u

/* What the child found, an errno each; `ended` once its thaw has returned. */
struct outcome {
    volatile int freeze;
    volatile int shutdown;
    volatile int thaw;
    volatile int ended;
};

static int errno_of(int result) { return result == 0 ? 0 : errno; }

static void freeze_and_thaw(int fd, struct outcome *outcome) {
    const uint32_t flags = EXT4_GOING_FLAGS_DEFAULT;
    outcome->freeze = errno_of(ioctl(fd, FIFREEZE, 0));
    if (outcome->freeze == 0) {
#ifdef STOP_WHILE_FROZEN
        raise(SIGSTOP); /* for a test that kills processes just here */
#endif
        outcome->shutdown = errno_of(ioctl(fd, EXT4_IOC_SHUTDOWN, &flags));
        outcome->thaw = errno_of(ioctl(fd, FITHAW, 0));
    }
    outcome->ended = 1;
}

/* In a child, so that either process may be killed while the filesystem is frozen: the other thaws it. */
static void try_nesting(int fd, struct outcome *outcome) {
    sigset_t all;
    int status;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
        freeze_and_thaw(fd, outcome);
        _exit(0);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    if (!outcome->ended || outcome->thaw != 0) {
        ioctl(fd, FITHAW, 0);
        errno = outcome->ended ? outcome->thaw : EINTR;
        fail("FITHAW of the test's own filesystem");
    }
}

int main(void) {
    struct outcome *outcome =
        mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (outcome == MAP_FAILED) fail("mmap");
    thaw_leftovers();
    struct private_disk disk = attach_private_disk();
    make_ext4(disk.partition);
    int fd = mount_privately(disk.partition);
    if (fd < 0) fail("mount of the test's own ext4");
    try_nesting(fd, outcome);
    close(fd);
    const char *verdict = NULL;
    if (outcome->freeze != 0) {
        errno = outcome->freeze;
        fail("FIFREEZE of the test's own ext4");
    } else if (outcome->shutdown == EBUSY) {
        verdict = "refuses";
    } else if (outcome->shutdown != 0) {
        errno = outcome->shutdown;
        fail("EXT4_IOC_SHUTDOWN");
    } else {
        fd = mount_privately(disk.partition);
        if (fd < 0 && errno != EBUSY) fail("second mount of the test's own ext4");
        verdict = fd < 0 ? "leaks" : "nests";
        if (fd >= 0) close(fd);
    }
    detach_private_disk(&disk);
    return puts(verdict) == EOF || fflush(stdout) == EOF ? 1 : 0;
}
