/*
 * The second watchdog: asks nothing of the first. It enforces the same deadlines from the same page, watches the holder by
 * its own pidfd, and thaws at once when the first is gone.
 */
#include "fault-point.h"
#include "guard.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum source { ON_HOLDER, ON_PARTNER, ON_TIMER, ON_DONE, ON_SIGNAL, SOURCES };

#define PARTNER_END_NS (2000ull * 1000 * 1000)

static bool quitting;

static void partner_said(void) {
    char byte = 0;
    if (recv(guard.partner_fd, &byte, 1, MSG_DONTWAIT) == 0) {
        atomic_store(&guard.partner_dead, true);
        FAULT_POINT("second.partner-gone");
        thaw_all(LOSS_GUARD_DIED);
    }
    if (byte == LINK_QUIT) quitting = true;
    if (byte == LINK_DETACH) {
        guard.detached = true;
        link_send(LINK_DETACHED);
    }
}

static void handle(const struct pollfd *fds) {
    if (fds[ON_HOLDER].revents & POLLIN) {
        atomic_store(&guard.holder_dead, true);
        holder_gone();
    }
    if (fds[ON_PARTNER].revents & (POLLIN | POLLHUP)) partner_said();
    struct signalfd_siginfo info;
    if (fds[ON_SIGNAL].revents & POLLIN && read(guard.signal_fd, &info, sizeof info) == sizeof info)
        thaw_all(LOSS_SIGNAL);
    drain(guard.done_fd);
    deadlines_enforce();
    deadlines_schedule();
}

/*
 * Nothing is frozen any more, so all that is left for the watchdog to do is to say that it goes. One that is stopped would
 * keep the locks that it has inherited, and so every later freeze away, for as long as nobody continues it. Whether it is
 * dead now, and what it did at its end is ours to do.
 */
static bool outlived_partner(void) {
    struct pollfd poll_fd = {.fd = guard.partner_fd, .events = POLLIN};
    for (uint64_t until = boottime_ns() + PARTNER_END_NS; boottime_ns() < until;) {
        char byte;
        if (poll(&poll_fd, 1, 50) <= 0) continue;
        ssize_t count = recv(guard.partner_fd, &byte, 1, MSG_DONTWAIT);
        if (count == 0) return true;
        if (count == 1 && byte == LINK_QUIT) return false;
    }
    /* Still our parent, so still the watchdog. */
    if (getppid() == guard.watchdog_pid) kill(guard.watchdog_pid, SIGKILL);
    /* In the middle of a probe it dies when the kernel is done with that. */
    char byte;
    while (probes_pending() && recv(guard.partner_fd, &byte, 1, 0) != 0) continue;
    return true;
}

void second_main(void) {
    for (;;) {
        bool partner_dead = atomic_load(&guard.partner_dead);
        bool done = quitting || partner_dead || guard.detached || guard.holder_left;
        if (done && all_ended()) break;
        struct pollfd fds[SOURCES] = {
            /* Negative descriptors are passed over: what has ended is not asked again. */
            [ON_HOLDER] = {atomic_load(&guard.holder_dead) ? -1 : guard.holder_pidfd, POLLIN, 0},
            [ON_PARTNER] = {partner_dead ? -1 : guard.partner_fd, POLLIN, 0},
            [ON_TIMER] = {guard.timer_fd, POLLIN, 0},
            [ON_DONE] = {guard.done_fd, POLLIN, 0},
            [ON_SIGNAL] = {guard.signal_fd, POLLIN, 0},
        };
        int ready = poll(fds, SOURCES, -1);
        if (ready < 0) survive_no_poll();
        if (ready != 0) handle(fds);
    }
    if (!quitting && !atomic_load(&guard.partner_dead)) atomic_store(&guard.partner_dead, outlived_partner());
    if (atomic_load(&guard.partner_dead)) {
        probes_undo();
        expedite_forget();
        record_failures();
        if (guard.control_path[0] != '\0') unlink(guard.control_path);
        cgroup_leave();
    }
    _exit(0);
}
