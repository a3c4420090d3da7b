/*
 * One thread for each filesystem, made before anything is frozen: FITHAW can wait (for a FIFREEZE in its sync phase, for
 * a frozen filesystem below), and no filesystem's thaw may wait for another's.
 */
#include "fault-point.h"
#include "guard.h"
#include "in-freeze.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* FITHAW answers EINVAL while a FIFREEZE waits for writers, so it is asked again. */
#define RETRY_MS 50
/* After so many other failures in a row the slot is called stuck, and the caller gets its answer. */
#define STUCK_AFTER 40
/* The process whose claim is older was stopped between the claim and the call, or its FITHAW waits: for a disk, as a rule. */
#define CLAIM_STALE_NS (50ull * 1000 * 1000)

enum job { JOB_THAW = 1, JOB_PROBE = 2 };

static struct worker {
    int wake_fd;
    _Atomic uint32_t jobs;
    _Atomic uint32_t unfinished;
    _Atomic uint32_t loss;
} workers[MAX_SLOTS];

static int mountpoint_fd(uint32_t slot) { return FD_FIRST_SLOT + (int)slot; }

bool slot_ended(uint32_t slot) {
    uint32_t state = atomic_load(&guard.page->slots[slot].state);
    return state == SLOT_THAWED || state == SLOT_FAILED;
}

bool all_ended(void) {
    for (uint32_t i = 0; i < guard.slot_count; i++)
        if (!slot_ended(i) || worker_busy(i)) return false;
    return watch_ended();
}

static uint32_t bit_of(uint32_t slot) { return 1u << slot; }

/* The slot's end. The record is written here, after the thaw, since its own filesystem may have been frozen. */
static void finish(uint32_t index, int error) {
    struct slot *slot = &guard.page->slots[index];
    atomic_store(&slot->thaw_errno, error);
    atomic_store(&slot->thawed_ns, boottime_ns());
    uint32_t before = atomic_exchange(&slot->state, SLOT_THAWED);
    /* FIFREEZE came back meanwhile, and had frozen nothing: what FITHAW thawed was not ours. */
    if (before == SLOT_FAILED && error == 0) atomic_fetch_or(&guard.page->ended_anothers, bit_of(index));
    if (before != SLOT_THAWED) record_write(index);
}

/* Whether the process whose FIFREEZE is in flight has gone: what it has not frozen by then, it never will. */
static bool caller_gone(uint32_t state) {
    if (state == SLOT_PROBING) return guard.is_second && atomic_load(&guard.partner_dead);
    return atomic_load(&guard.holder_dead);
}

/* Whether a deadline that ends a slot now had not passed when it was claimed: it was held to its end, which took its time. */
static bool in_time(const struct slot *slot, uint32_t loss) {
    bool by_deadline = loss == LOSS_TIMEOUT || loss == LOSS_MAX_HOLD;
    return by_deadline && atomic_load(&slot->thaw_begin_ns) < atomic_load(&slot->deadline_ns);
}

/* Claims a held slot for this process; false while another has it and may still be about to thaw it. */
static bool claim(struct slot *slot, uint32_t state, uint32_t loss) {
    if (state == SLOT_HELD) {
        /* Before the claim: one without its time would look stale. */
        atomic_store(&slot->thaw_begin_ns, boottime_ns());
        if (!atomic_compare_exchange_strong(&slot->state, &state, SLOT_THAWING)) return false;
        note_loss(&slot->loss, loss);
        return true;
    }
    if (state == SLOT_THAWING) {
        if (boottime_ns() - atomic_load(&slot->thaw_begin_ns) < CLAIM_STALE_NS) return false;
        if (!in_time(slot, loss)) note_loss(&slot->loss, loss);
        return true;
    }
    /* In flight or stuck: nobody claims these, a thaw of them is tried again and again. */
    note_loss(&slot->loss, loss);
    uint64_t zero = 0;
    atomic_compare_exchange_strong(&slot->thaw_begin_ns, &zero, boottime_ns());
    return true;
}

/*
 * What was held is not frozen now: one of us that waited in FITHAW as we did was faster, and says so in a moment, or somebody
 * else was. Not asked of the kernel again, which may have been given another's freeze by now.
 */
static bool thawed_by_us(const struct slot *slot) {
    for (int ms = 0; ms < RETRY_MS && atomic_load(&slot->state) != SLOT_THAWED; ms++) sleep_ms(1);
    return atomic_load(&slot->state) == SLOT_THAWED;
}

/* FITHAW until there is nothing to thaw. */
static void thaw_whatever(uint32_t index) {
    while (ioctl(mountpoint_fd(index), FITHAW, 0) != 0 && errno != EINVAL) sleep_ms(RETRY_MS);
}

bool probes_pending(void) { return atomic_load(&guard.page->probing) != 0; }

void probes_undo(void) {
    for (uint32_t i = guard.slot_count; i-- > 0;)
        if (atomic_load(&guard.page->probing) & bit_of(i)) thaw_whatever(i);
}

/* Whether the FIFREEZE in flight of a living command may still end by itself. `silent_ms`: since when it was not seen in there. */
static bool freeze_waits(uint32_t index, int *silent_ms) {
    if (waits_in_freeze(guard.holder_pid, atomic_load(&guard.page->callers[index]))) *silent_ms = 0;
    else *silent_ms += LOOK_MS;
    return !atomic_load(&guard.holder_dead) && *silent_ms < LAST_WORD_MS;
}

static void thaw(uint32_t index, uint32_t loss) {
    struct slot *slot = &guard.page->slots[index];
    int silent_ms = 0;
    for (int failures = 0;;) {
        uint32_t state = atomic_load(&slot->state);
        if (state == SLOT_THAWED || state == SLOT_FAILED) return;
        if (state == SLOT_IDLE) {
            /* Cancelled: the addon's own step from IDLE to CALLING now fails. */
            if (atomic_compare_exchange_strong(&slot->state, &state, SLOT_THAWED)) record_write(index);
            continue;
        }
        bool caller_was_gone = caller_gone(state);
        if (state == SLOT_CALLING && freeze_waits(index, &silent_ms)) {
            note_loss(&slot->loss, loss);
            sleep_ms(LOOK_MS);
            continue;
        }
        if (!claim(slot, state, loss)) {
            sleep_ms(1);
            continue;
        }
        int error = FAULT_ERRNO("guard.thaw-claimed");
        if (error == 0 && ioctl(mountpoint_fd(index), FITHAW, 0) != 0) error = errno;
        if (error == 0) {
            FAULT_POINT("guard.thawed");
            finish(index, 0);
            return;
        }
        if (error == EINVAL && (state == SLOT_CALLING || state == SLOT_PROBING)) {
            if (caller_was_gone) {
                finish(index, 0);
                return;
            }
        } else if (error == EINVAL) {
            if (thawed_by_us(slot)) return;
            note_loss(&slot->loss, LOSS_THIRD_PARTY);
            finish(index, EINVAL);
            return;
        } else if (++failures >= STUCK_AFTER) {
            atomic_store(&slot->thaw_errno, error);
            atomic_store(&slot->state, SLOT_STUCK);
            return;
        }
        sleep_ms(RETRY_MS);
    }
}

/*
 * FIFREEZE is the only question that the kernel answers: EBUSY is "still frozen". Success means that somebody had thawed
 * it, so the loss is told and the probe's own freeze undone at once.
 */
static void probe(uint32_t index) {
    struct slot *slot = &guard.page->slots[index];
    uint32_t held = SLOT_HELD;
    /* Before the claim: who ends the slot from then on leaves it to us to undo what we froze after that, or to the second. */
    atomic_fetch_or(&guard.page->probing, bit_of(index));
    if (atomic_compare_exchange_strong(&slot->state, &held, SLOT_PROBING)) {
        int error = FAULT_ERRNO("guard.probing");
        if (error == 0 && ioctl(mountpoint_fd(index), FIFREEZE, 0) != 0) error = errno;
        FAULT_POINT("guard.probed");
        /* Before anybody can find it held: whoever ends it then would undo our freeze, and take it for the one that was lost. */
        if (error == 0) note_loss(&slot->loss, LOSS_THIRD_PARTY);
        uint32_t probing = SLOT_PROBING;
        bool ours = atomic_compare_exchange_strong(&slot->state, &probing, SLOT_HELD);
        if (ours && error != EBUSY) thaw(index, LOSS_THIRD_PARTY);
        else if (error == 0) thaw_whatever(index);
    }
    atomic_fetch_and(&guard.page->probing, ~bit_of(index));
}

static void *work(void *argument) {
    uint32_t index = (uint32_t)(uintptr_t)argument;
    struct worker *worker = &workers[index];
    for (;;) {
        uint64_t count;
        if (read(worker->wake_fd, &count, sizeof count) != sizeof count) continue;
        uint32_t jobs = atomic_exchange(&worker->jobs, 0);
        if (jobs & JOB_PROBE) probe(index);
        if (jobs & JOB_THAW) thaw(index, atomic_load(&worker->loss));
        atomic_fetch_sub(&worker->unfinished, (uint32_t)count);
        const uint64_t one = 1;
        if (write(guard.done_fd, &one, sizeof one) < 0) continue;
    }
    return NULL;
}

int workers_start(void) {
    for (uint32_t i = 0; i < guard.slot_count; i++) {
        workers[i].wake_fd = eventfd(0, EFD_CLOEXEC);
        if (workers[i].wake_fd < 0) return errno;
        int error = thread_start(work, (void *)(uintptr_t)i);
        if (error != 0) return error;
    }
    return 0;
}

static void enqueue(uint32_t slot, enum job job) {
    struct worker *worker = &workers[slot];
    const uint64_t one = 1;
    atomic_fetch_add(&worker->unfinished, 1);
    atomic_fetch_or(&worker->jobs, job);
    if (write(worker->wake_fd, &one, sizeof one) < 0) atomic_fetch_sub(&worker->unfinished, 1);
}

void worker_thaw(uint32_t slot, enum loss loss) {
    if (slot_ended(slot)) return;
    note_loss(&workers[slot].loss, loss);
    enqueue(slot, JOB_THAW);
}

void worker_probe(uint32_t slot) { enqueue(slot, JOB_PROBE); }

bool worker_busy(uint32_t slot) { return atomic_load(&workers[slot].unfinished) != 0; }

void thaw_all(enum loss loss) {
    for (uint32_t i = guard.slot_count; i-- > 0;) worker_thaw(i, loss);
    watch_settle(loss);
}

void holder_gone(void) {
    if (guard.detached || guard.holder_left) return;
    guard.holder_left = true;
    if (guard.is_second) FAULT_POINT("second.holder-gone");
    else FAULT_POINT("guard.holder-gone");
    thaw_all(LOSS_HOLDER_DIED);
}
