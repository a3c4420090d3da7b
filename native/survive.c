/* What keeps a guard alive and ready: signals, limits, memory, the OOM killer, its name. */
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Two and an event descriptor for each slot, and some: 32 slots, 5 connections. */
#define MAX_FILES 256

/* A request to end is read from signal_fd, and thaws first; every other signal that can be ignored is. */
int survive_signals(void) {
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGHUP);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGQUIT);
    sigaddset(&ends, SIGTERM);
    for (int number = 1; number <= SIGRTMAX; number++) {
        bool fault = number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE || number == SIGABRT;
        if (!fault && !sigismember(&ends, number)) signal(number, SIG_IGN);
    }
    /* Ignored, it would free the second's number while that may still be signalled. */
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_SETMASK, &ends, NULL);
    guard.signal_fd = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
    return guard.signal_fd < 0 ? errno : 0;
}

/* To `most`, or as near to it as may be: to raise a hard limit takes a capability that root need not have. */
static void raise_limit(int resource, rlim_t most) {
    struct rlimit limit;
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur >= most) return;
    const struct rlimit wanted = {most, limit.rlim_max > most ? limit.rlim_max : most};
    const struct rlimit permitted = {limit.rlim_max, limit.rlim_max};
    if (setrlimit(resource, &wanted) != 0) setrlimit(resource, &permitted);
}

void survive_files(void) { raise_limit(RLIMIT_NOFILE, MAX_FILES); }

/* EINVAL: somebody has lowered the limit of open files to fewer than are asked about. */
void survive_no_poll(void) {
    survive_files();
    sleep_ms(PAUSE_MS);
}

/* The caller may run niced, idle or under ulimits: none of them may delay a thaw. Best effort. */
void survive_limits(void) {
    raise_limit(RLIMIT_CPU, RLIM_INFINITY);
    raise_limit(RLIMIT_FSIZE, RLIM_INFINITY);
    raise_limit(RLIMIT_MEMLOCK, RLIM_INFINITY);
    survive_files();
    setpriority(PRIO_PROCESS, 0, -20);
    const struct sched_param lowest = {.sched_priority = 1};
    sched_setscheduler(0, SCHED_FIFO, &lowest);
}

uint32_t survive_memory(void) { return mlockall(MCL_CURRENT) == 0 ? 0 : WARN_NO_MLOCK; }

uint32_t survive_oom(void) {
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, "-1000", 5) == 5;
    close(fd);
    return done ? 0 : WARN_NO_OOM;
}

/* `ps` and `pkill -f` show the bytes of argv, so the name is written over them. strncpy wipes the rest. */
void survive_name(char **argv, const char *name) {
    char *end = argv[0];
    for (char **argument = argv; *argument != NULL; argument++) end = *argument + strlen(*argument);
    size_t room = (size_t)(end - argv[0]);
    strncpy(argv[0], name, room);
    prctl(PR_SET_NAME, name);
}
