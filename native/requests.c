/* What the holder, and root over the control socket, ask of the watchdog. */
#include "fault-point.h"
#include "guard.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct connection {
    int fd; /* -1: free */
    uint32_t next_sequence;
    size_t received;
    struct frame request; /* being received, or waiting for its slots */
    bool waiting;
    uint64_t number; /* the later, the higher */
} connections[MAX_CONNECTIONS];

/* Losses of which the holder has had an event. */
static bool told[MAX_SLOTS];
static bool told_watch;

static bool addressed(const struct frame *request, uint32_t slot) {
    return request->slot == ALL_SLOTS || request->slot == slot;
}

static void hang_up(struct connection *connection) {
    close(connection->fd);
    connection->fd = -1;
    if (connection == &connections[HOLDER_CONNECTION]) holder_gone();
}

void connections_start(uint32_t next_sequence) {
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++) connections[i].fd = -1;
    connections[HOLDER_CONNECTION] = (struct connection){.fd = FD_SOCKET, .next_sequence = next_sequence};
}

int connection_fd(unsigned connection) {
    return connections[connection].waiting ? -1 : connections[connection].fd;
}

/* The errno of a whole answer: what is stuck first, then what was lost. */
static int verdict(const struct frame *request) {
    int error = 0;
    if (request->slot == ALL_SLOTS && guard.page->device_count != 0) {
        bool open = atomic_load(&guard.page->watch_state) == WATCH_OPEN;
        if (atomic_load(&guard.page->watch_loss) != LOSS_NONE || (request->type == FRAME_RESET && !open)) error = EINVAL;
    }
    for (uint32_t i = 0; i < guard.slot_count; i++) {
        if (!addressed(request, i)) continue;
        const struct slot *slot = &guard.page->slots[i];
        uint32_t state = atomic_load(&slot->state);
        if (state == SLOT_STUCK) return atomic_load(&slot->thaw_errno);
        if (atomic_load(&slot->loss) != LOSS_NONE) error = EINVAL;
        /* The 2008 ioctl answers EINVAL when there is nothing frozen to reset. */
        if (request->type == FRAME_RESET && state != SLOT_HELD) error = EINVAL;
    }
    return error;
}

/* Whoever does not read is hung up on. */
static void tell(struct connection *connection, struct frame *frame) {
    frame_describe(frame);
    if (!frame_send(connection->fd, frame)) hang_up(connection);
}

static void answer(struct connection *connection) {
    struct frame reply = {.type = connection->request.type,
                          .sequence = connection->request.sequence,
                          .error = verdict(&connection->request)};
    if (reply.type == FRAME_STATUS) reply.error = 0;
    if (reply.type == FRAME_DETACH && !guard.detached) reply.error = ECHILD;
    connection->waiting = false;
    connection->received = 0;
    tell(connection, &reply);
}

/* A reset is answered once every addressed slot was proven frozen; the deadline moves only then. */
static void finish_reset(const struct frame *request) {
    if (verdict(request) != 0) return;
    for (uint32_t i = 0; i < guard.slot_count; i++)
        if (addressed(request, i)) deadline_reset(i, request->timeout_ns);
    if (request->slot == ALL_SLOTS) deadline_reset_watch(request->timeout_ns);
    link_send(LINK_RESCHEDULE);
}

static bool ready(const struct connection *connection) {
    if (connection->request.type == FRAME_DETACH) return guard.detached || atomic_load(&guard.partner_dead);
    for (uint32_t i = 0; i < guard.slot_count; i++)
        if (addressed(&connection->request, i) && worker_busy(i)) return false;
    bool settles = connection->request.type == FRAME_THAW && connection == &connections[HOLDER_CONNECTION];
    return !settles || watch_settled();
}

static void tell_losses(void) {
    struct connection *holder = &connections[HOLDER_CONNECTION];
    bool watch_lost = atomic_load(&guard.page->watch_loss) != LOSS_NONE;
    bool news = watch_lost && !told_watch;
    told_watch = watch_lost;
    for (uint32_t i = 0; i < guard.slot_count; i++) {
        bool lost = atomic_load(&guard.page->slots[i].loss) != LOSS_NONE;
        news |= lost && !told[i];
        told[i] |= lost;
    }
    static uint32_t told_warnings;
    uint32_t warnings = guard.warnings & WARN_SECOND_LOST;
    news |= warnings != told_warnings;
    told_warnings = warnings;
    if (!news || holder->fd < 0) return;
    struct frame event = {.type = FRAME_EVENT};
    tell(holder, &event);
}

void connections_answer(void) {
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++) {
        struct connection *connection = &connections[i];
        if (connection->fd < 0 || !connection->waiting || !ready(connection)) continue;
        if (connection->request.type == FRAME_RESET) finish_reset(&connection->request);
        answer(connection);
    }
    tell_losses();
}

static void carry_out(struct connection *connection) {
    const struct frame *request = &connection->request;
    /* While a command holds the freeze, whoever else thaws takes it away from that command. */
    bool by_owner = guard.detached || connection == &connections[HOLDER_CONNECTION];
    connection->waiting = true;
    switch ((enum frame_type)request->type) {
    case FRAME_RESET:
        for (uint32_t i = 0; i < guard.slot_count; i++)
            if (addressed(request, i)) worker_probe(i);
        break;
    case FRAME_THAW:
        FAULT_POINT("guard.thaw-asked");
        for (uint32_t i = guard.slot_count; i-- > 0;)
            if (addressed(request, i)) worker_thaw(i, by_owner ? LOSS_NONE : LOSS_THIRD_PARTY);
        /* The devices are the command's that runs: it learns that its freeze was taken away. */
        if (connection == &connections[HOLDER_CONNECTION]) watch_settle(LOSS_NONE);
        break;
    case FRAME_DETACH: link_send(LINK_DETACH); break;
    case FRAME_QUIT:
        FAULT_POINT("guard.quit-asked");
        thaw_all(LOSS_NONE);
        guard.holder_left = true;
        break;
    case FRAME_STATUS: answer(connection); break;
    case FRAME_ARM:
    case FRAME_EVENT:
    default: hang_up(connection);
    }
    /* Whatever the owner asks comes after the freeze. */
    if (by_owner && request->type != FRAME_STATUS) expedite_end();
}

void connection_read(unsigned index) {
    struct connection *connection = &connections[index];
    char *at = (char *)&connection->request + connection->received;
    size_t room = sizeof connection->request - connection->received;
    ssize_t count = recv(connection->fd, at, room, MSG_DONTWAIT);
    if (count > 0) connection->received += (size_t)count;
    else if (count == 0 || errno != EAGAIN) hang_up(connection);
    if (connection->received < sizeof connection->request) return;
    const struct frame *request = &connection->request;
    bool for_all = request->type == FRAME_THAW || request->type == FRAME_STATUS;
    bool allowed = index == HOLDER_CONNECTION || for_all || (request->type == FRAME_RESET && guard.detached);
    if (!frame_valid(request) || request->sequence != connection->next_sequence || !allowed) {
        hang_up(connection);
        return;
    }
    connection->next_sequence++;
    carry_out(connection);
}

/* Root alone: the directory's mode says so too, but a mode can be changed. */
static bool from_root(int fd) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == 0;
}

/* A place for another: a free one, else the oldest's of those that ask nothing. HOLDER_CONNECTION: there is none. */
static unsigned place(void) {
    unsigned idle = HOLDER_CONNECTION;
    for (unsigned i = HOLDER_CONNECTION + 1; i < MAX_CONNECTIONS; i++) {
        if (connections[i].fd < 0) return i;
        if (connections[i].waiting) continue;
        if (idle == HOLDER_CONNECTION || connections[i].number < connections[idle].number) idle = i;
    }
    if (idle != HOLDER_CONNECTION) hang_up(&connections[idle]);
    return idle;
}

/* Somebody may have lowered it; asking costs no memory, of which there may be none. */
static int accept_again(void) {
    survive_files();
    return accept4(guard.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

bool connection_accept(void) {
    static uint64_t count;
    int fd = accept4(guard.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && errno == EMFILE) fd = accept_again();
    /* Whoever has hung up is none to wait for. */
    if (fd < 0) return errno == EAGAIN || errno == ECONNABORTED || errno == EINTR;
    unsigned at = from_root(fd) ? place() : HOLDER_CONNECTION;
    if (at == HOLDER_CONNECTION) close(fd);
    else connections[at] = (struct connection){.fd = fd, .next_sequence = 1, .number = ++count};
    return true;
}

void connections_close(void) {
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++)
        if (connections[i].fd >= 0) close(connections[i].fd);
}
