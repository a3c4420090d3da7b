/* The status line of a superblock's record: overwritten in place, so that it needs no room where there may be none. */
#include "guard.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *loss_name(uint32_t loss) {
    switch ((enum loss)loss) {
    case LOSS_TIMEOUT: return "timeout";
    case LOSS_MAX_HOLD: return "max-hold";
    case LOSS_HOLDER_DIED: return "holder-died";
    case LOSS_THIRD_PARTY: return "third-party";
    case LOSS_GUARD_DIED: return "guard-died";
    case LOSS_SIGNAL: return "signal";
    case LOSS_LEFT_SUSPENDED: /* of devices, which have no record */
    case LOSS_NONE: break;
    }
    return "none";
}

void record_write(uint32_t index) {
    const struct slot *slot = &guard.page->slots[index];
    uint32_t loss = atomic_load(&slot->loss);
    /* A set that was never frozen, or given back when asked, leaves no tombstone. */
    bool was_frozen = atomic_load(&slot->call_ns) != 0 && atomic_load(&slot->state) != SLOT_FAILED;
    int fd = FD_FIRST_SLOT + (int)guard.slot_count + (int)index;
    char line[RECORD_STATUS_SIZE + 1];
    /* Not yet armed: it still tells of the freeze before. */
    if (!was_frozen && (pread(fd, line, 5, 0) != 5 || memcmp(line, "armed", 5) != 0)) return;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int length = loss == LOSS_NONE || !was_frozen
                     ? snprintf(line, sizeof line, "thawed")
                     : snprintf(line, sizeof line, "lost %s %" PRIu64, loss_name(loss), (uint64_t)now.tv_sec);
    memset(line + length, ' ', (size_t)(RECORD_STATUS_SIZE - 1 - length));
    line[RECORD_STATUS_SIZE - 1] = '\n';
    while (pwrite(fd, line, RECORD_STATUS_SIZE, 0) < 0 && errno == EINTR) {
    }
}

void record_failures(void) {
    for (uint32_t i = 0; i < guard.slot_count; i++)
        if (atomic_load(&guard.page->slots[i].state) == SLOT_FAILED) record_write(i);
}
