/* What a loop device reads, by descriptors: its name in sysfs is a path, which may lead elsewhere by then. */
#include "addon.h"

#include <errno.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static int run_loop_reads(struct task *task) {
    struct loop_info64 info;
    struct stat file;
    if (ioctl(task->fd, LOOP_GET_STATUS64, &info) != 0) return errno;
    if (fstat(task->other_fd, &file) != 0) return errno;
    task->result = info.lo_inode == file.st_ino && info.lo_device == file.st_dev;
    return 0;
}

/* loopReads(loopFd, fileFd): promise of 1 when that very file is behind the loop device (LOOP_GET_STATUS64, loop(4)). */
napi_value start_loop_reads(napi_env env, napi_callback_info info) {
    struct task task = {.syscall_name = "ioctl(LOOP_GET_STATUS64)", .run = run_loop_reads};
    int32_t fds[2];
    if (!read_ints(env, info, 2, fds)) return NULL;
    task.fd = fds[0];
    task.other_fd = fds[1];
    return queue_task(env, &task, NULL);
}
