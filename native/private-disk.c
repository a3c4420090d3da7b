/* A small ext4 that lives in memory, on a block device and in a mount that both end with the process. */
#include "nested-freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/blkpg.h>
#include <linux/loop.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define IMAGE_BYTES (1024 * 1024)
#define SECTOR_BYTES 512
#define ATTEMPTS 100

_Noreturn void fail(const char *step) {
    fprintf(stderr, "%s: %s\n", step, strerror(errno));
    exit(1);
}

static void pause_ms(long milliseconds) {
    const struct timespec time = {.tv_sec = 0, .tv_nsec = milliseconds * 1000000};
    nanosleep(&time, NULL);
}

/* Attaches `image` to a free loop device in one call, so that autoclear is set from the first moment on. */
static void attach(int image, struct private_disk *disk) {
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0) fail("/dev/loop-control");
    /* The partition scan finds nothing; its flag is what makes the kernel drop partitions at the detach. */
    const struct loop_config config = {
        .fd = (uint32_t)image,
        .block_size = SECTOR_BYTES,
        .info = {.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_PARTSCAN},
    };
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        char device[32];
        disk->loop_number = ioctl(control, LOOP_CTL_GET_FREE);
        if (disk->loop_number < 0) fail("LOOP_CTL_GET_FREE");
        snprintf(device, sizeof device, "/dev/loop%d", disk->loop_number);
        disk->loop_fd = open(device, O_RDWR | O_CLOEXEC);
        if (disk->loop_fd < 0) fail(device);
        if (ioctl(disk->loop_fd, LOOP_CONFIGURE, &config) == 0) {
            close(control);
            return;
        }
        /* EBUSY: somebody else was faster. */
        if (errno != EBUSY) fail("LOOP_CONFIGURE");
        close(disk->loop_fd);
        pause_ms(10);
    }
    fail("LOOP_CONFIGURE");
}

struct private_disk attach_private_disk(void) {
    struct private_disk disk;
    char name[200];
    image_name(name, sizeof name);
    int image = memfd_create(name, MFD_CLOEXEC);
    if (image < 0) fail("memfd_create");
    if (ftruncate(image, IMAGE_BYTES) != 0) fail("ftruncate");
    attach(image, &disk);
    close(image);
    struct blkpg_partition partition = {.start = 0, .length = IMAGE_BYTES, .pno = 1};
    struct blkpg_ioctl_arg argument = {.op = BLKPG_ADD_PARTITION, .datalen = sizeof partition, .data = &partition};
    if (ioctl(disk.loop_fd, BLKPG, &argument) != 0) fail("BLKPG_ADD_PARTITION");
    snprintf(disk.partition, sizeof disk.partition, "/dev/loop%dp1", disk.loop_number);
    if (access(disk.partition, F_OK) != 0) fail(disk.partition);
    return disk;
}

static bool is_attached(int loop_number) {
    char file[64];
    snprintf(file, sizeof file, "/sys/block/loop%d/loop/backing_file", loop_number);
    return access(file, F_OK) == 0;
}

void detach_private_disk(struct private_disk *disk) {
    close(disk->loop_fd);
    for (int attempt = 0; attempt < ATTEMPTS && is_attached(disk->loop_number); attempt++) pause_ms(10);
}

void make_ext4(const char *device) {
    int status;
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
        /* No feature of a newer mkfs that an older kernel may not know. */
        execlp("mkfs.ext4", "mkfs.ext4", "-q", "-F", "-O", "none,extent,filetype", device, (char *)NULL);
        fail("mkfs.ext4");
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        errno = EIO;
        fail("mkfs.ext4 of the test's own image");
    }
}

int mount_privately(const char *device) {
    int context = (int)syscall(SYS_fsopen, "ext4", FSOPEN_CLOEXEC);
    if (context < 0) return -1;
    int mount = -1, root = -1;
    if (syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "source", device, 0) == 0 &&
        syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
        mount = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
                             MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    /* That descriptor is an O_PATH one, on which no ioctl works. */
    if (mount >= 0) root = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = errno;
    /* From now on the mount lives as long as its open root. */
    if (mount >= 0) close(mount);
    close(context);
    errno = error;
    return root;
}
