/* When a freeze ends by itself. The deadlines stand in the page, so the second enforces those that the watchdog set. */
#include "fault-point.h"
#include "guard.h"

#include <sys/timerfd.h>

#define NS_PER_MS 1000000ull
/* The second leaves the watchdog, when it lives, the time to act first. */
#define SECOND_GRACE_NS (3 * NS_PER_MS)
#define STUCK_RETRY_NS (1000 * NS_PER_MS)

/* When a stuck slot is tried again; 0: it was not seen stuck yet. */
static uint64_t retry_ns[MAX_SLOTS];

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* The latest moment at which a slot must be looked at again. */
static uint64_t next_look(uint32_t index, uint64_t now) {
    const struct slot *slot = &guard.page->slots[index];
    switch ((enum slot_state)atomic_load(&slot->state)) {
    case SLOT_IDLE: {
        /* Whoever freezes later gets a later deadline than a freeze right now would. */
        uint64_t timeout = atomic_load(&slot->timeout_ns);
        return now + (timeout == 0 ? guard.page->max_hold_ns : earlier(timeout, guard.page->max_hold_ns));
    }
    case SLOT_CALLING:
    case SLOT_HELD:
    case SLOT_PROBING:
    case SLOT_THAWING: {
        /* A claim whose process was stopped is taken over at the deadline, and looked at once a second after it. */
        uint64_t deadline = atomic_load(&slot->deadline_ns) + (guard.is_second ? SECOND_GRACE_NS : 0);
        return deadline > now ? deadline : now + STUCK_RETRY_NS;
    }
    case SLOT_STUCK: return retry_ns[index] > now ? retry_ns[index] : now + STUCK_RETRY_NS;
    case SLOT_FAILED:
    case SLOT_THAWED: break;
    }
    return UINT64_MAX;
}

/* The same for the devices, whose own thread sees to what is stuck. */
static uint64_t next_look_at_watch(uint64_t now) {
    const struct page *page = guard.page;
    uint32_t state = atomic_load(&page->watch_state);
    if (page->device_count == 0 || (state != WATCH_IDLE && state != WATCH_OPEN)) return UINT64_MAX;
    if (state == WATCH_IDLE) {
        uint64_t timeout = atomic_load(&page->watch_timeout_ns);
        return now + (timeout == 0 ? page->max_hold_ns : earlier(timeout, page->max_hold_ns));
    }
    uint64_t deadline = atomic_load(&page->watch_deadline_ns) + (guard.is_second ? SECOND_GRACE_NS : 0);
    return deadline > now ? deadline : now + STUCK_RETRY_NS;
}

void deadlines_schedule(void) {
    uint64_t now = boottime_ns();
    uint64_t next = next_look_at_watch(now);
    for (uint32_t i = 0; i < guard.slot_count; i++) next = earlier(next, next_look(i, now));
    struct itimerspec when = {0};
    if (next != UINT64_MAX) {
        when.it_value.tv_sec = (time_t)(next / 1000000000ull);
        when.it_value.tv_nsec = (long)(next % 1000000000ull);
    }
    /* That also takes back what has expired: it need not be read. */
    timerfd_settime(guard.timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* A pause comes before each new try, and the answer to whoever waits for the thaw comes in it. */
static bool retry_due(uint32_t index, uint64_t now) {
    if (retry_ns[index] == 0) retry_ns[index] = now + STUCK_RETRY_NS;
    if (retry_ns[index] > now) return false;
    retry_ns[index] = 0;
    return true;
}

static void enforce_watch(uint64_t now) {
    const struct page *page = guard.page;
    uint64_t deadline = atomic_load(&page->watch_deadline_ns);
    if (atomic_load(&page->watch_state) != WATCH_OPEN || deadline > now) return;
    watch_settle(deadline >= atomic_load(&page->watch_ns) + page->max_hold_ns ? LOSS_MAX_HOLD : LOSS_TIMEOUT);
}

void deadlines_enforce(void) {
    uint64_t now = boottime_ns();
    enforce_watch(now);
    for (uint32_t i = guard.slot_count; i-- > 0;) {
        struct slot *slot = &guard.page->slots[i];
        uint32_t state = atomic_load(&slot->state);
        uint64_t deadline = atomic_load(&slot->deadline_ns);
        bool passed = deadline != 0 && deadline <= now;
        bool frozen = state != SLOT_IDLE && state != SLOT_THAWED && state != SLOT_FAILED;
        if (!frozen || worker_busy(i) || !(state == SLOT_STUCK ? retry_due(i, now) : passed)) continue;
        uint64_t cap = atomic_load(&slot->call_ns) + guard.page->max_hold_ns;
        if (guard.is_second) FAULT_POINT("second.deadline");
        else FAULT_POINT("guard.deadline");
        worker_thaw(i, deadline >= cap ? LOSS_MAX_HOLD : LOSS_TIMEOUT);
    }
}

void deadline_reset(uint32_t index, uint64_t timeout_ns) {
    struct slot *slot = &guard.page->slots[index];
    uint64_t cap = atomic_load(&slot->call_ns) + guard.page->max_hold_ns;
    atomic_store(&slot->deadline_ns, timeout_ns == 0 ? cap : earlier(boottime_ns() + timeout_ns, cap));
}

void deadline_reset_watch(uint64_t timeout_ns) {
    struct page *page = guard.page;
    uint64_t cap = atomic_load(&page->watch_ns) + page->max_hold_ns;
    atomic_store(&page->watch_deadline_ns, timeout_ns == 0 ? cap : earlier(boottime_ns() + timeout_ns, cap));
}
