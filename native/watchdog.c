/*
 * The dead-man: thaws what the command line froze, on request, at the deadline, and at once when the command line dies.
 * It allocates nothing, forks nothing and starts no thread once the first filesystem is frozen.
 */
#include "guard.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct guard guard;

enum source { ON_HOLDER, ON_PARTNER, ON_TIMER, ON_DONE, ON_SIGNAL, ON_LISTEN, ON_CONNECTIONS, SOURCES = ON_CONNECTIONS + MAX_CONNECTIONS };

#define SECOND_END_MS 500

static bool accepting = true;

static void partner_said(void) {
    char byte;
    ssize_t count = recv(guard.partner_fd, &byte, 1, MSG_DONTWAIT);
    if (count == 1 && byte == LINK_DETACHED) guard.detached = true;
    if (count != 0) return;
    atomic_store(&guard.partner_dead, true);
    guard.warnings |= WARN_SECOND_LOST;
    /* With no command line beside it, the next death would leave the filesystems frozen. */
    if (guard.detached) thaw_all(LOSS_GUARD_DIED);
}

static void handle(const struct pollfd *fds) {
    if (fds[ON_HOLDER].revents & POLLIN) {
        atomic_store(&guard.holder_dead, true);
        holder_gone();
    }
    if (fds[ON_PARTNER].revents & (POLLIN | POLLHUP)) partner_said();
    drain(guard.done_fd);
    deadlines_enforce();
    struct signalfd_siginfo info;
    if (fds[ON_SIGNAL].revents & POLLIN && read(guard.signal_fd, &info, sizeof info) == sizeof info)
        thaw_all(LOSS_SIGNAL);
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++)
        if (fds[ON_CONNECTIONS + i].revents & (POLLIN | POLLHUP | POLLERR)) connection_read(i);
    if (fds[ON_LISTEN].revents & POLLIN) accepting = connection_accept();
    connections_answer();
    deadlines_schedule();
}

static void watch(void) {
    while (!(all_ended() && (guard.detached || guard.holder_left))) {
        struct pollfd fds[SOURCES] = {
            /* Negative descriptors are passed over: what has ended is not asked again. */
            [ON_HOLDER] = {atomic_load(&guard.holder_dead) ? -1 : guard.holder_pidfd, POLLIN, 0},
            [ON_PARTNER] = {atomic_load(&guard.partner_dead) ? -1 : guard.partner_fd, POLLIN, 0},
            [ON_TIMER] = {guard.timer_fd, POLLIN, 0},
            [ON_DONE] = {guard.done_fd, POLLIN, 0},
            [ON_SIGNAL] = {guard.signal_fd, POLLIN, 0},
            [ON_LISTEN] = {accepting ? guard.listen_fd : -1, POLLIN, 0},
        };
        int timeout = accepting ? -1 : PAUSE_MS;
        accepting = true;
        for (unsigned i = 0; i < MAX_CONNECTIONS; i++) fds[ON_CONNECTIONS + i] = (struct pollfd){connection_fd(i), POLLIN, 0};
        int ready = poll(fds, SOURCES, timeout);
        if (ready < 0) survive_no_poll();
        if (ready != 0) handle(fds);
    }
}

static void await_second_end(void) {
    link_send(LINK_QUIT);
    for (int waited = 0; waited < SECOND_END_MS; waited++) {
        if (waitpid(guard.second_pid, NULL, WNOHANG) != 0) return;
        sleep_ms(1);
    }
    /* Stopped: it would keep the locks and the mountpoints. Nothing is left for it to do. */
    kill(guard.second_pid, SIGKILL);
}

int main(int argc, char **argv) {
    (void)argc;
    start_guards(argv);
    watch();
    connections_answer();
    expedite_forget();
    record_failures();
    /* The socket's name goes last of all that others can see: whoever finds it gone knows that it is over. */
    if (guard.control_path[0] != '\0') unlink(guard.control_path);
    connections_close();
    await_second_end();
    cgroup_leave();
    return 0;
}
