/*
 * Becomes a program in which, as in all of its children, one system call goes wrong. Arguments: CALL HOW PROGRAM [ARGUMENT…].
 * HOW is the errno that it fails with, "hang", or "kill".
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    const char *name;
    long number;
} calls[] = {
    {"bind", SYS_bind},
    {"chdir", SYS_chdir},
    {"clone", SYS_clone},
    {"clone3", SYS_clone3},
    {"close_range", SYS_close_range},
    {"eventfd2", SYS_eventfd2},
    {"fsopen", SYS_fsopen},
    {"getsockopt", SYS_getsockopt},
    {"listen", SYS_listen},
#ifdef SYS_mkdir
    {"mkdir", SYS_mkdir},
#else
    {"mkdir", SYS_mkdirat},
#endif
    {"mlockall", SYS_mlockall},
    {"pidfd_open", SYS_pidfd_open},
    {"setsid", SYS_setsid},
    {"signalfd4", SYS_signalfd4},
    {"socket", SYS_socket},
    {"socketpair", SYS_socketpair},
    {"timerfd_create", SYS_timerfd_create},
};

/* Has a process that is nobody's child keep `listener` open, and never read it: the call waits as long as this program lives. */
static void keep(int listener) {
    pid_t program = getpid(), between = fork();
    if (between == 0 && fork() == 0) {
        dup2((int)syscall(SYS_pidfd_open, program, 0), 0);
        dup2(listener, 1);
        syscall(SYS_close_range, 2u, ~0u, 0);
        struct pollfd end = {.fd = 0, .events = POLLIN};
        while (poll(&end, 1, -1) != 1) continue;
    }
    if (between == 0) _exit(0);
    waitpid(between, NULL, 0);
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    long number = -1;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (strcmp(calls[i].name, argv[1]) == 0) number = calls[i].number;
    if (number < 0) return 2;
    unsigned action = SECCOMP_RET_ERRNO | ((unsigned)atoi(argv[2]) & SECCOMP_RET_DATA), flags = 0;
    if (strcmp(argv[2], "kill") == 0) action = SECCOMP_RET_KILL_PROCESS;
    if (strcmp(argv[2], "hang") == 0) {
        action = SECCOMP_RET_USER_NOTIF;
        flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
    }
    struct sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog filter = {sizeof instructions / sizeof *instructions, instructions};
    long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
    if (listener < 0) {
        perror("seccomp");
        return 1;
    }
    if (flags != 0) keep((int)listener);
    execv(argv[3], argv + 3);
    perror(argv[3]);
    return 127;
}
