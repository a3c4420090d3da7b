/* Extended attributes, ACLs among them, of which Node knows nothing. Paths and values are bytes. */
#include "addon.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

/* Of linux/limits.h, which also has limits of its own for what limits.h has. */
#define NAMES_MAX 65536

struct bytes {
    unsigned char *start;
    size_t length;
};

static bool read_bytes(napi_env env, napi_value value, struct bytes *bytes) {
    bool is_buffer = false;
    void *start;
    if (napi_is_buffer(env, value, &is_buffer) != napi_ok || !is_buffer ||
        napi_get_buffer_info(env, value, &start, &bytes->length) != napi_ok) {
        napi_throw_type_error(env, NULL, "expected buffers");
        return false;
    }
    bytes->start = start;
    return true;
}

/* A name, its NUL, the length of the value in four bytes, the value. Returns what it took, 0 for one that is gone, or -1. */
static ssize_t append_attribute(const char *path, const char *name, struct bytes into) {
    size_t head = strlen(name) + 1 + sizeof(uint32_t);
    if (head > into.length) {
        errno = ERANGE;
        return -1;
    }
    ssize_t size = lgetxattr(path, name, into.start + head, into.length - head);
    /* No room at all asks for the size. */
    if (size > 0 && into.length == head) {
        errno = ERANGE;
        return -1;
    }
    if (size < 0) return errno == ENODATA ? 0 : -1;
    uint32_t length = (uint32_t)size;
    memcpy(into.start, name, strlen(name) + 1);
    memcpy(into.start + head - sizeof length, &length, sizeof length);
    return (ssize_t)head + size;
}

static int run_read_attributes(struct task *task) {
    char *names = malloc(NAMES_MAX);
    struct bytes into = {task->kept, task->kept_length};
    int error = 0;
    if (names == NULL) return ENOMEM;
    ssize_t listed = llistxattr(task->owned, names, NAMES_MAX);
    if (listed < 0) error = errno;
    for (ssize_t at = 0; error == 0 && at < listed; at += (ssize_t)strlen(names + at) + 1) {
        ssize_t took = append_attribute(task->owned, names + at, into);
        if (took < 0) {
            error = errno;
        } else {
            into.start += took;
            into.length -= (size_t)took;
        }
    }
    task->result = (int)(task->kept_length - into.length);
    free(names);
    return error;
}

/* readAttributes(path, into): promise of how many bytes of the buffer `into` they take; rejects with ERANGE where it is too small. */
napi_value start_read_attributes(napi_env env, napi_callback_info info) {
    struct task task = {.syscall_name = "lgetxattr", .run = run_read_attributes};
    napi_value arguments[2];
    struct bytes path, into;
    size_t given = 2;
    CHECK(napi_get_cb_info(env, info, &given, arguments, NULL, NULL));
    if (given < 2 || !read_bytes(env, arguments[0], &path) || !read_bytes(env, arguments[1], &into)) return NULL;
    if (into.length > INT_MAX) return throw_errno(env, EINVAL, task.syscall_name);
    task.owned = strndup((const char *)path.start, path.length);
    if (task.owned == NULL) return throw_errno(env, ENOMEM, task.syscall_name);
    task.kept = into.start;
    task.kept_length = into.length;
    return queue_task(env, &task, arguments[1]);
}

static int run_set_attribute(struct task *task) {
    const char *name = task->owned + strlen(task->owned) + 1;
    return lsetxattr(task->owned, name, task->kept, task->kept_length, 0) == 0 ? 0 : errno;
}

/* setAttribute(path, name, value): promise */
napi_value start_set_attribute(napi_env env, napi_callback_info info) {
    struct task task = {.syscall_name = "lsetxattr", .run = run_set_attribute};
    napi_value arguments[3];
    struct bytes path, name, value;
    size_t given = 3;
    CHECK(napi_get_cb_info(env, info, &given, arguments, NULL, NULL));
    if (given < 3 || !read_bytes(env, arguments[0], &path) || !read_bytes(env, arguments[1], &name) ||
        !read_bytes(env, arguments[2], &value))
        return NULL;
    task.owned = calloc(1, path.length + 1 + name.length + 1);
    if (task.owned == NULL) return throw_errno(env, ENOMEM, task.syscall_name);
    memcpy(task.owned, path.start, path.length);
    memcpy(task.owned + path.length + 1, name.start, name.length);
    task.kept = value.start;
    task.kept_length = value.length;
    return queue_task(env, &task, arguments[2]);
}
