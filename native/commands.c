/*
 * The programs that make snapshots, by the process groups that the command line published. A group is in the page from
 * before its program is started until its end was seen, so it is never another's.
 */
#include "devices.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * The next number of a line, past the spaces before it. Not by strtol(3): built with the C library of Debian 13, that
 * needs the same one where it runs, and the addon runs on Debian 12 too.
 */
static pid_t next_number(const char **at) {
    pid_t number = 0;
    while (**at == ' ') ++*at;
    for (; **at >= '0' && **at <= '9'; ++*at) number = number * 10 + (**at - '0');
    return number;
}

/* Whether that process is of the group, and no zombie. */
static bool process_lives(int proc, const char *pid, pid_t group) {
    char path[32], text[256];
    snprintf(path, sizeof path, "%.20s/stat", pid);
    int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) return false;
    text[length] = '\0';
    /* PID (NAME) STATE PARENT GROUP, and the name may hold anything. */
    const char *state = strrchr(text, ')');
    if (state == NULL || strlen(state) < 4) return true;
    state += 2;
    const char *at = state + 1;
    next_number(&at);
    pid_t its_group = next_number(&at);
    return its_group == group && *state != 'Z' && *state != 'X';
}

/* By the system call, since readdir(3) allocates. */
static bool any_member_lives(int proc, pid_t group) {
    struct entry {
        uint64_t inode;
        int64_t offset;
        unsigned short length;
        unsigned char type;
        char name[];
    };
    _Alignas(struct entry) char buffer[2048];
    lseek(proc, 0, SEEK_SET);
    for (;;) {
        long length = syscall(SYS_getdents64, proc, buffer, sizeof buffer);
        if (length < 0) return true;
        if (length == 0) return false;
        for (long at = 0; at < length;) {
            const struct entry *entry = (const struct entry *)(buffer + at);
            at += entry->length;
            if (entry->name[0] >= '1' && entry->name[0] <= '9' && process_lives(proc, entry->name, group)) return true;
        }
    }
}

/*
 * kill(2) finds zombies too, and those of a command line that is stopped are reaped by nobody. So it is asked first, and
 * /proc only where something is left.
 */
static bool group_lives(pid_t group) {
    if (kill(-group, 0) != 0 && errno == ESRCH) return false;
    int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0) return true;
    char leader[16];
    snprintf(leader, sizeof leader, "%d", (int)group);
    bool lives = process_lives(proc, leader, group) || any_member_lives(proc, group);
    close(proc);
    return lives;
}

/* 0 and 1 would mean the caller's own group, and everybody. */
static pid_t published(const struct page *page, unsigned index) {
    pid_t group = atomic_load(&page->commands[index]);
    return group > 1 ? group : 0;
}

bool commands_living(const struct page *page) {
    for (unsigned i = 0; i < MAX_COMMANDS; i++) {
        pid_t group = published(page, i);
        if (group != 0 && group_lives(group)) return true;
    }
    return false;
}

bool commands_starting(const struct page *page) {
    for (unsigned i = 0; i < MAX_COMMANDS; i++)
        if (atomic_load(&page->commands[i]) == COMMAND_STARTING) return true;
    return false;
}

void commands_kill(const struct page *page) {
    for (unsigned i = 0; i < MAX_COMMANDS; i++) {
        pid_t group = published(page, i);
        if (group != 0) kill(-group, SIGKILL);
    }
}
