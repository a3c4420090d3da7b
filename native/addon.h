/* Inside the addon: what its parts share. */
#ifndef ADDON_H
#define ADDON_H

#include "devices.h"

#include <node_api.h>
#include <stdbool.h>

#define NS_PER_MS 1e6

/* Ends the calling function with a pending JavaScript exception when a Node-API call failed. */
#define CHECK(call)                                                        \
    do {                                                                   \
        if ((call) != napi_ok) {                                           \
            napi_throw_error(env, NULL, "Node-API call failed: " #call);   \
            return NULL;                                                   \
        }                                                                  \
    } while (0)

/* An Error with `errno`, `code` and `syscall`, as Node's own. */
napi_value make_errno_error(napi_env env, int error, const char *syscall_name);
napi_value throw_errno(napi_env env, int error, const char *syscall_name);
/* Reads exactly `count` int32 arguments; throws a TypeError and returns false when they are not there. */
bool read_ints(napi_env env, napi_callback_info info, size_t count, int32_t *values);

/* What runs in another thread. `run` returns 0 or an errno, and touches nothing of JavaScript. */
struct task {
    const char *syscall_name;
    int (*run)(struct task *task);
    struct page *page;
    uint32_t slot;
    int fd;
    int other_fd;
    int loss;
    int result;
    /* Of malloc(3), or NULL: freed with the task. */
    char *owned;
    /* Bytes of the object that is kept for it. */
    unsigned char *kept;
    size_t kept_length;
};
/* addon-tasks.c */
/*
 * Has Node's thread pool run a copy of `task`; the promise resolves to `result`, or rejects with the errno. `keep`, or NULL: a JavaScript
 * object that must outlive the task.
 */
napi_value queue_task(napi_env env, const struct task *task, napi_value keep);
/*
 * The same in a thread of its own, for what may have to end a wait of all that the pool has: who waits for what is frozen, or for a
 * disk that does not answer, keeps a thread of the pool for as long.
 */
napi_value start_task(napi_env env, const struct task *task, napi_value keep);

typedef napi_value (*task_queue)(napi_env env, const struct task *task, napi_value keep);

/* addon-page.c */
/* The page of argument 0, and the int32 arguments after it; NULL with a pending exception when they are not these. */
struct page *read_page_arguments(napi_env env, napi_callback_info info, size_t count, int32_t *values);
/* `queue` (queue_task or start_task) of `task`, for which the page, argument 0, is kept. */
napi_value queue_page_task(napi_env env, napi_callback_info info, const struct task *task, task_queue queue);
napi_status set_number(napi_env env, napi_value object, const char *name, double value);
napi_value page_create(napi_env env, napi_callback_info info);
napi_value page_read(napi_env env, napi_callback_info info);
napi_value page_freeze(napi_env env, napi_callback_info info);
napi_value page_probe(napi_env env, napi_callback_info info);
napi_value page_thaw(napi_env env, napi_callback_info info);

/* addon-devices.c */
napi_value device_is_suspended(napi_env env, napi_callback_info info);
napi_value page_add_device(napi_env env, napi_callback_info info);
napi_value watch_open(napi_env env, napi_callback_info info);
napi_value watch_read(napi_env env, napi_callback_info info);
napi_value watch_settle_task(napi_env env, napi_callback_info info);
napi_value measure_start(napi_env env, napi_callback_info info);
napi_value measure_stop(napi_env env, napi_callback_info info);
napi_value command_starting(napi_env env, napi_callback_info info);
napi_value command_started(napi_env env, napi_callback_info info);
napi_value command_ended(napi_env env, napi_callback_info info);

/* addon-btrfs.c */
napi_value btrfs_subvolume(napi_env env, napi_callback_info info);

/* addon-attributes.c */
napi_value start_read_attributes(napi_env env, napi_callback_info info);
napi_value start_set_attribute(napi_env env, napi_callback_info info);

/* addon-loop.c */
napi_value start_loop_reads(napi_env env, napi_callback_info info);

/* addon-cache.c */
napi_value start_forget_cached(napi_env env, napi_callback_info info);

/* measure.c: looks at the devices until page->measuring is 0. */
void devices_measure(struct page *page, int control);

#endif
