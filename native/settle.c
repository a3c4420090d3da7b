/*
 * Nothing stays suspended. A device is suspended for good reason while its program lives, which alone knows what table is
 * to be loaded: so the program gets time to end by itself, is killed next, and only then is the device resumed.
 */
#include "devices.h"

#include <errno.h>

#define NS_PER_MS 1000000ull
/* A program that lives is told to end by the command line, and LVM ends only where that does no harm. */
#define COMMAND_GRACE_NS (1000 * NS_PER_MS)
/* With no program of ours left it may be another's that suspends the device, for an instant as a rule. */
#define OTHERS_GRACE_NS (500 * NS_PER_MS)
/* How long a killed program may need to leave the kernel. Frozen out of reach, it needs for ever. */
#define KILLED_GRACE_NS (2000 * NS_PER_MS)
#define LOOK_MS 1
/* After so many failures in a row the watch is called stuck. */
#define STUCK_AFTER 40

/* What a single look found. */
struct look {
    bool suspended;
    bool failed;
};

static struct look look_at(struct page *page, int control) {
    struct look look = {false, false};
    for (uint32_t i = 0; i < page->device_count; i++) {
        struct device *device = &page->devices[i];
        bool suspended;
        int error = dm_is_suspended(control, device, &suspended);
        /* ENXIO: gone, so it keeps nobody waiting. */
        look.failed |= error != 0 && error != ENXIO;
        look.suspended |= suspended;
    }
    return look;
}

/* From the last, which is the lowest: resuming a device may need those below it. */
static bool resume_all(struct page *page, int control) {
    bool done = true;
    for (uint32_t i = page->device_count; i-- > 0;) {
        struct device *device = &page->devices[i];
        bool suspended;
        int error = dm_is_suspended(control, device, &suspended);
        if (suspended) error = dm_resume(control, device);
        if (suspended && error == 0) {
            atomic_store(&device->resumed_ns, boottime_ns());
            atomic_store(&device->resumed, 1);
        }
        if (error == ENXIO) error = 0;
        atomic_store(&device->error, error);
        done &= error == 0;
    }
    return done;
}

/* The end that one process found is everybody's. */
static enum watch_state become(struct page *page, enum watch_state next) {
    uint32_t state = atomic_load(&page->watch_state);
    while (state != WATCH_ENDED && !atomic_compare_exchange_weak(&page->watch_state, &state, next)) {
    }
    return state == WATCH_ENDED ? WATCH_ENDED : next;
}

enum watch_state devices_settle(struct page *page, int control, enum loss loss) {
    uint32_t state = WATCH_IDLE;
    /* Cancelled: the addon's own step from IDLE to OPEN now fails. */
    if (atomic_compare_exchange_strong(&page->watch_state, &state, WATCH_ENDED)) return WATCH_ENDED;
    if (state == WATCH_OPEN) note_loss(&page->watch_loss, loss);
    const uint64_t begun = boottime_ns();
    /* What lingers was killed before, and waited for. */
    uint64_t killed = state == WATCH_LINGERING ? 1 : 0;
    for (int failures = 0;; sleep_ms(LOOK_MS)) {
        if (atomic_load(&page->watch_state) == WATCH_ENDED) return WATCH_ENDED;
        /* In this order: a program that has ended suspends nothing any more. */
        bool living = commands_living(page);
        bool starting = commands_starting(page);
        struct look look = look_at(page, control);
        uint64_t now = boottime_ns();
        bool late = now >= atomic_load(&page->watch_deadline_ns);
        bool ours = (look.suspended || look.failed) && atomic_load(&page->commands_begun) != 0;
        /* One that is being started by a dead command line has no name yet by which to kill it: it has until the deadline. */
        if (starting && !late) continue;
        if (!living && !ours) return become(page, WATCH_ENDED);
        if (killed == 0 && !late && now - begun < (living ? COMMAND_GRACE_NS : OTHERS_GRACE_NS)) continue;
        if (living && killed == 0) {
            commands_kill(page);
            killed = now;
            continue;
        }
        if (living && now - killed < KILLED_GRACE_NS) continue;
        if (!ours) return become(page, WATCH_LINGERING);
        if (look.suspended) note_loss(&page->watch_loss, loss == LOSS_NONE ? LOSS_LEFT_SUSPENDED : loss);
        if (!resume_all(page, control) && ++failures >= STUCK_AFTER) return become(page, WATCH_STUCK);
    }
}
