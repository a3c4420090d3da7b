/* The devices that a snapshot command may leave suspended, and the programs that may do so. */
#include "addon.h"

#include <errno.h>
#include <signal.h>

/* deviceIsSuspended(controlFd, major, minor) */
napi_value device_is_suspended(napi_env env, napi_callback_info info) {
    int32_t values[3];
    napi_value result;
    bool suspended;
    if (!read_ints(env, info, 3, values)) return NULL;
    struct device device = {.major_number = (uint32_t)values[1], .minor_number = (uint32_t)values[2]};
    int error = dm_is_suspended(values[0], &device, &suspended);
    if (error != 0) return throw_errno(env, error, "ioctl(DM_DEV_STATUS)");
    CHECK(napi_get_boolean(env, suspended, &result));
    return result;
}

/* pageAddDevice(page, major, minor): before a guard sees the page. */
napi_value page_add_device(napi_env env, napi_callback_info info) {
    int32_t values[2];
    struct page *page = read_page_arguments(env, info, 2, values);
    if (page == NULL) return NULL;
    if (page->device_count >= MAX_DEVICES) return throw_errno(env, ENOSPC, "pageAddDevice");
    struct device *device = &page->devices[page->device_count++];
    device->major_number = (uint32_t)values[0];
    device->minor_number = (uint32_t)values[1];
    return NULL;
}

/* watchOpen(page): from now on the deadline counts. ECANCELED: the dead-man was faster. */
napi_value watch_open(napi_env env, napi_callback_info info) {
    struct page *page = read_page_arguments(env, info, 0, NULL);
    if (page == NULL) return NULL;
    uint64_t now = boottime_ns();
    uint64_t timeout = atomic_load(&page->watch_timeout_ns);
    uint64_t cap = page->max_hold_ns;
    atomic_store(&page->watch_ns, now);
    atomic_store(&page->watch_deadline_ns, now + (timeout != 0 && timeout < cap ? timeout : cap));
    uint32_t idle = WATCH_IDLE;
    if (atomic_compare_exchange_strong(&page->watch_state, &idle, WATCH_OPEN)) return NULL;
    return throw_errno(env, ECANCELED, "watchOpen");
}

/* watchRead(page): what it says of the devices. Times in ms of CLOCK_BOOTTIME, 0 for not yet. */
napi_value watch_read(napi_env env, napi_callback_info info) {
    napi_value result, array;
    struct page *page = read_page_arguments(env, info, 0, NULL);
    if (page == NULL) return NULL;
    CHECK(napi_create_object(env, &result));
    CHECK(set_number(env, result, "state", atomic_load(&page->watch_state)));
    CHECK(set_number(env, result, "loss", atomic_load(&page->watch_loss)));
    CHECK(set_number(env, result, "deadlineMs", (double)atomic_load(&page->watch_deadline_ns) / NS_PER_MS));
    CHECK(set_number(env, result, "longestGapMs", (double)atomic_load(&page->longest_gap_ns) / NS_PER_MS));
    CHECK(napi_create_array_with_length(env, page->device_count, &array));
    for (uint32_t i = 0; i < page->device_count; i++) {
        const struct device *device = &page->devices[i];
        napi_value object;
        CHECK(napi_create_object(env, &object));
        CHECK(set_number(env, object, "resumed", atomic_load(&device->resumed)));
        CHECK(set_number(env, object, "errno", atomic_load(&device->error)));
        CHECK(set_number(env, object, "resumedMs", (double)atomic_load(&device->resumed_ns) / NS_PER_MS));
        CHECK(set_number(env, object, "firstSuspendedMs", (double)atomic_load(&device->first_suspended_ns) / NS_PER_MS));
        CHECK(set_number(env, object, "suspendedMs", (double)atomic_load(&device->suspended_ns) / NS_PER_MS));
        CHECK(napi_set_element(env, array, i, object));
    }
    CHECK(napi_set_named_property(env, result, "devices", array));
    return result;
}

static int run_settle(struct task *task) {
    task->result = (int)devices_settle(task->page, task->fd, (enum loss)task->loss);
    return 0;
}

/* watchSettle(page, controlFd, loss): promise of the state; the fallback for when no watchdog answers. */
napi_value watch_settle_task(napi_env env, napi_callback_info info) {
    int32_t values[2];
    struct task task = {.syscall_name = "watchSettle", .run = run_settle};
    task.page = read_page_arguments(env, info, 2, values);
    if (task.page == NULL) return NULL;
    task.fd = values[0];
    task.loss = values[1];
    return queue_page_task(env, info, &task, start_task);
}

static int run_measure(struct task *task) {
    devices_measure(task->page, task->fd);
    return 0;
}

/* measureStart(page, controlFd): promise, which settles soon after measureStop. */
napi_value measure_start(napi_env env, napi_callback_info info) {
    int32_t control;
    struct task task = {.syscall_name = "measureStart", .run = run_measure};
    task.page = read_page_arguments(env, info, 1, &control);
    if (task.page == NULL) return NULL;
    task.fd = control;
    atomic_store(&task.page->measuring, 1);
    return queue_page_task(env, info, &task, start_task);
}

/* measureStop(page) */
napi_value measure_stop(napi_env env, napi_callback_info info) {
    struct page *page = read_page_arguments(env, info, 0, NULL);
    if (page != NULL) atomic_store(&page->measuring, 0);
    return NULL;
}

/* commandStarting(page): its number, before it is started. ECANCELED: the devices are not watched (any more). */
napi_value command_starting(napi_env env, napi_callback_info info) {
    napi_value result;
    struct page *page = read_page_arguments(env, info, 0, NULL);
    if (page == NULL) return NULL;
    for (unsigned i = 0; i < MAX_COMMANDS; i++) {
        int32_t none = COMMAND_NONE;
        if (!atomic_compare_exchange_strong(&page->commands[i], &none, COMMAND_STARTING)) continue;
        atomic_store(&page->commands_begun, 1);
        /* Afterwards: a guard that has not seen the number ended the watch before. */
        if (atomic_load(&page->watch_state) == WATCH_OPEN) {
            CHECK(napi_create_uint32(env, i, &result));
            return result;
        }
        atomic_store(&page->commands[i], COMMAND_NONE);
        return throw_errno(env, ECANCELED, "commandStarting");
    }
    return throw_errno(env, EAGAIN, "commandStarting");
}

/* commandStarted(page, number, processGroup): killed at once when the watch has ended meanwhile. */
napi_value command_started(napi_env env, napi_callback_info info) {
    int32_t values[2];
    struct page *page = read_page_arguments(env, info, 2, values);
    if (page == NULL || (uint32_t)values[0] >= MAX_COMMANDS || values[1] <= 1) return NULL;
    atomic_store(&page->commands[values[0]], values[1]);
    if (atomic_load(&page->watch_state) != WATCH_OPEN) kill(-values[1], SIGKILL);
    return NULL;
}

/* commandEnded(page, number) */
napi_value command_ended(napi_env env, napi_callback_info info) {
    int32_t number;
    struct page *page = read_page_arguments(env, info, 1, &number);
    if (page != NULL && (uint32_t)number < MAX_COMMANDS) atomic_store(&page->commands[number], COMMAND_NONE);
    return NULL;
}
