/* The page shared with the watchdog, and the freeze that is published in it. */
#include "addon.h"
#include "fault-point.h"
#include "in-freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* Tells our pages from other programs' external values. */
static const napi_type_tag page_tag = {0x6673626b70706167ull, 0x65746167ull};

static void page_unmap(napi_env env, void *data, void *hint) {
    (void)env;
    (void)hint;
    munmap(data, sizeof(struct page));
}

/* pageCreate(slots, timeoutMs, maxHoldMs): {fd, page}. A timeout of 0 is none. */
napi_value page_create(napi_env env, napi_callback_info info) {
    int32_t values[3];
    napi_value object, fd_value, external;
    if (!read_ints(env, info, 3, values)) return NULL;
    if (values[0] < 0 || values[0] > (int32_t)MAX_SLOTS || values[1] < 0 || values[2] < 1)
        return throw_errno(env, EINVAL, "pageCreate");
    int fd = memfd_create("page", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return throw_errno(env, errno, "memfd_create");
    /* Sealed, since a page that shrinks would kill whoever reads it. */
    if (ftruncate(fd, sizeof(struct page)) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        int error = errno;
        close(fd);
        return throw_errno(env, error, "ftruncate");
    }
    struct page *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED) {
        int error = errno;
        close(fd);
        return throw_errno(env, error, "mmap");
    }
    page->magic = PAGE_MAGIC;
    page->version = PROTOCOL_VERSION;
    page->slot_count = (uint32_t)values[0];
    page->max_hold_ns = (uint64_t)(values[2] * NS_PER_MS);
    for (uint32_t i = 0; i < page->slot_count; i++)
        atomic_store(&page->slots[i].timeout_ns, (uint64_t)(values[1] * NS_PER_MS));
    atomic_store(&page->watch_timeout_ns, (uint64_t)(values[1] * NS_PER_MS));
    CHECK(napi_create_object(env, &object));
    CHECK(napi_create_int32(env, fd, &fd_value));
    CHECK(napi_create_external(env, page, page_unmap, NULL, &external));
    CHECK(napi_type_tag_object(env, external, &page_tag));
    CHECK(napi_set_named_property(env, object, "fd", fd_value));
    CHECK(napi_set_named_property(env, object, "page", external));
    return object;
}

struct page *read_page_arguments(napi_env env, napi_callback_info info, size_t count, int32_t *values) {
    napi_value arguments[4];
    size_t given = 4;
    bool ours = false;
    void *page = NULL;
    if (napi_get_cb_info(env, info, &given, arguments, NULL, NULL) == napi_ok &&
        napi_check_object_type_tag(env, arguments[0], &page_tag, &ours) == napi_ok && ours)
        napi_get_value_external(env, arguments[0], &page);
    for (size_t i = 0; page != NULL && i < count; i++)
        if (napi_get_value_int32(env, arguments[i + 1], &values[i]) != napi_ok) page = NULL;
    if (page == NULL) napi_throw_type_error(env, NULL, "expected a page, and integers");
    return page;
}

/* The same, the first integer being a slot of the page. */
static struct page *read_slot_arguments(napi_env env, napi_callback_info info, size_t count, int32_t *values) {
    struct page *page = read_page_arguments(env, info, count, values);
    if (page == NULL || (uint32_t)values[0] < page->slot_count) return page;
    napi_throw_type_error(env, NULL, "expected a slot of the page");
    return NULL;
}

napi_value queue_page_task(napi_env env, napi_callback_info info, const struct task *task, task_queue queue) {
    napi_value page;
    size_t count = 1;
    CHECK(napi_get_cb_info(env, info, &count, &page, NULL, NULL));
    return queue(env, task, page);
}

napi_status set_number(napi_env env, napi_value object, const char *name, double value) {
    napi_value number;
    napi_status status = napi_create_double(env, value, &number);
    return status == napi_ok ? napi_set_named_property(env, object, name, number) : status;
}

/* pageRead(page): an array of what each slot says. Times in ms of CLOCK_BOOTTIME, 0 for not yet. */
napi_value page_read(napi_env env, napi_callback_info info) {
    napi_value array;
    struct page *page = read_page_arguments(env, info, 0, NULL);
    if (page == NULL) return NULL;
    CHECK(napi_create_array_with_length(env, page->slot_count, &array));
    for (uint32_t i = 0; i < page->slot_count; i++) {
        const struct slot *slot = &page->slots[i];
        napi_value object;
        CHECK(napi_create_object(env, &object));
        CHECK(set_number(env, object, "state", atomic_load(&slot->state)));
        CHECK(set_number(env, object, "loss", atomic_load(&slot->loss)));
        CHECK(set_number(env, object, "freezeErrno", atomic_load(&slot->freeze_errno)));
        CHECK(set_number(env, object, "thawErrno", atomic_load(&slot->thaw_errno)));
        CHECK(set_number(env, object, "callMs", (double)atomic_load(&slot->call_ns) / NS_PER_MS));
        CHECK(set_number(env, object, "heldMs", (double)atomic_load(&slot->held_ns) / NS_PER_MS));
        CHECK(set_number(env, object, "thawBeginMs", (double)atomic_load(&slot->thaw_begin_ns) / NS_PER_MS));
        CHECK(set_number(env, object, "thawedMs", (double)atomic_load(&slot->thawed_ns) / NS_PER_MS));
        CHECK(set_number(env, object, "deadlineMs", (double)atomic_load(&slot->deadline_ns) / NS_PER_MS));
        CHECK(set_number(env, object, "probing", (atomic_load(&page->probing) >> i) & 1u));
        CHECK(set_number(env, object, "endedAnothers", (atomic_load(&page->ended_anothers) >> i) & 1u));
        CHECK(napi_set_element(env, array, i, object));
    }
    return array;
}

/* Published by this thread and not by JavaScript: an event loop that is blocked or dead publishes nothing. */
static int run_freeze(struct task *task) {
    struct slot *slot = &task->page->slots[task->slot];
    uint64_t now = boottime_ns();
    uint64_t timeout = atomic_load(&slot->timeout_ns);
    uint64_t cap = task->page->max_hold_ns;
    atomic_store(&slot->call_ns, now);
    atomic_store(&slot->deadline_ns, now + (timeout != 0 && timeout < cap ? timeout : cap));
    atomic_store(&task->page->callers[task->slot], gettid());
    uint32_t state = SLOT_IDLE;
    /* Not idle: cancelled by the watchdog before it began. */
    if (!atomic_compare_exchange_strong(&slot->state, &state, SLOT_CALLING)) return ECANCELED;
    int error = FAULT_ERRNO("freeze.calling");
    if (error == 0 && ioctl(task->fd, FIFREEZE, 0) != 0) error = errno;
    FAULT_POINT("freeze.called");
    atomic_store(&slot->held_ns, boottime_ns());
    atomic_store(&slot->freeze_errno, error);
    state = SLOT_CALLING;
    if (atomic_compare_exchange_strong(&slot->state, &state, error == 0 ? SLOT_HELD : SLOT_FAILED))
        /* A guard whose time was up waited for us, and thaws now. */
        return error == 0 && atomic_load(&slot->loss) != LOSS_NONE ? ECANCELED : error;
    /*
     * Ended while the call was in flight: a FITHAW had success. What that thawed may have been another's freeze before ours, so
     * ours is thawed for certain. Where there was none of ours, or still is one, the other was.
     */
    bool was_anothers = error == EBUSY || (error == 0 && ioctl(task->fd, FITHAW, 0) == 0);
    if (was_anothers) atomic_fetch_or(&task->page->ended_anothers, 1u << task->slot);
    return ECANCELED;
}

/* (page, slot, fd): a promise of what `run` does with FIFREEZE. */
static napi_value queue_freeze(napi_env env, napi_callback_info info, int (*run)(struct task *)) {
    int32_t values[2];
    struct task task = {.syscall_name = "ioctl(FIFREEZE)", .run = run};
    task.page = read_slot_arguments(env, info, 2, values);
    if (task.page == NULL) return NULL;
    task.slot = (uint32_t)values[0];
    task.fd = values[1];
    return queue_page_task(env, info, &task, queue_task);
}

/* pageFreeze(page, slot, fd): promise. ECANCELED: the dead-man was faster. */
napi_value page_freeze(napi_env env, napi_callback_info info) {
    return queue_freeze(env, info, run_freeze);
}

/* How long a guard whose FITHAW had success may need to say so. */
#define OTHERS_WORD_MS 50

/* Whether the FIFREEZE of another thread of ours is in flight, and may still end by itself, or just has. */
static bool freeze_waits(struct page *page, uint32_t index) {
    for (int ms = 0; ms < LAST_WORD_MS; ms += LOOK_MS) {
        bool calling = atomic_load(&page->slots[index].state) == SLOT_CALLING;
        if (!calling || waits_in_freeze(getpid(), atomic_load(&page->callers[index]))) return true;
        sleep_ms(LOOK_MS);
    }
    return false;
}

/* When no watchdog answers, and the second half of every probe: true when nothing of the slot is frozen any more. */
static bool thaw_slot(struct page *page, uint32_t index, int fd, int loss) {
    struct slot *slot = &page->slots[index];
    uint32_t state = SLOT_IDLE;
    atomic_compare_exchange_strong(&slot->state, &state, SLOT_THAWED);
    if (state == SLOT_IDLE || state == SLOT_THAWED || state == SLOT_FAILED) return true;
    if (state == SLOT_HELD) {
        /* Before the claim: to the guards, one without its time would look stale. */
        atomic_store(&slot->thaw_begin_ns, boottime_ns());
        atomic_compare_exchange_strong(&slot->state, &state, SLOT_THAWING);
    }
    if (state == SLOT_CALLING && freeze_waits(page, index)) return false;
    int error = ioctl(fd, FITHAW, 0) == 0 ? 0 : errno;
    bool in_flight = state == SLOT_CALLING || state == SLOT_PROBING;
    bool ended = error == 0 || (error == EINVAL && !in_flight);
    /* Held, and not frozen now: a guard that waited in FITHAW as we did was faster, and says so in a moment, or somebody else was. */
    for (int ms = 0; ended && error == EINVAL && ms < OTHERS_WORD_MS && atomic_load(&slot->state) != SLOT_THAWED; ms++) sleep_ms(1);
    /* That may have been the freeze of the probe itself, ours being lost. Only its watchdog knows, which does not say. */
    if (ended && atomic_load(&slot->state) == SLOT_PROBING) note_loss(&slot->loss, loss == LOSS_NONE ? LOSS_GUARD_DIED : (uint32_t)loss);
    uint32_t before = ended ? atomic_exchange(&slot->state, SLOT_THAWED) : SLOT_THAWED;
    if (before == SLOT_FAILED && error == 0) atomic_fetch_or(&page->ended_anothers, 1u << index);
    if (before != SLOT_THAWED) {
        note_loss(&slot->loss, loss == LOSS_NONE && error == EINVAL ? LOSS_THIRD_PARTY : (uint32_t)loss);
        atomic_store(&slot->thaw_errno, error);
        atomic_store(&slot->thawed_ns, boottime_ns());
    } else if (!ended) {
        atomic_store(&slot->thaw_errno, error);
    }
    return ended;
}

/*
 * In one thread, with nothing in between that could be waited for: on some kernels a device that is resumed while a freeze
 * is held on top of it is wrecked (decision 9), and writers wait.
 */
static int run_probe_slot(struct task *task) {
    int error = run_freeze(task);
    if (error == 0) task->result = thaw_slot(task->page, task->slot, task->fd, LOSS_NONE);
    return error;
}

/*
 * pageProbe(page, slot, fd): FIFREEZE and at once FITHAW, as a promise of 1, or of 0 when FITHAW failed. EBUSY: somebody
 * else holds it frozen, and it was left so. The guards see each step, and thaw for a caller that dies in between.
 */
napi_value page_probe(napi_env env, napi_callback_info info) {
    return queue_freeze(env, info, run_probe_slot);
}

static int run_thaw(struct task *task) {
    task->result = thaw_slot(task->page, task->slot, task->fd, task->loss);
    return 0;
}

/*
 * pageThaw(page, slot, fd, loss): a promise of 1 when nothing of the slot is frozen any more, of 0 when a freeze is in flight or
 * another process is at it: call again. In a thread of its own, since FITHAW waits for what lies below, and for a FIFREEZE in flight.
 */
napi_value page_thaw(napi_env env, napi_callback_info info) {
    int32_t values[3];
    struct task task = {.syscall_name = "ioctl(FITHAW)", .run = run_thaw};
    task.page = read_slot_arguments(env, info, 3, values);
    if (task.page == NULL) return NULL;
    task.slot = (uint32_t)values[0];
    task.fd = values[1];
    task.loss = values[2];
    return queue_page_task(env, info, &task, start_task);
}
