/*
 * The watchdog's protocol under fire: native/requests.c and native/frames.c with everything that they bring about played.
 * An input is a script: who connects, what bytes come in which pieces, when the workers are done. A model beside it says
 * which connections must be open and which requests were carried out; the program aborts where they differ, where a
 * stranger brings about what only the holder may, and where the sanitizers find something.
 *
 * Compiled with -Dgetsockopt=harness_getsockopt: who connects is played too.
 */
#undef getsockopt

#include "guard.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int harness_getsockopt(int fd, int level, int name, void *value, socklen_t *size);

#define require(condition) \
    do { \
        if (!(condition)) abort(); \
    } while (0)

struct guard guard;
static struct page page;
static uint32_t busy; /* a bit for each of the first 32 slots */
static bool settled;
static bool peer_is_root;
static int reading = -1; /* the connection whose request is being carried out */

/* What the other end knows of a connection. */
static struct peer {
    int fd; /* -1: never connected, or hung up */
    struct frame pending;
    size_t filled;
    uint32_t sent;     /* complete requests that the model takes for valid */
    uint32_t answered;
    bool doomed;       /* the model has seen an invalid one, or a close */
} peers[MAX_CONNECTIONS];

/* The effects. */
void link_send(enum link_word word) {
    if (word == LINK_DETACH) require(reading == (int)HOLDER_CONNECTION);
}
void worker_thaw(uint32_t slot, enum loss loss) {
    require(slot < guard.slot_count);
    bool by_owner = guard.detached || reading == (int)HOLDER_CONNECTION;
    require(loss == (by_owner ? LOSS_NONE : LOSS_THIRD_PARTY));
}
void worker_probe(uint32_t slot) {
    require(slot < guard.slot_count);
    require(guard.detached || reading == (int)HOLDER_CONNECTION);
}
bool worker_busy(uint32_t slot) { return slot < 32 && (busy >> slot & 1) != 0; }
void thaw_all(enum loss loss) { require(loss != LOSS_NONE || reading == (int)HOLDER_CONNECTION); }
void holder_gone(void) { guard.holder_left = true; }
void watch_settle(enum loss loss) { require(loss == LOSS_NONE && reading == (int)HOLDER_CONNECTION); }
bool watch_settled(void) { return settled; }
void deadline_reset(uint32_t slot, uint64_t timeout_ns) {
    (void)timeout_ns;
    require(slot < guard.slot_count && atomic_load(&page.slots[slot].state) == SLOT_HELD);
}
void deadline_reset_watch(uint64_t timeout_ns) { (void)timeout_ns; }
void expedite_end(void) {}
void survive_files(void) {}
uint64_t boottime_ns(void) { return 1; }
int harness_getsockopt(int fd, int level, int name, void *value, socklen_t *size) {
    (void)fd;
    require(level == SOL_SOCKET && name == SO_PEERCRED && *size == sizeof(struct ucred));
    *(struct ucred *)value = (struct ucred){.pid = 1, .uid = peer_is_root ? 0 : 1000};
    return 0;
}

/* The script. */
static const uint8_t *at, *end;
static uint8_t next(void) { return at < end ? *at++ : 0; }

/* What docs/watchdog-protocol.md says of a request, put once more. */
static bool model_allows(int index, const struct frame *frame, uint32_t sequence) {
    if (frame->magic != FRAME_MAGIC || frame->version != PROTOCOL_VERSION || frame->sequence != sequence) return false;
    if (frame->slot != UINT32_MAX && frame->slot >= guard.slot_count) return false;
    switch (frame->type) {
    case FRAME_THAW:
    case FRAME_STATUS: return true;
    case FRAME_RESET: return index == 0 || guard.detached;
    case FRAME_DETACH:
    case FRAME_QUIT: return index == 0;
    default: return false;
    }
}

static void model_takes(int index, const uint8_t *bytes, size_t size) {
    struct peer *peer = &peers[index];
    while (size > 0 && !peer->doomed) {
        size_t room = sizeof peer->pending - peer->filled;
        size_t count = size < room ? size : room;
        memcpy((uint8_t *)&peer->pending + peer->filled, bytes, count);
        peer->filled += count;
        bytes += count;
        size -= count;
        if (peer->filled < sizeof peer->pending) return;
        peer->filled = 0;
        peer->doomed = !model_allows(index, &peer->pending, peer->sent + (index == 0 ? 2 : 1));
        if (!peer->doomed) peer->sent++;
    }
}

static void take_replies(int index) {
    struct peer *peer = &peers[index];
    static struct frame reply;
    for (ssize_t count; (count = recv(peer->fd, &reply, sizeof reply, MSG_DONTWAIT)) > 0;) {
        require(count == (ssize_t)sizeof reply && reply.magic == FRAME_MAGIC && reply.slot_count == guard.slot_count);
        if (reply.type == FRAME_EVENT) {
            require(index == 0 && reply.sequence == 0);
            continue;
        }
        peer->answered++;
        require(reply.sequence == peer->answered + (index == 0 ? 1 : 0));
    }
}

/* One turn of the watchdog's loop; false when there was nothing to read. */
static bool turn(void) {
    bool progress = false;
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++) {
        int fd = connection_fd(i);
        if (fd < 0) continue;
        char byte;
        ssize_t count = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (count < 0 && errno == EAGAIN) continue;
        reading = (int)i;
        connection_read(i);
        progress = true;
        reading = -1;
    }
    reading = HOLDER_CONNECTION; /* a reply that cannot be sent hangs up, no more */
    connections_answer();
    reading = -1;
    for (int i = 0; i < (int)MAX_CONNECTIONS; i++)
        if (peers[i].fd >= 0) take_replies(i);
    return progress;
}

static void feed(int index, const void *bytes, size_t size) {
    struct peer *peer = &peers[index];
    if (peer->fd < 0) return;
    ssize_t count = send(peer->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count > 0) model_takes(index, bytes, (size_t)count);
}

static void feed_raw(int index) {
    size_t size = (size_t)next() * (next() % 16 + 1);
    if (size > (size_t)(end - at)) size = (size_t)(end - at);
    feed(index, at, size);
    at += size;
}

/* A frame that is right but for what the script says. */
static void feed_frame(int index) {
    static struct frame frame;
    memset(&frame, 0, sizeof frame);
    frame.magic = FRAME_MAGIC;
    frame.version = PROTOCOL_VERSION;
    frame.type = next() % 10;
    uint8_t slot = next();
    frame.slot = slot >= 128 ? UINT32_MAX : slot;
    frame.sequence = peers[index].sent + (index == 0 ? 2 : 1) + (next() == 255);
    frame.timeout_ns = (uint64_t)next() << (next() % 64);
    uint8_t cut = next();
    feed(index, &frame, cut < 240 ? sizeof frame : sizeof frame - cut);
}

static void connect_stranger(const struct sockaddr_un *address, socklen_t size) {
    int before[MAX_CONNECTIONS];
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++) before[i] = connection_fd(i);
    peer_is_root = next() % 4 != 0;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    require(fd >= 0 && connect(fd, (const struct sockaddr *)address, size) == 0);
    connection_accept();
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++) {
        int now = connection_fd(i);
        if (now < 0 || now == before[i]) continue;
        require(peer_is_root && i != HOLDER_CONNECTION);
        /* Its place was free: whoever had it was hung up on, or has gone. Or it is that of one that asked nothing. */
        if (peers[i].fd >= 0) {
            require(peers[i].doomed || before[i] >= 0);
            close(peers[i].fd);
        }
        peers[i] = (struct peer){.fd = fd};
        return;
    }
    char byte;
    require(recv(fd, &byte, 1, MSG_DONTWAIT) == 0);
    close(fd);
}

/* As another of the three processes publishes it. */
static void set_state(void) {
    if (guard.slot_count == 0) return;
    struct slot *slot = &page.slots[next() % guard.slot_count];
    uint32_t state = next() % 9;
    if (state == SLOT_STUCK) atomic_store(&slot->thaw_errno, EIO);
    atomic_store(&slot->state, state);
}

static void play(const struct sockaddr_un *address, socklen_t size) {
    while (at < end) {
        uint8_t step = next();
        int index = step / 16 % (int)MAX_CONNECTIONS;
        switch (step % 8) {
        case 0:
        case 1: feed_frame(index); break;
        case 2: feed_raw(index); break;
        case 3: busy = next(); settled = next() % 2 == 0; break;
        case 4: set_state(); break;
        case 5: connect_stranger(address, size); break;
        case 6:
            if (index == 0 || peers[index].fd < 0) break;
            close(peers[index].fd);
            peers[index].fd = -1;
            break;
        default: turn();
        }
    }
}

/* Everything that was sent is answered or has ended its connection once nothing is busy. */
static void check_end(void) {
    busy = 0;
    settled = true;
    /* The second's word, for a detach that waits for it; what was sent before it counts by what held then. */
    atomic_store(&guard.partner_dead, true);
    /* Twice: what is answered in one turn is read on in the next. */
    for (int idle = 0; idle < 2; idle = turn() ? 0 : idle + 1) continue;
    for (int i = 0; i < (int)MAX_CONNECTIONS; i++) {
        struct peer *peer = &peers[i];
        if (peer->fd < 0) continue;
        char byte;
        ssize_t count = recv(peer->fd, &byte, 1, MSG_DONTWAIT);
        /* Reset: there was more than it cared to read. */
        bool closed = count == 0 || (count < 0 && errno == ECONNRESET);
        require(closed == peer->doomed);
        require(peer->answered == peer->sent || peer->doomed);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    at = data;
    end = data + size;
    if (size >= sizeof(struct frame)) {
        struct frame first;
        memcpy(&first, data, sizeof first);
        if (frame_valid_arm(&first)) require(first.slot_count <= MAX_SLOTS && strnlen(first.control_path, 108) < 108);
    }
    memset(&page, 0, sizeof page);
    memset(&guard, 0, sizeof guard);
    guard.page = &page;
    guard.slot_count = page.slot_count = next() % (MAX_SLOTS + 1);
    page.device_count = next() % 3;
    guard.detached = next() % 2 == 1;
    guard.partner_fd = -1;
    busy = 0;
    settled = true;

    int pair[2];
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
    /* The holder's is always this one. */
    require(dup2(pair[0], FD_SOCKET) == FD_SOCKET);
    if (pair[0] != FD_SOCKET) close(pair[0]);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(sa_family_t);
    /* An abstract name of the kernel's choice. */
    require(listener >= 0 && bind(listener, (const struct sockaddr *)&address, length) == 0 && listen(listener, 8) == 0);
    length = sizeof address;
    require(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    guard.listen_fd = listener;
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++) peers[i].fd = -1;
    connections_start(2);
    peers[HOLDER_CONNECTION] = (struct peer){.fd = pair[1]};

    play(&address, length);
    check_end();

    connections_close();
    for (unsigned i = 0; i < MAX_CONNECTIONS; i++)
        if (peers[i].fd >= 0) close(peers[i].fd);
    close(listener);
    return 0;
}
