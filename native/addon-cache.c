/* What the kernel has of files in memory. */
#include "addon.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <unistd.h>

/* Directories that are open at a time; deeper ones are opened again. */
#define OPEN_DIRECTORIES 16

/* What cannot be opened, or forgotten, stays. */
static int forget_file(const char *path, const struct stat *status, int type, struct FTW *place) {
    (void)place;
    if (type != FTW_F || !S_ISREG(status->st_mode)) return 0;
    /* What has taken its place meanwhile is not waited for. */
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0) {
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
    return 0;
}

static int run_forget(struct task *task) {
    return nftw(task->owned, forget_file, OPEN_DIRECTORIES, FTW_PHYS) == 0 ? 0 : errno;
}

/* forgetCached(path): promise. All files at and below it, behind no symlink; a subvolume of btrfs is another filesystem to stat(2). */
napi_value start_forget_cached(napi_env env, napi_callback_info info) {
    struct task task = {.syscall_name = "nftw", .run = run_forget};
    napi_value path;
    size_t given = 1, length;
    CHECK(napi_get_cb_info(env, info, &given, &path, NULL, NULL));
    CHECK(napi_get_value_string_utf8(env, path, NULL, 0, &length));
    task.owned = malloc(length + 1);
    if (task.owned == NULL) return throw_errno(env, ENOMEM, task.syscall_name);
    CHECK(napi_get_value_string_utf8(env, path, task.owned, length + 1, &length));
    return queue_task(env, &task, NULL);
}
