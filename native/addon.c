/* The system calls that Node lacks. Plain calls are here, those over the page shared with the watchdog in addon-page.c,
 * those of one kind of filesystem or device in addon-btrfs.c and addon-loop.c, extended attributes in addon-attributes.c, what
 * is in memory of files in addon-cache.c; what waits does so by addon-tasks.c. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

napi_value make_errno_error(napi_env env, int error, const char *syscall_name) {
    const char *name = strerrorname_np(error);
    char text[256];
    napi_value code, message, object, number, call;
    snprintf(text, sizeof text, "%s: %s, %s", name == NULL ? "unknown" : name, strerror(error), syscall_name);
    CHECK(napi_create_string_utf8(env, name == NULL ? "UNKNOWN" : name, NAPI_AUTO_LENGTH, &code));
    CHECK(napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message));
    CHECK(napi_create_error(env, code, message, &object));
    CHECK(napi_create_int32(env, error, &number));
    CHECK(napi_create_string_utf8(env, syscall_name, NAPI_AUTO_LENGTH, &call));
    CHECK(napi_set_named_property(env, object, "errno", number));
    CHECK(napi_set_named_property(env, object, "syscall", call));
    return object;
}

napi_value throw_errno(napi_env env, int error, const char *syscall_name) {
    napi_value object = make_errno_error(env, error, syscall_name);
    if (object != NULL) napi_throw(env, object);
    return NULL;
}

bool read_ints(napi_env env, napi_callback_info info, size_t count, int32_t *values) {
    napi_value arguments[4];
    size_t given = 4;
    bool valid = napi_get_cb_info(env, info, &given, arguments, NULL, NULL) == napi_ok && given >= count;
    for (size_t i = 0; valid && i < count; i++) valid = napi_get_value_int32(env, arguments[i], &values[i]) == napi_ok;
    if (!valid) napi_throw_type_error(env, NULL, "expected integer arguments");
    return valid;
}

static int run_thaw(struct task *task) { return ioctl(task->fd, FITHAW, 0) == 0 ? 0 : errno; }

/* thawTask(fd): promise */
static napi_value start_thaw(napi_env env, napi_callback_info info) {
    struct task task = {.syscall_name = "ioctl(FITHAW)", .run = run_thaw};
    if (!read_ints(env, info, 1, &task.fd)) return NULL;
    return start_task(env, &task, NULL);
}

static int run_syncfs(struct task *task) { return syncfs(task->fd) == 0 ? 0 : errno; }

/* syncfs(fd): promise */
static napi_value start_syncfs(napi_env env, napi_callback_info info) {
    struct task task = {.syscall_name = "syncfs", .run = run_syncfs};
    if (!read_ints(env, info, 1, &task.fd)) return NULL;
    return start_task(env, &task, NULL);
}

static int run_ficlone(struct task *task) { return ioctl(task->fd, FICLONE, task->other_fd) == 0 ? 0 : errno; }

/* ficlone(destinationFd, sourceFd): promise */
static napi_value start_ficlone(napi_env env, napi_callback_info info) {
    struct task task = {.syscall_name = "ioctl(FICLONE)", .run = run_ficlone};
    int32_t fds[2];
    if (!read_ints(env, info, 2, fds)) return NULL;
    task.fd = fds[0];
    task.other_fd = fds[1];
    return queue_task(env, &task, NULL);
}

static int run_open_directory(struct task *task) {
    bool beneath = task->fd >= 0;
    struct open_how how = {
        .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
        .resolve = RESOLVE_NO_SYMLINKS | (beneath ? RESOLVE_BENEATH : 0),
    };
    long fd = syscall(SYS_openat2, beneath ? task->fd : AT_FDCWD, task->owned, &how, sizeof how);
    if (fd < 0) return errno;
    task->result = (int)fd;
    return 0;
}

/* openDirectory(fd, path): promise of an O_PATH descriptor; below the directory of `fd` unless that is negative. */
static napi_value start_open_directory(napi_env env, napi_callback_info info) {
    struct task task = {.syscall_name = "openat2", .run = run_open_directory};
    napi_value arguments[2];
    size_t given = 2, length;
    CHECK(napi_get_cb_info(env, info, &given, arguments, NULL, NULL));
    if (given < 2 || napi_get_value_int32(env, arguments[0], &task.fd) != napi_ok ||
        napi_get_value_string_utf8(env, arguments[1], NULL, 0, &length) != napi_ok) {
        napi_throw_type_error(env, NULL, "expected a descriptor and a path");
        return NULL;
    }
    task.owned = malloc(length + 1);
    if (task.owned == NULL) return throw_errno(env, ENOMEM, task.syscall_name);
    if (napi_get_value_string_utf8(env, arguments[1], task.owned, length + 1, &length) != napi_ok) {
        free(task.owned);
        return throw_errno(env, EINVAL, task.syscall_name);
    }
    return queue_task(env, &task, NULL);
}

static int run_probe(struct task *task) {
    task->result = 0;
    if (ioctl(task->fd, FIFREEZE, 0) != 0) {
        task->result = errno == EBUSY;
        return errno == EBUSY || errno == EOPNOTSUPP ? 0 : errno;
    }
    return ioctl(task->fd, FITHAW, 0) == 0 ? 0 : errno;
}

/* probe(fd): promise of 1 when somebody holds the filesystem frozen; else it was frozen and thawed for an instant. */
static napi_value start_probe(napi_env env, napi_callback_info info) {
    struct task task = {.syscall_name = "ioctl(FIFREEZE)", .run = run_probe};
    if (!read_ints(env, info, 1, &task.fd)) return NULL;
    return queue_task(env, &task, NULL);
}

/* xfsReservedBlocks(fd): what the filesystem holds in reserve (XFS_IOC_GET_RESBLKS, of xfs_fs.h). */
static napi_value xfs_reserved_blocks(napi_env env, napi_callback_info info) {
    struct {
        uint64_t blocks;
        uint64_t available;
    } reserve;
    int32_t fd;
    napi_value result;
    if (!read_ints(env, info, 1, &fd)) return NULL;
    if (ioctl(fd, _IOR('X', 115, reserve), &reserve) != 0) return throw_errno(env, errno, "ioctl(XFS_IOC_GET_RESBLKS)");
    CHECK(napi_create_double(env, (double)reserve.blocks, &result));
    return result;
}

/* tryLock(fd): whether an exclusive flock(2) was got, without waiting. */
static napi_value try_lock(napi_env env, napi_callback_info info) {
    int32_t fd;
    napi_value got;
    if (!read_ints(env, info, 1, &fd)) return NULL;
    bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (!locked && errno != EWOULDBLOCK) return throw_errno(env, errno, "flock");
    CHECK(napi_get_boolean(env, locked, &got));
    return got;
}

/* memfd(): an anonymous file that may be executed, with a name that says nothing. */
static napi_value create_memfd(napi_env env, napi_callback_info info) {
    (void)info;
    napi_value result;
    int fd = memfd_create("static", MFD_CLOEXEC | MFD_EXEC);
    /* Kernels before 6.3 know no MFD_EXEC, and let all be executed. */
    if (fd < 0 && errno == EINVAL) fd = memfd_create("static", MFD_CLOEXEC);
    if (fd < 0) return throw_errno(env, errno, "memfd_create");
    CHECK(napi_create_int32(env, fd, &result));
    return result;
}

/* boottimeMs(): CLOCK_BOOTTIME, the clock of the page's times. */
static napi_value boottime_ms(napi_env env, napi_callback_info info) {
    (void)info;
    napi_value result;
    CHECK(napi_create_double(env, (double)boottime_ns() / NS_PER_MS, &result));
    return result;
}

NAPI_MODULE_INIT() {
    const napi_property_descriptor functions[] = {
        {"thawTask", NULL, start_thaw, NULL, NULL, NULL, napi_enumerable, NULL},
        {"syncfs", NULL, start_syncfs, NULL, NULL, NULL, napi_enumerable, NULL},
        {"ficlone", NULL, start_ficlone, NULL, NULL, NULL, napi_enumerable, NULL},
        {"openDirectory", NULL, start_open_directory, NULL, NULL, NULL, napi_enumerable, NULL},
        {"probe", NULL, start_probe, NULL, NULL, NULL, napi_enumerable, NULL},
        {"xfsReservedBlocks", NULL, xfs_reserved_blocks, NULL, NULL, NULL, napi_enumerable, NULL},
        {"btrfsSubvolume", NULL, btrfs_subvolume, NULL, NULL, NULL, napi_enumerable, NULL},
        {"loopReads", NULL, start_loop_reads, NULL, NULL, NULL, napi_enumerable, NULL},
        {"forgetCached", NULL, start_forget_cached, NULL, NULL, NULL, napi_enumerable, NULL},
        {"readAttributes", NULL, start_read_attributes, NULL, NULL, NULL, napi_enumerable, NULL},
        {"setAttribute", NULL, start_set_attribute, NULL, NULL, NULL, napi_enumerable, NULL},
        {"tryLock", NULL, try_lock, NULL, NULL, NULL, napi_enumerable, NULL},
        {"memfd", NULL, create_memfd, NULL, NULL, NULL, napi_enumerable, NULL},
        {"boottimeMs", NULL, boottime_ms, NULL, NULL, NULL, napi_enumerable, NULL},
        {"pageCreate", NULL, page_create, NULL, NULL, NULL, napi_enumerable, NULL},
        {"pageRead", NULL, page_read, NULL, NULL, NULL, napi_enumerable, NULL},
        {"pageFreeze", NULL, page_freeze, NULL, NULL, NULL, napi_enumerable, NULL},
        {"pageProbe", NULL, page_probe, NULL, NULL, NULL, napi_enumerable, NULL},
        {"pageThaw", NULL, page_thaw, NULL, NULL, NULL, napi_enumerable, NULL},
        {"pageAddDevice", NULL, page_add_device, NULL, NULL, NULL, napi_enumerable, NULL},
        {"deviceIsSuspended", NULL, device_is_suspended, NULL, NULL, NULL, napi_enumerable, NULL},
        {"watchOpen", NULL, watch_open, NULL, NULL, NULL, napi_enumerable, NULL},
        {"watchRead", NULL, watch_read, NULL, NULL, NULL, napi_enumerable, NULL},
        {"watchSettle", NULL, watch_settle_task, NULL, NULL, NULL, napi_enumerable, NULL},
        {"measureStart", NULL, measure_start, NULL, NULL, NULL, napi_enumerable, NULL},
        {"measureStop", NULL, measure_stop, NULL, NULL, NULL, napi_enumerable, NULL},
        {"commandStarting", NULL, command_starting, NULL, NULL, NULL, napi_enumerable, NULL},
        {"commandStarted", NULL, command_started, NULL, NULL, NULL, napi_enumerable, NULL},
        {"commandEnded", NULL, command_ended, NULL, NULL, NULL, napi_enumerable, NULL},
    };
    CHECK(napi_define_properties(env, exports, sizeof functions / sizeof functions[0], functions));
    return exports;
}
