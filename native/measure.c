/*
 * How long devices were suspended, found out by looking again and again. Every doubt counts as suspended: the time begins
 * with the last look that saw a device running, and ends with the first that does again.
 */
#include "addon.h"

#include <sys/prctl.h>
#include <sys/resource.h>

#define LOOK_US 200

static void look(struct page *page, int control, uint64_t *running_ns, uint64_t *done_ns) {
    for (uint32_t i = 0; i < page->device_count; i++) {
        struct device *device = &page->devices[i];
        bool suspended;
        uint64_t before = boottime_ns();
        if (dm_is_suspended(control, device, &suspended) != 0) continue;
        uint64_t after = boottime_ns();
        bool was_suspended = atomic_load(&device->suspended_ns) != done_ns[i];
        if (suspended || was_suspended) {
            uint64_t none = 0;
            atomic_compare_exchange_strong(&device->first_suspended_ns, &none, after);
            atomic_store(&device->suspended_ns, done_ns[i] + (after - running_ns[i]));
        }
        if (suspended) continue;
        uint64_t gap = after - running_ns[i];
        if (!was_suspended && gap > atomic_load(&page->longest_gap_ns)) atomic_store(&page->longest_gap_ns, gap);
        done_ns[i] = atomic_load(&device->suspended_ns);
        running_ns[i] = before;
    }
}

void devices_measure(struct page *page, int control) {
    uint64_t running_ns[MAX_DEVICES], done_ns[MAX_DEVICES] = {0};
    for (unsigned i = 0; i < MAX_DEVICES; i++) running_ns[i] = atomic_load(&page->watch_ns);
    /* This thread goes back to the pool afterwards. */
    int priority = getpriority(PRIO_PROCESS, 0);
    setpriority(PRIO_PROCESS, 0, -20);
    prctl(PR_SET_TIMERSLACK, 1);
    for (bool last = false; !last; sleep_us(last ? 0 : LOOK_US)) {
        /* One look more than asked for: it sees the end of what the one before saw. */
        last = atomic_load(&page->measuring) == 0;
        look(page, control, running_ns, done_ns);
    }
    prctl(PR_SET_TIMERSLACK, 0);
    setpriority(PRIO_PROCESS, 0, priority);
}
