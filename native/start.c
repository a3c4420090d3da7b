/* From the first frame to two guards ready to watch. Whatever fails here fails before anything is frozen. */
#include "fault-point.h"
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND_NAME "vigil"
#define WATCHDOG_NAME "qsentry"
#define READY_TIMEOUT_MS 5000

/* The command line waits for an answer to its first frame: tell it what failed. It kills whoever has said so. */
static _Noreturn void refuse(const struct frame *request, int error) {
    if (guard.second_pid > 0) {
        /* One that hangs in its start would keep the locks that it has inherited, and the cgroup. */
        kill(guard.second_pid, SIGKILL);
        waitpid(guard.second_pid, NULL, 0);
    }
    if (guard.control_path[0] != '\0') unlink(guard.control_path);
    expedite_forget();
    cgroup_leave();
    struct frame reply = {.magic = FRAME_MAGIC,
                          .version = PROTOCOL_VERSION,
                          .type = FRAME_ARM,
                          .sequence = request->sequence,
                          .error = error};
    frame_send(FD_SOCKET, &reply);
    _exit(1);
}

static void receive_arm(struct frame *request) {
    size_t received = 0;
    while (received < sizeof *request) {
        ssize_t count = recv(FD_SOCKET, (char *)request + received, sizeof *request - received, 0);
        if (count <= 0) _exit(0);
        received += (size_t)count;
    }
    if (!frame_valid_arm(request)) refuse(request, EPROTO);
}

static int map_page(void) {
    struct stat status;
    if (fstat(FD_PAGE, &status) != 0) return errno;
    if (status.st_size < (off_t)sizeof(struct page)) return EPROTO;
    void *address = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, FD_PAGE, 0);
    if (address == MAP_FAILED) return errno;
    guard.page = address;
    bool valid = guard.page->magic == PAGE_MAGIC && guard.page->version == PROTOCOL_VERSION &&
                 guard.page->slot_count == guard.slot_count && guard.page->device_count <= MAX_DEVICES &&
                 guard.slot_count + guard.page->device_count > 0;
    if (!valid) return EPROTO;
    guard.dm_fd = guard.page->device_count == 0 ? -1 : FD_FIRST_SLOT + 2 * (int)guard.slot_count;
    return 0;
}

static void close_all(unsigned first, unsigned last) {
    struct rlimit limit = {0};
    /* Before Linux 5.9. */
    if (syscall(SYS_close_range, first, last, 0) != 0) getrlimit(RLIMIT_NOFILE, &limit);
    for (unsigned fd = first; fd <= last && fd < limit.rlim_cur; fd++) close((int)fd);
}

/*
 * What the command line itself has inherited, of a shell say: a lock or the end of a pipe there is to go with its owners, and we
 * may outlive them all.
 */
static void close_inherited(void) {
    unsigned first = FD_FIRST_SLOT + 2 * guard.slot_count + (guard.dm_fd < 0 ? 0 : 1);
    /* The only one that we have opened so far. */
    unsigned own = (unsigned)guard.signal_fd;
    if (own > first) close_all(first, own - 1);
    close_all(own + 1, UINT32_MAX);
}

/* A pid may be reused, a pidfd not; that the holder is still our parent after the open proves that it is the holder. */
static int watch_holder(void) {
    struct ucred holder;
    socklen_t size = sizeof holder;
    if (getsockopt(FD_SOCKET, SOL_SOCKET, SO_PEERCRED, &holder, &size) != 0) return errno;
    guard.holder_pid = holder.pid;
    guard.holder_pidfd = (int)syscall(SYS_pidfd_open, holder.pid, 0);
    if (guard.holder_pidfd < 0) return errno;
    return getppid() == holder.pid ? 0 : ESRCH;
}

static int listen_for_control(const char *path) {
    guard.listen_fd = -1;
    if (path[0] == '\0') return 0;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, sizeof guard.control_path);
    guard.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (guard.listen_fd < 0 || bind(guard.listen_fd, (struct sockaddr *)&address, sizeof address) != 0) return errno;
    memcpy(guard.control_path, path, sizeof guard.control_path);
    return listen(guard.listen_fd, 8) == 0 ? 0 : errno;
}

int guard_ready(void) {
    guard.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    guard.timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (guard.done_fd < 0 || guard.timer_fd < 0) return errno;
    int error = workers_start();
    if (error == 0) error = watch_start();
    if (error != 0) return error;
    guard.warnings |= survive_memory();
    deadlines_schedule();
    return 0;
}

/* Forked, not executed anew: the pages of the program stay shared. Before any thread exists. */
static int start_second(char **argv) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return errno;
    pid_t pid = fork();
    if (pid < 0) return errno;
    if (pid == 0) {
        close(pair[0]);
        guard.partner_fd = pair[1];
        guard.is_second = true;
        /* Were these open here too, the watchdog's death would not be the end of its connections. */
        close(FD_SOCKET);
        if (guard.listen_fd >= 0) close(guard.listen_fd);
        survive_name(argv, SECOND_NAME);
        if (setsid() < 0 || FAULT_ERRNO("second.starting") != 0 || guard_ready() != 0) _exit(1);
        link_send(LINK_READY);
        second_main();
    }
    close(pair[1]);
    guard.partner_fd = pair[0];
    guard.second_pid = pid;
    return 0;
}

static int await_second(void) {
    struct pollfd poll_fd = {.fd = guard.partner_fd, .events = POLLIN};
    char byte;
    if (poll(&poll_fd, 1, READY_TIMEOUT_MS) != 1) return ETIMEDOUT;
    return recv(guard.partner_fd, &byte, 1, 0) == 1 && byte == LINK_READY ? 0 : ECHILD;
}

void start_guards(char **argv) {
    struct frame request;
    survive_name(argv, WATCHDOG_NAME);
    int error = survive_signals();
    guard.watchdog_pid = getpid();
    umask(077);
    if (error == 0 && chdir("/") != 0) error = errno;
    receive_arm(&request);
    guard.slot_count = request.slot_count;

    if (error == 0) error = map_page();
    if (error == 0) close_inherited();
    if (error == 0) error = watch_holder();
    if (error == 0) error = listen_for_control(request.control_path);
    if (error != 0) refuse(&request, error);
    guard.warnings |= survive_oom();
    /* A change of cgroup waits for a grace period too. */
    expedite_begin();
    guard.warnings |= cgroup_enter();
    /* Afterwards: with RT_GROUP_SCHED a cgroup without a share refuses a process that runs first. */
    survive_limits();
    error = start_second(argv);
    if (error == 0) error = FAULT_ERRNO("guard.starting");
    if (error == 0) error = guard_ready();
    if (error == 0) error = await_second();
    if (error != 0) refuse(&request, error);

    FAULT_POINT("guard.armed");
    connections_start(request.sequence + 1);
    struct frame reply = {.type = FRAME_ARM, .sequence = request.sequence};
    frame_describe(&reply);
    /* A command line that is gone already is found to be so by whoever polls. */
    frame_send(FD_SOCKET, &reply);
}
