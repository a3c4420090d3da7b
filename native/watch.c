/*
 * The thread that sees to the devices. It may wait: for a program to end, and in the kernel for a device whose suspension
 * is still under way. Thawing waits for neither.
 */
#include "guard.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LINGER_LOOK_MS 20
#define STUCK_RETRY_MS 1000

static int wake_fd = -1;
static _Atomic uint32_t requested_loss;

bool watch_ended(void) {
    return guard.page->device_count == 0 || atomic_load(&guard.page->watch_state) == WATCH_ENDED;
}

bool watch_settled(void) {
    uint32_t state = atomic_load(&guard.page->watch_state);
    return guard.page->device_count == 0 || (state != WATCH_IDLE && state != WATCH_OPEN);
}

static void tell(void) {
    const uint64_t one = 1;
    (void)!write(guard.done_fd, &one, sizeof one);
}

static void *work(void *argument) {
    (void)argument;
    uint64_t count;
    while (read(wake_fd, &count, sizeof count) != sizeof count) {
    }
    for (;;) {
        enum watch_state state = devices_settle(guard.page, guard.dm_fd, (enum loss)atomic_load(&requested_loss));
        tell();
        if (state == WATCH_ENDED) return NULL;
        sleep_ms(state == WATCH_STUCK ? STUCK_RETRY_MS : LINGER_LOOK_MS);
    }
}

int watch_start(void) {
    if (guard.page->device_count == 0) return 0;
    wake_fd = eventfd(0, EFD_CLOEXEC);
    if (wake_fd < 0) return errno;
    return thread_start(work, NULL);
}

void watch_settle(enum loss loss) {
    if (guard.page->device_count == 0) return;
    uint32_t none = LOSS_NONE;
    const uint64_t one = 1;
    if (loss != LOSS_NONE) atomic_compare_exchange_strong(&requested_loss, &none, loss);
    (void)!write(wake_fd, &one, sizeof one);
}
